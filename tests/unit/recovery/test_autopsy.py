"""Inside a damaged segment: every hole, with its cause where the bytes prove one."""

from __future__ import annotations

from typing import Any

import pytest

import journalkit
from journalkit.format.checksum import checksum
from journalkit.format.segment import HEADER_BYTES, decode_header
from journalkit.recovery import autopsy
from journalkit.recovery.autopsy import examine_segment
from journalkit.recovery.damage import DamageKind
from journalkit.recovery.evidence import FLIP_BYTES_MAX
from journalkit.recovery.promises import Promised

FRAME_BYTES = 40
PLACE = "/store"


def told(found: list[Any]) -> list[tuple[Any, ...]]:
    """Return kinds, lost records and first bytes."""
    return [(item.cause.kind, item.lost_lsns, item.offset_bytes) for item in found]


def starts(bed: Any, name: str, count: int) -> list[int]:
    """Return where the first frames of a segment begin."""
    data, at, found = bed.read(name), HEADER_BYTES, []
    for _ in range(count):
        found.append(at)
        at += FRAME_BYTES + int.from_bytes(data[at + 8 : at + 12], "little")
    return found


def test_each_hole_of_a_segment_is_told_with_its_own_cause(journal: Any) -> None:
    """A scan stops at the first; who decides what to do needs all."""
    name = journal.segments[0]
    one, two, three, four = starts(journal, name, 4)
    journal.flip(name, one + 60)
    journal.patch(name, three + 100, b"words that nobody wrote here")
    assert told(journal.log()) == [
        (DamageKind.FLIPPED_BIT, (1, 1), one),
        (DamageKind.DAMAGED, (3, 3), three),
    ]
    journal.flip(name, two + 5)
    assert told(journal.log())[:2] == [(DamageKind.FLIPPED_BIT, (1, 1), one), (DamageKind.FLIPPED_BIT, (2, 2), two)]
    assert four


def test_two_flipped_bits_in_one_record_are_plain_damage(journal: Any) -> None:
    """One could be named, two can't be proved; in the header or in the payload."""
    name = journal.segments[0]
    for first, second in ((60, 200), (9, 20), (9, 200)):
        bed = journal
        place = starts(bed, name, 1)[0]
        bed.flip(name, place + first)
        bed.flip(name, place + second)
        assert [item.cause.kind for item in bed.log()] == [DamageKind.DAMAGED]
        bed.flip(name, place + first)
        bed.flip(name, place + second)
    assert journal.log() == []


def test_a_flipped_bit_of_a_seal_costs_no_record(journal: Any) -> None:
    """The seal is a promise and not a record."""
    name = journal.segments[0]
    size = len(journal.read(name))
    journal.flip(name, size - 3)
    assert told(journal.log()) == [(DamageKind.FLIPPED_BIT, None, size - FRAME_BYTES - 16)]


def test_a_payload_too_long_for_a_proof_is_plain_damage(ward: Any) -> None:
    """Of so many bytes other damage would look like one flipped bit."""
    bed = ward()
    with journalkit.open_journal(PLACE, fs=bed.fs) as opened:
        opened.append(b"x" * 200_000)
        opened.append(b"y")
    bed.flip(bed.segments[0], 5000)
    assert told(bed.log()) == [(DamageKind.DAMAGED, (1, 1), HEADER_BYTES)]
    bed.flip(bed.segments[0], 5000)
    # A header's bit is proved all the same: the payload vouches for it.
    bed.flip(bed.segments[0], HEADER_BYTES + 20)
    assert told(bed.log()) == [(DamageKind.FLIPPED_BIT, (1, 1), HEADER_BYTES)]


@pytest.mark.parametrize(("more", "kind"), [(0, DamageKind.FLIPPED_BIT), (1, DamageKind.DAMAGED)])
def test_the_longest_payload_whose_flipped_bit_is_proved(ward: Any, more: int, kind: DamageKind) -> None:
    """To the byte: the bound is of the payload, whatever is read of it."""
    bed = ward()
    with journalkit.open_journal(PLACE, fs=bed.fs, codec="raw") as opened:
        opened.append(b"x" * (FLIP_BYTES_MAX + more))
        opened.append(b"y")
    bed.flip(bed.segments[0], 5000)
    assert told(bed.log()) == [(kind, (1, 1), HEADER_BYTES)]


def test_a_flipped_length_beyond_every_file_is_no_proof(journal: Any) -> None:
    """A header that a flip makes whole and that claims more than there is isn't believed."""
    name = journal.segments[0]
    data = journal.read(name)
    place = starts(journal, name, 1)[0]
    header = bytearray(data[place : place + FRAME_BYTES])
    header[8:12] = (250_000_000).to_bytes(4, "little")
    salt = int.from_bytes(data[12:16], "little")
    header[:4] = checksum(bytes(header[4:]), (salt + place) & 0xFFFFFFFF).to_bytes(4, "little")
    header[30] ^= 4
    journal.patch(name, place, bytes(header))
    assert told(journal.log()) == [(DamageKind.DAMAGED, (1, 1), place)]


@pytest.mark.parametrize("at", [8, 60])
def test_a_damaged_header_that_goes_on_into_the_records_is_one_damage(journal: Any, at: int) -> None:
    """More than one bit: no proof, and what is behind it is still told apart."""
    name = journal.segments[0]
    journal.patch(name, at, b"not what was written")
    journal.patch(name, HEADER_BYTES + 2, b"nor here")
    assert told(journal.log()) == [(DamageKind.DAMAGED, (1, 1), 0)]


def test_a_zeroed_header_is_a_zeroed_page(journal: Any) -> None:
    """The first sector holds the header and a part of the first record."""
    name = journal.segments[0]
    journal.patch(name, 0, bytes(512))
    assert told(journal.log()) == [(DamageKind.ZEROED_PAGE, (1, 1), 0)]


def test_a_file_of_half_a_header_is_cut_short(journal: Any) -> None:
    """All its records are lost."""
    name = journal.segments[0]
    journal.write(name, journal.read(name)[:50])
    [found] = journal.log()
    assert (found.cause.kind, found.lost_lsns) == (DamageKind.TRUNCATED_FILE, (1, 4))


def examined(bed: Any, name: str, promised: Promised) -> list[tuple[Any, ...]]:
    """Return what is found in the first segment if so much of it was promised."""
    file = bed.fs.open_read(f"{PLACE}/{name}")
    found = examine_segment(file, name, decode_header(bed.read(name)[:HEADER_BYTES]).salt, 1, promised, ())
    file.close()
    return told(found)


@pytest.mark.parametrize("keep", [0, 20, 300])
def test_a_log_cut_inside_a_record_is_cut_short_though_nobody_says_where_it_ended(journal: Any, keep: int) -> None:
    """A manifest may promise records and not their place: the last record's own length tells, or the file's end."""
    name = journal.segments[0]
    last = starts(journal, name, 4)[3]
    journal.write(name, journal.read(name)[: last + keep])
    assert examined(journal, name, Promised(0, 4)) == [(DamageKind.TRUNCATED_FILE, (4, 4), last)]
    assert examined(journal, name, Promised(0, 3)) == []


def test_promised_records_of_which_no_byte_is_there_are_told(journal: Any) -> None:
    """Prepared room where records were promised: an older file, if it begins inside a sector; else nobody can say."""
    name = journal.segments[0]
    last = starts(journal, name, 4)[3]
    journal.write(name, journal.read(name)[:last] + bytes(9000))
    assert last % 512
    assert examined(journal, name, Promised(0, 4)) == [(DamageKind.ROLLED_BACK_FILE, (4, 4), last)]
    journal.write(name, journal.read(name)[:last] + bytes(20))
    assert examined(journal, name, Promised(last + 20, 4)) == [(DamageKind.DAMAGED, (4, 4), last)]
    journal.write(name, journal.read(name)[:last] + bytes(-last % 512))
    journal.write(name, journal.read(name) + bytes(512))
    promised = Promised(len(journal.read(name)), 4)
    assert examined(journal, name, promised) == [(DamageKind.DAMAGED, (4, 4), last)]


def test_too_many_damages_of_one_file_are_counted_as_one_more(journal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report nobody can read helps nobody, and memory is bounded."""
    monkeypatch.setattr(autopsy, "FINDINGS_MAX", 1)
    name = journal.segments[0]
    one, _, three, _ = starts(journal, name, 4)
    journal.flip(name, one + 60)
    journal.flip(name, three + 60)
    first, rest = journal.log()
    assert (first.lost_lsns, rest.lost_lsns, rest.cause.proof) == ((1, 1), (2, 4), "and more, which isn't told apart")


def test_bytes_behind_what_was_promised_are_told_as_the_plan_tells_them(journal: Any, told: Any) -> None:
    """Where the records are whole the plan's own words stand."""
    name = journal.segments[0]
    [found] = journal.look([told(name, "bytes stand behind the seal", 77, 3)])
    assert (found.cause.kind, found.offset_bytes, found.lost_lsns) == (DamageKind.DAMAGED, 77, (3, 3))
    [found] = journal.look([told("MANIFEST", "older", kind=DamageKind.ROLLED_BACK_FILE)])
    assert (found.cause.kind, found.lost_lsns) == (DamageKind.ROLLED_BACK_FILE, None)
