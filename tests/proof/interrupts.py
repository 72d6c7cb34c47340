"""KeyboardInterrupt at every place of the write path, and exceptions that threads send to threads.

Each path of `interrupt_paths` is run once for every place at which CPython
would let an interrupt into the package (`places`), and interrupted there.
Afterwards the handle goes on or says why not, from another thread too; memory,
log and disk agree; the interrupted commit is whole or not there; what was
acknowledged survives a power cut; and nobody waits for a lock that nobody
holds. Pairs add a second interrupt while the first is being cleaned up after,
or in the call that comes next.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import sent
from interrupt_paths import BIG, PATHS, Path, put, state
from places import Hang, Interrupter, elsewhere, limited
from units import Goal, Outcome, Size, Unit

from journalkit.errors import JournalError, StorageError
from journalkit.testing import SimulatedDisk

GOALS = (
    Goal("interrupts", "interrupts inside the write path, each at a place of its own", ci=1_500, full=15_000),
    Goal("pairs", "second interrupts, while the first was cleaned up after or in the next call", ci=300, full=20_000),
    Goal("sent", "exceptions sent to threads that write, lead or wait in a group commit", ci=300, full=20_000),
)

_LIMIT_S = 60.0
_MAIN = ("put", "never", "update")
_CI_PLACES = 60
_LATER = ("next", "another thread", "the same thread")


def units(size: Size, seed: int) -> Sequence[Unit]:
    """Return a unit for each path, and some for the threads."""
    most = _CI_PLACES if size == "ci" else None
    found = [
        Unit(path.name, {"path": path.name, "most": None if path.name in _MAIN else most, "seed": seed}, 900)
        for path in PATHS
    ]
    if size == "ci":
        found.append(Unit("pairs-put", {"path": "put", "firsts": 2}))
    else:
        found += [Unit(f"pairs-{path.name}", {"path": path.name, "firsts": 12}, 7200) for path in PATHS]
    rounds, seconds = (1, 3.0) if size == "ci" else (20, 10.0)
    return found + [Unit(f"sent-{seed + n}", {"sent": seed + n, "seconds": seconds}) for n in range(rounds)]


def prove(unit: Unit) -> Outcome:
    """Interrupt a path everywhere, or threads for a while."""
    outcome, arguments = Outcome(), unit.arguments
    if "sent" in arguments:
        sent.prove(outcome, arguments["sent"], arguments["seconds"])
        return outcome
    path = next(path for path in PATHS if path.name == arguments["path"])
    if "firsts" in arguments:
        every_pair(path, outcome, firsts=arguments["firsts"])
    else:
        every_place(path, outcome, most=arguments["most"], seed=arguments["seed"])
    return outcome


def every_place(path: Path, outcome: Outcome, *, most: int | None = None, seed: int = 0) -> None:
    """Interrupt each step once, at each place in turn, or at about `most` of all, evenly, the seed deciding which."""
    base, states = path.begin(), plain_run(path)
    for index in range(len(path.steps)):
        plain = attempt(path, base, states, index, Interrupter())
        outcome.failures += plain.complaints
        count = plain.interrupter.seen
        stride = 1 if most is None else max(1, count * len(path.steps) // most)
        for place in range(1 + seed % stride, count + 1, stride):
            run = attempt(path, base, states, index, Interrupter(place))
            outcome.add("interrupts", len(run.interrupter.fired))
            outcome.failures += run.complaints
        if not plain.is_through:
            return  # The disk's fault came here: there is nothing behind it.


def every_pair(path: Path, outcome: Outcome, *, firsts: int) -> None:
    """Interrupt twice: at `firsts` places of each step, and at each place of what comes of it and of the next call."""
    base, states = path.begin(), plain_run(path)
    for index in range(len(path.steps)):
        plain = attempt(path, base, states, index, Interrupter())
        count = plain.interrupter.seen
        for first in range(1, count + 1, max(1, count // firsts)):
            second = first + 1
            while len((run := attempt(path, base, states, index, Interrupter(first, second))).interrupter.fired) > 1:
                outcome.add("pairs")
                outcome.failures += run.complaints
                second += 1
            outcome.failures += run.complaints
        if not plain.is_through:
            return


def plain_run(path: Path) -> list[Any]:
    """Return the states that a run without interrupts goes through: before the warming, before the first step, ..."""
    handle = path.open(path.begin())
    states = [state(handle)]
    path.warm(handle)
    states.append(state(handle))
    for step in path.steps:
        step(handle)
        states.append(states[-1] if handle.closed else state(handle))
    handle.close()
    return states


@dataclass(slots=True)
class Run:
    """One run of a path, and what is wrong: `states[acknowledged]` was shown, `states[durable]` is durable."""

    path: Path
    index: int
    interrupter: Interrupter
    states: list[Any]
    disk: SimulatedDisk
    acknowledged: int = 1
    durable: int = 1
    later: list[object] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    opened: list[Any] = field(default_factory=list)

    def open(self) -> Any:
        """Open for writing."""
        self.opened.append(self.path.open(self.disk))
        return self.opened[-1]

    @property
    def is_through(self) -> bool:
        """Whether the step that was to be interrupted returned."""
        return self.acknowledged > self.index + 1

    def complain(self, what: str) -> None:
        """Note something wrong, with all that is needed to see it again."""
        story = "\n  ".join(self.disk.story(last=12).splitlines())
        self.complaints.append(
            f"{self.path.name}, step {self.index}, interrupted at place {self.interrupter.seen}, "
            f"{' and then '.join(self.interrupter.fired) or 'nowhere'}: {what}\n"
            f"  {story}\n  again: python tests/proof unit interrupts {self.path.name}"
        )


def attempt(path: Path, base: SimulatedDisk, states: list[Any], index: int, interrupter: Interrupter) -> Run:
    """Run a path up to a step, interrupt that, then hold everything that must be true."""
    run = Run(path, index, interrupter, states, base.process_crash())
    try:
        with limited(_LIMIT_S):
            handle = run.open()
            path.warm(handle)
            if handle.durable_lsn < handle.lsn:
                run.durable = 0
            if path.fault is not None:
                path.fault(run.disk)
            _act(run, handle)
            _judge(run, handle)
    except Hang as hang:
        run.complain(f"hangs: {hang}")
    except Exception as error:  # noqa: BLE001 - what isn't foreseen is what this looks for
        run.complain(f"{type(error).__name__}: {error}")
    finally:
        for left in run.opened:
            # What a handle is told in a child: it neither closes nor warns.
            left.forbid()
    return run


def _act(run: Run, handle: Any) -> None:
    """Take the steps up to the one that is interrupted; one more write follows if a second interrupt is to come."""
    for index, step in enumerate(run.path.steps[: run.index + 1]):
        try:
            with run.interrupter.armed() if index == run.index else nullcontext():
                step(handle)
        except KeyboardInterrupt:
            break
        except _refusals(run):
            break
        run.acknowledged += 1
        if handle.durable_lsn == handle.lsn:
            run.durable = run.acknowledged
    if run.interrupter.is_due and not handle.closed:
        with suppress(KeyboardInterrupt, *_refusals(run)), run.interrupter.armed():
            put(handle, "next", "next")
            run.later.append("next")


def _judge(run: Run, handle: Any) -> None:
    """Hold what is promised: at once, after going on, and after close and open."""
    possible = run.states[run.acknowledged : run.acknowledged + 2]
    cut, at_the_end = run.disk.crash("none"), None
    _expect(run, _recovered(run, cut), run.states[run.durable : run.acknowledged + 2], "after a power cut", kept=())
    logged = _recovered(run, run.disk.process_crash())
    _expect(run, logged, possible, "after a crash of the process")
    if not handle.closed:
        shown = elsewhere(lambda: state(handle))
        _expect(run, shown, possible, "in memory")
        if run.path.fault is None and len(run.interrupter.fired) == 1 and shown != logged:
            run.complain(f"the log says {_short(logged)}, the handle showed {_short(shown)}")
        _go_on(run, handle)
        cut = run.disk.crash("none")
        _expect(run, _recovered(run, cut), run.states[run.durable : run.acknowledged + 2], "going on, then a power cut")
        if run.path.fault is None:
            at_the_end = elsewhere(lambda: state(handle))
    _close(run, handle)
    if run.path.fault is not None:
        possible = run.states[run.durable : run.acknowledged + 2]
        run.disk = run.disk.process_crash()  # without what is left of the fault
    again = run.open()
    found = state(again)
    _expect(run, found, possible, "after close and open")
    if at_the_end not in (None, found):
        run.complain(f"the log says {_short(found)}, the handle showed {_short(at_the_end)}")
    if not run.path.is_journal:
        again.check()
    again.close()


def _go_on(run: Run, handle: Any) -> None:
    """Write from another thread and from this one; who is refused is told why."""

    def write() -> None:
        put(handle, where, where)
        handle.sync()
        if call is elsewhere and not run.path.is_journal:
            handle.compact()

    for where, call in (("another thread", elsewhere), ("the same thread", lambda function: function())):
        try:
            call(write)
        except JournalError as error:
            if run.path.fault is None:
                run.complain(f"{where} can't go on: {type(error).__name__}: {error}")
            return
        run.later.append(where)


def _close(run: Run, handle: Any) -> None:
    """Close, once more if that was what was interrupted: the lock has to be free then.

    Where the records aren't durable it may only say so.
    """
    with suppress(*_refusals(run), *((StorageError,) if run.path.closes and run.interrupter.fired else ())):
        elsewhere(handle.close)
    if not handle.closed:
        run.complain("not closed after close")


def _refusals(run: Run) -> tuple[type[Exception], ...]:
    """Return what a call may raise: on a disk that fails, any error of the contract."""
    return () if run.path.fault is None else (JournalError,)


def _recovered(run: Run, disk: SimulatedDisk) -> Any:
    reader = run.path.open(disk, mode="r")
    try:
        return state(reader)
    finally:
        reader.close()


def _expect(run: Run, found: Any, possible: list[Any], when: str, *, kept: Sequence[object] | None = None) -> None:
    """Complain unless what is found is a possible state and all that was acknowledged after the interrupt."""
    if isinstance(found, list):
        later = [value for value in found if value in _LATER]
        rest: Any = [value for value in found if value not in _LATER]
    else:
        later = [key for key in _LATER if key in found[0]]
        rest = ({key: value for key, value in found[0].items() if key not in _LATER}, found[1])
    if rest not in possible:
        run.complain(f"{when} there is {_short(rest)}, not one of {[_short(each) for each in possible]}")
    if missing := set(run.later if kept is None else kept) - set(later):
        run.complain(f"{when} {missing} is missing, which was acknowledged")


def _short(found: Any) -> str:
    return repr(found).replace(repr(BIG), "BIG")
