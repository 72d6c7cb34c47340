"""Compressed blocks: the same entries in fewer bytes, and nothing that a hostile block could ask for."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import journalkit
from journalkit.cli import main
from journalkit.errors import CorruptionError, UnsupportedFormatError, UsageError
from journalkit.format import compression
from journalkit.format.block import CRC_BYTES, Entry, block_checksum, block_length, encode_block, plain, run_of
from journalkit.format.compression import BODY_BYTES_MAX, HEAD, ZSTD, is_packed, packed, packed_length, unpacked
from journalkit.format.malformed import MalformedError, MissingLibraryError, NewerFormatError
from journalkit.format.table import COMPRESSED, VERSION, TableInfo, decode_header
from journalkit.fs.memory import MemoryFileSystem
from journalkit.recovery.salvage_tables import read_remains
from journalkit.snapshot import writer as writer_module
from journalkit.snapshot.cache import BlockCache
from journalkit.snapshot.merge import fold
from journalkit.snapshot.reader import Table
from journalkit.snapshot.writer import TableWriter
from journalkit.testing import SimulatedClock, SimulatedDisk

STORE = b"store-of-16-byte"
SALT = 0xCAFE_F00D
NAME = "table-0000000000000001.jkt"
BODY = b"the same again and again, " * 40


def entries(count: int = 400) -> list[Entry]:
    """Return entries of which some blocks get smaller, some don't, and one is large."""
    chance = Random(1)
    some: list[Entry] = []
    for number in range(count):
        value: bytes | None = b"repeated " * 9 if number // 40 % 2 else chance.randbytes(20 + number % 2 * 1500)
        some.append((b"\x40key:%06d" % number, None if number % 50 == 7 else value))
    some.append((b"\x40large", bytes(100_000)))
    return some


def written(
    fs: MemoryFileSystem, some: list[Entry], *, compress: bool = True, number: int = 1, base: Table | None = None
) -> TableInfo:
    """Write a table of small blocks, on top of another one's."""
    with TableWriter(
        fs, "/", number, store_uuid=STORE, lsn=number, salt=SALT, compress=compress, block_bytes=1024
    ) as writer:
        fold(writer, some, base, drop_tombstones=False)
        return writer.finish()


def opened(fs: MemoryFileSystem, info: TableInfo, *, cache_bytes: int = 0) -> Table:
    """Open a table."""
    return Table.open(fs, "/", info, STORE, BlockCache(cache_bytes))


def stored(table: Table) -> list[bytes]:
    """Return the data blocks as they stand in the file, without checksums."""
    return [table.source.read(block.entry)[:-CRC_BYTES] for block in table.blocks()]


# Bytes


@given(st.binary(max_size=200) | st.binary(min_size=1, max_size=4).map(lambda part: part * 200))
def test_what_stands_for_a_body_gives_it_back_and_is_never_longer(body: bytes) -> None:
    """Each block by itself is compressed or isn't, whichever is shorter."""
    body = b"\x0b\0\0\0" + body  # as bodies begin
    stands = packed(body)
    assert len(stands) <= len(body)
    assert is_packed(stands) == (len(stands) < len(body))
    assert unpacked(stands) == body
    assert packed_length(stands) == (len(stands) if is_packed(stands) else 0)


def test_a_body_over_the_limit_is_stored_as_it_is() -> None:
    """So that no reader ever has to make more of a block than the limit."""
    largest = b"\x0b\0\0\0" + bytes(BODY_BYTES_MAX - 4)
    assert unpacked(packed(largest)) == largest
    assert is_packed(packed(largest))
    assert packed(largest + b"\0") == largest + b"\0"


def frame(body: bytes, **options: int) -> bytes:
    """Return a Zstandard frame."""
    zstd = compression.library()
    named = {getattr(zstd.CompressionParameter, name): value for name, value in options.items()}
    return zstd.compress(body, options=named)  # type: ignore[no-any-return]


def streamed(body: bytes, window_bits: int) -> bytes:
    """Return a frame that doesn't say its size, and asks for such a window."""
    zstd = compression.library()
    writer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: window_bits})
    return writer.compress(body) + writer.flush()  # type: ignore[no-any-return]


HOSTILE = {
    "a bomb that says less than it is": HEAD.pack(ZSTD, 2000, len(frame(bytes(10_000_000)))) + frame(bytes(10_000_000)),
    "a bomb that says what it is": HEAD.pack(ZSTD, BODY_BYTES_MAX + 1, len(frame(bytes(BODY_BYTES_MAX + 1))))
    + frame(bytes(BODY_BYTES_MAX + 1)),
    "a body of gigabytes": HEAD.pack(ZSTD, 0xFFFF_FFFF, len(frame(BODY))) + frame(BODY),
    "less than it says": HEAD.pack(ZSTD, len(BODY) + 1, len(frame(BODY))) + frame(BODY),
    "two frames": HEAD.pack(ZSTD, len(BODY), 2 * len(frame(BODY))) + frame(BODY) * 2,
    "bytes behind the frame": HEAD.pack(ZSTD, len(BODY), len(frame(BODY)) + 3) + frame(BODY) + b"???",
    "bytes behind what it says": packed(BODY) + b"?",
    "a frame cut short": HEAD.pack(ZSTD, len(BODY), len(frame(BODY)) - 2) + frame(BODY)[:-2],
    "no frame": HEAD.pack(ZSTD, len(BODY), 20) + bytes(20),
    "no frame at all": HEAD.pack(ZSTD, 1, 0),
    "a window of a gigabyte": HEAD.pack(ZSTD, 1000, len(streamed(bytes(1000), 27))) + streamed(bytes(1000), 27),
    "longer than its body": HEAD.pack(ZSTD, 4, len(frame(b"body"))) + frame(b"body"),
    "a head cut short": HEAD.pack(ZSTD, 4, 4)[:7],
}


@pytest.mark.parametrize("lie", HOSTILE)
def test_a_hostile_block_is_malformed_and_costs_no_memory(lie: str) -> None:
    """Whatever it says, no more than the limit is ever made of it."""
    with pytest.raises(MalformedError, match="compressed block"):
        unpacked(HOSTILE[lie])


def test_a_block_tells_its_length_without_an_index() -> None:
    """Salvage reads block behind block where the index is lost."""
    stands = packed(BODY) + bytes(CRC_BYTES)
    assert block_length(stands + b"more") == len(stands)
    assert block_length(HOSTILE["a body of gigabytes"]) == 0
    body = encode_block([run_of([(b"a", b"1")])]) + bytes(CRC_BYTES)
    assert plain(body) is body


# Tables


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_a_compressed_table_says_what_a_plain_one_says_in_fewer_bytes(cache_bytes: int) -> None:
    """Gets, scans both ways, a verification of either kind."""
    fs, some = MemoryFileSystem(), entries()
    plain_info, info = written(fs, some, compress=False, number=2), written(fs, some)
    table = opened(fs, info, cache_bytes=cache_bytes)
    assert info.size_bytes < plain_info.size_bytes * 0.9
    for _ in range(2):
        assert [(key, table.get(key)) for key, _ in some] == some
        assert list(table.scan(None, None)) == some
        assert list(table.scan(some[30][0], some[90][0], reverse=True)) == some[89:29:-1]
    table.verify()
    table.verify(from_device=True, thorough=False)
    kinds = [is_packed(block) for block in stored(table)]
    assert {True, False} == set(kinds)
    assert decode_header(fs.open_read(f"/{NAME}").pread(52, 0)).version == COMPRESSED
    assert opened(fs, plain_info).source.header.version == VERSION


def test_a_fold_takes_compressed_blocks_over_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressing again what didn't change would cost more than all the rest of a fold."""
    fs, some = MemoryFileSystem(), entries()
    base = opened(fs, written(fs, some))
    calls: list[bytes] = []
    monkeypatch.setattr(writer_module, "packed", lambda body: calls.append(body) or packed(body))
    changed = (some[200][0], b"changed")
    table = opened(fs, written(fs, [changed], number=2, base=base))
    before, after = stored(base), stored(table)
    kept = [block for block in after if is_packed(block) and block in before]
    assert len(kept) >= sum(map(is_packed, before)) - 4
    assert len(calls) <= len(after) - len(kept)
    assert dict(table.scan(None, None)) == dict(some) | dict([changed])
    table.verify()


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True)])
def test_the_option_can_change_between_folds(first: bool, second: bool) -> None:
    """What a fold writes is as it is told now, whatever it takes in; a plain table holds nothing compressed."""
    fs, some = MemoryFileSystem(), entries()
    base = opened(fs, written(fs, some, compress=first))
    table = opened(fs, written(fs, [(some[5][0], b"changed")], compress=second, number=2, base=base))
    assert any(map(is_packed, stored(table))) == second
    assert dict(table.scan(None, None)) == dict(some) | {some[5][0]: b"changed"}
    table.verify()


def test_small_compressed_blocks_join() -> None:
    """Else they would stay as crumbs, fold after fold."""
    fs = MemoryFileSystem()
    some: list[Entry] = [(b"k%03d" % number, b"x" * 100) for number in range(8)]
    base = opened(fs, written(fs, some[:4]))
    with TableWriter(fs, "/", 2, store_uuid=STORE, lsn=2, salt=SALT, compress=True, block_bytes=4096) as writer:
        fold(writer, some[4:], base, drop_tombstones=False)
        table = opened(fs, writer.finish())
    assert len(stored(table)) == 1
    assert list(table.scan(None, None)) == some


def forge(fs: MemoryFileSystem, info: TableInfo, bad: bytes) -> tuple[Table, Any]:
    """Put bytes in the place of a compressed block, with the right checksum, padded to its length."""
    table = opened(fs, info)
    block = next(block for block in table.blocks() if is_packed(table.source.read(block.entry)))
    entry = block.entry
    body = bad.ljust(entry.length_bytes - CRC_BYTES, b"\0")
    file = fs.open_write(f"/{NAME}")
    file.pwrite(body + block_checksum(body, salt=SALT, offset_bytes=entry.offset_bytes), entry.offset_bytes)
    return table, entry


def test_a_compressed_block_that_lies_is_corruption_that_names_its_keys() -> None:
    """Its checksum is right, and it is none."""
    fs, some = MemoryFileSystem(), entries()
    info = written(fs, some)
    table, entry = forge(fs, info, HEAD.pack(ZSTD, 500, 3))
    for read in (lambda: table.get(entry.first), lambda: list(table.scan(None, None)), table.verify):
        with pytest.raises(CorruptionError, match="a compressed block") as raised:
            read()
        assert raised.value.offset_bytes == entry.offset_bytes
    with pytest.raises(CorruptionError):
        written(fs, [(b"a", b"1")], number=2, base=table)
    remains = read_remains(fs, "/", NAME, info)
    assert remains.entry_count == len(some) - entry.entry_count
    assert len(remains.lost) == 1


def test_a_compressed_block_in_a_plain_table_is_none() -> None:
    """A reader of plain tables never asks the library, whatever stands there; neither does salvage."""
    fs = MemoryFileSystem()
    some: list[Entry] = [(b"k%03d" % number, b"x" * 100) for number in range(30)]
    info = written(fs, some, compress=False)
    table = opened(fs, info)
    entry = next(iter(table.blocks())).entry
    body = packed(table.source.read(entry)[:-CRC_BYTES]).ljust(entry.length_bytes - CRC_BYTES, b"\0")
    file = fs.open_write(f"/{NAME}")
    file.pwrite(body + block_checksum(body, salt=SALT, offset_bytes=entry.offset_bytes), entry.offset_bytes)
    with pytest.raises(CorruptionError):
        table.get(some[0][0])
    assert read_remains(fs, "/", NAME, info).entry_count == len(some) - entry.entry_count


def test_salvage_reads_compressed_blocks_where_the_index_is_lost() -> None:
    """Block behind block: each tells its own length. Also where header and footer are lost with it."""
    fs, some = MemoryFileSystem(), entries(3000)
    info = written(fs, some)
    table = opened(fs, info)
    file = fs.open_write(f"/{NAME}")
    file.pwrite(b"??", table.footer.root_offset + 6)
    for extra in ((), (20, info.size_bytes - 10)):
        for at in extra:
            file.pwrite(bytes((file.pread(1, at)[0] ^ 1,)), at)
        remains = read_remains(fs, "/", NAME, info)
        assert remains.entry_count == len(some)
        assert bool(remains.lost) == bool(extra)  # without an end nobody knows that there was nothing more
        assert list(remains.entries(file, b"", b"\xff")) == some


# Without the library


@pytest.fixture
def without_zstd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that compresses is installed."""
    for home in compression._HOMES:
        monkeypatch.setitem(sys.modules, home, None)
    compression.library.cache_clear()
    monkeypatch.setattr(compression, "_HOMES", (*compression._HOMES,))


@pytest.fixture(autouse=True)
def _library_again() -> Any:
    yield
    compression.library.cache_clear()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with a compressed table."""
    with journalkit.open(tmp_path / "store", compaction="manual", compression="zstd") as store:
        store.update(dict.fromkeys(range(500), "repeated " * 20))
        store.compact()
    return tmp_path / "store"


def test_without_the_library_a_store_is_refused_untouched_and_named_what_it_takes(
    store: Path, without_zstd: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not damaged, not newer: the message says what to install, whoever asks."""
    files = {path.name: path.read_bytes() for path in store.iterdir()}
    remedy = r"pip install 'journalkit\[zstd\]', nothing was touched"
    for mode in ("r", "rw"):
        with pytest.raises(UnsupportedFormatError, match=remedy):
            journalkit.open(store, mode=mode, compaction="manual")  # type: ignore[call-overload]
    for command in (["verify", str(store)], ["salvage", str(store), str(store) + "-new"], ["dump", str(store)]):
        assert main(command) == 2
        assert "journalkit[zstd]" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in store.iterdir() if path.name in files} == files


def test_the_option_is_refused_where_it_can_not_be_done(tmp_path: Path, without_zstd: None) -> None:
    """At open, and not by the first fold an hour later. Stores without compressed tables need no library."""
    with pytest.raises(UsageError, match=r"compression='zstd'.*pip install 'journalkit\[zstd\]'"):
        journalkit.open(tmp_path / "store", compression="zstd")
    assert not (tmp_path / "store").exists()
    with pytest.raises(MissingLibraryError):
        TableWriter(MemoryFileSystem(), "/", 1, store_uuid=STORE, lsn=1, salt=1, compress=True)
    with journalkit.open(tmp_path / "store", compaction="manual") as store:
        store["a"] = 1
        store.compact()
        store.check()


def test_a_newer_table_is_still_newer() -> None:
    """And its remedy another."""
    fs = MemoryFileSystem()
    table = opened(fs, written(fs, entries()))
    with pytest.raises(NewerFormatError, match="a table of format 4, this version reads 1 to 3") as raised:
        decode_header(replace(table.source.header, version=4).encode())
    assert raised.value.remedy == "upgrade journalkit"


# Stores


def test_compression_is_none_or_known() -> None:
    """A name that nobody knows is a mistake, not a wish."""
    with pytest.raises(UsageError, match="compression='lz4' is none of zstd"):
        journalkit.open("memory://", compression="lz4")  # type: ignore[arg-type]


def test_a_store_keeps_its_state_whatever_is_compressed_when() -> None:
    """Deltas and bases of both kinds, one upon the other."""
    disk, clock, chance, model = SimulatedDisk(), SimulatedClock(), Random(2), {}
    for number in range(8):
        with journalkit.open(
            "/store", fs=disk, clock=clock, compaction="manual", fold_bytes_min=1, fold_ratio=(0, 9)[number % 3 > 0],
            compression=(None, "zstd")[chance.randrange(2)], sync="never",
        ) as store:  # fmt: skip
            assert dict(store) == model
            changes = {chance.randrange(300): "again " * chance.randrange(30) for _ in range(100)}
            store.update(changes)
            model |= changes
            for key in list(model)[::9]:
                del store[key], model[key]
            store.compact()
            store.check()
            assert dict(store) == model
