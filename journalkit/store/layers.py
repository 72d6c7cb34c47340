"""Layers: where a key's newest value is looked for, and how that changes.

    active memtable -> frozen memtables, newest first -> tables, newest first

Entries only move down, and each step is published before the one above gives
them up, so a reader that goes down without a lock never misses one. `_lock` is
held for a group's apply, a freeze and a swap, each a few assignments.

Beside them lie `hot` values, which `apply` drops before it changes an entry;
`applying` says to who reads that this is going on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from journalkit.clock import Clock
from journalkit.compiled import LayersFields
from journalkit.log.commit import Commit, Mutations
from journalkit.snapshot.batches import FIRST_ENTRIES, Batches, entries_of, merge_batches
from journalkit.snapshot.reader import Table
from journalkit.store.failures import told, unreadable
from journalkit.store.hot import HotValues
from journalkit.store.memtable import MemTable
from journalkit.types import ABSENT, UNSET, Absent, Unset


@dataclass(frozen=True, slots=True)
class Frozen:
    """The state at one LSN: nothing in it changes any more."""

    lsn: int
    memtables: tuple[MemTable, ...]
    tables: tuple[Table, ...]

    def get(self, key: bytes) -> bytes | Absent | None:
        """Return a key's encoded value, None if it was deleted, ABSENT if nothing speaks of it."""
        for memtable in self.memtables:
            value = memtable.entries.get(key, ABSENT)
            if value is not ABSENT:
                return value
        try:
            for table in self.tables:
                found = table.get(key)
                if found is not ABSENT:
                    return found
        except OSError as error:
            raise unreadable(error) from error
        return ABSENT

    def get_many(self, keys: list[bytes]) -> dict[bytes, bytes]:
        """Return the encoded values of those keys, given in order, that are there; tables are read in order too."""
        found: dict[bytes, bytes | None] = {}
        rest = keys
        for memtable in self.memtables:
            entries = memtable.entries
            found.update((key, entries[key]) for key in rest if key in entries)
            rest = [key for key in rest if key not in entries]
        try:
            for table in self.tables:
                rest = table.get_many(rest, found)
        except OSError as error:
            raise unreadable(error) from error
        return {key: value for key, value in found.items() if value is not None}

    def get_in_memory(self, key: bytes) -> bytes | Absent | Unset | None:
        """`get` without touching a table: UNSET if only they can tell."""
        for memtable in self.memtables:
            value = memtable.entries.get(key, ABSENT)
            if value is not ABSENT:
                return value
        return UNSET if self.tables else ABSENT

    def scan(
        self, start: bytes | None, stop: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield each key of the range once with its newest value; deletions included."""
        return entries_of(self.batches(start, stop, reverse=reverse), reverse=reverse)

    def batches(
        self, start: bytes | None, stop: bytes | None, *, reverse: bool = False, first_entries: int = FIRST_ENTRIES
    ) -> Batches:
        """Yield what `scan` does in batches, from the end if in reverse."""
        sources: list[MemTable | Table] = [*(memtable for memtable in self.memtables if memtable.entries), *self.tables]
        # Of several layers one may have most of what is asked for, and nobody knows which.
        first = first_entries if len(sources) == 1 else min(first_entries, FIRST_ENTRIES)
        layers = [each.batches(start, stop, reverse=reverse, first_entries=first) for each in sources]
        merged = merge_batches(layers, reverse=reverse)
        return told(merged) if self.tables else merged


class Layers(LayersFields):
    """The live state of a store. Any thread may read; `apply` is the log's."""

    def __init__(self, clock: Clock, *, hot_bytes: int = 0) -> None:
        """Begin empty, at LSN 0. `hot_bytes` is the budget of entries kept from tables."""
        self.active = MemTable({}, 0, 0)
        self.frozen: tuple[MemTable, ...] = ()
        self.tables: tuple[Table, ...] = ()
        self.hot = HotValues(hot_bytes)
        self._clock = clock
        self._lock = threading.Lock()
        self.applying: tuple[Sequence[Mutations], int, int] | None = None
        self._fold_began_s = 0.0
        self.unfolded_since_s: float | None = None

    def load(
        self, entries: dict[bytes, bytes | None], tables: tuple[Table, ...], *, lsn: int, payload_bytes: int
    ) -> None:
        """Begin with what recovery gave. Before anybody else knows these layers."""
        self.active = MemTable(entries, lsn, payload_bytes)
        self.tables = tables
        self.unfolded_since_s = self._clock.monotonic_s() if entries else None

    @property
    def lsn(self) -> int:
        """The last record that is visible."""
        return self.active.last_lsn

    @property
    def unfolded_bytes(self) -> int:
        """About how much memory the entries of memtables take, not counting what Python adds."""
        return self.active.payload_bytes + sum(memtable.payload_bytes for memtable in self.frozen)

    @property
    def waiting_bytes(self) -> int:
        """What of `unfolded_bytes` no fold is working on."""
        return sum(memtable.payload_bytes for memtable in (self.active, *self.frozen) if not memtable.folding)

    # Reads

    def get(self, key: bytes) -> bytes | Absent | None:
        """Return a key's newest encoded value, None if it was deleted, ABSENT if nothing speaks of it."""
        value = self.active.entries.get(key, ABSENT)
        if value is not ABSENT:
            return value
        return self.get_below(key)

    def get_below(self, key: bytes) -> bytes | Absent | None:
        """`get` for a key that the active memtable doesn't hold."""
        # `frozen` before `tables`: the other way round, a fold in between could hide an entry.
        for memtable in self.frozen:
            value = memtable.entries.get(key, ABSENT)
            if value is not ABSENT:
                return value
        tables = self.tables
        try:
            for table in tables:
                found = table.get(key)
                if found is not ABSENT:
                    return found
        except OSError as error:
            raise unreadable(error) from error
        return ABSENT

    def get_many(self, keys: list[bytes]) -> dict[bytes, bytes]:
        """Return the encoded values of those keys, given in order, that are there, all from one moment."""
        read = self._written(keys)
        if read is None:
            return self.freeze().get_many(keys)
        written, below = read
        found = below.get_many([key for key in keys if key not in written] if written else keys)
        found.update((key, value) for key, value in written.items() if value is not None)
        return found

    def _written(self, keys: list[bytes]) -> tuple[dict[bytes, bytes | None], Frozen] | None:
        """Return what the active memtable has of those keys, and what lay below it then; None if it changed meanwhile.

        Without a lock, and without freezing what would be merged again: who writes says so before, and how far after.
        """
        active = self.active
        lsn, entries = active.last_lsn, active.entries
        if not self._is_at_rest(active, lsn):
            return None
        written = {key: entries[key] for key in keys if key in entries}
        below = Frozen(lsn, self.frozen, self.tables)
        return (written, below) if self._is_at_rest(active, lsn) else None

    def _is_at_rest(self, active: MemTable, lsn: int) -> bool:
        return self.applying is None and self.active is active and active.last_lsn == lsn

    def get_in_memory(self, key: bytes) -> bytes | Absent | Unset | None:
        """`get` without touching a table: UNSET if only they can tell. For who mustn't wait for the disk."""
        value = self.active.entries.get(key, ABSENT)
        if value is not ABSENT:
            return value
        # In `get_below`'s order, for its reasons.
        for memtable in self.frozen:
            value = memtable.entries.get(key, ABSENT)
            if value is not ABSENT:
                return value
        return UNSET if self.tables else ABSENT

    # Writes, by the log's leader

    def apply(self, commits: list[Commit], last_lsn: int) -> None:
        """Make a group visible. Done again after an interruption, it does the same."""
        records = [commit.mutations for commit in commits]
        weight = sum(len(commit.payload) for commit in commits if commit.payload is not None)
        with self._lock:
            self.applying = (records, weight, last_lsn)
            self._apply(records, weight, last_lsn)

    def apply_one(self, mutations: Mutations, payload: bytes, lsn: int) -> None:
        """`apply` for a record that was alone: on the way of each put, so the loop and a call are spared."""
        weight, hot = len(payload), self.hot
        with self._lock:
            self.applying = ((mutations,), weight, lsn)
            if len(mutations) != 1 or self.unfolded_since_s is None:
                self._apply((mutations,), weight, lsn)
                return
            if hot.str_keys or hot.byte_keys or hot.int_keys:
                hot.drop(mutations)
            active = self.active
            ((key, value),) = mutations
            active.entries[key] = value
            active.payload_bytes += weight
            active.last_lsn = lsn
            self.applying = None

    def _finish_applying(self) -> None:
        """Do what an interrupted `apply` left undone."""
        if self.applying is not None:
            self._apply(*self.applying)

    def _apply(self, records: Sequence[Mutations], weight_bytes: int, last_lsn: int) -> None:
        active = self.active
        entries = active.entries
        hot = self.hot
        is_hot = hot.str_keys or hot.byte_keys or hot.int_keys
        for mutations in records:
            if is_hot:
                hot.drop(mutations)
            if len(mutations) == 1:
                key, value = mutations[0]
                entries[key] = value
            else:
                # One call, so that nobody sees half of a record.
                entries.update(mutations)
        active.payload_bytes += weight_bytes
        active.last_lsn = last_lsn
        if self.unfolded_since_s is None:
            self.unfolded_since_s = self._clock.monotonic_s()
        self.applying = None

    # Freezing

    def freeze(self) -> Frozen:
        """Return the state as it is now, for as long as it is wanted. O(1); never waits for a write.

        Small memtables that pile up are merged, each entry O(log n) times in all.
        """
        with self._lock:
            state = self._freeze()
        self._merge_small()
        return state

    def _freeze(self) -> Frozen:
        self._finish_applying()
        active = self.active
        if active.entries:
            # First below, then out of the way: a reader in between sees it twice, never not at all.
            self.frozen = (active, *self.frozen)
            self.active = MemTable({}, active.last_lsn, 0)
        return Frozen(active.last_lsn, self.frozen, self.tables)

    def written_since(self, state: Frozen) -> Iterator[tuple[bytes, bytes | None]] | None:
        """Yield at least every entry that was written since `state` was frozen, None if that can't be told any more.

        Under the log's leadership, so that nothing is written meanwhile.
        """
        with self._lock:
            self._finish_applying()
            memtables, tables = (self.active, *self.frozen), self.tables
        if tables != state.tables:
            return None
        newer = [memtable for memtable in memtables if memtable not in state.memtables]
        return (entry for memtable in newer for entry in memtable.entries.items())

    def _merge_small(self) -> None:
        """Merge the newest frozen memtable into its neighbour while they are of a size; who froze them keeps theirs."""
        while True:
            frozen = self.frozen
            if len(frozen) < 2 or frozen[0].folding or frozen[1].folding:
                return
            newer, older = frozen[0], frozen[1]
            if len(newer.entries) * 2 < len(older.entries):
                return
            merged = newer.merged_over(older)
            with self._lock:
                if self.frozen[:2] != (newer, older) or newer.folding or older.folding:
                    return
                self.frozen = (merged, *self.frozen[2:])

    # Folding

    def begin_fold(self) -> Frozen:
        """Freeze, and keep what is frozen apart from what comes, until `end_fold` or `abandon_fold`."""
        with self._lock:
            state = self._freeze()
            for memtable in state.memtables:
                memtable.folding = True
            self._fold_began_s = self._clock.monotonic_s()
            return state

    def end_fold(self, folded: Frozen, tables: tuple[Table, ...]) -> None:
        """Put the new tables in place of what was folded; from here on no reader comes to the old ones."""
        with self._lock:
            self.tables = tables
            self.frozen = tuple(memtable for memtable in self.frozen if memtable not in folded.memtables)
            # What came during the fold may be a little younger than this.
            self.unfolded_since_s = self._fold_began_s if self.frozen or self.active.entries else None

    def abandon_fold(self, folded: Frozen) -> None:
        """The fold failed: everything stays where it is."""
        with self._lock:
            for memtable in folded.memtables:
                memtable.folding = False
