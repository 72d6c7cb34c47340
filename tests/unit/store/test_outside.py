"""Folds whose merging is another's: what is told and heard, what is believed, and when one does without."""

from __future__ import annotations

import errno
import io
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import journalkit
from journalkit.errors import CorruptionError, StorageError, StoreFullError, UnsupportedFormatError
from journalkit.format.table import TableInfo
from journalkit.runtime import talk
from journalkit.store import fold_words, outside
from journalkit.store.fold_words import Job
from journalkit.store.memtable import MemTable
from journalkit.store.outside import Outside
from journalkit.testing import SimulatedClock, SimulatedDisk
from journalkit.testing.children import InlineChild

KEYS = [b"a", b"b", b"c", b"d" * 20]
INFO = TableInfo(number=7, size_bytes=300, entry_count=2, footer_crc=5, salt=9)
JOB = Job("/store", b"u" * 16, lsn=3, number=7, salt=9, tables=(INFO,), merged_count=1, bytes_per_s=None)


@settings(max_examples=60, deadline=None)
@given(memtables=st.lists(st.dictionaries(st.sampled_from(KEYS), st.none() | st.binary(max_size=20)), max_size=4))
def test_what_is_told_is_what_is_heard(memtables: list[dict[bytes, bytes | None]]) -> None:
    """A child knows of the state what it was told, the newest of each key."""
    said = b"".join(fold_words.told(JOB, tuple(MemTable(entries, 3, 0) for entries in memtables)))
    job, entries = fold_words.heard(io.BytesIO(said).read)
    assert job == JOB
    expected: dict[bytes, bytes | None] = {}
    for older in reversed(memtables):
        expected |= older
    assert entries == expected


def test_large_values_are_told_one_by_one() -> None:
    """A batch of them would be gigabytes, and its length over what a length can say."""
    large = {bytes([n]): b"x" * 700_000 for n in range(1, 5)}
    parts = list(fold_words.told(JOB, (MemTable({**large, b"gone": None}, 3, 0),)))
    assert max(map(len, parts)) < 800_000
    assert fold_words.heard(io.BytesIO(b"".join(parts)).read)[1] == {**large, b"gone": None}


def test_another_version_is_refused() -> None:
    """Its files were replaced while the program runs: it may not even mean the same."""
    said = b"".join(fold_words.told(replace(JOB, version="older"), ()))
    with pytest.raises(UnsupportedFormatError, match="was replaced by"):
        fold_words.heard(io.BytesIO(said).read)


@pytest.mark.parametrize(
    "error",
    [
        CorruptionError("a block is damaged", path="/store/table", offset_bytes=70),
        CorruptionError("a table is damaged", path="/store/table"),
        UnsupportedFormatError("too new"),
        OSError(errno.ENOSPC, "No space left on device", "/store/table"),
    ],
)
def test_a_childs_errors_are_raised_as_they_came(error: Exception) -> None:
    """A full disk in a child is a full disk, and corruption names its place."""
    words, rest = talk.lines(fold_words.failed(error))
    with pytest.raises(type(error)) as raised:
        fold_words.outcome(words[0])
    assert str(raised.value) == str(error)
    assert rest == b""


@pytest.mark.parametrize("error", [MemoryError("no more"), OSError("of no number"), StorageError("a store's")])
def test_any_other_error_is_the_childs(error: Exception) -> None:
    """Whatever it was, it is over, and another try is safe."""
    with pytest.raises(ChildProcessError, match=type(error).__name__):
        fold_words.outcome(talk.lines(fold_words.failed(error))[0][0])


def test_what_is_not_for_us_is_kept_apart() -> None:
    """Warnings come through the same pipe, and lines come in pieces."""
    said = b"a warning\n" + talk.begun() + fold_words.done(INFO)
    words, rest = talk.lines(said[:-1])
    assert (words, rest) == ([{"begun": True}], b"a warning\n" + fold_words.done(INFO)[:-1])
    words, rest = talk.lines(rest + b"\n")
    assert fold_words.outcome(words[0]) == INFO
    assert rest == b"a warning\n"


@pytest.mark.parametrize("seed", range(6))
def test_a_fold_by_a_child_writes_the_same_bytes(seed: int) -> None:
    """Deltas, merges of them and a new base, deletions and all: which process merges can't be seen in a file."""
    tables = []
    for is_outside in (False, True):
        chance, disk, clock = random.Random(seed), SimulatedDisk(), SimulatedClock(seed=seed)
        with journalkit.open(
            "/store", fs=disk, clock=clock, compaction="manual", fold_bytes_min=1, keep_snapshots=99,
            fold_ratio=chance.choice((0, 0.5, 9)),
        ) as store:  # fmt: skip
            if is_outside:
                store._engine.writing.compactor._outside = Outside(disk, clock)  # type: ignore[union-attr]
            for _ in range(6):
                store.update({chance.randrange(500): chance.randbytes(chance.randrange(99)) for _ in range(150)})
                for key in list(store)[:: chance.randrange(5, 50)]:
                    del store[key]
                store.compact()
                store.check()
            assert store.statistics().folds_outside == 6 * is_outside
        tables.append({name: disk.read_bytes(f"/store/{name}") for name in disk.list("/store") if "table" in name})
    assert tables[0] == tables[1]
    assert len(tables[0]) >= 6


class Unsynced:
    """A file system that syncs nothing, as a child whose syncs lie has it."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disk, name)

    def create(self, path: str) -> Any:
        file = self._disk.create(path)
        file.sync = file.sync_data = lambda: None  # type: ignore[method-assign]
        return file


class UnsyncedChildren:
    """A disk whose children don't sync."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk

    def start_child(self, _module: str) -> InlineChild:
        return InlineChild(Unsynced(self._disk))  # type: ignore[arg-type]


def test_a_table_is_made_durable_here_whatever_its_child_said(bench: Any) -> None:
    """The log is pruned on the word of who publishes, so it is who syncs."""
    store = bench.open(keep_snapshots=1)
    bench.fold_outside(store, UnsyncedChildren(bench.disk))
    store.update(dict.fromkeys(range(500), b"x" * 100))
    store.compact()
    after = bench.disk.crash("none")
    with journalkit.open("/store", fs=after, compaction="manual") as found:
        assert len(found) == 500
        assert found.snapshot_lsn == 1
        found.check()


def test_a_full_disk_in_a_child_is_a_full_disk(bench: Any) -> None:
    """Who folds is told how much was needed; nothing stays of the table, and the handle goes on."""
    store = bench.open()
    bench.fold_outside(store)
    store.update(dict.fromkeys(range(500), b"x" * 100))
    bench.disk.fail("pwrite", 1, errno.ENOSPC, times=2, path_contains=".jkt")
    with pytest.raises(StoreFullError, match="no room for"):
        store.compact()
    assert not [name for name in bench.disk.list("/store") if "jkt" in name]
    store.compact()
    store.check()
    assert store.statistics().folds_outside == 1


def test_damage_that_a_child_meets_names_its_place(bench: Any) -> None:
    """A fold never goes on over it, and whoever reads the error has to find it."""
    store = bench.open(fold_ratio=0)
    store.update(dict.fromkeys(range(500), b"x" * 100))
    store.compact()
    bench.fold_outside(store)
    (name,) = bench.names(".jkt")
    data = bytearray(bench.disk.read_bytes(f"/store/{name}"))
    data[100] ^= 1
    bench.disk.write_bytes(f"/store/{name}", bytes(data))
    store["more"] = 1
    with pytest.raises(CorruptionError) as raised:
        store.compact()
    assert raised.value.path.endswith(name)
    assert raised.value.offset_bytes is not None
    assert bench.names(".jkt") == [name]


class Scripted:
    """A child that says what it is told to, one thing at a time, and never ends by itself."""

    def __init__(self, *says: bytes | None) -> None:
        self.says = list(says)
        self.sent: list[bytes] = []
        self.is_ended = False

    def send(self, data: bytes, pause: Callable[[], None]) -> None:
        self.sent.append(data)

    def receive(self, timeout_s: float) -> bytes | None:
        return self.says.pop(0) if self.says else None

    def end(self) -> int | None:
        self.is_ended = True
        return None


class Starts:
    """A file system whose children are scripted."""

    def __init__(self, *children: Scripted) -> None:
        self.children = list(children)

    def start_child(self, module: str) -> Scripted:
        assert module == outside.MODULE
        return self.children.pop(0)


def merged(fs: Starts, clock: SimulatedClock, *, job: Job = JOB, is_urgent: bool = False) -> TableInfo | None:
    """Ask for a merge; each look at the child takes a second."""
    return Outside(fs, clock).merge(  # type: ignore[arg-type]
        job, (), pace=lambda: clock.advance(1), step=lambda: None, is_urgent=lambda: is_urgent
    )


def test_a_child_that_does_not_begin_is_given_up_after_a_while() -> None:
    """It hangs, or isn't what we think it is."""
    child, clock = Scripted(), SimulatedClock()
    assert merged(Starts(child), clock) is None
    assert child.is_ended
    assert clock.monotonic_s() >= outside.BEGIN_S


def test_a_child_that_says_something_else_is_none() -> None:
    """Another program may answer to that name."""
    child = Scripted(fold_words.done(INFO))
    assert merged(Starts(child), SimulatedClock()) is None


def test_a_limit_that_costs_too_much_is_lifted_once() -> None:
    """The child can't see how far the writers are ahead."""
    limited = replace(JOB, bytes_per_s=1000.0)
    child = Scripted(talk.begun(), None, None, fold_words.done(INFO))
    assert merged(Starts(child), SimulatedClock(), job=limited, is_urgent=True) == INFO
    assert child.sent[-1] == b"!"
    assert child.sent.count(b"!") == 1
    child = Scripted(talk.begun(), None, None, fold_words.done(INFO))
    assert merged(Starts(child), SimulatedClock(), job=limited) == INFO
    assert b"!" not in child.sent


def test_a_child_that_can_not_be_killed_is_told_so() -> None:
    """Its disk hangs, and it in the kernel: who folds goes on."""
    child = Scripted(talk.begun(), b"Traceback\nlast words\n", b"")
    with pytest.raises(ChildProcessError, match=r"can't be killed at the moment \(last words\)"):
        merged(Starts(child), SimulatedClock())


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    """Real-time signals have none."""
    child = Scripted(talk.begun(), b"")
    child.end = lambda: -40  # type: ignore[method-assign]
    with pytest.raises(ChildProcessError, match="was killed by signal 40"):
        merged(Starts(child), SimulatedClock())
