"""Planted bugs: each of `mutants.toml` is put into a copy of the package, and the suite has to notice.

The check that the list names must notice; whatever notices nothing any more,
or a bug that can't be planted because the code has changed, is a failure.

A unit takes some bugs in turn. Its process has pytest imported and the package
not: for each bug it forks, and the fork imports the package with the bug in it.

    python tests/proof/planted.py find NAME ...   # plant, run the default suite, print what notices
    python tests/proof/planted.py table           # what docs/explanation/planted-bugs.md shows
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from units import Goal, Outcome, Size, Unit

TOP: Final = Path(__file__).parents[2]
LIST: Final = Path(__file__).with_name("mutants.toml")
_CHECK_TIMEOUT_S: Final = 150
_SUITE_TIMEOUT_S: Final = 900
_HANG_S: Final = 30
_BUGS_IN_UNIT: Final = 10
_LOOK_S: Final = 0.005
_SHARED: Final = ("pytest", "hypothesis.strategies", "hypothesis.stateful", "cbor2", "crc32c", "sortedcontainers")
"""What forks don't have to import: nothing that is of the package, or has it imported."""
_NOTICED: Final = 1
"""What pytest and the proofs exit with when a check failed; anything else is a check that didn't run."""
_BROKEN: Final = 70


@dataclass(frozen=True, slots=True)
class Edit:
    """A piece of one file that is replaced."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug, where it goes, and what notices it: a test's id, or `PROOF/UNIT`."""

    name: str
    pitfalls: tuple[int, ...]
    edits: tuple[Edit, ...]
    caught_by: str
    survived: str


class CannotPlantError(Exception):
    """The text that a bug replaces isn't there exactly once."""


def mutants() -> dict[str, Mutant]:
    """Return the list, by name."""
    found = {}
    for row in tomllib.loads(LIST.read_text())["mutant"]:
        edits = tuple(Edit(part["file"], part["old"], part["new"]) for part in (row, *row.get("also", ())))
        mutant = Mutant(row["name"], tuple(row["pitfalls"]), edits, row.get("caught_by", ""), row.get("survived", ""))
        if mutant.name in found:
            raise ValueError(f"two bugs are named {mutant.name}")
        found[mutant.name] = mutant
    return found


GOALS: Final = (
    Goal("bugs caught", "planted bugs, each caught by a named check", ci=len(mutants()), full=len(mutants())),
    Goal("pitfalls", "bugs planted, counted once for each pitfall they show", ci=None, full=None),
)


def units(size: Size, seed: int) -> Sequence[Unit]:
    """Return a unit for some bugs each, dealt out: neighbours in the list take as long as each other."""
    names = list(mutants())
    count = -(-len(names) // _BUGS_IN_UNIT)
    timeout_s = _BUGS_IN_UNIT * 60.0 + _CHECK_TIMEOUT_S
    return [
        Unit(f"bugs {number + 1} of {count}", {"bugs": names[number::count]}, timeout_s) for number in range(count)
    ]


def unit_named(name: str) -> Unit | None:
    """Return a unit for one bug by its name, for who wants to see it again."""
    return Unit(name, {"bugs": [name]}) if name in mutants() else None


def prove(unit: Unit) -> Outcome:
    """Plant bugs, one at a time, and see that each is noticed."""
    outcome, known = Outcome(), mutants()
    for name in unit.arguments["bugs"]:
        if wrong := _unnoticed(known[name]):
            outcome.failures.append(f"{name}: {wrong}\n  again: python tests/proof unit planted {name}")
        else:
            outcome.add("bugs caught")
            outcome.add("pitfalls", len(known[name].pitfalls))
    return outcome


def _unnoticed(mutant: Mutant) -> str:
    """Plant one bug; return "" if it is noticed, or else why not."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            plant(mutant, Path(folder))
        except CannotPlantError as error:
            return f"{error}; change the list so that it shows the same bug again"
        if not mutant.caught_by:
            return f"no check is named; `planted.py find {mutant.name}` looks for one"
        status, printed = check(mutant.caught_by, Path(folder))
        return "" if status == _NOTICED else f"{mutant.caught_by} noticed nothing, exit {status}\n{printed}"


def plant(mutant: Mutant, folder: Path) -> None:
    """Copy the package under test into `folder`, with the bug in it.

    Raises:
        CannotPlantError: The package isn't the one that the bug was written for.
    """
    # Found and not imported: a fork that had it could import no other.
    found = importlib.util.find_spec("journalkit")
    assert found is not None
    package = next(iter(found.submodule_search_locations or ()))
    changed = edited(mutant, Path(package))
    # With what is compiled already: a file that a bug goes into is newer than that, and is compiled again.
    shutil.copytree(package, folder / "journalkit")
    for file, text in changed.items():
        (folder / "journalkit" / file).write_text(text)


def edited(mutant: Mutant, package: Path) -> dict[str, str]:
    """Return the files of a package that a bug changes, as they are with it.

    Raises:
        CannotPlantError: As `plant`.
    """
    texts: dict[str, str] = {}
    for edit in mutant.edits:
        text = texts.get(edit.file) or (package / edit.file).read_text()
        if text.count(edit.old) != 1:
            raise CannotPlantError(f"{edit.file} has {text.count(edit.old)} places like {edit.old.strip()!r}")
        texts[edit.file] = text.replace(edit.old, edit.new)
    for file, text in texts.items():
        try:
            compile(text, file, "exec")
        except SyntaxError as error:
            raise CannotPlantError(f"{file} wouldn't be Python: {error}") from error
    return texts


def check(name: str, folder: Path) -> tuple[int, str]:
    """Run one check on the package in `folder`; return its exit code and what it printed."""
    if "::" in name:
        # No plugins but the one that ends it: to load them all takes longer than most tests.
        plugins = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pytest_timeout"}
        if "journalkit" not in sys.modules:
            return _forked([*_PYTEST, "-x", name], folder, _CHECK_TIMEOUT_S, plugins)
        return _run(["-m", "pytest", *_PYTEST, "-x", name], folder, _CHECK_TIMEOUT_S, plugins)
    proof, _, unit = name.partition("/")
    return _run([str(Path(__file__).parent), "unit", proof, unit], folder, _CHECK_TIMEOUT_S)


def suite(folder: Path, *, failures_max: int) -> tuple[int, list[str]]:
    """Run the default suite on the package in `folder`; return its exit code and the tests that noticed something."""
    # The quick ones first. Planting is tested too, and would plant in a package that has a bug already.
    folders = [f"tests/{name}" for name in ("unit", "contract", "crash", "golden", "property", "integration", "proof")]
    limits = [f"--maxfail={failures_max}", "--deselect", "tests/proof/test_planted.py"]
    arguments = [*_PYTEST, *limits, *folders]
    status, printed = _run(["-m", "pytest", *arguments], folder, _SUITE_TIMEOUT_S)
    return status, re.findall(r"^(?:FAILED|ERROR) (\S+)", printed, re.MULTILINE)


# `slow` tests may notice too; which ones run by default is of no interest here.
_PYTEST: Final = ("-q", "-p", "no:cacheprovider", "--no-header", f"--timeout={_HANG_S}", "-rfE", "--tb=line")


def _run(
    arguments: Sequence[str], folder: Path, timeout_s: float, variables: Mapping[str, str] | None = None
) -> tuple[int, str]:
    # -P: nothing of the working directory is imported, so the planted package is the one.
    command = [sys.executable, "-P", *arguments]
    environment = _environment(folder, variables or {})
    try:
        done = subprocess.run(
            command, cwd=TOP, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        # A bug that makes everything stand still is noticed by whoever waits.
        return _NOTICED, "hung"
    return done.returncode, (done.stdout + done.stderr)[-3000:]


def _environment(folder: Path, variables: Mapping[str, str]) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    # Bugs are planted in Python, so that is what has to run.
    environment |= {"HYPOTHESIS_PROFILE": "unshrunk", "JOURNALKIT_PURE": "1", **variables}
    # What was asked of the tests that run this isn't asked of the ones run here.
    environment.pop("PYTEST_ADDOPTS", None)
    return environment


@cache
def _import_shared() -> None:
    from _pytest.config import default_plugins

    for name in (*_SHARED, *(f"_pytest.{plugin}" for plugin in default_plugins)):
        importlib.import_module(name)


def _forked(
    arguments: Sequence[str], folder: Path, timeout_s: float, variables: Mapping[str, str]
) -> tuple[int, str]:
    """Run pytest in a fork, as `_run` does in a process that begins from nothing."""
    _import_shared()
    printed = folder / "printed"
    pid = os.fork()
    if pid == 0:
        status = _BROKEN
        try:
            status = _as_fork(arguments, folder, printed, variables)
        except BaseException:  # noqa: BLE001 - a fork must not go on with its parent's work
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    deadline_s, ended = time.monotonic() + timeout_s, (0, 0)
    while not ended[0] and time.monotonic() < deadline_s:
        time.sleep(_LOOK_S)
        ended = os.waitpid(pid, os.WNOHANG)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # it, if it hangs, and whatever it has started
    if not ended[0]:
        os.waitpid(pid, 0)
        return _NOTICED, "hung"
    return os.waitstatus_to_exitcode(ended[1]), printed.read_text(errors="replace")[-3000:]


def _as_fork(arguments: Sequence[str], folder: Path, printed: Path, variables: Mapping[str, str]) -> int:
    """Be a process of its own, with nothing of the package but what is in `folder`."""
    import pytest

    os.setsid()
    with printed.open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    others = {"", ".", str(LIST.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)}
    sys.path[:] = [str(folder), *(entry for entry in sys.path if entry not in others)]
    environment = _environment(folder, variables)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(TOP)
    # What pytest makes of a test's file is the same for each bug.
    sys.dont_write_bytecode = False
    return int(pytest.main(list(arguments)))


def find(names: Sequence[str]) -> int:
    """Print, for each bug, which tests of the default suite notice it; return 1 if one is noticed by none."""
    status = 0
    for name in names or list(mutants()):
        with tempfile.TemporaryDirectory() as folder:
            plant(mutants()[name], Path(folder))
            code, noticing = suite(Path(folder), failures_max=3)
        if not noticing:
            status = 1
        say(f"{name}\t{code}\t{' '.join(noticing) or 'SURVIVED'}")
    return status


def table() -> str:
    """Return the list as the documentation shows it."""
    lines = ["| planted bug | pitfalls | caught by | survived at first? |", "|---|---|---|---|"]
    for mutant in mutants().values():
        numbers = ", ".join(map(str, mutant.pitfalls))
        lines.append(f"| {mutant.name.replace('-', ' ')} | {numbers} | `{mutant.caught_by}` | {mutant.survived} |")
    return "\n".join(lines) + "\n"


def say(text: str) -> None:
    """Print for whoever watches."""
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    if sys.argv[1:2] == ["find"]:
        sys.exit(find(sys.argv[2:]))
    say(table())
