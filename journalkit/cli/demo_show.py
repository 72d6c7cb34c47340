"""How the demo looks: lines and a bar while it runs, a page when it is over."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from journalkit.cli.demo_input import Input
from journalkit.cli.demo_lives import HITS, Hit
from journalkit.cli.demo_result import FOLDS_MIN, Result
from journalkit.cli.demo_run import Course, Kill, Schedule
from journalkit.cli.page import Cell, Fields, Grid, Remarks, Toned, show
from journalkit.cli.terminal import count, is_terminal, say, say_json, size, visible

WHAT: Final[dict[Hit, str]] = {
    "start": "before it opened the store",
    "recovery": "while it recovered",
    "append": "in or between commits",
    "rotate": "while it began a log segment",
    "fold": "inside a background fold",
    "publish": "while it published a manifest",
    "prune": "while it pruned",
}
_QUIET: Final = frozenset({"start", "append"})
_HIT_WIDTH: Final = max(map(len, HITS))
_MISSING: Final = "  ACKNOWLEDGED WORK IS MISSING"


def line_of(kill: Kill) -> str:
    """Return one kill and its recovery as a line."""
    missing = _MISSING if kill.lost else ""
    return f"{kill.at_s:5.1f} s  kill {kill.number:3}  {kill.hit:<{_HIT_WIDTH}}  {kill.recovery}{missing}"


def _say_line(kill: Kill) -> None:
    say(line_of(kill))
    sys.stdout.flush()


class Showing:
    """Tells each recovery in a line and, to a person, how far it is."""

    def __init__(self, text: Input, schedule: Schedule, seed: int, *, is_quiet: bool) -> None:
        self._text = text
        self._schedule = schedule
        self._seed = seed
        self._is_quiet = is_quiet
        self._stack = ExitStack()
        self._tell: Callable[[Kill], None] = lambda _kill: None
        self._see: Callable[[Course], None] = lambda _course: None

    def __enter__(self) -> Self:
        if self._is_quiet:
            return self
        text, schedule = self._text, self._schedule
        heading = (
            f"counting the words of {visible(text.name)}: {count(len(text.files), 'file')}, {size(text.size_bytes)}"
        )
        plan = f"killed about {count(schedule.kills, 'time')}, at moments drawn by seed {self._seed}; each recovery:"
        if is_terminal(sys.stdout):
            self._enter_rich(heading, plan)
        else:
            say(heading)
            say(plan)
            sys.stdout.flush()
            self._tell = _say_line
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def tell(self, kill: Kill) -> None:
        """Tell a kill whose recovery is known."""
        self._tell(kill)

    def see(self, course: Course) -> None:
        """Show how far it is."""
        self._see(course)

    def _enter_rich(self, heading: str, plan: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.text import Text

        console = Console()
        console.print(Text(heading, style="bold"))
        console.print(Text(plan, style="dim"))
        columns = (
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
        )
        bar = self._stack.enter_context(Progress(*columns, console=console, transient=True, refresh_per_second=8))
        task = bar.add_task("starting", total=self._text.size_bytes)
        bytes_before = [0, *itertools.accumulate(self._text.sizes_bytes)]
        files = len(self._text.files)

        def see(course: Course) -> None:
            index, offset = course.position
            done = f"file {index:,} of {files:,}, {count(len(course.kills), 'kill')}, {_folds(len(course.snapshots))}"
            bar.update(task, completed=bytes_before[index] + offset, description=done)

        def tell(kill: Kill) -> None:
            line = Text()
            line.append(f"{kill.at_s:5.1f} s  ", style="dim")
            line.append(f"kill {kill.number:3}  ", style="bold red")
            line.append(f"{kill.hit:<{_HIT_WIDTH}}  ", style="" if kill.hit in _QUIET else "bold magenta")
            line.append(kill.recovery, style="green" if kill.recovery_s else "dim")
            line.append(_MISSING if kill.lost else "", style="bold red")
            console.print(line, no_wrap=True, overflow="ellipsis")

        self._see, self._tell = see, tell


def _folds(number: int) -> str:
    return count(number, "fold") + " in the background"


def show_result(result: Result, *, kept: str | None, as_json: bool) -> None:
    """Write the closing page, or the JSON document."""
    if as_json:
        say_json(result.as_json())
        return
    say()
    show([_job(result), _kills(result), _verdict(result), Remarks(_conclusion(result, kept))])


def _job(result: Result) -> Fields:
    of_all = "" if result.files_counted == len(result.text.files) else f" of {len(result.text.files):,}"
    frequent = ", ".join(f"{word} {number:,}" for word, number in result.frequent)
    replayed = sum(kill.records_replayed for kill in result.course.kills)
    files = count(result.files_counted, "file") + of_all
    rows: list[tuple[str, Cell]] = [
        ("input", visible(result.text.name)),
        ("counted", f"{files}, {size(result.bytes_counted)}, {result.words:,} words"),
        ("found", f"{result.different:,} different words; most frequent: {frequent}"),
        ("records", f"{result.records:,}, each durable before acknowledged; {replayed:,} replayed in recoveries"),
        ("on disk", f"{size(result.store_bytes)}, {count(result.snapshots_kept, 'snapshot')} kept"),
        ("time", f"{result.course.seconds:.1f} s"),
    ]
    return Fields("the job", rows)


def _kills(result: Result) -> Grid:
    kills = result.course.kills
    groups = [(WHAT[hit], [kill for kill in kills if kill.hit == hit]) for hit in HITS]
    rows: list[list[Cell]] = []
    for what, those in [*groups, ("all", kills)]:
        if those:
            at_random = sum(kill.aim == "random" for kill in those)
            slowest_s = max(kill.recovery_s for kill in those)
            rows.append([what, str(len(those)), str(at_random), f"{slowest_s * 1000:.0f} ms"])
    heads = ("killed by SIGKILL", "kills", "at random", "slowest recovery")
    return Grid("the kills", heads, rows, frozenset(heads[1:]))


def _verdict(result: Result) -> Grid:
    course = result.course
    agree = f"all {result.different:,} words" if result.counts_agree else f"{result.wrong_count:,} words differ"
    checks: list[tuple[str, str, bool]] = [
        ("what was acknowledged was there after each kill", f"{course.lost} lost", not course.lost),
        ("the counts equal a plain count without journalkit", agree, result.counts_agree),
        (f"at least {FOLDS_MIN} folds in the background", count(result.folds, "fold"), result.folds >= FOLDS_MIN),
        ("a kill landed inside a fold", count(course.hits("fold"), "kill"), course.hits("fold") > 0),
    ]
    rows: list[list[Cell]] = [
        [claim, found, Toned("yes", "good") if holds else Toned("NO", "bad")] for claim, found, holds in checks
    ]
    return Grid("the verdict", ("claim", "found", "holds"), rows)



def _conclusion(result: Result, kept: str | None) -> list[Cell]:
    remarks: list[Cell] = [
        f"{word}: {stored:,} in the store, {counted:,} counted plainly" for word, stored, counted in result.wrong
    ]
    if result.passed:
        number = count(len(result.course.kills), "kill")
        remarks.append(Toned(f"{number}: nothing lost, nothing counted twice", "good"))
    elif result.counts_agree and not result.course.lost:
        remarks.append(Toned("nothing was lost, but too little was shown; give it longer by --seconds", "warn"))
    else:
        remarks.append(Toned("acknowledged work was lost or changed: a defect in journalkit, please report it", "bad"))
    if kept is not None:
        remarks.append(f"the store is kept: try `journalkit info {kept}` or `journalkit get {kept} self`")
    return remarks
