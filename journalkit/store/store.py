"""The store: a durable, ordered mapping.

Every write is one record of the log and visible once it is what it was asked
to be; every read sees a prefix of the log. The mapping protocol behaves as
`dict` does, except that keys are in order, values are copies, and iterators
see the store as it was when they were made.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, cast
from weakref import ref

from journalkit.errors import JournalError, UsageError
from journalkit.format.batch import ENTRY, ENTRY_BYTES, encode_items
from journalkit.format.codec import CborCodec, codec_named
from journalkit.format.frame import PAYLOAD_BYTES_MAX, Kind
from journalkit.format.keys import encode_key
from journalkit.log.gate import Gate, Made
from journalkit.log.log import Log
from journalkit.options import check_sync
from journalkit.recovery.report import RecoveryReport
from journalkit.runtime.handle import Handle
from journalkit.snapshot.batches import FIRST_ENTRIES, Batches
from journalkit.store.batch import Batch
from journalkit.store.checks import Check, Checks, MissingKeyError
from journalkit.store.engine import Engine, Writing
from journalkit.store.failures import unreadable
from journalkit.store.lane import lane_of
from journalkit.store.layers import Frozen
from journalkit.store.moment import Moment, Momentary
from journalkit.store.points import PointReads
from journalkit.store.reading import OFFSETS_RANGE, Decoder, offset_key
from journalkit.store.records import check_batch, made_of, pairs_of, too_large
from journalkit.store.statistics import StoreStatistics, gather
from journalkit.store.transaction import Transaction
from journalkit.store.updates import AtomicUpdates
from journalkit.store.view import View
from journalkit.types import ABSENT, UNSET, Absent, Key, Lsn, Sync, Unset, Value

# What a put has no time to look up: a member of an enum costs 70 ns, and as much a call of `encode_one`.
_BATCH: Final = int(Kind.BATCH)
_pack_entry: Final = ENTRY.pack


class Store(Handle, PointReads, AtomicUpdates, Momentary):
    """A durable, ordered mapping; open one with `journalkit.open`. Any thread may call anything.

    Use it as a context manager, or `close` it. Under the default
    `sync="always"`, a write that returned survives a power cut.
    """

    def __init__(self, engine: Engine, *, name: str, opened_at: str) -> None:
        """Use `journalkit.open`."""
        writing = engine.writing
        codec = codec_named(engine.manifest().codec)
        self._engine = engine
        self._begin_points(engine.layers, codec)
        self._clock = engine.clock
        self._log: Log | None = writing.opened.log if writing else None
        self._codec = codec
        self._encode_value = codec.encode
        self._offset_codec = CborCodec()
        self._values = Decoder(codec, engine.path)
        self._offset_values = Decoder(self._offset_codec, engine.path)
        self._checks = Checks(engine.layers, self._values)
        # Weakly: one whose block an interrupt kept from beginning, or from ending, holds its thread up no longer than
        # somebody has it.
        self._transactions: dict[int, ref[Transaction]] = {}
        super().__init__(name, engine.options, writing.opened if writing else None, opened_at)
        self._put_alone = (
            lane_of(self._log, self._gate, engine.layers, codec, engine.clock, durable=self._default_durable)
            if self._log is not None and self._gate is not None
            else None
        )
        if writing:
            self._rests.append(writing.compactor.rest)

    # Where it stands

    @property
    def uuid(self) -> str:
        """The store's identity, 32 hexadecimal digits; copies share it."""
        return self._engine.manifest().store.hex()

    @property
    def epoch(self) -> int:
        """How often the store was opened for writing."""
        return self._engine.manifest().epoch

    @property
    def lsn(self) -> Lsn:
        """The last record that is visible; 0 if there is none."""
        return self._layers.lsn

    @property
    def durable_lsn(self) -> Lsn:
        """The last record that is known to survive a power cut."""
        return self._log.durable_lsn if self._log is not None else self._engine.seen_durable_lsn

    @property
    def snapshot_lsn(self) -> Lsn:
        """The record up to which the newest snapshot reaches; 0 if there is none."""
        snapshots = self._engine.manifest().snapshots
        return snapshots[0].lsn if snapshots else 0

    @property
    def pruned_lsn(self) -> Lsn:
        """The last record that is gone from the log; 0 if none is."""
        return self._engine.manifest().pruned_lsn

    @property
    def recovery_report(self) -> RecoveryReport:
        """What opening found and did; its `str` is one line."""
        return self._engine.report

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What was given as `metadata` when the store was created: a copy."""
        return MappingProxyType(copy.deepcopy(dict(self._engine.manifest().metadata)))

    @property
    def offsets(self) -> Mapping[str, Value]:
        """Input positions by name: a copy, read-only. They are written in transactions and batches. O(offsets)."""
        return MappingProxyType(self._offset_values.offsets(self._freeze().batches(*OFFSETS_RANGE)))

    # Reads

    def view(self) -> View:
        """Return the store as it is now, as a read-only mapping that doesn't change. O(1)."""
        moment = self.moment()
        return View(moment.state, moment.manifest, self._values, self._offset_values)

    def moment(self) -> Moment:
        """Return the state as it is now, with what the store is. For journalkit's own layers."""
        state = self._freeze()
        return Moment(state, self._engine.manifest())  # in this order: a table is named before it is read

    def _batches(
        self, start: bytes | None, stop: bytes | None, *, reverse: bool = False, first_entries: int = FIRST_ENTRIES
    ) -> Batches:
        return self._freeze().batches(start, stop, reverse=reverse, first_entries=first_entries)

    def _encoded_many(self, encoded_keys: list[bytes]) -> dict[bytes, bytes]:
        self._require_open()
        return self._layers.get_many(encoded_keys)

    def _freeze(self) -> Frozen:
        self._require_open()
        return self._layers.freeze()

    # Writes

    def put(self, key: Key, value: Value, *, sync: Sync | None = None, expect: Value | Absent | Unset = UNSET) -> Lsn:
        """Set one key and return the record's log sequence number.

        Args:
            key: bytes, str, int, or a tuple of these.
            value: Anything that comes back equal and of the same types.
            sync: What this write's acknowledgement means, instead of the store's default.
            expect: Write only if the key has this value now, or `ABSENT`: only if it has none.

        Durability:
            Under "always" the record survives a power cut once this returns;
            under "interval" and "never" a process crash, and a power cut once
            `durable_lsn` reaches the returned LSN.

        Raises:
            UsageError: The key or value can't be stored. Nothing was written.
            ConflictError: The key's value isn't what was expected. Nothing was written.
            StoreFullError: No room. Nothing was written; the handle stays usable.
            FencedError: A newer writer opened this store. Nothing was written.
            StorageError: Whether the record survived is unknown until the store
                is reopened; this handle takes no more writes.

        Complexity:
            O(len(value)); one fsync, shared with concurrent commits.
        """
        gate = self._gate
        if gate is None or self._refusal is not None or self._transactions:
            gate = self._require_gate()
        put_alone = self._put_alone
        if put_alone is not None and sync is None and expect is UNSET:
            lsn = put_alone(key, value)
            if lsn is not None:
                return lsn
        encoded_key = encode_key(key)
        check = None if expect is UNSET else self._checks.expected(key, encoded_key, expect)
        durable = self._default_durable if sync is None else self._durable(sync)
        return gate.append(self._entry, (encoded_key, value), _BATCH, durable, check)

    def _set(self, encoded_key: bytes, value: Value, check: Check) -> Lsn:
        return self._require_gate().append(self._entry, (encoded_key, value), _BATCH, self._default_durable, check)

    def _entry(self, encoded_key: bytes, value: Value) -> Made:
        encoded = self._encode_value(value)
        if len(encoded) > PAYLOAD_BYTES_MAX:  # before it is copied; the log looks at all of the record
            raise too_large(len(encoded_key) + len(encoded) + ENTRY_BYTES)
        return _pack_entry(len(encoded_key), len(encoded)) + encoded_key + encoded, ((encoded_key, encoded),)

    def __setitem__(self, key: Key, value: Value) -> None:
        self.put(key, value)

    def delete(self, key: Key, *, sync: Sync | None = None, expect: Value | Unset = UNSET) -> Lsn:
        """Remove one key, whether it is there or not, and return the record's LSN. Otherwise as `put`."""
        encoded_key = encode_key(key)
        check = None if expect is UNSET else self._checks.expected(key, encoded_key, expect)
        return self._commit([(encoded_key, None)], sync, check)

    def __delitem__(self, key: Key) -> None:
        encoded_key = encode_key(key)

        try:
            self._commit([(encoded_key, None)], None, self._checks.exists(encoded_key))
        except MissingKeyError:
            raise KeyError(key) from None

    def write(self, batch: Batch, *, sync: Sync | None = None) -> Lsn:
        """Commit a batch as one record and return its LSN. All of it or nothing; otherwise as `put`.

        An empty batch writes nothing and returns the current LSN.
        """
        check_batch(batch)
        gate, durable = self._require_gate(), self._durable(sync)
        if not batch.changes and not batch.offsets:
            return self.lsn
        return gate.append(self._batch, (batch,), _BATCH, durable)

    def update(  # type: ignore[override]  # one signature for what the base spells as six overloads
        self, other: Mapping[Any, Value] | Iterable[tuple[Any, Value]] = (), /, **more: Value
    ) -> None:
        """Set several keys in one record: all or nothing."""
        pairs = pairs_of(other, more)
        gate = self._require_gate()
        if pairs:
            gate.append(self._pairs, (pairs,), _BATCH, self._default_durable)

    def commit_read(
        self, mutations: list[tuple[bytes, bytes | None]], sync: Sync | None, read_at_lsn: Lsn | None
    ) -> Lsn:
        """Append encoded mutations as one record, unless one came behind `read_at_lsn`. For `Transaction`."""
        check = self._checks.nothing_since(read_at_lsn) if read_at_lsn is not None else None
        return self._commit(mutations, sync, check)

    def _commit(self, mutations: list[tuple[bytes, bytes | None]], sync: Sync | None, check: Check | None) -> Lsn:
        gate, durable = self._require_gate(), self._durable(sync)
        if not mutations:
            return self.lsn
        return gate.append(made_of, (mutations,), _BATCH, durable, check)

    def _batch(self, batch: Batch) -> Made:
        return made_of(self._mutations_of(batch))

    def _pairs(self, pairs: list[tuple[Key, Value]]) -> Made:
        return made_of(self._mutations_of_pairs(pairs))

    def _mutations_of(self, batch: Batch) -> list[tuple[bytes, bytes | None]]:
        encode = self._encode_value
        mutations: list[tuple[bytes, bytes | None]] = [
            (encode_key(key), None if value is ABSENT else encode(value)) for key, value in batch.changes
        ]
        for name, position in batch.offsets.items():
            mutations.append((offset_key(name), self._offset_codec.encode(position)))
        return mutations

    def _mutations_of_pairs(self, pairs: list[tuple[Key, Value]]) -> list[tuple[bytes, bytes | None]]:
        return encode_items(pairs, self._codec)

    def transaction(self, *, sync: Sync | None = None) -> Transaction:
        """Return a transaction, to be used in a `with` block: one record, all or nothing.

        It reads the store as it was at its first read, and its own writes. An
        exception rolls it back.

        Raises:
            ConflictError: At the end of the block: it read something, and
                somebody committed since. Nothing was written; run it again.
            UsageError: This thread is in a transaction of this store already.
        """
        self._require_writable()
        if sync is not None:
            check_sync(sync)
        return Transaction(self, self._codec, self._offset_codec, self._values, self._offset_values, sync)

    def begin(self, transaction: Transaction) -> None:
        """Note this thread's transaction. For `Transaction`."""
        self._require_writable()
        self._transactions[threading.get_ident()] = ref(transaction)

    def end(self, transaction: Transaction) -> None:
        """Forget this thread's transaction. For `Transaction`."""
        ident = transaction.thread.ident or 0
        noted = self._transactions.get(ident)
        if noted is not None and noted() is transaction:
            del self._transactions[ident]

    def freeze(self) -> Frozen:
        """Return the state as it is now, encoded. For journalkit's own layers."""
        return self._freeze()

    # Upkeep

    def compact(self, *, full: bool = False) -> None:
        """Fold the log into a new snapshot now, and prune what is no longer needed.

        Usually that writes what changed, and now and then merges it with what
        was written before. `full` merges everything into one table, so that
        nothing stays of what was deleted or overwritten, once the snapshots
        before it are given up.

        Durability:
            The snapshot survives a power cut once this returns.

        Raises:
            StoreFullError: No room for the new snapshot. The state is as it was.
            CorruptionError: A block underneath is damaged. The state is as it was.
            StorageError: The handle takes no more writes; reads go on.

        Complexity:
            O(what changed), amortised times the logarithm of the state's size; O(state) if `full`.
        """
        self._require_writable()
        cast(Writing, self._engine.writing).compactor.compact(full=full)

    def check(self) -> None:
        """Read every byte of the newest snapshot again and check what must always hold; return if all is well.

        Raises:
            CorruptionError: A block is damaged.
            StorageError: It can't be read.
            JournalError: LSNs are out of order: a bug in journalkit.
        """
        state = self._freeze()
        try:
            for table in state.tables:
                table.verify()
        except OSError as error:
            raise unreadable(error) from error
        # In this order: each may grow meanwhile, and none beyond one that is read after it.
        manifest = self._engine.manifest()
        snapshot_lsn = manifest.snapshots[0].lsn if manifest.snapshots else 0
        ladder = (manifest.pruned_lsn, snapshot_lsn, self.durable_lsn, self.lsn)
        if list(ladder) != sorted(ladder):
            raise JournalError(
                f"{self.path}: LSNs are out of order: pruned, snapshot, durable, visible = {ladder}; "
                "this is a bug in journalkit, please report it"
            )

    def statistics(self) -> StoreStatistics:
        """Return counts and sizes. O(segments)."""
        return gather(self._engine)

    def __repr__(self) -> str:
        if self.closed:
            return f"<journalkit.Store {self.path!r}, closed>"
        mode = "rw" if self._log is not None else "r"
        return f"<journalkit.Store {self.path!r}, mode {mode!r}, LSN {self.lsn}, durable to {self.durable_lsn}>"

    def _start_threads(self) -> None:
        super()._start_threads()
        if self._engine.writing is not None and self._options.compaction != "manual":
            self._run(self._engine.writing.compactor, "journalkit-compactor")

    # Guards

    def _before_release(self) -> None:
        if self._engine.writing is not None:
            self._engine.writing.compactor.cancel()

    def _require_writable(self) -> None:
        self._require_log()
        ident = threading.get_ident()
        noted = self._transactions.get(ident)
        if noted is not None:
            transaction = noted()
            if transaction is not None and transaction._is_open and transaction.thread is threading.current_thread():
                raise UsageError("this thread is in a transaction of this store; write through the transaction")
            # Its thread ended inside it, and this one was given its number; or it was interrupted at its very ends.
            del self._transactions[ident]

    def _require_gate(self) -> Gate:
        self._require_writable()
        return cast(Gate, self._gate)
