"""Stores in states: a save reads and writes what is new, in memory for some chunks."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

import journalkit
from journalkit.checkpoint import stores, streams
from journalkit.checkpoint.stores import captured
from journalkit.checkpoint.streams import PIECE_BYTES, Remembered, Stream, in_pieces
from journalkit.format import names
from journalkit.store.layers import Frozen
from journalkit.store.memtable import MemTable
from tests.unit.checkpoint.conftest import Place
from tests.unit.checkpoint.stored import MANUAL, contents, fill, restored

# -- what is written -------------------------------------------------------------------------------


class Reads:
    """Counts what is read of tables, and how much is written of packs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tables = 0
        pieces = stores.TableStream.pieces

        def counted(stream: stores.TableStream) -> Iterator[memoryview]:
            self.tables += 1
            return pieces(stream)

        monkeypatch.setattr(stores.TableStream, "pieces", counted)


def pack_bytes(place: Place, save: int) -> int:
    """Return how long a save's pack is, 0 if it wrote none."""
    return len(place.bucket.contents().get(names.pack_key(1, save, 0), b""))


@pytest.mark.parametrize("is_async", [False, True])
def test_a_save_reads_and_writes_what_is_new(place: Place, monkeypatch: pytest.MonkeyPatch, is_async: bool) -> None:
    """One per cent more is about one per cent to write, whatever the store has; and if nothing is new, nothing."""
    reads = Reads(monkeypatch)
    job = place.open()

    def save(store: journalkit.Store) -> None:
        if is_async:
            job.save_async({"db": store}).wait()
        else:
            job.save({"db": store})

    with journalkit.open("memory://", fold_ratio=1e9, **MANUAL) as store:
        fill(store, 0, 10_000)
        store.compact()
        save(store)
        assert (pack_bytes(place, 1) > 3_000_000, reads.tables) == (True, 1)
        save(store)
        assert (pack_bytes(place, 2), reads.tables) == (0, 1)
        fill(store, 500, 600)
        save(store)
        assert 30_000 < pack_bytes(place, 3) < 45_000
        save(store)
        assert (pack_bytes(place, 4), reads.tables) == (0, 1)
        store.compact()
        save(store)
        assert pack_bytes(place, 5) < 45_000
        assert reads.tables == 2
        job.save("no store")
        save(store)
        assert reads.tables == 4
        assert restored(next(iter(job)).load()["db"]) == contents(store)


def test_what_the_newest_checkpoint_lacks_is_read_and_written_anew(
    place: Place, store: journalkit.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered of a table says what it is, not that it is there: another place's copy came in between."""
    reads = Reads(monkeypatch)
    job = place.open()
    job.save({"db": store})
    with journalkit.open_checkpoints("memory://") as other:
        job.copy_from(other.save("nothing of it"))
    before = reads.tables
    last = job.save({"db": store})
    assert reads.tables == before + 2
    assert restored(last.load()["db"]) == contents(store)
    assert last.verify() == []


def test_the_bytes_of_a_large_store_are_never_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Piece by piece, and a piece is given up once it is written."""
    with journalkit.open("memory://", **MANUAL) as store:
        store.update({key: Random(key).randbytes(100_000) for key in range(80)})
        found = captured(store, Remembered(), "state")
        assert found is not None
        [stream] = found[1]
        sizes = [len(piece) for piece in stream.pieces()]
        assert sizes[:-1] == [PIECE_BYTES] * (len(sizes) - 1)
        assert 8_000_000 < stream.size_bytes < sum(sizes) < 8_020_000
        most = 0
        taken = stores._Outlet.taken

        def looked(outlet: stores._Outlet) -> list[bytes]:
            nonlocal most
            given = taken(outlet)
            most = max(most, sum(map(len, given)))
            return given

        monkeypatch.setattr(stores._Outlet, "taken", looked)
        monkeypatch.setattr(stores, "_RUN_ENTRIES", 4)
        assert [len(piece) for piece in stream.pieces()] == sizes
        assert most < 2 * PIECE_BYTES


def test_saving_and_restoring_take_memory_for_some_chunks(tmp_path: Path) -> None:
    """A store may be larger than memory: what is held is what is under way."""
    with (
        journalkit.open(tmp_path / "state", sync="never", **MANUAL) as store,
        journalkit.open_checkpoints(tmp_path / "job", threads=0) as job,
    ):
        for number in range(64):
            store.put(number, Random(number).randbytes(1 << 20))
        store.compact()
        tracemalloc.start()
        try:
            checkpoint = job.save({"db": store})
            saved_peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            again = checkpoint.load(lazy=True)["db"].restore(tmp_path / "new", **MANUAL)
            restored_peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        with again:
            assert again[63] == store[63]
    assert checkpoint.size_bytes > 64 << 20
    assert saved_peak < 16 << 20
    assert restored_peak < 48 << 20


def test_progress_ends_with_all_of_it(place: Place, store: journalkit.Store) -> None:
    """How much of a store isn't in tables yet can only be guessed before."""
    told: list[tuple[int, int]] = []
    job = place.open()
    checkpoint = job.save(store, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (checkpoint.size_bytes,) * 2
    assert 0 < abs(told[0][1] - checkpoint.size_bytes) < 5000


def test_the_same_changes_are_the_same_bytes_and_others_are_others() -> None:
    """A save of what hasn't changed writes nothing; two tables of one number and LSN aren't taken for each other."""

    def table(entries: dict[bytes, bytes | None]) -> bytes:
        frozen = Frozen(9, (MemTable(entries, 9, 0),), ())
        return b"".join(stores.ChangesStream(frozen, bytes(16), 3).pieces())

    one = {b"a": b"1", b"b": None, b"c": b"2"}
    assert table(one) == table(dict(reversed(one.items())))
    assert table(one) != table({**one, b"c": b"3"})
    assert table({b"a": b""})[:32] != table({b"a": None})[:32]


def test_pieces_are_of_one_length_however_bytes_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the same table would be cut otherwise from one save to the next."""
    monkeypatch.setattr(streams, "PIECE_BYTES", 10)
    data = bytes(range(256))
    for cuts in ([], [3, 10, 11], [100, 200], [256], range(0, 256, 7)):
        places = [0, *cuts, 256]
        parts = [data[start:stop] for start, stop in itertools.pairwise(places)]
        assert list(map(bytes, in_pieces(parts))) == [data[at : at + 10] for at in range(0, 256, 10)]
    assert list(in_pieces([b"", b""])) == []


def test_a_plain_stream_knows_nothing_and_learns_nothing() -> None:
    """What can't be the same twice needs no memory."""

    class Once(Stream):
        size_bytes = 1

        def pieces(self) -> Iterator[memoryview]:
            yield memoryview(b"x")

    once = Once()
    once.learn("sha256", [(b"", 1)])
    assert once.digests("sha256") is None
