"""SIGKILL: a process that writes and folds is killed again and again, in every phase of its work.

The killer is `tests/crash/kills.py`, a program of its own: what forks and is
killed should not be a process that counts. A unit is one run of it, on one
store that every life takes over from the last one, with a seed of its own.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from units import Goal, Outcome, Size, Unit

KILLER: Final = Path(__file__).parent.parent / "crash" / "kills.py"
KILLS_PER_UNIT: Final = {"ci": 70, "full": 250}
UNITS: Final = {"ci": 3, "full": 21}

GOALS = (
    Goal("kills", "SIGKILLs survived, in every phase", 200, 5_000),
    *(
        Goal(f"kills in {phase}", f"  of them in the middle of {says}", 15, 400)
        for phase, says in (
            ("append", "an append"),
            ("rotate", "a rotation"),
            ("fold", "a fold"),
            ("publish", "publishing a manifest"),
            ("prune", "pruning"),
            ("recovery", "recovery"),
        )
    ),
    Goal("acknowledged", "commits acknowledged, none lost", None, None),
)


def units(size: Size, seed: int) -> Sequence[Unit]:
    """Return runs of the killer."""
    chance = random.Random(f"sigkills {seed}")
    kills = KILLS_PER_UNIT[size]
    return [
        Unit(f"run {number}", {"kills": kills, "seed": chance.getrandbits(32)}, timeout_s=60 + 2 * kills)
        for number in range(1, UNITS[size] + 1)
    ]


def prove(unit: Unit) -> Outcome:
    """Run the killer."""
    arguments = ["--kills", str(unit.arguments["kills"]), "--seed", str(unit.arguments["seed"])]
    if unit.arguments.get("canary"):
        arguments.append("--canary")
    command = [sys.executable, str(KILLER), *arguments]
    ran = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        again = f"again: python tests/crash/kills.py {' '.join(arguments)}"
        return Outcome(failures=[f"{ran.stderr.strip() or f'exit {ran.returncode}'}\n{again}"])
    figures = json.loads(ran.stdout)
    outcome = Outcome()
    for count in ("kills", "acknowledged", "torn_tails_cut"):
        outcome.add(count.replace("_", " "), figures[count])
    for phase, hits in figures["hits"].items():
        outcome.add(f"kills in {phase}", hits)
    return outcome
