"""Damage: something promised that isn't there as promised."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from journalkit.errors import CorruptionError


class DamageKind(enum.StrEnum):
    """What happened to a file, or to a part of it, as far as it is proved; where it isn't, `DAMAGED`.

    The values are stable: programs may rely on them.
    """

    FLIPPED_BIT = "flipped-bit"
    ZEROED_PAGE = "zeroed-page"
    MISDIRECTED_BLOCK = "misdirected-block"
    TRUNCATED_FILE = "truncated-file"
    MISSING_FILE = "missing-file"
    SWAPPED_FILES = "swapped-files"
    DUPLICATED_FILE = "duplicated-file"
    RENAMED_FILE = "renamed-file"
    FOREIGN_FILE = "foreign-file"
    ROLLED_BACK_FILE = "rolled-back-file"
    DAMAGED_MANIFEST = "damaged-manifest"
    MISSING_MANIFEST = "missing-manifest"
    UNREADABLE = "unreadable"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with which file, and where, as far as that has a place.

    `kind` is what the judge knows already; `recovery.findings` looks further.
    """

    file: str
    reason: str
    offset_bytes: int | None = None
    lsn: int | None = None
    kind: DamageKind = DamageKind.DAMAGED

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
