"""Proof: the real file system code and real processes, above a mount that keeps only what POSIX makes it keep.

A unit is a chain of lives of one store on one strict disk. Each ends in one of
these ways, and the next goes on with what is left:

- closed: it did what it had planned;
- killed: by SIGKILL at some operation; un-synced bytes are still seen by the next;
- powerless: from some operation on everything fails while the process goes on,
  so that it may promise nothing more; then the power comes back;
- faulty: some sync or write fails once, or from then on, and it has to cope.

While they live, power cuts are taken of the disk behind operations chosen by
seed, each keeping of the un-synced what another seed chooses; each is then
opened through the mount by the oracle, which knows what had been promised by
that operation.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Sequence
from functools import partial
from typing import Final, Literal

import fuse_daemon
from fault_writer import Canary, Life, Plan, Story, complaints_of, lived
from fuse_daemon import Daemon, running
from history import History
from mounts import apart
from units import Goal, Outcome, Size, Unit

GOALS: Final = (
    Goal("strict cuts", "power cuts of a strict file system under real processes", ci=300, full=10_000),
    Goal("strict lives", "of these processes, killed, powerless, faulty or closed", ci=None, full=None),
)

Ending = Literal["closed", "killed", "powerless", "faulty"]
ENDINGS: Final[tuple[Ending, ...]] = ("closed", "killed", "powerless", "faulty")
_FAULTS: Final = (
    ("sync_data", errno.EIO),
    ("sync", errno.EIO),
    ("sync_directory", errno.EIO),
    ("pwrite", errno.EIO),
    ("pwrite", errno.ENOSPC),
    ("allocate", errno.ENOSPC),
    ("rename", errno.EIO),
    ("create", errno.ENOSPC),
    ("unlink", errno.EIO),
)
_LIVES: Final = 8
_CUTS_A_LIFE: Final = 10
_UNITS: Final[dict[Size, int]] = {"ci": 6, "full": 190}
_OPERATIONS_A_STEP: Final = 3


def units(size: Size, seed: int) -> Sequence[Unit]:
    """Return chains of lives, each of a seed of its own."""
    return [Unit(f"chain {number}", {"seed": seed * 1000 + number}) for number in range(_UNITS[size])]


def prove(unit: Unit) -> Outcome:
    """Live one chain."""
    if reason := fuse_daemon.lacking():
        return Outcome(skipped=reason)
    return apart(partial(chain, **unit.arguments))


def chain(folder: str, *, seed: int, lives: int = _LIVES, cuts: int = _CUTS_A_LIFE, canary: Canary = "") -> Outcome:
    """Live some lives of one store, and judge every power cut that was taken of it."""
    outcome, chance = Outcome(), random.Random(seed)
    with running("strict_mount.py", folder) as daemon:
        name, history = "disk-0", History()
        daemon.ask("make", name=name)
        for number in range(lives):
            ending = ENDINGS[(seed + number) % len(ENDINGS)]
            plan = Plan(
                path=os.path.join(daemon.point, name, "store"),
                seed=chance.getrandbits(30),
                segment_bytes_max=chance.choice((4096, 8192, 16_384)),
                keep_snapshots=chance.choice((1, 2)),
                canary=canary,
            )
            about = f"chain {seed}, life {number} ({ending})"
            story, taken, operations = _live(daemon, name, plan, history, ending, cuts, chance)
            outcome.failures += [f"{about}: {fault}\n{story.tell(float('inf'))}" for fault in story.faults]
            for count, cut in taken:
                complaints = complaints_of(os.path.join(daemon.point, cut, "store"), story, count)
                outcome.add("strict cuts")
                daemon.ask("remove", names=[cut])
                if complaints:
                    told = [f"{about}, power cut behind operation {count}:", *complaints]
                    told += [story.tell(count), *operations[max(0, count - 12) : count]]
                    outcome.failures.append("\n".join(told))
            outcome.add("strict lives")
            if ending == "powerless":
                last, name = name, f"disk-{number + 1}"
                daemon.ask("cut", source=last, target=name, seed=chance.getrandbits(30))
                daemon.ask("remove", names=[last])
                daemon.ask("watch", name=name)
            if outcome.failures:
                break
            # Counting begins again on a new disk; what was promised stays.
            history = story.at(float("inf"))
    return outcome


def _live(
    daemon: Daemon, disk: str, plan: Plan, base: History, ending: Ending, cuts: int, chance: random.Random
) -> tuple[Story, list[tuple[int, str]], list[str]]:
    """Live one life; return what it said, the cuts that were taken and behind which operations, and all operations."""
    begin = daemon.count
    expected = plan.steps * _OPERATIONS_A_STEP
    wanted = sorted(begin + chance.randrange(expected) for _ in range(cuts))
    planned = [(count, chance.getrandbits(30), f"cut-{number}") for number, count in enumerate(wanted)]
    daemon.ask("cut_at", cuts=planned)
    life = Life(plan, daemon.counter, is_held=True)
    end = 1 + chance.randrange(expected)
    if ending == "killed":
        daemon.ask("kill_at", count=begin + end, process=life.pid)
    elif ending == "powerless":
        daemon.ask("stop_after", count=end)
    elif ending == "faulty":
        operation, error = chance.choice(_FAULTS)
        nth = 1 + chance.randrange(3 if operation in ("allocate", "rename", "create", "unlink") else 25)
        daemon.ask("fail", operation=operation, nth=nth, error=error, times=chance.choice((1, 1, None)))
    life.go()
    story = lived(plan, base, life.finish())
    operations = daemon.ask("history", name=disk)
    daemon.ask("end_faults")
    names = set(daemon.ask("names"))
    return story, [(count, name) for count, _, name in planned if name in names], operations
