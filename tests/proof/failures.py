"""Every n-th operation fails, once and from then on, in every way that its kind can, in every phase.

For each workload the operations of each kind are counted in a run that nothing
disturbs. Then for each kind and each n there are runs in which the n-th one
fails: with each errno that fits it, once and from then on; a write takes
nothing, a byte, half, all but one; a mount turns read-only for good. What has
to hold is in `failing.py`.
"""

from __future__ import annotations

import errno
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import disk_full
from failing import Trial
from history import History
from readings import Readings
from units import Goal, Outcome, Size, Unit
from workloads import BY_NAME, CI_WORKLOADS, WORKLOADS, Workload

from journalkit.testing import SimulatedDisk
from journalkit.testing.faults import MUTATING, Share

GOALS = (
    Goal("workloads", "workloads in which every operation failed", ci=10, full=40),
    Goal("failures", "runs in which an operation failed", ci=2_500, full=50_000),
    Goal("full disks", "workloads on disks full at every byte", ci=11, full=41),
    Goal("disk sizes", "sizes and moments at which a disk was full", ci=400, full=40_000),
)

_DISK: Final = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_NAMES: Final = (errno.EIO, errno.EACCES, errno.EMFILE)
ERRORS: Final[dict[str, tuple[int, ...]]] = {
    "pwrite": (*_DISK, errno.EFBIG),
    "sync": _DISK,
    "sync_data": _DISK,
    "sync_directory": _DISK,
    "allocate": (*_DISK, errno.EFBIG, errno.EINTR),
    "truncate": (errno.EIO, errno.EROFS, errno.ENOSPC),
    "create": (*_DISK, errno.EACCES, errno.EMFILE, errno.ENFILE),
    "open_write": (*_NAMES, errno.EROFS),
    "open_read": (*_NAMES, errno.ENFILE),
    "open_direct": _NAMES,
    "rename": (*_DISK, errno.EACCES),
    "unlink": (errno.EIO, errno.EROFS, errno.EACCES),
    "make_directory": (*_DISK, errno.EACCES),
    "remove_directory": (errno.EIO, errno.EROFS),
    "lock": (errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENOLCK),
    "describe": _DISK,
    "pread": (errno.EIO,),
    "list": _NAMES,
    "status": (errno.EIO, errno.EACCES),
    "size": (errno.EIO,),
    "free_bytes": (errno.EIO,),
    "drop_cache": (errno.EIO,),
}
READS: Final = frozenset(ERRORS) - MUTATING - {"open_write", "drop_cache"}
_SHORT: Final[dict[str, Share]] = {
    "nothing": lambda _: 0,
    "one byte": lambda _: 1,
    "half": lambda count_bytes: count_bytes // 2,
    "all but one": lambda count_bytes: max(count_bytes - 1, 0),
}


def units(size: Size, seed: int) -> Sequence[Unit]:
    """Return two units for each workload, one of them for full disks; in full one for each kind of operation."""
    if size == "ci":
        chosen, kinds = CI_WORKLOADS, (None,)
    else:
        chosen, kinds = WORKLOADS, (*ERRORS, "short", "read-only")
    usual = {"seed": seed, "every": size == "full"}
    found = [
        Unit("-".join(filter(None, (each.name, kind))), usual | {"workload": each.name, "kind": kind}, 3600)
        for each in chosen
        for kind in kinds
    ]
    full = (*chosen, disk_full.OUTGROWING)
    return found + [Unit(f"full-{each.name}", usual | {"workload": each.name, "kind": "full"}, 7200) for each in full]


def prove(unit: Unit) -> Outcome:
    """Let every operation of a workload fail, or those of a kind, or fill its disk."""
    logging.disable()  # what goes wrong is expected
    outcome, arguments = Outcome(), unit.arguments
    workload, every, seed, kind = (_named(arguments["workload"]), *(arguments[n] for n in ("every", "seed", "kind")))
    if kind == "full":
        disk_full.prove(outcome, workload, every=every, seed=seed)
    else:
        readings = Readings()
        for trial in trials(workload, counts(workload), every, seed):
            if kind in (None, trial.kind):
                trial.readings = readings
                trial.run()
                outcome.add("failures", int(trial.has_failed))
                outcome.add(f"in {trial.phase}", int(trial.has_failed))
                outcome.failures += trial.complaints
        outcome.add("workloads", int(kind in (None, "read-only")))
    again = f"\n  again: python tests/proof unit failures {unit.name}"
    outcome.failures[:] = [text + again for text in outcome.failures]
    return outcome


def _named(name: str) -> Workload:
    return disk_full.OUTGROWING if name == disk_full.OUTGROWING.name else BY_NAME[name]


def counts(workload: Workload) -> Counter[str]:
    """Return how many operations of each kind there are in a run that nothing disturbs."""
    disk, found = SimulatedDisk(), Counter[str]()
    plan = disk._state.plan
    step = plan.step

    def counted(operation: str, path: str, detail: str = "") -> None:
        found[operation] += 1
        step(operation, path, detail)

    plan.step = counted  # type: ignore[method-assign]
    workload.run(disk, History())
    return found


def trials(workload: Workload, found: Counter[str], every: bool, seed: int) -> Iterator[Trial]:
    """Yield the runs: all of them, or one of each kind and n and mode, with one of the errnos in turn."""
    for kind, errors in ERRORS.items():
        for nth in range(1, found[kind] + 1):
            for turn, times in enumerate((1, None)):
                chosen = errors if every else (errors[(nth + turn + seed) % len(errors)],)
                for error in chosen:
                    yield _failing(workload, kind, nth, error, times, every, seed)
    for nth in range(1, found["pwrite"] + 1):
        for turn, taken in enumerate(_SHORT):
            if every or (nth + seed) % len(_SHORT) == turn:
                yield _short(workload, nth, taken, then_full=(nth + turn) % 2 == 0, every=every, seed=seed)
    changes = sum(found[kind] for kind in MUTATING)
    for nth in range(1, changes + 1, 1 if every else 3):
        yield _read_only(workload, nth, every, seed)


def _failing(workload: Workload, kind: str, nth: int, error: int, times: int | None, every: bool, seed: int) -> Trial:
    mode = "once" if times else "from then on"
    return Trial(
        workload,
        f"{kind} {nth} fails with {errno.errorcode[error]} {mode}",
        lambda disk: disk.fail(kind, nth, error, times=times),
        reading=kind in READS,
        cuts=_cuts(every, nth, seed),
    )


def _read_only(workload: Workload, nth: int, every: bool, seed: int) -> Trial:
    fault = f"read-only from change {nth} on"
    return Trial(workload, fault, lambda disk: disk.remount_read_only(nth=nth), cuts=_cuts(every, nth, seed))


def _short(workload: Workload, nth: int, taken: str, *, then_full: bool, every: bool, seed: int) -> Trial:
    def arrange(disk: SimulatedDisk) -> None:
        disk.short_write(nth, _SHORT[taken])
        if then_full:
            disk.fail("pwrite", nth + 1, errno.ENOSPC)

    fault = f"short write {nth} takes {taken}" + (", and then the disk is full" if then_full else "")
    return Trial(workload, fault, arrange, cuts=_cuts(every, nth, seed))


def _cuts(every: bool, nth: int, seed: int) -> tuple[Any, ...]:
    """Return which of the next processes are asked: all, or the one that has lost most and one of the others."""
    others = ("all", "no cut", seed * 1000 + nth)
    return ("none", *others) if every else ("none", others[nth % 3])
