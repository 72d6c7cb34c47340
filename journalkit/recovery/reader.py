"""Opening for reading: what recovery would keep, and not one byte changed.

A writer may be at work beside this: it may prune a file between two looks at
it, or be in the middle of a write. So what looks like damage is looked at
again; damage that stays while nothing moves is damage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from journalkit.clock import Clock
from journalkit.errors import CorruptionError, UsageError
from journalkit.format.segment import DurableSlot
from journalkit.fs.interface import ReadableFileSystem
from journalkit.log.durable import read_durable
from journalkit.recovery.look import Found, look, require_manifest
from journalkit.recovery.plan import RecoveryMode
from journalkit.recovery.report import RecoveryReport
from journalkit.recovery.scan import Sink
from journalkit.snapshot.cache import BlockCache

_LOOK_AGAIN_S = 0.02
_AnySink = TypeVar("_AnySink", bound=Sink)


def open_for_reading(
    fs: ReadableFileSystem,
    directory: str,
    kind: str,
    mode: RecoveryMode,
    cache: BlockCache,
    clock: Clock,
    make_sink: Callable[[], _AnySink],
    *,
    deep: bool = False,
) -> tuple[Found, RecoveryReport, _AnySink]:
    """Look at a store until a look is consistent; return it, a report, and the sink that has its records.

    Each look gets a sink of its own. `deep` checks every byte of log and snapshot.

    Raises:
        StoreNotFoundError: There is no store.
        UsageError: It is of another kind.
        CorruptionError: It is damaged, also when looked at again.
        UnsupportedFormatError: A later version wrote it.
    """
    began_s = clock.monotonic_s()
    seen: tuple[str, int, DurableSlot | None] | None = None
    while True:
        manifest = require_manifest(fs, directory)
        if manifest.kind != kind:
            raise UsageError(f"{directory} is a {manifest.kind}, not a {kind}; open it as what it is")
        sink = make_sink()
        try:
            found = look(fs, directory, manifest, cache, sink, mode=mode, deep=deep)
        except (CorruptionError, FileNotFoundError) as error:
            sight = (str(error), manifest.generation, read_durable(fs, directory))
            if sight == seen:
                raise
            seen = sight
            clock.sleep(_LOOK_AGAIN_S)
        else:
            return found, _report(found, clock.monotonic_s() - began_s), sink


def _report(found: Found, seconds: float) -> RecoveryReport:
    return RecoveryReport(
        outcome=found.outcome,
        snapshot_lsn=found.snapshot.lsn,
        fell_back=bool(found.snapshot.damaged),
        last_lsn=found.plan.last_lsn,
        records_replayed=found.scan.records_sunk,
        bytes_cut=0,
        quarantine="",
        seconds=seconds,
    )
