"""A store against a dict: every verb, in any order, across crashes, on a disk that fails and fills up.

The model is a list of states, one for each LSN that was submitted. Whatever
happens to the machine, the store must come back as one of them: no older than
what was acknowledged as durable, no newer than what was submitted.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import journalkit
from journalkit.errors import ConflictError, JournalError, StorageError, StoreFullError, UsageError
from journalkit.format.keys import encode_key, prefix_bounds
from journalkit.recovery.look import look, require_manifest
from journalkit.recovery.replay import discard
from journalkit.snapshot.cache import BlockCache
from journalkit.testing import SimulatedClock, SimulatedDisk

STORE = "/store"
KEYS = ("a", "a\0", "ab", "b", b"x", 1, -300, ("t",), ("t", 1), ("t", "u"))
NAMES = ("orders/0", "orders/1")
FAULTS = ("sync_data", "pwrite", "sync", "create", "rename", "sync_directory", "unlink", "allocate", "open_read")

Changes = list[tuple[Any, Any]]

keys = st.sampled_from(KEYS)
# Large ones rotate the segments of 4096 bytes.
values = st.one_of(st.integers(0, 9), st.builds(lambda: "w" * 1500), st.binary(max_size=3), st.just([1, ("x",)]))
# Not "interval", which starts a thread: every run of an example has to be the same.
syncs = st.sampled_from(("always", "never", None))
changes = st.lists(st.tuples(keys, st.one_of(values, st.just(journalkit.ABSENT))), max_size=4)
offsets = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 99), max_size=2)


@dataclass
class State:
    """What a store holds after one record."""

    entries: dict[Any, Any] = field(default_factory=dict)
    offsets: dict[str, Any] = field(default_factory=dict)

    def after(self, changed: Changes, moved: dict[str, Any]) -> State:
        entries = dict(self.entries)
        for key, value in changed:
            if value is journalkit.ABSENT:
                entries.pop(key, None)
            else:
                entries[key] = value
        return State(entries, self.offsets | moved)

    def ordered(self) -> list[tuple[Any, Any]]:
        return sorted(self.entries.items(), key=lambda entry: encode_key(entry[0]))


class StoreMachine(RuleBasedStateMachine):
    """Steps of one program, its operating system and its power supply."""

    @initialize(
        sync=st.sampled_from(("always", "never")), keep=st.integers(1, 3), ratio=st.sampled_from((0, 0.5, 2, 1e9))
    )
    def begin(self, sync: Any, keep: int, ratio: float) -> None:
        self.options: dict[str, Any] = {
            "sync": sync, "keep_snapshots": keep, "compaction": "manual", "segment_bytes_max": 4096,
            "cache_bytes": 4096, "fold_bytes_min": 1, "fold_ratio": ratio,
        }  # fmt: skip
        self.clock = SimulatedClock(seed=1)
        self.disk = SimulatedDisk()
        self.frozen: list[tuple[journalkit.View, State]] = []
        self.running: list[tuple[Iterator[Any], list[Any]]] = []
        self.states = {0: State()}
        self.lsn = self.durable_lsn = 0
        # A record whose write failed may still be found by the next open.
        self.unsure: State | None = None
        self.store = self.open(self.disk)

    def open(self, disk: SimulatedDisk, **more: Any) -> journalkit.Store:
        return journalkit.open(STORE, fs=disk, clock=self.clock, **(self.options | more))

    @property
    def state(self) -> State:
        return self.states[self.lsn]

    # What is done to the store

    def commit(
        self,
        action: Callable[[], Any],
        changed: list[tuple[Any, Any]],
        moved: dict[str, Any],
        *,
        conflicts: bool = False,
    ) -> None:
        """Do what writes one record, and put its state into the model as its outcome says."""
        was_sound, before_lsn = not self.is_broken(), self.lsn
        try:
            action()
        except ConflictError:
            # Only if somebody else's record came between.
            assert conflicts
            assert self.lsn == before_lsn + 1
        except StoreFullError:
            assert self.store.lsn == self.lsn
        except StorageError:
            if was_sound and self.unsure is None:
                self.unsure = self.state.after(changed, moved)
        else:
            assert not (conflicts and self.lsn > before_lsn)
            after = self.state.after(changed, moved)
            self.lsn += 1
            self.states[self.lsn] = after
            assert self.store.lsn == self.lsn
            self.durable_lsn = max(self.durable_lsn, self.store.durable_lsn)

    @rule(key=keys, value=values, sync=syncs)
    def put(self, key: Any, value: Any, sync: Any) -> None:
        def action() -> None:
            lsn = self.store.put(key, value, sync=sync)
            assert lsn == self.lsn + 1
            if (sync or self.options["sync"]) == "always":
                assert self.store.durable_lsn >= lsn

        self.commit(action, [(key, value)], {})

    @rule(key=keys, sync=syncs)
    def delete(self, key: Any, sync: Any) -> None:
        self.commit(lambda: self.store.delete(key, sync=sync), [(key, journalkit.ABSENT)], {})

    @rule(key=keys)
    def delete_statement(self, key: Any) -> None:
        if key in self.state.entries:
            self.commit(lambda: self.store.__delitem__(key), [(key, journalkit.ABSENT)], {})
        elif not self.is_broken():
            with pytest.raises((KeyError, StorageError)):
                del self.store[key]

    @rule(changed=changes, moved=offsets)
    def write(self, changed: Changes, moved: dict[str, Any]) -> None:
        batch = journalkit.Batch()
        for key, value in changed:
            if value is journalkit.ABSENT:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.offsets.update(moved)
        if len(batch):
            self.commit(lambda: self.store.write(batch), changed, moved)

    @rule(key=keys, value=values, right=st.booleans())
    def put_if(self, key: Any, value: Any, right: bool) -> None:
        current = self.state.entries.get(key, journalkit.ABSENT)
        if right:
            self.commit(lambda: self.store.put(key, value, expect=current), [(key, value)], {})
        elif not self.is_broken():
            # Before it is refused it may be its lot to rotate, and to fail in that.
            with pytest.raises((ConflictError, StorageError)):
                self.store.put(key, value, expect="another")

    @rule(key=keys)
    def pop(self, key: Any) -> None:
        expected = self.state.entries.get(key, journalkit.ABSENT)

        def action() -> None:
            assert self.store.pop(key, None) == expected

        if expected is not journalkit.ABSENT:
            self.commit(action, [(key, journalkit.ABSENT)], {})

    @rule()
    def popitem(self) -> None:
        if self.state.entries:
            last = self.state.ordered()[-1]

            def action() -> None:
                assert self.store.popitem() == last

            self.commit(action, [(last[0], journalkit.ABSENT)], {})

    @rule()
    def clear(self) -> None:
        if self.state.entries:
            self.commit(self.store.clear, [(key, journalkit.ABSENT) for key in self.state.entries], {})

    @rule(
        changed=changes, moved=offsets, reads=st.lists(keys, max_size=2),
        overtaken=st.booleans(), ends=st.sampled_from(("commit", "raise")),
    )  # fmt: skip
    def transact(self, changed: Any, moved: Any, reads: Any, overtaken: bool, ends: str) -> None:
        if self.is_broken():
            return
        before = self.state

        def action() -> None:
            with self.store.transaction() as tx:
                for key in reads:
                    assert tx.get(key, "absent") == before.entries.get(key, "absent")
                for key, value in changed:
                    if value is journalkit.ABSENT:
                        tx.delete(key)
                    else:
                        tx[key] = value
                for name, position in moved.items():
                    tx.offsets[name] = position
                if overtaken:
                    with ThreadPoolExecutor(1) as other:
                        other.submit(self.put, "b", 7, "never").result()
                if reads:
                    mine = before.after(changed, moved)
                    assert dict(tx) == mine.entries
                    assert dict(tx.offsets) == mine.offsets
                if ends == "raise":
                    raise LookupError

        if ends == "raise":
            with pytest.raises(LookupError):
                action()
        elif changed or moved:
            self.commit(action, changed, moved, conflicts=bool(reads))
        else:
            action()

    def is_broken(self) -> bool:
        return self.store._engine.writing.opened.log.failure is not None

    @rule()
    def sync(self) -> None:
        with contextlib.suppress(StorageError, StoreFullError):
            assert self.store.sync() == self.lsn == self.store.durable_lsn
            self.durable_lsn = self.lsn

    @rule(full=st.booleans())
    def compact(self, full: bool) -> None:
        with contextlib.suppress(StorageError, StoreFullError):
            self.store.compact(full=full)
            assert self.store.snapshot_lsn == self.lsn
        self.durable_lsn = max(self.durable_lsn, self.store.durable_lsn)

    @rule()
    def let_the_compactor_step(self) -> None:
        self.clock.advance(4000)
        self.store._engine.writing.compactor.step()
        self.durable_lsn = max(self.durable_lsn, self.store.durable_lsn)

    # What is seen of it

    @rule(
        start=st.none() | keys, stop=st.none() | keys, prefix=st.none() | st.sampled_from(("a", b"", ("t",), "")),
        reverse=st.booleans(), limit=st.none() | st.integers(0, 3), later=st.booleans(),
    )  # fmt: skip
    def scan(self, start: Any, stop: Any, prefix: Any, reverse: bool, limit: Any, later: bool) -> None:
        low, high = prefix_bounds(prefix) if prefix is not None else (b"", None)
        expected = [
            entry
            for entry in self.state.ordered()
            if low <= encode_key(entry[0])
            and (high is None or encode_key(entry[0]) < high)
            and (start is None or encode_key(entry[0]) >= encode_key(start))
            and (stop is None or encode_key(entry[0]) < encode_key(stop))
        ]
        found = self.store.scan(start, stop, prefix=prefix, reverse=reverse, limit=limit)
        self.running.append((found, (expected[::-1] if reverse else expected)[:limit]))
        if not later:
            self.finish_scan()

    @precondition(lambda self: self.running)
    @rule()
    def finish_scan(self) -> None:
        found, expected = self.running.pop()
        assert list(found) == expected

    @rule()
    def take_view(self) -> None:
        self.frozen.append((self.store.view(), self.state))

    @precondition(lambda self: self.frozen)
    @rule()
    def look_at_view(self) -> None:
        view, state = self.frozen.pop(0)
        with view:
            assert list(view.items()) == state.ordered()
            assert dict(view.offsets) == state.offsets

    @rule(key=keys)
    def get(self, key: Any) -> None:
        assert self.store.get(key, "absent") == self.state.entries.get(key, "absent")

    @rule()
    def read_from_another_process(self) -> None:
        count = self.disk.operation_count
        with contextlib.suppress(StorageError), self.open(self.disk, mode="r") as reader:
            seen = State(dict(reader), dict(reader.offsets))
            assert seen in ([self.state] if self.unsure is None else [self.state, self.unsure])
            assert self.durable_lsn <= reader.durable_lsn <= reader.lsn
            with pytest.raises(UsageError):
                reader["a"] = 1
        assert self.disk.operation_count == count

    # What happens to the machine

    @rule(operation=st.sampled_from(FAULTS), nth=st.integers(1, 3), error=st.sampled_from((errno.EIO, errno.ENOSPC)))
    def break_disk(self, operation: str, nth: int, error: int) -> None:
        self.disk.fail(operation, nth, error)

    @rule(free_bytes=st.integers(0, 3000))
    def fill_disk(self, free_bytes: int) -> None:
        self.disk.capacity_bytes = None
        used = sum(len(self.disk.read_bytes(f"{STORE}/{name}")) for name in self.disk.list(STORE) if "." in name)
        self.disk.capacity_bytes = used + (256 + 4) * 1024 + free_bytes

    @rule()
    def free_disk(self) -> None:
        self.disk.capacity_bytes = None

    @rule()
    def reopen(self) -> None:
        with contextlib.suppress(StorageError, StoreFullError):
            self.store.close()
            self.durable_lsn = self.lsn
        self.come_back(self.disk.process_crash(), least=self.lsn)

    @rule()
    def kill_process(self) -> None:
        self.come_back(self.disk.process_crash(), least=self.lsn)

    @rule(seed=st.one_of(st.just("none"), st.just("all"), st.integers(0, 1000)))
    def cut_power(self, seed: Any) -> None:
        self.come_back(self.disk.crash(seed), least=self.durable_lsn)

    def come_back(self, disk: SimulatedDisk, *, least: int) -> None:
        """Open what is left; the store is as it was after one of the records that may have survived."""
        failed = self.is_broken() or self.unsure is not None
        with contextlib.suppress(JournalError):
            self.store.close()
        self.running.clear()
        self.disk = disk
        disk.capacity_bytes = None
        durable_lsn = self.durable_lsn
        least = durable_lsn if failed else least
        if self.unsure is not None:
            self.states[self.lsn + 1] = self.unsure
        self.store = self.open(disk)
        lsn = self.store.recovery_report.last_lsn
        assert least <= lsn <= max(self.states)
        assert self.store.lsn >= max(lsn, durable_lsn)
        self.lsn = self.durable_lsn = self.store.lsn
        self.states = {self.lsn: self.states[lsn]}
        self.unsure = None
        assert State(dict(self.store), dict(self.store.offsets)) == self.state
        manifest = require_manifest(disk, STORE)
        assert look(disk, STORE, manifest, BlockCache(0), discard, deep=True).plan.damage == ()

    @invariant()
    def ladder(self) -> None:
        if hasattr(self, "store"):
            store = self.store
            assert store.pruned_lsn <= store.snapshot_lsn <= store.durable_lsn <= store.lsn == self.lsn
            assert store.durable_lsn >= self.durable_lsn

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.disk.capacity_bytes = None
            with contextlib.suppress(StorageError):
                self.store.check()
            with contextlib.suppress(JournalError):
                self.store.close()


TestStore = StoreMachine.TestCase
# A few steps at a time find little: this takes about ten seconds, and under the nightly profile many minutes.
TestStore.settings = settings(max_examples=3 * settings().max_examples, stateful_step_count=40)
