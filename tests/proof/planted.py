"""Planted bugs: each of `mutants.toml` is put into a copy of the package, and the suite has to notice.

The check that the list names must notice; whatever notices nothing any more,
or a bug that can't be planted because the code has changed, is a failure.

    python tests/proof/planted.py find NAME ...   # plant, run the default suite, print what notices
    python tests/proof/planted.py table           # what docs/explanation/planted-bugs.md shows
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from units import Goal, Outcome, Size, Unit

TOP: Final = Path(__file__).parents[2]
LIST: Final = Path(__file__).with_name("mutants.toml")
_CHECK_TIMEOUT_S: Final = 150
_SUITE_TIMEOUT_S: Final = 900
_HANG_S: Final = 30
_NOTICED: Final = 1
"""What pytest and the proofs exit with when a check failed; anything else is a check that didn't run."""


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
    """One for each bug."""
    return [Unit(name, timeout_s=_CHECK_TIMEOUT_S + 10) for name in mutants()]


def prove(unit: Unit) -> Outcome:
    """Plant one bug and see that it is noticed."""
    mutant = mutants()[unit.name]
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        try:
            plant(mutant, Path(folder))
        except CannotPlantError as error:
            return Outcome(failures=[f"{mutant.name}: {error}; change the list so that it shows the same bug again"])
        if not mutant.caught_by:
            return Outcome(
                failures=[f"{mutant.name}: no check is named; `planted.py find {mutant.name}` looks for one"]
            )
        status, printed = check(mutant.caught_by, Path(folder))
        if status != _NOTICED:
            return Outcome(failures=[f"{mutant.name}: {mutant.caught_by} noticed nothing, exit {status}\n{printed}"])
        outcome.add("bugs caught")
        outcome.add("pitfalls", len(mutant.pitfalls))
    return outcome


def plant(mutant: Mutant, folder: Path) -> None:
    """Copy the package under test into `folder`, with the bug in it.

    Raises:
        CannotPlantError: The package isn't the one that the bug was written for.
    """
    import journalkit

    package = next(iter(journalkit.__path__))
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
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    # Bugs are planted in Python, so that is what has to run.
    environment |= {"HYPOTHESIS_PROFILE": "unshrunk", "JOURNALKIT_PURE": "1", **(variables or {})}
    # What was asked of the tests that run this isn't asked of the ones run here.
    environment.pop("PYTEST_ADDOPTS", None)
    try:
        done = subprocess.run(
            command, cwd=TOP, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        # A bug that makes everything stand still is noticed by whoever waits.
        return _NOTICED, "hung"
    return done.returncode, (done.stdout + done.stderr)[-3000:]


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
