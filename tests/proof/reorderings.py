"""Proof: whatever a device makes of the writes that it wasn't told to flush, the store behind the file system is whole.

A recording is a run of a store on ext4, xfs or btrfs on a device that notes
every write and every flush (`block_device.py`). From it come many trials: the
image that a power cut leaves behind some write, everything before the last
flush in it, and of the writes since then each kept, lost or torn by seed, so
also a later one without an earlier one. It is mounted, which replays the file
system's own journal, and the oracle opens the store, knowing what had been
promised when that write was made.

Devices write sectors whole. File systems differ in what they bear: btrfs takes
blocks of 4096 bytes to be written whole, ext4 and xfs some of their metadata.
An image with torn blocks that can't be mounted says nothing about a store: it is
made again with whole blocks, and has to be mountable then.

Units of device errors are in this proof too: `device_errors.py`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from functools import partial
from typing import Final

import device_errors
import fuse_daemon
from block_device import BLOCK_BYTES
from fault_writer import Canary, Life, Plan, complaints_of, lived
from fuse_daemon import Daemon, running
from history import History
from mounts import Images, Mounted, MountError, guarded
from places_of_stores import PLACES, Place
from recordings import KEPT, LOST, TORN, Cut, Recording, chosen, copy_image, recording_of
from units import Goal, Outcome, Size, Unit

GOALS: Final = (
    Goal("reorderings", "devices with un-flushed writes lost, kept, reordered or torn", ci=100, full=2000),
    *device_errors.GOALS,
)

_TRIALS: Final = 13
_ROUNDS: Final[dict[Size, int]] = {"ci": 1, "full": 20}


def units(size: Size, seed: int) -> Sequence[Unit]:
    """Return one recording of each kind of place a round, and the units of device errors."""
    recordings = [
        Unit(f"{name} {number}", {"place": name, "seed": seed * 1000 + number})
        for number in range(_ROUNDS[size])
        for name in PLACES
    ]
    return [*recordings, *device_errors.units(size, seed)]


def prove(unit: Unit) -> Outcome:
    """Make one recording and hold its trials, or have a device fail."""
    if reason := fuse_daemon.lacking():
        return Outcome(skipped=reason)
    place = PLACES[unit.arguments["place"]]
    function = device_errors.fail_some if "faults" in unit.arguments else try_some
    arguments = {**unit.arguments, "place": place}
    return guarded([place.kind], partial(function, **arguments))


def try_some(folder: str, *, place: Place, seed: int, trials: int = _TRIALS, canary: Canary = "") -> Outcome:
    """Record a life on a place, and judge what some power cuts may leave of the device."""
    outcome, chance = Outcome(), random.Random(f"{place.name} {seed}")
    images = Images(folder)
    base = images.fresh(place.kind)
    with running("block_device.py", folder) as daemon:
        recording = record(daemon, place, base, images, seed, canary)
    outcome.failures += [f"{place.name}, seed {seed}: {fault}" for fault in recording.story.faults]
    device = os.path.join(folder, "device.img")
    for cut in chosen(recording, trials, chance, place.tears_at):
        cut.build(recording, base, device)
        outcome.add("reorderings")
        outcome.add("with a later write but not all of an earlier one", cut.is_reordered)
        for fate in (LOST, KEPT, TORN):
            outcome.add(f"writes {fate}", sum(one == fate for one in cut.fates))
        complaints = _hold(outcome, place, recording, cut, base, device, images.point())
        if complaints:
            outcome.failures.append(
                f"{place.name}, seed {seed}, {cut.tell(recording)}:\n"
                + "\n".join(complaints)
                + f"\n{recording.story.tell(cut.count)}"
            )
    return outcome


def record(daemon: Daemon, place: Place, base: str, images: Images, seed: int, canary: Canary) -> Recording:
    """Let a store live on a device made of a copy of `base`."""
    image = images.name()
    copy_image(base, image)
    mounted = device_errors.mount(daemon, place, image, images.point())
    # Much is written between two flushes: there is something to lose, and to lose it from.
    plan = Plan(
        os.path.join(mounted.point, "store"),
        seed,
        steps=60,
        value_bytes_max=100_000,
        segment_bytes_max=1 << 19,
        weak_share=0.5,
        canary=canary,
    )
    begin = daemon.count
    events = Life(plan, daemon.counter).finish()
    end = daemon.count
    mounted.unmount()
    return recording_of(daemon, images.name(), lived(plan, History(), events), begin, end)


def _hold(
    outcome: Outcome, place: Place, recording: Recording, cut: Cut, base: str, device: str, point: str
) -> list[str]:
    """Mount one image and judge the store on it."""
    try:
        mounted = Mounted(device, place.kind, point, place.options)
    except MountError as error:
        if TORN not in cut.fates or cut.unit_bytes == BLOCK_BYTES:
            return [f"the file system can't be mounted: {error}"]
        outcome.add("torn too finely for the file system")
        whole = cut.of_whole_blocks()
        whole.build(recording, base, device)
        return _hold(outcome, place, recording, whole, base, device, point)
    try:
        return complaints_of(os.path.join(point, "store"), recording.story, cut.count)
    finally:
        mounted.unmount()
