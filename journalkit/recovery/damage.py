"""Damage: something promised that isn't there as promised."""

from __future__ import annotations

from dataclasses import dataclass

from journalkit.errors import CorruptionError


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with which file, and where, as far as that has a place."""

    file: str
    reason: str
    offset_bytes: int | None = None
    lsn: int | None = None

    def as_error(self, directory: str) -> CorruptionError:
        """Return the error that a refused open raises."""
        return CorruptionError(
            self.reason,
            path=f"{directory}/{self.file}",
            offset_bytes=self.offset_bytes,
            lsn=self.lsn,
            next_step="restore a backup, keep the prefix with `journalkit recover --mode point-in-time`, "
            "or copy what is intact with `journalkit salvage`",
        )
