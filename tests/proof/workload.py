"""What a workload is: a named script on a `Play`, and how it is run.

The scripts are in `workloads_state.py` and `workloads_lives.py`; whoever wants
them takes them from `workloads.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from history import History
from stage import Play

from journalkit.fs.interface import FileSystem

Script: TypeAlias = Callable[[Play], None]


@dataclass(frozen=True, slots=True)
class Workload:
    """A named script, and what it needs to be run."""

    name: str
    script: Script
    kind: Literal["store", "journal"]
    is_ci: bool

    def run(self, fs: FileSystem, history: History, seed: int = 0, **options: Any) -> None:
        """Run it in `history.path`; other seeds write other bytes, of about the same sizes.

        `options` go before what the script opens with: `sync="never"` makes a
        workload of which little is synced by itself.
        """
        history.kind = self.kind
        play = Play(fs, history, self.name, seed, options)
        try:
            self.script(play)
            play.finish()
        finally:
            play.abandon()


ALL: Final[list[Workload]] = []


def workload(kind: Literal["store", "journal"] = "store", *, ci: bool = False) -> Callable[[Script], Script]:
    """Register the script that this stands above, under its own name."""

    def register(script: Script) -> Script:
        ALL.append(Workload(script.__name__.strip("_"), script, kind, ci))
        return script

    return register


def tail(play: Play) -> None:
    """Do what many workloads end with: undurable records behind durable ones, on an open store."""
    play.put("durable", play.value(20))
    play.put("undurable", play.value(30), sync="never")
    play.put("undurable", play.value(600), sync="never")
