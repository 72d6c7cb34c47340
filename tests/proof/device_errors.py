"""Proof, a part of `reorderings`: a device that fails a write, a flush or a read while a store lives on it.

Real file systems make of it what they do: an error of fsync, an aborted
journal, a file system that is suddenly read-only or shut down. Whatever it is,
the store raises nothing but what its contract names, shows nothing that isn't
so, and hangs nowhere. Afterwards the device works again, the file system is
mounted anew, and everything is there that had been promised: also on an image
without the writes that were never flushed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Final, NamedTuple

from block_device import DISK
from fault_writer import Canary, Life, Plan, complaints_of, lived
from fuse_daemon import Daemon, running
from history import History
from mounts import Images, Mounted, MountError
from places_of_stores import PLACES, Place
from recordings import LOST, Cut, Recording, chosen, copy_image, recording_of
from units import Goal, Outcome, Size, Unit

GOALS: Final = (
    Goal("device errors", "writes, flushes and reads of a device that failed under a store", ci=20, full=200),
)

_TRIES: Final = 4
_ROUNDS: Final[dict[Size, int]] = {"ci": 1, "full": 8}
_LAST_NTH: Final = {"write": 40, "flush": 25, "read": 12}


class Fault(NamedTuple):
    """Which operations of the device fail, counted from when the store opens."""

    kind: str
    nth: int
    times: int | None
    is_partial: bool

    def __str__(self) -> str:
        often = "once" if self.times == 1 else "from then on"
        return f"{self.kind} {self.nth} fails{' halfway' if self.is_partial else ''}, {often}"


def units(size: Size, seed: int) -> Sequence[Unit]:
    """Return some tries on each kind of place a round."""
    return [
        Unit(f"errors {name} {number}", {"place": name, "seed": seed * 1000 + number, "faults": _TRIES})
        for number in range(_ROUNDS[size])
        for name in PLACES
    ]


def fail_some(folder: str, *, place: Place, seed: int, faults: int, canary: Canary = "") -> Outcome:
    """Let a store live on a sound device, and then, again and again from there, on one that fails."""
    outcome, chance = Outcome(), random.Random(f"{place.name} {seed}")
    images = Images(folder)
    with running("block_device.py", folder) as daemon:
        base = images.fresh(place.kind)
        mounted = mount(daemon, place, base, images.point())
        path = os.path.join(mounted.point, "store")
        first = lived(Plan(path, seed), History(), Life(Plan(path, seed), daemon.counter).finish())
        mounted.unmount()
        if first.faults:
            return Outcome(failures=[f"{place.name}: {fault}" for fault in first.faults])
        history = first.at(float("inf"))
        for _ in range(faults):
            kind = chance.choice(("write", "write", "flush", "flush", "read"))
            nth = 1 + int(chance.random() ** 2 * _LAST_NTH[kind])
            fault = Fault(kind, nth, chance.choice((1, 1, None)), kind == "write" and chance.random() < 0.3)
            plan = Plan(path, chance.getrandbits(30), segment_bytes_max=chance.choice((8192, 65_536)), canary=canary)
            _fail(outcome, daemon, images, place, base, history, plan, fault)
    return outcome


def mount(daemon: Daemon, place: Place, image: str, point: str) -> Mounted:
    """Make the daemon be a device with this image, and mount it."""
    daemon.ask("load", image=image)
    return Mounted(os.path.join(daemon.point, DISK), place.kind, point, place.options)


def _fail(
    outcome: Outcome,
    daemon: Daemon,
    images: Images,
    place: Place,
    base: str,
    history: History,
    plan: Plan,
    fault: Fault,
) -> None:
    """Have one life meet one fault; judge what it said, and what is there afterwards."""
    image, cut_image = images.name(), images.name()
    copy_image(base, image)
    # Mounted anew, nothing is cached: reads ask the device.
    mounted = mount(daemon, place, image, images.point())
    begin = daemon.count
    life = Life(plan, daemon.counter, is_held=True)
    daemon.ask("fail", kind=fault.kind, nth=fault.nth, times=fault.times, is_partial=fault.is_partial)
    life.go()
    events = life.finish()
    end = daemon.count
    has_fired = any(daemon.ask("end_faults"))
    story = lived(plan, history, events)
    complaints = list(story.faults)
    mounted.unmount()
    recording = recording_of(daemon, images.name(), story, begin, end)
    try:
        mounted.mount()
        complaints += [f"mounted again: {complaint}" for complaint in complaints_of(plan.path, story, end)]
        mounted.unmount()
        complaints += _after_cut(recording, place, base, cut_image, plan, images.point())
    except MountError as error:
        complaints.append(f"the file system didn't survive it: {error}")
    for used in (image, cut_image):
        if os.path.exists(used):
            os.unlink(used)
    if has_fired:
        outcome.add("device errors")
        outcome.add(f"{fault.kind} errors")
        outcome.add("lives that were told of one", any(event.word in ("failed", "full") for event in events))
        outcome.add("reads that went on", sum(event.word == "read" for event in events))
    if complaints:
        about = f"{place.name}, {fault}, plan of seed {plan.seed}:"
        outcome.failures.append("\n".join([about, *complaints, story.tell(end, last=20)]))


def _after_cut(recording: Recording, place: Place, base: str, image: str, plan: Plan, point: str) -> list[str]:
    """Judge what power cuts in that life would have left: some, and one at its end that keeps nothing un-flushed."""
    complaints = []
    pending = recording.end - recording.flushed(recording.end)
    for cut in [Cut(recording.end, (LOST,) * pending, 0), *chosen(recording, 1, random.Random(plan.seed))]:
        cut.build(recording, base, image)
        mounted = Mounted(image, place.kind, point, place.options)
        try:
            told = complaints_of(plan.path, recording.story, cut.count)
        finally:
            mounted.unmount()
        complaints += [f"{cut.tell(recording)}: {complaint}" for complaint in told]
    return complaints
