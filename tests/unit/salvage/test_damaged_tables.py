"""Damaged tables, read as far as they go: every intact block is found, and no key is told wrong."""

from __future__ import annotations

import pytest

from journalkit.format.block import Entry, block_checksum, encode_block, run_of
from journalkit.format.index import decode_index
from journalkit.format.malformed import NewerFormatError
from journalkit.format.names import table_name
from journalkit.format.table import FOOTER, FOOTER_BYTES, HEADER_BYTES, UNFILTERED, TableHeader, TableInfo
from journalkit.fs.memory import MemoryFileSystem
from journalkit.recovery.salvage_ranges import ALL_KEYS, KEYS_END
from journalkit.recovery.salvage_tables import TableRemains, read_remains
from journalkit.snapshot.writer import TableWriter

STORE = b"store-of-16-byte"
SALT = 0xCAFE_F00D
NUMBER = 7
NAME = table_name(NUMBER)
LARGEST_BLOCK = 3
ENTRIES: list[Entry] = [(b"key-%02d" % n, None if n % 4 == 0 else b"value-%d" % n) for n in range(8)]


class Damaged:
    """A table in memory that can be damaged and read."""

    def __init__(self, entries: list[Entry], block_bytes: int = 60) -> None:
        self.fs = MemoryFileSystem()
        self.model = dict(entries)
        with TableWriter(self.fs, "/", NUMBER, store_uuid=STORE, lsn=5, salt=SALT, block_bytes=block_bytes) as writer:
            writer.add_all(entries)
            self.info: TableInfo = writer.finish()
        self.data = self._read()

    def _read(self) -> bytes:
        file = self.fs.open_read(f"/{NAME}")
        data = file.pread(file.size(), 0)
        file.close()
        return data

    def replace(self, data: bytes) -> None:
        """Make the file these bytes."""
        file = self.fs.open_write(f"/{NAME}")
        file.truncate(0)
        file.pwrite(data, 0)
        file.close()

    def flip(self, offset_bytes: int) -> None:
        """Flip a bit of the original."""
        data = bytearray(self.data)
        data[offset_bytes] ^= 1
        self.replace(bytes(data))

    def remains(self, *, named: bool = True) -> TableRemains:
        """Read what is left, with or without the manifest's word."""
        return read_remains(self.fs, "/", NAME, self.info if named else None)

    def entries(self, remains: TableRemains) -> dict[bytes, bytes | None]:
        """Return what can be read."""
        file = self.fs.open_read(f"/{NAME}")
        try:
            return dict(remains.entries(file, *ALL_KEYS))
        finally:
            file.close()

    def check(self, remains: TableRemains) -> dict[bytes, bytes | None]:
        """Check that every key is told right or as lost; return what was told."""
        told = self.entries(remains)
        for key, value in self.model.items():
            is_lost = any(start <= key < stop for start, stop in remains.lost)
            assert is_lost or (key in told and told[key] == value), key
        assert all(key in self.model and self.model[key] == value for key, value in told.items())
        assert remains.entry_count == len(told)
        return told


@pytest.fixture
def table() -> Damaged:
    """A table of a few small blocks."""
    return Damaged(ENTRIES)


@pytest.fixture
def deep() -> Damaged:
    """A table with a block to an entry, so many that its index has two levels."""
    return Damaged([(b"key-%04d" % n, b"value-%d" % n) for n in range(600)], block_bytes=1)


@pytest.mark.parametrize("named", [True, False])
def test_a_sound_table_loses_nothing(table: Damaged, named: bool) -> None:
    """Damage is what is reported, so what isn't damaged must not be."""
    remains = table.remains(named=named)
    assert table.check(remains) == table.model
    assert (remains.lost, remains.faults, remains.entries_lost) == ([], [], 0)
    assert (remains.number, remains.lsn, remains.store) == (NUMBER, 5, STORE)


@pytest.mark.parametrize("named", [True, False])
def test_any_flipped_bit_costs_only_what_it_covers(table: Damaged, named: bool) -> None:
    """Wherever the medium fails, what is told is right, and the other blocks are told."""
    for offset in range(len(table.data)):
        table.flip(offset)
        remains = table.remains(named=named)
        told = table.check(remains)
        assert remains.faults, offset
        if offset >= HEADER_BYTES or named:
            assert len(table.model) - len(told) <= LARGEST_BLOCK, offset
        else:
            assert remains.lost == [ALL_KEYS]


@pytest.mark.parametrize("named", [True, False])
def test_a_table_cut_anywhere_gives_the_blocks_before_the_cut(table: Damaged, named: bool) -> None:
    """A truncated file is the likeliest damage there is, and it takes the index along."""
    counts = []
    for size in range(len(table.data)):
        table.replace(table.data[:size])
        remains = table.remains(named=named)
        counts.append(len(table.check(remains)))
        assert remains.faults
    assert counts == sorted(counts)
    assert counts[-1] == len(table.model)


def test_a_lost_index_block_costs_no_key(deep: Damaged) -> None:
    """Blocks say their own lengths, so the index is needed to find them quickly, not to find them."""
    for place in _index_blocks(deep):
        deep.flip(place + 4)
        remains = deep.remains()
        assert len(deep.check(remains)) == len(deep.model)
        assert remains.lost == []
        assert len(remains.faults) == 1


def test_a_bad_block_under_a_lost_index_block_costs_what_follows_it_there(deep: Damaged) -> None:
    """Where neither index nor length can be trusted, nothing is guessed; the next index block knows on."""
    index = _index_blocks(deep)[0]
    data = bytearray(deep.data)
    data[index] ^= 1
    data[deep.remains().places[100].offset_bytes + 6] ^= 1
    deep.replace(bytes(data))
    remains = deep.remains()
    told = deep.check(remains)
    assert b"key-0099" in told
    assert b"key-0100" not in told
    assert b"key-0599" in told
    assert len(remains.lost) == 1
    assert remains.entries_lost == len(deep.model) - len(told)


def test_the_file_of_another_table_says_nothing(table: Damaged) -> None:
    """Whole and checked, and yet not the table that the manifest means."""
    stranger = TableInfo(NUMBER, table.info.size_bytes, table.info.entry_count, table.info.footer_crc, SALT + 1)
    remains = read_remains(table.fs, "/", NAME, stranger)
    assert remains.lost == [(b"", KEYS_END)]
    assert remains.entries_lost == len(table.model)


def test_a_table_whose_ends_disagree_is_read_block_by_block(table: Damaged) -> None:
    """An end that is another table's must not say where the blocks are."""
    other = Damaged(ENTRIES[:4])
    table.replace(table.data[:-FOOTER_BYTES] + other.data[-FOOTER_BYTES:])
    remains = table.remains()
    assert table.check(remains) == table.model
    assert len(remains.faults) == 1


def test_a_footer_that_the_manifest_does_not_know_is_not_believed() -> None:
    """An older copy under the same name is whole in itself."""
    table = Damaged(ENTRIES)
    info = TableInfo(NUMBER, table.info.size_bytes, table.info.entry_count, table.info.footer_crc ^ 1, SALT)
    remains = read_remains(table.fs, "/", NAME, info)
    assert [reason for reason, *_ in remains.faults] == ["the footer isn't the one that the manifest names"]


def test_a_footer_of_another_lsn_is_not_believed() -> None:
    """Header and footer were written for one table, or the file was put together from two."""
    table, fs = Damaged(ENTRIES), MemoryFileSystem()
    with TableWriter(fs, "/", NUMBER, store_uuid=STORE, lsn=6, salt=SALT, block_bytes=60) as writer:
        writer.add_all(ENTRIES)
        writer.finish()
    file = fs.open_read(f"/{NAME}")
    table.replace(table.data[:-FOOTER_BYTES] + file.pread(file.size(), 0)[-FOOTER_BYTES:])
    remains = table.remains(named=False)
    assert [reason for reason, *_ in remains.faults] == ["header and footer are of different tables"]
    assert table.check(remains) == table.model


def test_a_large_block_is_found_without_an_index() -> None:
    """The length of a block is read entry by entry, also beyond what is read ahead."""
    table = Damaged([(b"a", b"x" * 70_000), (b"b", b"y" * 70_000), (b"c", b"z")], block_bytes=200_000)
    table.flip(len(table.data) - 1)
    assert table.check(table.remains(named=False)) == table.model
    table.replace(table.data[:100_000])
    assert table.check(table.remains(named=False)) == {}


def test_a_part_of_the_keys_is_read_from_the_blocks_that_hold_them(table: Damaged) -> None:
    """Salvage reads a range from each snapshot, not all of all."""
    remains = table.remains()
    file = table.fs.open_read(f"/{NAME}")
    told = dict(remains.entries(file, b"key-02", b"key-05"))
    file.close()
    assert told == {key: value for key, value in table.model.items() if b"key-02" <= key < b"key-05"}


@pytest.mark.parametrize("second", [[b"b"], [b"a"], [b"c", b"d"]])
def test_a_block_out_of_order_is_not_believed(second: list[bytes]) -> None:
    """Found by the fuzzer: a key that came twice from one table was taken from the log's words twice, a KeyError."""
    fs = MemoryFileSystem()
    data = TableHeader(salt=SALT, store=STORE, number=NUMBER, lsn=5, version=UNFILTERED).encode()
    for keys in ([b"b", b"c"], second):
        body = encode_block([run_of((key, b"1") for key in keys)])
        data += body + block_checksum(body, salt=SALT, offset_bytes=len(data))
    fs.create(f"/{NAME}").pwrite(data, 0)
    remains = read_remains(fs, "/", NAME, None)
    assert [(place.first, place.last) for place in remains.places] == [(b"b", b"c")]
    assert any(at <= b"d" < end for at, end in remains.lost)
    assert "no block passes here" in remains.faults[-1].reason


def test_bytes_that_claim_to_be_a_huge_index_are_no_block(table: Damaged) -> None:
    """A length out of nowhere is bounded by the file before anything is read."""
    for lead in (b"\xff\xff\xff\xff", b"\x01\x00\x00\x00", b"\x05\x00\x00\x00\x00", b"\x01\x00"):
        table.replace(table.data[:HEADER_BYTES] + lead + b"\xff" * 40)
        assert table.check(table.remains(named=False)) == {}
        table.replace(table.data[:HEADER_BYTES] + lead)
        assert table.check(table.remains(named=False)) == {}


def test_a_table_of_a_later_format_is_left_to_a_later_version(table: Damaged) -> None:
    """To read what isn't known would be guessing."""
    from journalkit.format.checksum import checksum

    head = bytearray(table.data[:HEADER_BYTES])
    head[8] = 4
    head[-4:] = checksum(bytes(head[:-4])).to_bytes(4, "little")
    table.replace(bytes(head) + table.data[HEADER_BYTES:])
    with pytest.raises(NewerFormatError):
        table.remains(named=False)


def _index_blocks(table: Damaged) -> list[int]:
    """Return where index blocks below the root begin."""
    footer = FOOTER.unpack(table.data[-FOOTER_BYTES:])
    at = footer["root_offset"]
    return list(decode_index(table.data[at : at + footer["root_length"]], offset_bytes=at).offsets)
