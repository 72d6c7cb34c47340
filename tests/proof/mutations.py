"""General mutation testing: what mutmut would change in a folder of the package, and which tests notice.

Unlike `planted`, nobody has chosen these changes, so some can't matter, and
each that nothing notices is looked at: `survivors.toml` says why it may stay.
It is no proof of the registry: it takes hours, and asks about the tests
rather than about the package.

    python tests/proof/mutations.py run --folder format --sample 500 --seed 1 --results FILE
    python tests/proof/mutations.py survivors --results FILE                 # those that nobody has explained yet
    python tests/proof/mutations.py table --folder format --results FILE     # what docs/explanation/mutations.md shows

Needs mutmut. What a results file has for the same source is not run again.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Final

from asked_tests import learn
from mutating import Mutant, mutants_of
from trials import Trial, package_folder, try_bodies, try_module

FOLDERS: Final = ("format", "log", "recovery")
_EXPLAINED: Final = Path(__file__).with_name("survivors.toml")
_TESTS: Final = ("tests/unit", "tests/property", "tests/golden", "tests/integration/doctoring")


def mutants(folder: str, package: Path, modules: Sequence[str] = ()) -> list[Mutant]:
    """Return all mutants of a folder, or of some of its modules."""
    names = sorted(path.name for path in (package / folder).glob("*.py") if not modules or path.stem in modules)
    return [mutant for name in names for mutant in mutants_of(package, f"{folder}/{name}")]


class Results:
    """One JSON line for each mutant that was tried; the last one counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: dict[str, dict[str, Any]] = {}
        self.read(0)

    def read(self, offset: int) -> set[str]:
        """Read the file from an offset on; return which mutants it tells of there."""
        told = self._path.read_bytes()[offset:] if self._path.exists() else b""
        rows = {row["key"]: row for row in map(json.loads, told.splitlines())}
        self.rows |= rows
        return set(rows)

    def add(self, mutant: Mutant, trial: Trial) -> None:
        """Keep what became of a mutant."""
        row = mutant.row | asdict(trial)
        self.rows[mutant.key] = row
        with self._path.open("a") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: which folder, how much of it, and for how long."""

    folder: str
    modules: Sequence[str]
    sample: int | None
    seed: int
    seconds: float
    budget_s: float
    again: bool
    results: Path
    tests: Sequence[str]


def run(plan: Plan) -> int:
    """Try the mutants of a plan that weren't tried yet; return 1 if one survived that nobody explained."""
    package = package_folder()
    planned = mutants(plan.folder, package, plan.modules)
    random.Random(plan.seed).shuffle(planned)
    planned = planned[: plan.sample]
    results = Results(plan.results)
    if plan.again:
        unexplained = {row["key"] for row in _tried(results, planned) if _is_task(row)}
        waiting = [mutant for mutant in planned if mutant.key in unexplained]
    else:
        waiting = [mutant for mutant in planned if mutant.key not in results.rows]
    say(f"{plan.folder}: {len(planned)} mutants, {len(waiting)} to try")
    tests = plan.tests or _TESTS
    costs = learn(tests, package, plan.results.with_suffix(".learnt"))
    say(f"{len(costs.cpu_s)} tests, {sum(costs.cpu_s.values()):.0f} s of them")
    end = time.monotonic() + plan.seconds
    # What one process tries, the other doesn't know of: the file is what they share.
    tried = plan.results.stat().st_size if plan.results.exists() else 0

    def tell(mutant: Mutant, trial: Trial) -> bool:
        results.add(mutant, trial)
        if trial.outcome == "survived":
            say(f"survived {trial.tests} tests: {_shown(mutant.row)}")
        return time.monotonic() < end

    def chosen(mutant: Mutant) -> Sequence[str]:
        return costs.tests_for(mutant, plan.budget_s)

    bodies = [mutant for mutant in waiting if f"{mutant.file}:{mutant.function}" not in costs.imports]
    try_bodies([mutant for mutant in bodies if mutant.function], tests, package, chosen, tell)
    done = results.read(tried)
    for mutant in waiting:
        if time.monotonic() >= end:
            break
        if mutant.key not in done:
            names = chosen(mutant)
            tell(mutant, try_module(mutant, package, names, sorted({costs.files[name] for name in names})))
    rows = _tried(results, planned)
    outcomes = Counter(row["outcome"] for row in rows)
    say(f"{plan.folder}: {len(rows)} of {len(planned)} tried, {dict(sorted(outcomes.items()))}")
    return int(any(map(_is_task, rows)))


def _is_task(row: dict[str, Any]) -> bool:
    return row["outcome"] == "survived" and _reason(row) is None


def _shown(row: dict[str, Any]) -> str:
    return f"{row['file']}:{row['line']} {row['function']}: {row['was']}  →  {row['now']}"


# --- what survived -----------------------------------------------------------------------------


@cache
def _explained() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tomllib.loads(_EXPLAINED.read_text())["survivor"]
    return rows


def _reason(row: dict[str, Any]) -> str | None:
    """Return why a mutant can't matter: of the first entry that fits in all that it has. Each may be a pattern."""
    for entry in _explained():
        if all(_fits(row.get(name, ""), wanted) for name, wanted in entry.items() if name != "why"):
            return str(entry["why"])
    return None


def _fits(text: str, wanted: str | list[str]) -> bool:
    choices = [wanted] if isinstance(wanted, str) else wanted
    return any(text == choice or fnmatchcase(text, choice) for choice in choices)


def survivors(results: Results, planned: Sequence[Mutant]) -> int:
    """Print the mutants that survived and that nobody explained; return 1 if there are any."""
    rows = [row for row in _tried(results, planned) if _is_task(row)]
    for row in rows:
        say(_shown(row))
    return int(bool(rows))


def _tried(results: Results, planned: Sequence[Mutant]) -> list[dict[str, Any]]:
    """Return what was tried of the source as it is now."""
    return [results.rows[mutant.key] | mutant.row for mutant in planned if mutant.key in results.rows]


def table(results: Results, planned: Sequence[Mutant]) -> str:
    """Return the figures and the survivors, as the documentation shows them."""
    rows = _tried(results, planned)
    made = Counter(mutant.file for mutant in planned)
    outcomes = Counter((row["file"], row["outcome"]) for row in rows)
    lines = ["| module | mutants | tried | killed | timed out | survived |", "|---|---|---|---|---|---|"]
    for file in (*made, ""):
        # The last line counts all files.
        found = [
            sum(count for (where, what), count in outcomes.items() if what == outcome and file in {where, ""})
            for outcome in ("killed", "timed out", "survived")
        ]
        numbers = (made[file] if file else made.total(), sum(found), *found)
        lines.append(f"| {f'`{file}`' if file else 'all'} | {' | '.join(map(str, numbers))} |")
    lines += ["", "| survivor | why it can't matter |", "|---|---|"]
    for row in rows:
        if row["outcome"] == "survived":
            change = f"{row['was']} → {row['now']}".replace("|", "\\|").replace("`", "'")
            lines.append(f"| `{row['file']}` `{row['function'] or 'module'}`: `{change}` | {_reason(row) or '**?**'} |")
    return "\n".join(lines) + "\n"


def say(text: str) -> None:
    """Print for whoever watches."""
    print(text, flush=True)  # noqa: T201


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python tests/proof/mutations.py", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="try mutants; go on where the results file ends")
    runs.add_argument("--folder", required=True, choices=FOLDERS)
    runs.add_argument("--modules", nargs="*", default=(), help="only these of the folder, by name")
    runs.add_argument("--sample", type=int, help="so many of them, by seed; without it, all")
    runs.add_argument("--seed", type=int, default=0)
    runs.add_argument("--seconds", type=float, default=float("inf"), help="begin no other trial after so long")
    runs.add_argument("--budget", type=float, default=6.0, help="seconds of tests that a mutant has to survive")
    runs.add_argument("--tests", nargs="*", default=(), help="who to ask: folders of tests, those that fit by default")
    runs.add_argument(
        "--again", action="store_true", help="only what survived unexplained: there may be a test for it now"
    )
    told = [
        commands.add_parser("survivors", help="what survived and nobody explained"),
        commands.add_parser("table", help="the figures, and why each survivor may stay"),
    ]
    for command in told:
        command.add_argument("--folder", choices=FOLDERS, help="only of this one")
    for command in (runs, *told):
        command.add_argument("--results", type=Path, required=True)
    given = parser.parse_args(arguments)
    results = Results(given.results.absolute())
    if given.command == "run":
        plan = Plan(
            folder=given.folder,
            modules=given.modules,
            sample=given.sample,
            seed=given.seed,
            seconds=given.seconds,
            budget_s=given.budget,
            again=given.again,
            results=given.results.absolute(),
            tests=given.tests,
        )
        return run(plan)
    folders = [given.folder] if given.folder else FOLDERS
    everything = [mutant for folder in folders for mutant in mutants(folder, package_folder())]
    if given.command == "survivors":
        return survivors(results, everything)
    say(table(results, everything))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
