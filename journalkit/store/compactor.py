"""The compactor: folds the log into snapshots and prunes what nobody needs.

    freeze -> rotate -> sync the log through it -> merge with the newest tables
    -> new table, durable, read back from the device -> manifest -> prune

in this order only: whatever is removed is in a snapshot that was read back
and that a durable manifest names. Which tables are merged says
`journalkit.store.merging`, and `journalkit.store.folding` writes the new one.
`step` does what is due and says when to look again; the thread in
`journalkit.runtime.background` only loops on it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from dataclasses import dataclass
from itertools import starmap

from journalkit.clock import Clock
from journalkit.errors import ClosedError, FencedError, JournalError, StorageError, StoreFullError
from journalkit.format.manifest import Manifest, SnapshotEntry
from journalkit.format.names import segment_name, table_name
from journalkit.fs.interface import FileSystem
from journalkit.log.log import Log
from journalkit.manifest import ManifestKeeper
from journalkit.options import Options
from journalkit.recovery.reserve import Reserve
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.reader import Table
from journalkit.store.folding import Folding, delta_bytes, merged_bytes
from journalkit.store.layers import Frozen, Layers
from journalkit.store.merging import Layer, tables_to_merge
from journalkit.store.outside import Outside

LOOK_AGAIN_S = 0.2
BACK_OFF_MAX_S = 60.0
SEGMENTS_MAX = 64
REPLAY_BYTES_PER_S = 50_000_000
"""A careful guess of how fast a tail is replayed, for a store that has not replayed a long one itself."""
_EMERGENCY_SNAPSHOTS = 1
_YIELD_S = 0.000_05
_QUICK_YIELD_S = 0.000_4
_QUICK_RECORDS = 8
"""So many records while a fold let go are of a writer that waits for no fsync, and the fold lets go for longer."""
_STRETCH_S = 0.000_25
"""How long a fold works at a time: what a writer that comes back from its fsync may have to wait for it."""
_STRETCH_MAX_S = 0.005
"""How long at most, where writers outrun the fold: longer than this the interpreter lets nobody work."""
_FOLDS_BEHIND = 2
_FOLDS_OF_ROOM = 4
"""How much may wait for a fold that is held back, and how much room has to be left, in what makes a fold due."""

_log = logging.getLogger("journalkit.compactor")


@dataclass(frozen=True, slots=True)
class CompactorStatistics:
    """What the compactor did since the store was opened. `last_error` is "" after a fold that worked.

    `outside` counts the folds that another process merged; `refusal` says why none is asked to, though it should.
    """

    folds: int
    failures: int
    last_error: str
    emergencies: int
    bytes_folded: int
    outside: int
    refusal: str


class Compactor:
    """Folds one store. Any thread may call `compact`; one fold runs at a time."""

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        keeper: ManifestKeeper,
        log: Log,
        layers: Layers,
        cache: BlockCache,
        reserve: Reserve,
        clock: Clock,
        options: Options,
        *,
        replay_bytes_per_s: float = REPLAY_BYTES_PER_S,
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._keeper = keeper
        self._journal = log
        self._layers = layers
        self._reserve = reserve
        self._clock = clock
        self._options = options
        self._replay_bytes_per_s = replay_bytes_per_s
        self._cache = cache
        self._outside = Outside(fs, clock) if options.compaction == "process" else None
        self._one_at_a_time = threading.Lock()
        self._cancelled = False
        self._not_before_s = self._let_go_s = 0.0
        self._failures_in_a_row = 0
        self._folds = self._failures = self._emergencies = self._bytes_folded = 0
        self._last_error = ""

    def statistics(self) -> CompactorStatistics:
        """Return counts since the store was opened."""
        outside = self._outside
        return CompactorStatistics(
            self._folds,
            self._failures,
            self._last_error,
            self._emergencies,
            self._bytes_folded,
            outside.folds if outside else 0,
            outside.refusal if outside else "",
        )

    # When

    def due(self) -> str:
        """Return why a fold is due, "" if none is. O(segments)."""
        layers, options = self._layers, self._options
        tail_bytes = layers.unfolded_bytes
        if tail_bytes >= options.fold_bytes_min:
            return "log bytes"
        if tail_bytes and tail_bytes / self._replay_bytes_per_s >= options.max_recovery_s:
            return "replay time"
        since_s = layers.unfolded_since_s
        if since_s is not None and self._clock.monotonic_s() - since_s >= options.max_age_s:
            return "age"
        # Older segments may be kept for older snapshots; folding doesn't make them fewer.
        snapshot_lsn = self.snapshot_lsn
        ends = (entry.end for entry in self._journal.position.ended)
        if sum(end is not None and end.last_lsn > snapshot_lsn for end in ends) >= SEGMENTS_MAX:
            return "segments"
        return ""

    @property
    def snapshot_lsn(self) -> int:
        """LSN of the newest snapshot, 0 if there is none."""
        snapshots = self._keeper.current.snapshots
        return snapshots[0].lsn if snapshots else 0

    def step(self) -> float:
        """Do what is due; return after how many seconds to look again. Raises nothing that a retry may mend."""
        if self._clock.monotonic_s() < self._not_before_s:
            return LOOK_AGAIN_S
        try:
            if self.due():
                self.compact()
            if self._journal.wants_next:
                self._prepare_segment()
            self._reserve.cover(delta_bytes((self._layers.active, *self._layers.frozen)))
        except ClosedError:
            return LOOK_AGAIN_S
        except Exception as error:  # noqa: BLE001 - whatever ended this fold, the next is tried; statistics tell why
            self._back_off(error)
        return LOOK_AGAIN_S

    def _prepare_segment(self) -> None:
        try:
            self._journal.prepare_next()
        except StoreFullError:
            with self._one_at_a_time:
                self._make_room()
            raise

    def _back_off(self, error: Exception) -> None:
        self._failures_in_a_row += 1
        self._last_error = str(error)
        wait_s = min(BACK_OFF_MAX_S, 0.5 * 2**self._failures_in_a_row)
        self._not_before_s = self._clock.monotonic_s() + wait_s
        _log.warning("a fold failed, the next try is in %.0f s: %s", wait_s, error)

    def cancel(self) -> None:
        """Make a fold in progress give up at its next block, and every later one at once."""
        self._cancelled = True

    def rest(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` until no fold runs, and return whether that is so."""
        held: list[bool] = []
        try:
            # One C call takes the lock and notes it: interrupted in between, nobody would give it back.
            held.extend(starmap(self._one_at_a_time.acquire, ((True, timeout_s),)))
            return held == [True]
        finally:
            if held == [True]:
                self._one_at_a_time.release()

    # How

    def compact(self, *, full: bool = False) -> None:
        """Fold everything visible into a new snapshot and prune. Waits for a fold that is running.

        `full` makes it one table that shares nothing with an older snapshot,
        whatever that costs, and also where nothing is new.

        Durability:
            The snapshot and its manifest survive a power cut once this returns.

        Raises:
            StoreFullError: No room. What is live stays; older snapshots were
                given up to make room, if there were any.
            CorruptionError: A block underneath is damaged; what is live stays.
            ClosedError: The store was closed meanwhile; what is live stays.
            FencedError, StorageError: From the log or the manifest.
        """
        with self._one_at_a_time:
            self._pace()
            try:
                self._fold(full=full)
                self._prune(self._options.keep_snapshots)
            except ClosedError:
                raise
            except StoreFullError as error:
                self._note(error)
                self._make_room()
                raise
            except JournalError as error:
                self._note(error)
                raise
            except OSError as error:
                self._note(error)
                raise StorageError(f"{self._directory}: a fold failed ({error}); try again", cause=error) from error
            self._last_error, self._failures_in_a_row = "", 0

    def _note(self, error: Exception) -> None:
        self._failures += 1
        self._last_error = str(error)

    def _fold(self, *, full: bool) -> None:
        with contextlib.suppress(StoreFullError):
            # Without a new segment the old one stays until the next fold; nothing else depends on it.
            self._journal.rotate()
        folded = self._layers.begin_fold()
        published = False
        try:
            if folded.lsn > self.snapshot_lsn or (full and len(folded.tables) > 1):
                self._journal.sync()
                merged_count = len(folded.tables) if full else self._choose(folded)
                table, merged_count = self._write(folded, merged_count)
                tables = (table, *folded.tables[merged_count:])
                self._publish(folded, tables)
                published = True
                self._layers.end_fold(folded, tables)
                self._folds += 1
                self._bytes_folded += table.info.size_bytes
        finally:
            if not published:
                self._layers.abandon_fold(folded)

    def _choose(self, folded: Frozen) -> int:
        memtables, options = folded.memtables, self._options
        changes = Layer(delta_bytes(memtables), sum(len(memtable.entries) for memtable in memtables))
        tables = [Layer(table.info.size_bytes, table.info.entry_count) for table in folded.tables]
        return tables_to_merge(changes, tables, fold_bytes_min=options.fold_bytes_min, base_ratio=options.fold_ratio)

    def _write(self, folded: Frozen, merged_count: int) -> tuple[Table, int]:
        """Write the fold's table, and return it with how many tables are in it: none, if there is no room for more."""
        try:
            return self._write_table(folded, merged_count), merged_count
        except StoreFullError:
            self._make_room()
            if folded.lsn == self.snapshot_lsn:
                raise  # nothing is new
            self._reserve.give_surplus()
            return self._write_table(folded, 0), 0

    def _write_table(self, folded: Frozen, merged_count: int) -> Table:
        salt = int.from_bytes(self._clock.random_bytes(4), "little")
        manifest = self._keeper.current
        # Made for one fold: kept, it and this would hold each other, and a store that is dropped its tables with them.
        folding = Folding(
            self._fs,
            self._directory,
            manifest.store,
            self._cache,
            self._clock,
            self._pace,
            self._step,
            lambda: self._is_urgent(merged_bytes(folded, merged_count)),
            self._options.fold_bytes_per_s,
            self._options.compression is not None,
            self._outside,
        )
        return folding.write(folded, merged_count, number=manifest.next_table, salt=salt)

    def _step(self) -> None:
        # Letting go costs as much as a block's merge, and on a busy machine a turn of all others.
        if self._cancelled or self._clock.monotonic_s() - self._let_go_s >= self._stretch_s():
            self._pace()

    def _is_urgent(self, table_bytes: int) -> bool:
        """Whether a fold's rate mustn't be kept: the next fold is overdue, or the disk has little room beside this."""
        least_bytes = self._options.fold_bytes_min
        if self._layers.waiting_bytes >= _FOLDS_BEHIND * least_bytes:
            return True
        try:
            return self._fs.free_bytes(self._directory) < table_bytes + _FOLDS_OF_ROOM * least_bytes
        except OSError:
            return True

    def _stretch_s(self) -> float:
        """Return how long to work at a time: the longer, the more the writers are ahead, which slows them down."""
        folds_ahead = self._folds_ahead()
        return min(_STRETCH_MAX_S, _STRETCH_S * max(1.0, folds_ahead * folds_ahead))

    def _folds_ahead(self) -> float:
        return self._layers.waiting_bytes / self._options.fold_bytes_min

    def _pace(self) -> None:
        # Lets go of the interpreter: a writer back from its fsync would else wait for a thread switch, 5 ms each time.
        before_lsn = self._journal.last_lsn
        self._clock.sleep(_YIELD_S)
        if self._journal.last_lsn - before_lsn >= _QUICK_RECORDS and self._folds_ahead() < 1.0:
            # Each write lets go too, and the one that lets go to us waits for a stretch: fewer than one in a hundred.
            self._clock.sleep(_QUICK_YIELD_S)
        self._let_go_s = self._clock.monotonic_s()
        if self._cancelled:
            raise ClosedError(f"{self._directory} is being closed; the fold was given up")

    def _publish(self, folded: Frozen, tables: tuple[Table, ...]) -> None:
        entry = SnapshotEntry(folded.lsn, self._clock.wall_us(), tuple(table.info for table in tables))
        number = entry.tables[0].number

        def add(manifest: Manifest) -> Manifest:
            return manifest.next_generation(
                snapshots=(entry, *manifest.snapshots),
                segments=self._journal.entries(manifest.pruned_lsn),
                durable_lsn=self._journal.durable_lsn,
                next_table=number + 1,
            )

        try:
            self._keeper.publish(add)
        except (StoreFullError, FencedError):
            self._unlink(table_name(number))
            raise
        # After any other error it is unknown whether the manifest names the table: it stays, and the next open knows.

    # Pruning

    def _prune(self, keep_snapshots: int) -> None:
        """Give up all but the newest snapshots and the log that the oldest of them doesn't need."""
        manifest = self._keeper.current
        kept, dropped = manifest.snapshots[:keep_snapshots], manifest.snapshots[keep_snapshots:]
        through_lsn = kept[-1].lsn if kept else 0
        ended = self._journal.position.ended
        gone = (entry.end.last_lsn for entry in ended if entry.end is not None and entry.end.last_lsn <= through_lsn)
        gone_lsn = max([manifest.pruned_lsn, *gone])
        if not dropped and gone_lsn == manifest.pruned_lsn:
            return

        def drop(current: Manifest) -> Manifest:
            return current.next_generation(
                snapshots=kept,
                segments=self._journal.entries(gone_lsn),
                pruned_lsn=gone_lsn,
                durable_lsn=self._journal.durable_lsn,
            )

        self._keeper.publish(drop)
        live = {info.number for entry in kept for info in entry.tables}
        for entry in dropped:
            for info in entry.tables:
                if info.number not in live:
                    self._unlink(table_name(info.number))
        for segment in self._journal.forget(gone_lsn):
            self._unlink(segment_name(segment.number))
        self._reserve.refill()

    def _unlink(self, name: str) -> None:
        # What stays is swept at the next open: the manifest doesn't name it any more.
        with contextlib.suppress(OSError):
            self._fs.unlink(os.path.join(self._directory, name))

    def _make_room(self) -> None:
        """The disk is full: keep one snapshot only, and say so."""
        if len(self._keeper.current.snapshots) > _EMERGENCY_SNAPSHOTS:
            self._emergencies += 1
            _log.warning("the disk is full: only the newest snapshot of %s is kept", self._directory)
        with contextlib.suppress(JournalError, OSError):
            self._prune(_EMERGENCY_SNAPSHOTS)
