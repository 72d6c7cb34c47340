"""Which proofs there are, in the order of the report. A proof is imported only when it is asked for."""

from __future__ import annotations

import importlib
from typing import Final, cast

from units import Proof

NAMES: Final = (
    "crashes",
    "nested",
    "failures",
    "interrupts",
    "schedules",
    "power",
    "reorderings",
    "strict",
    "syscalls",
    "limits",
    "copies",
    "sigkills",
    "flips",
    "fuzzing",
    "planted",
)


def proof(name: str) -> Proof:
    """Return a proof by its name; KeyError if there is none."""
    if name not in NAMES:
        raise KeyError(name)
    return cast("Proof", importlib.import_module(name))
