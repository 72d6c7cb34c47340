"""All targets by name, and the canaries: targets with a planted bug, which must be found."""

from __future__ import annotations

from fuzz import canaries, commands, decoders, files, machine, stores
from fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (*decoders.TARGETS, *files.TARGETS, *stores.TARGETS, *commands.TARGETS, *machine.TARGETS)
}
CANARIES: dict[str, Target] = {target.name: target for target in canaries.TARGETS}
ALL = TARGETS | CANARIES
