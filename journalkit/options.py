"""What can be chosen when a store is opened, checked once and then never again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias

from journalkit.errors import KeyTypeError, KeyValueError, UsageError
from journalkit.types import SYNC_MODES, Sync

Compaction: TypeAlias = Literal["thread", "process", "manual"]
COMPACTION_MODES: Final[tuple[Compaction, ...]] = ("thread", "process", "manual")
Compression: TypeAlias = Literal["zstd"]
COMPRESSIONS: Final[tuple[Compression, ...]] = ("zstd",)
Duration: TypeAlias = "float | int | timedelta"

MIB: Final = 1024 * 1024
SYNC_INTERVAL_MS_MAX: Final = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Options:
    """How a store behaves while it is open; nothing here is stored.

    Attributes:
        sync: What an acknowledgement means by default.
        sync_interval_ms: Under "interval", how long a record may wait for its fsync.
        compaction: "thread" folds in the background, "process" too, in another process; "manual" only on `compact()`.
        keep_snapshots: How many snapshots, and the log that the oldest needs, are kept.
        max_recovery_s: The tail is folded before replaying it would take longer than this.
        max_age_s: A tail with anything in it is folded when its oldest record is this old.
        fold_bytes_min: The log tail is folded for its size when it has this many bytes.
        fold_ratio: Deltas are merged into the base when they have this many times its bytes or entries; 0: always.
        fold_bytes_per_s: How fast a fold writes at most; None: as fast as it can.
        compression: How folds compress the blocks of new tables; None: not at all.
        segment_bytes_max: A segment is rotated when it reaches this size.
        cache_bytes: Memory for what was read: blocks of tables, and single values that are read again.
    """

    sync: Sync = "always"
    sync_interval_ms: int = 100
    compaction: Compaction = "thread"
    keep_snapshots: int = 2
    max_recovery_s: float = 10.0
    max_age_s: float = 3600.0
    fold_bytes_min: int = 8 * MIB
    fold_ratio: float = 0.4
    fold_bytes_per_s: float | None = None
    compression: Compression | None = None
    segment_bytes_max: int = 64 * MIB
    cache_bytes: int = 64 * MIB

    def __post_init__(self) -> None:
        """Refuse what makes no sense. Raises UsageError."""
        check_sync(self.sync)
        if self.compaction not in COMPACTION_MODES:
            raise UsageError(f"compaction={self.compaction!r} is none of {', '.join(COMPACTION_MODES)}")
        if self.compression not in (None, *COMPRESSIONS):
            raise KeyValueError(f"compression={self.compression!r} is none of {', '.join(COMPRESSIONS)}")
        for name, least in _LEAST.items():
            value, spelled = getattr(self, name), name if name in _RATES else name.removesuffix("_s")
            if value is None and name in _RATES:
                continue
            if isinstance(value, bool) or not isinstance(value, int if name in _COUNTS else int | float):
                raise KeyTypeError(f"{spelled}={value!r} is not {'a whole' if name in _COUNTS else 'a'} number")
            if not value >= least:
                raise KeyValueError(f"{spelled}={value!r} is below {least}")
        if self.sync_interval_ms > SYNC_INTERVAL_MS_MAX:
            raise KeyValueError(f"sync_interval_ms={self.sync_interval_ms!r} is over {SYNC_INTERVAL_MS_MAX}, a day")


_COUNTS: Final = frozenset({"keep_snapshots", "fold_bytes_min", "segment_bytes_max", "cache_bytes"})
_RATES: Final = frozenset({"fold_bytes_per_s"})
_LEAST: Final[dict[str, float]] = {
    "sync_interval_ms": 1,
    "keep_snapshots": 1,
    "max_recovery_s": 0.001,
    "max_age_s": 0.001,
    "fold_bytes_min": 1,
    "fold_ratio": 0,
    "fold_bytes_per_s": 1,
    "segment_bytes_max": 4096,
    "cache_bytes": 0,
}


def check_sync(sync: Any) -> None:
    """Raise UsageError if `sync` is no sync mode."""
    if sync not in SYNC_MODES:
        raise UsageError(f"sync={sync!r} is none of {', '.join(SYNC_MODES)}")


def seconds(duration: Duration, name: str) -> float:
    """Return a duration as seconds: a number of them, or a timedelta. Raises UsageError for anything else."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        raise KeyTypeError(f"{name}={duration!r} is neither seconds nor a timedelta")
    return float(duration)
