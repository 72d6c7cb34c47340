"""Proof: the n-th system call of each kind fails, for each n, while a process opens, writes, rotates, folds, closes.

strace answers a call of a running process with an error, once or from then on;
the call doesn't take place. So the real process meets what no simulated disk
gives it: errors of every call that Python and the C library make on its behalf,
EINTR among them, which Python repeats. Whatever fails, the process raises what
the contract names and nothing else, goes on reading, hangs nowhere; and
afterwards everything that was promised is there.

What strace can't do: a short write. It answers without writing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from fault_writer import Canary, Event, Life, Plan, complaints_of, lived
from history import History
from mounts import EXT4, Images, Mounted, guarded
from units import Goal, Outcome, Size, Unit

GOALS: Final = (Goal("system calls", "system calls of a process that failed, by strace", ci=150, full=10_000),)

ERRORS: Final[dict[str, tuple[str, ...]]] = {
    "openat": ("EMFILE", "EIO", "EACCES", "ENOSPC", "EINTR", "EROFS"),
    "pwrite64": ("EIO", "ENOSPC", "EINTR", "EDQUOT", "EFBIG"),
    "fdatasync": ("EIO", "ENOSPC", "EINTR", "EDQUOT"),
    "fsync": ("EIO", "EINTR", "ENOSPC", "EROFS"),
    "rename": ("EIO", "ENOSPC", "EDQUOT"),
    "fallocate": ("ENOSPC", "EIO", "EINTR", "EOPNOTSUPP"),
    "ftruncate": ("EIO", "EINTR"),
    "unlink": ("EIO", "EROFS"),
    "mkdir": ("EIO", "ENOSPC", "EACCES"),
    "newfstatat": ("EIO", "ENOMEM"),
    "getdents64": ("EIO", "ENOMEM"),
    "pread64": ("EIO", "EINTR"),
    "preadv": ("EIO", "EINVAL"),
    "flock": ("EIO", "ENOLCK", "EINTR"),
    "close": ("EIO", "EINTR"),
}
_MAY_BE_TOLD: Final = re.compile(r"(close\(|O_NONBLOCK\|O_CLOEXEC\|O_DIRECTORY).*\(INJECTED\)")
"""Interrupts that Python doesn't hide: whether a close closed nobody knows; a directory it opens but once."""

_MAY_BE_MENDED: Final = {"fdatasync": ("EINTR",), "fsync": ("EINTR", "ENOSPC", "EDQUOT")}
"""Failed syncs that nobody has to be told of: a manifest without room is written anew, into the reserve."""

CHANGING: Final = frozenset({"pwrite64", "fdatasync", "fsync", "rename", "fallocate", "ftruncate", "unlink", "mkdir"})
"""What a store is made by: of these each one fails in the small size too, of the others every fifth."""

_STEPS: Final = 14
_ATTACH_S: Final = 10.0
_PLANS: Final[dict[Size, int]] = {"ci": 1, "full": 4}
_CI_PARTS: Final = 3
_CI_STEP: Final = 5


class Injection(NamedTuple):
    """Which call fails how: the nth, and those behind it too if it is for good."""

    call: str
    error: str
    nth: int
    is_for_good: bool = False

    def __str__(self) -> str:
        return f"inject={self.call}:error={self.error}:when={self.nth}{'+' if self.is_for_good else ''}"


def units(size: Size, seed: int) -> Sequence[Unit]:
    """Return some parts of one plan's calls, each failing once; in the full size each with every error of its kind."""
    if size == "ci":
        return [Unit(f"part {part}", {"seed": seed, "part": part, "parts": _CI_PARTS}) for part in range(_CI_PARTS)]
    return [
        Unit(f"plan {number}: {call} {error}", {"seed": seed + number, "calls": [call], "errors": [error]})
        for number in range(_PLANS[size])
        for call, errors in ERRORS.items()
        for error in errors
    ]


def prove(unit: Unit) -> Outcome:
    """Let some calls fail, each in a life of its own."""
    if shutil.which("strace") is None:
        return Outcome(skipped="not installed: strace")
    return guarded([EXT4], partial(fail_each, **unit.arguments))


def fail_each(
    folder: str,
    *,
    seed: int,
    calls: Sequence[str] = tuple(ERRORS),
    errors: Sequence[str] = (),
    part: int = 0,
    parts: int = 1,
    canary: Canary = "",
) -> Outcome:
    """Live once to count the calls, then once more for each of them that fails."""
    outcome, images = Outcome(), Images(folder)
    # Not on the tmpfs: what is read past the cache takes other calls on a file system with a device.
    mounted = Mounted(images.fresh(EXT4), EXT4, images.point())
    plan, made = _counted(os.path.join(mounted.point, "store"), folder, seed, canary)
    injections = [one for call in calls for one in _injections(call, errors, made[call])]
    for injection in injections[part::parts]:
        shutil.rmtree(plan.path, ignore_errors=True)
        events, log = traced(plan, folder, injection)
        story = lived(plan, History(), events)
        complaints = [*story.faults, *complaints_of(plan.path, story, float("inf"))]
        hit = next((line for line in log.splitlines() if "(INJECTED)" in line), "")
        told = [event.text for event in events if event.word in ("failed", "full")]
        if injection.error == "EINTR" and not _MAY_BE_TOLD.search(hit):
            complaints += [f"an interrupt was told as an error: {text}" for text in told]
        if hit and injection.error not in _MAY_BE_MENDED.get(injection.call, ERRORS[injection.call]) and not told:
            complaints.append("a sync failed, and nobody was told")
        outcome.add("system calls", bool(hit))
        outcome.add("processes that were told", bool(told))
        outcome.add("reads that went on", sum(event.word == "read" for event in events))
        if complaints:
            about = f"plan of seed {plan.seed}, strace -e {injection}: {hit or 'not reached'}"
            outcome.failures.append("\n".join([about, *complaints, story.tell(float("inf"))]))
    mounted.unmount()
    return outcome


def _injections(call: str, errors: Sequence[str], made: int) -> list[Injection]:
    """Return what is to fail: each call with each error, if some are named, else some calls with an error each."""
    if errors:
        return [
            Injection(call, error, nth, is_for_good)
            for error in errors
            for nth in range(1, made + 1)
            for is_for_good in (False, True)
            if not (is_for_good and error == "EINTR")  # Python would repeat the call for ever, and be right
        ]
    known = ERRORS[call]
    step = 1 if call in CHANGING else _CI_STEP
    chosen = [Injection(call, known[nth // step % len(known)], nth, nth % 3 == 0) for nth in range(1, made + 1, step)]
    return [one._replace(is_for_good=False) if one.error == "EINTR" else one for one in chosen]


def _counted(path: str, folder: str, seed: int, canary: Canary) -> tuple[Plan, Counter[str]]:
    """Return a plan in which everything is done that a store does, and how often each call is made in it."""
    for number in range(100):
        plan = Plan(
            path,
            seed * 100 + number,
            steps=_STEPS,
            segment_bytes_max=4096,
            keep_snapshots=1,
            fold_share=0.15,
            reopen_share=0.1,
            canary=canary,
        )
        shutil.rmtree(path, ignore_errors=True)
        events, log = traced(plan, folder, None)
        made = Counter(re.findall(r"^\d+ +(\w+)\(", log, re.MULTILINE))
        folded = ".jkt.tmp" in log and made["unlink"] > 0
        if folded and sum(event.word == "open" for event in events) > 1 and "log-0000000000000004" in log:
            return plan, made
    raise AssertionError("no plan of these does everything")


def traced(plan: Plan, folder: str, injection: Injection | None) -> tuple[list[Event], str]:
    """Live under strace; return what was said and what was traced."""
    log = os.path.join(folder, "trace")
    wanted = ["-e", str(injection)] if injection else []
    calls = injection.call if injection else ",".join(ERRORS)
    life = Life(plan, is_held=True)
    strace = subprocess.Popen(
        ["strace", "-f", "-q", "-o", log, "-e", f"trace={calls}", *wanted, "-e", "signal=none", "-p", str(life.pid)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _wait_for_tracer(life.pid, strace)
        life.go()
        events = life.finish()
    finally:
        strace.terminate()
        strace.communicate()
    return events, Path(log).read_text()


def _wait_for_tracer(pid: int, strace: subprocess.Popen[bytes]) -> None:
    status, deadline_s = Path(f"/proc/{pid}/status"), time.monotonic() + _ATTACH_S
    while "TracerPid:\t0\n" in status.read_text():
        if strace.poll() is not None or time.monotonic() > deadline_s:
            raise AssertionError(f"strace didn't attach: {strace.communicate()[1].decode()}")
        time.sleep(0.001)
