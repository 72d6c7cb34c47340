"""All targets by name, and the canaries: targets with a planted bug, which must be found.

A target's module is imported when it is asked for: the engine that is guided
by coverage instruments what is imported then, which takes seconds for all.
"""

from __future__ import annotations

import importlib
from typing import Final

from fuzz.target import Target

_MODULES: Final = {
    "decoders": ("key", "value", "batch", "frame"),
    "packed": ("msgpack",),
    "files": ("segment", "manifest", "block", "table"),
    "pages": ("filter",),
    "packed_blocks": ("compressed",),
    "heads": ("head",),
    "checkpoints": ("checkpoint", "tree"),
    "stores": ("open",),
    "commands": ("cli", "salvage"),
    "machine": ("machine",),
}
TARGETS: Final = tuple(name for names in _MODULES.values() for name in names)
CANARIES: Final = tuple(
    f"canary-{kind}"
    for kind in (
        "error", "exit", "loop", "wait", "recursion", "memory", "hunger", "crash",
        "silence", "behind-checksums", "two-looks", "write",
    )
)  # fmt: skip


def target_named(name: str) -> Target:
    """Return a target or a canary; KeyError if there is none of that name."""
    home = {name: module for module, names in _MODULES.items() for name in names} | dict.fromkeys(CANARIES, "canaries")
    module = importlib.import_module(f"fuzz.{home[name]}")
    return {target.name: target for target in module.TARGETS}[name]
