"""`python -m fuzz`: run targets until their time is over or something is found."""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz import session
from fuzz.session import Limits, Result
from fuzz.target import Engine
from fuzz.targets import CANARIES, TARGETS

SMOKE_S = 2.0
TARGET_S = 60.0


def main() -> int:
    """Run what the command line names; 0 if that is as it should be, 1 if not."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz",
        description="Hostile bytes for everything that reads them.",
        epilog="targets: " + ", ".join(TARGETS) + "; canaries: " + ", ".join(CANARIES),
    )
    parser.add_argument("target", choices=[*TARGETS, *CANARIES, "smoke", "canary"], metavar="TARGET",
                        help="a target, `smoke` for all of them, `canary` for all of those that must fail")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="what chance begins with (default: 1)")
    parser.add_argument("--seconds", type=float, help="of processor time for each target "
                        f"(default: {TARGET_S:.0f}; for smoke and canary {SMOKE_S:.0f})")  # fmt: skip
    parser.add_argument("--engine", choices=["atheris", "mutation"], help="instead of the best that is installed")
    parser.add_argument("--file", type=Path, nargs="+", default=[], help="run these inputs and nothing else")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="save inputs that reached something new there")
    args = parser.parse_args()
    if not args.file and args.engine != "mutation" and args.target != "machine" and not session.has_atheris():
        print(session.NO_ATHERIS)
        if args.engine == "atheris":
            return 1
    many = args.target in ("smoke", "canary")
    seconds = args.seconds if args.seconds is not None else SMOKE_S if many else TARGET_S
    names = {"smoke": TARGETS, "canary": CANARIES}.get(args.target, (args.target,))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = []
        for result in pool.map(lambda name: _run(name, args, seconds), names):
            _say(result)
            results.append(result)
    if args.target == "canary":
        return _judge_canaries(results)
    return 1 if any(result.finding for result in results) else 0


def _run(name: str, args: argparse.Namespace, seconds: float) -> Result:
    engine: Engine | None = args.engine if name != "machine" else None
    # A canary has to loop and to eat before it is found: no need to wait as long as for the real ones.
    limits = Limits(input_s=1.0) if name in CANARIES else None
    return session.run(
        name, seed=args.seed, seconds=seconds, engine=engine, limits=limits, files=tuple(args.file), keep=args.keep
    )


def _say(result: Result) -> None:
    print(result.line(), flush=True)
    if result.finding:
        print(result.finding, file=sys.stderr, flush=True)


def _judge_canaries(results: list[Result]) -> int:
    missed = [result.target for result in results if not result.finding]
    if missed:
        print(f"MISSED: {', '.join(missed)}; a fuzzer that doesn't find these finds nothing")
        return 1
    print(f"all {len(results)} canaries were found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
