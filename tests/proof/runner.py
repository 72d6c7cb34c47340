"""Runs units in processes of their own, some at a time, and writes down what each came to.

A unit that hangs, crashes its process or says nothing has failed: there is no
way out of a unit that isn't told. The results file has one JSON line a unit,
appended when it is over, so that a run that was cut off goes on where it was;
what was run for another version of the code is run again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from units import Outcome, Size, Unit

HERE: Final = Path(__file__).parent
_TAIL_CHARACTERS: Final = 4000


@dataclass(frozen=True, slots=True)
class Run:
    """What makes two runs the same: the code, the size and the seed."""

    version: str
    size: Size
    seed: int


@dataclass(frozen=True, slots=True)
class Result:
    """A line of the results file. `seconds` are the wall's, `cpu_s` the processor's, 0 where nobody could tell."""

    version: str
    size: Size
    seed: int
    proof: str
    unit: str
    seconds: float
    counts: dict[str, int]
    failures: list[str]
    skipped: str
    cpu_s: float = 0.0

    @property
    def core_s(self) -> float:
        """How long it kept a core busy; of older lines, how long it ran."""
        return self.cpu_s or self.seconds

    @property
    def run(self) -> Run:
        """The run that it belongs to."""
        return Run(self.version, self.size, self.seed)


class Results:
    """The results file: what is done already, and a place for more. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()

    def __iter__(self) -> Iterator[Result]:
        """Yield every whole line; a run that was killed may have left half of one."""
        if not self._path.exists():
            return
        for line in self._path.read_text().splitlines():
            with suppress(ValueError, TypeError):
                yield Result(**json.loads(line))

    def of(self, run: Run) -> list[Result]:
        """Return what one run came to so far, the last line of each unit."""
        return last_words(result for result in self if result.run == run)

    def add(self, result: Result) -> None:
        """Append a line."""
        with self._guard, self._path.open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")


def last_words(results: Iterable[Result]) -> list[Result]:
    """Return the last result of each unit: one that failed, was mended and run again is there twice."""
    return list({(result.run, result.proof, result.unit): result for result in results}.values())


def run_units(
    run: Run,
    pending: Sequence[tuple[str, Unit]],
    *,
    jobs: int,
    deadline_s: float | None,
    done: Callable[[Result], None],
) -> bool:
    """Run units, `jobs` at a time, telling each result to `done`; return whether the deadline left all of them time."""
    stop_at = time.monotonic() + deadline_s if deadline_s else None
    waiting = list(reversed(pending))
    with ThreadPoolExecutor(jobs) as pool:
        running: set[Future[Result]] = set()
        while waiting or running:
            is_late = stop_at is not None and time.monotonic() > stop_at
            while waiting and len(running) < jobs and not is_late:
                running.add(pool.submit(run_unit, run, *waiting.pop()))
            if is_late and not running:
                return False
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                done(future.result())
    return True


def run_unit(run: Run, proof: str, unit: Unit) -> Result:
    """Run one unit in a process of its own, and whatever that started with it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="journalkit-proof-") as folder:
        outcome = _outcome(run, proof, unit, Path(folder))
    seconds = round(time.monotonic() - began, 2)
    return Result(
        run.version,
        run.size,
        run.seed,
        proof,
        unit.name,
        seconds,
        outcome.counts,
        outcome.failures,
        outcome.skipped,
        outcome.cpu_s,
    )


def _outcome(run: Run, proof: str, unit: Unit, folder: Path) -> Outcome:
    answer, printed = folder / "outcome.json", folder / "printed"
    command = [sys.executable, str(HERE), "unit", proof, unit.name, *_options(run), "--answer", str(answer)]
    scratch = folder / "scratch"
    scratch.mkdir()
    with printed.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        try:
            process.wait(unit.timeout_s)
        except subprocess.TimeoutExpired:
            return Outcome(failures=[_broken(run, proof, unit, f"hung: over {unit.timeout_s:.0f} s", printed)])
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    try:
        return Outcome(**json.loads(answer.read_text()))
    except (OSError, ValueError, TypeError):
        return Outcome(failures=[_broken(run, proof, unit, f"no answer, exit {process.returncode}", printed)])


def _options(run: Run) -> list[str]:
    return ["--size", run.size, "--seed", str(run.seed)]


def _broken(run: Run, proof: str, unit: Unit, what: str, printed: Path) -> str:
    tail = printed.read_text(errors="replace")[-_TAIL_CHARACTERS:]
    return f"{what}\n{tail}\nagain: {command_of(run, proof, unit.name)}"


def command_of(run: Run, proof: str, unit: str) -> str:
    """Return the command that repeats a unit."""
    return f"python tests/proof unit {proof} '{unit}' --size {run.size} --seed {run.seed}"


def as_json(outcome: Outcome) -> str:
    """Return what a unit's process answers."""
    answer: dict[str, Any] = asdict(outcome)
    return json.dumps(answer)
