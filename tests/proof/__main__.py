"""Run the proofs: `python tests/proof run --size ci`, or `--size full` and some hours.

What is tested is the installed package, or what PYTHONPATH names. A run that
was cut off goes on where it was with the same --results; `--jobs` are
processes. `unit` repeats one piece of one proof; `report` turns the results
into the tables of docs/explanation/how-it-is-tested.md.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import sys
import time
from pathlib import Path

from registry import NAMES, proof
from report import shortfalls, summary, write_report
from runner import Result, Results, Run, as_json, command_of, last_words, run_units
from units import Unit


def main() -> int:
    """Do what the command line names."""
    parser = argparse.ArgumentParser(prog="python tests/proof", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--size", choices=["ci", "full"], default="ci")
    shared.add_argument("--seed", type=int, default=1, help="what every throw of dice comes from (default: 1)")
    run = commands.add_parser("run", parents=[shared], help="run proofs")
    run.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="PROOF", help=", ".join(NAMES))
    run.add_argument("--jobs", type=int, default=jobs_usual(), help="units at a time (default: one more than cores)")
    run.add_argument("--results", type=Path, help="where results are kept; a run goes on from them")
    run.add_argument("--no-skips", action="store_true", help="fail if this machine can't do a proof")
    run.add_argument("--seconds", type=float, help="begin no unit after this time, and say what is left")
    unit = commands.add_parser("unit", parents=[shared], help="repeat one unit of a proof")
    unit.add_argument("proof", choices=NAMES)
    unit.add_argument("unit")
    unit.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    report = commands.add_parser("report", help="write what runs came to into the documentation")
    report.add_argument("results", type=Path, nargs="+")
    report.add_argument("--write", type=Path, help="the page whose tables are replaced (default: print them)")
    args = parser.parse_args()
    if args.command == "unit":
        return repeat(args)
    if args.command == "report":
        return write_report(last_words(result for path in args.results for result in Results(path)), args.write)
    return run_all(args)


def repeat(args: argparse.Namespace) -> int:
    """Run one unit here, and print or write down what it came to."""
    wanted = proof(args.proof)
    units = {unit.name: unit for unit in wanted.units(args.size, args.seed)}
    if args.unit not in units and (one := getattr(wanted, "unit_named", lambda _name: None)(args.unit)):
        units[args.unit] = one
    if args.unit not in units:
        print(f"{args.proof} has no unit {args.unit!r}; it has {', '.join(units)}", file=sys.stderr)  # noqa: T201
        return 64
    outcome = wanted.prove(units[args.unit])
    outcome.cpu_s = round(sum(os.times()[:4]), 2)
    if args.answer:
        args.answer.write_text(as_json(outcome))
        return 0
    say(as_json(outcome) if not outcome.failures else "\n\n".join(outcome.failures))
    return 1 if outcome.failures else 0


def run_all(args: argparse.Namespace) -> int:
    """Run what isn't done yet of the proofs that are asked for; return 1 if something is wrong or missing."""
    run = Run(version(), args.size, args.seed)
    results = Results(args.results) if args.results else None
    before = [result for result in (results.of(run) if results else []) if not result.failures]
    known = {(result.proof, result.unit) for result in before}
    wanted = [(name, unit) for name in args.only for unit in proof(name).units(args.size, args.seed)]
    pending = [(name, unit) for name, unit in wanted if (name, unit.name) not in known]
    say(f"journalkit {run.version} at {package()}")
    say(f"{len(pending)} units of {len(args.only)} proofs, {len(wanted) - len(pending)} done before; seed {run.seed}")
    found = [result for result in before if result.proof in args.only]
    began = time.monotonic()

    def note(result: Result) -> None:
        found.append(result)
        if results is not None:
            results.add(result)
        if result.failures:
            say(f"\nFAILED {result.proof} {result.unit}\n" + "\n\n".join(result.failures[:5]))
            say(f"repeat: {command_of(run, result.proof, result.unit)}\n")
        elif args.size == "full":
            say(f"{len(found):6d}/{len(wanted)}  {result.proof} {result.unit}  {result.seconds:.1f} s")

    is_all = run_units(run, longest_first(pending), jobs=args.jobs, deadline_s=args.seconds, done=note)
    say(summary(found, args.only, args.size))
    missing = ["out of time: run it again to go on"]
    if is_all:
        missing = shortfalls(found, args.only, args.size, may_skip=not args.no_skips)
    for line in missing:
        say(line)
    say(f"{time.monotonic() - began:.0f} s")
    return 1 if missing or any(result.failures for result in found) else 0


def jobs_usual() -> int:
    """Return one job more than there are cores: in some proofs processes wait, for each other and for real disks."""
    return (os.cpu_count() or 1) + 1


def longest_first(pending: list[tuple[str, Unit]]) -> list[tuple[str, Unit]]:
    """Return units in an order that leaves no long one for the end."""
    return sorted(pending, key=lambda item: -item[1].timeout_s)


def package() -> Path:
    """Return where the package under test is. It isn't imported here: units begin without it."""
    found = importlib.util.find_spec("journalkit")
    assert found is not None
    return Path(next(iter(found.submodule_search_locations or ())))


def version() -> str:
    """Return the version under test with a digest of its code: results of other code don't count."""
    digest = hashlib.sha256()
    top = package()
    for path in sorted(top.rglob("*.py")):
        digest.update(path.relative_to(top).as_posix().encode() + b"\0" + path.read_bytes())
    import journalkit

    return f"{journalkit.__version__}+{digest.hexdigest()[:12]}"


def say(text: str) -> None:
    """Print for whoever watches."""
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
