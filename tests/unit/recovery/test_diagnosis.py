"""What a file is that isn't what its name says, and what is wrong with a manifest: proved, never guessed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from journalkit.format import names
from journalkit.format.manifest import Manifest, SegmentEntry, SnapshotEntry, encode_manifest
from journalkit.format.segment import DurableSlot, SegmentHeader
from journalkit.format.table import TableHeader, TableInfo
from journalkit.fs.memory import MemoryFileSystem
from journalkit.recovery.census import take_census
from journalkit.recovery.damage import DamageKind
from journalkit.recovery.diagnosis import Cause, Identity, is_foreign_manifest, manifest_cause, misplaced

STORE, OTHER = b"store-of-16-byte", b"other-of-16-byte"
MANIFEST = Manifest(
    store=STORE,
    kind="store",
    codec="cbor",
    created_us=0,
    generation=5,
    epoch=3,
    writer=b"w" * 16,
    segments=(SegmentEntry(5, 50, 2, 10), SegmentEntry(6, 60, 3, 20)),
    snapshots=(SnapshotEntry(9, 0, (TableInfo(8, 100, 1, 1, 80),)),),
    pruned_lsn=9,
    durable_lsn=9,
    next_segment=7,
    next_table=9,
)


def segment(number: int, *, name: int | None = None, store: bytes = STORE, salt: int = 0, epoch: int = 2) -> Identity:
    """Return a segment under the name of this number, or of another one."""
    header = SegmentHeader(salt or number * 10, store, b"w" * 16, epoch, number, 10, 0, 0, 0, 0, 0)
    return Identity(names.segment_name(number if name is None else name), 1000, header)


def table(number: int, *, name: int | None = None, salt: int = 0) -> Identity:
    """Return a table under the name of this number, or of another one."""
    header = TableHeader(salt or number * 10, STORE, number, 9)
    return Identity(names.table_name(number if name is None else name), 1000, header)


def judged(name: str, *files: Identity) -> tuple[Any, str] | None:
    """Return the cause for one file of a directory."""
    return misplaced(name, {found.name: found for found in files}, MANIFEST)


FIVE, SIX = names.segment_name(5), names.segment_name(6)


@pytest.mark.parametrize(
    ("files", "kind", "proof"),
    [
        ([segment(5, store=OTHER)], "foreign-file", f"it is {FIVE} of store {OTHER.hex()}"),
        ([segment(6, name=5), segment(5, name=6)], "swapped-files", f"it is {SIX}, and what has that name is {FIVE}"),
        ([segment(6, name=5), segment(6)], "duplicated-file", f"it is a copy of {SIX}"),
        ([segment(6, name=5)], "renamed-file", f"it is {SIX}, which is missing under its own name"),
        (
            [segment(6, name=5), Identity(SIX, 10, None)],
            "renamed-file",
            f"it is {SIX}, and what has that name can't be read",
        ),
        (
            [segment(6, name=5), Identity(SIX, 10, None, is_blank=True)],
            "swapped-files",
            f"it is {SIX}, and what has that name was prepared for later",
        ),
        (
            [segment(2, name=5)],
            "rolled-back-file",
            f"it is {names.segment_name(2)}, which the manifest doesn't name",
        ),
        (
            [segment(5, epoch=1, salt=1)],
            "rolled-back-file",
            "it is of epoch 1, where the manifest names one of epoch 2",
        ),
        ([segment(5, epoch=2, salt=1)], "foreign-file", "it is of a clone of this store"),
        (
            [replace(table(8), name=FIVE), replace(segment(5), name=names.table_name(8))],
            "swapped-files",
            f"it is {names.table_name(8)}, and what has that name is {FIVE}",
        ),
    ],
)
def test_a_file_that_says_it_is_another_one_is_named_by_who_has_its_name(
    files: list[Identity], kind: str, proof: str
) -> None:
    """Exchanged, copied, renamed, old and foreign files need different hands, and whoever looks needs to know why."""
    assert judged(FIVE, *files) == Cause(DamageKind(kind), proof)


@pytest.mark.parametrize("files", [[segment(5)], [], [Identity(FIVE, 10, None)]])
def test_a_file_that_does_not_say_it_is_another_one_is_not_accused(files: list[Identity]) -> None:
    """The right one, none, and one that can't be read."""
    assert judged(FIVE, *files) is None


def test_a_table_of_another_life_is_a_clones() -> None:
    """Numbers of tables hold the epoch, so one of the same number and another salt has another line of lives."""
    cause = judged(names.table_name(8), table(8, salt=5))
    assert cause is not None
    assert cause[0] is DamageKind.FOREIGN_FILE
    assert judged(names.table_name(8), table(8)) is None
    assert judged(names.table_name(77), table(77)) is None


@pytest.mark.parametrize(
    ("stores", "slot", "foreign"),
    [
        ([OTHER, OTHER], None, True),
        ([OTHER], OTHER, True),
        ([OTHER], None, False),
        ([OTHER], STORE, False),
        ([OTHER, OTHER, STORE], None, False),
        ([], None, False),
    ],
)
def test_a_manifest_is_the_stranger_only_if_nobody_speaks_for_it(
    stores: list[bytes], slot: bytes | None, foreign: bool
) -> None:
    """One against one says nothing of which of the two is wrong."""
    census = {str(at): replace(segment(5, store=store), name=str(at)) for at, store in enumerate(stores)}
    census["unread"] = Identity("unread", 0, None)
    durable = DurableSlot(slot, b"", 1, 1, 1, 1) if slot is not None else None
    assert is_foreign_manifest(MANIFEST, census, durable) is foreign


def test_a_manifest_tells_what_happened_to_it() -> None:
    """Its kind is always the same; what is proved beside it says whether a disk or a program did it."""
    data = encode_manifest(MANIFEST)
    assert manifest_cause(None) == (DamageKind.MISSING_MANIFEST, "")
    told = {
        "": b"not a manifest at all, and long enough to be one",
        "one bit flipped: bit 0 of byte 9": data[:9] + bytes([data[9] ^ 1]) + data[10:],
        "one bit flipped: bit 7 of byte 90": data[:90] + bytes([data[90] ^ 128]) + data[91:],
        "cut short: 3 bytes are left": data[:3],
        f"cut short: 99 of {len(data)} bytes are left": data[:99],
        "zeros from byte 0 to 1024": bytes(1024),
    }
    for proof, bytes_of in told.items():
        assert manifest_cause(bytes_of) == (DamageKind.DAMAGED_MANIFEST, proof)
    garbled = data[:50] + b"garbled" + data[57:]
    assert manifest_cause(garbled) == (DamageKind.DAMAGED_MANIFEST, "")


class Unwilling(MemoryFileSystem):
    """A file system some of whose files can't be opened, or not be read."""

    def open_read(self, path: str) -> Any:
        if "0007" in path:
            raise OSError(5, "can't")
        file = super().open_read(path)
        if "0006" in path:
            file.pread = self._refuse  # type: ignore[method-assign]
        return file

    @staticmethod
    def _refuse(_count: int, _offset: int) -> bytes:
        raise OSError(5, "can't")


def test_a_census_takes_each_file_by_its_header_and_passes_over_what_it_can_not_open() -> None:
    """A table under a segment's name is a table; what can't be read says nothing of itself."""
    fs = Unwilling()
    fs.make_directory("/s")
    headers = {5: table(8).header, 6: segment(6).header, 7: None, 9: segment(9).header}
    for number, header in headers.items():
        file = fs.create(f"/s/{names.segment_name(number)}")
        file.pwrite(header.encode() if header is not None else b"x", 0)
        file.close()
    fs.create("/s/notes").close()
    fs.create(f"/s/{names.table_name(1)}").close()
    found = take_census(fs, "/s")
    assert sorted(found) == [FIVE, SIX, names.segment_name(9), names.table_name(1)]
    assert found[FIVE].own_name == names.table_name(8)
    assert (found[SIX].header, found[SIX].own_name) == (None, SIX)
    assert found[names.segment_name(9)].header == headers[9]
