"""The table of commands, in the order in which help lists them.

A command is a module of this folder with `add_parser(commands)`: import it
here and name it in `COMMANDS`, and that is all.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

from journalkit.cli import (
    bench,
    checkpoints,
    compact,
    delete,
    demo,
    du,
    dump,
    get,
    info,
    load,
    log,
    put,
    recover,
    salvage,
    scan,
    verify,
)

COMMANDS: Final[tuple[ModuleType, ...]] = (
    demo,
    info,
    verify,
    log,
    dump,
    get,
    scan,
    du,
    put,
    delete,
    load,
    compact,
    recover,
    salvage,
    checkpoints,
    bench,
)
