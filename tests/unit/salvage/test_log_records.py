"""Every whole record of a damaged log comes out, once, and every other one is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import journalkit
from journalkit.errors import UnsupportedFormatError
from journalkit.format import names
from journalkit.format.checksum import checksum
from journalkit.format.codec import CborCodec
from journalkit.format.frame import Kind
from journalkit.format.segment import HEADER_BYTES, decode_header
from journalkit.manifest import read_manifest
from journalkit.recovery.salvage import log_records

PATH = "/store"
CODEC = CborCodec()


@pytest.mark.parametrize("with_manifest", [True, False])
def test_a_block_lost_in_the_newest_snapshot_comes_from_the_older_one_and_its_log(
    patient: Any, with_manifest: bool
) -> None:
    """Two snapshots are kept for this, and it works key range by key range."""
    patient.flip(patient.tables[-1], 20_000)
    if not with_manifest:
        patient.remove(names.MANIFEST)
    remains = patient.stock()
    assert patient.salvaged(remains) == patient.model
    assert len(remains.spans) == 3
    assert remains.is_complete


def test_a_missing_newest_table_is_replaced_by_the_older_one_and_its_log(patient: Any) -> None:
    """A snapshot that isn't there tells nothing about any key."""
    patient.remove(patient.tables[-1])
    remains = patient.stock()
    assert patient.salvaged(remains) == patient.model
    assert remains.is_complete


def test_a_block_lost_in_every_snapshot_costs_its_keys_until_the_log_speaks_of_them(patient: Any) -> None:
    """No value older than the newest intact word is ever given; here the log has every key again."""
    for name in patient.tables:
        patient.flip(name, 20_000)
    remains = patient.stock()
    assert patient.salvaged(remains) == patient.model
    # The log doesn't reach back to the beginning, so nobody can be sure that nothing else was there.
    assert not remains.is_complete
    assert remains.missing[0][0] == 1


def test_a_flipped_bit_in_the_log_costs_one_record(patient: Any) -> None:
    """The next frame is found by its own checksums, wherever it begins."""
    name = patient.segments[-1]
    patient.flip(name, HEADER_BYTES + 50)
    remains = patient.stock()
    told = patient.salvaged(remains)
    wrong = {key for key in patient.model if told.get(key) != patient.model[key]}
    assert len(wrong) <= 1
    assert [last - first for first, last in remains.missing] == [0]
    assert remains.segments[-1].faults
    assert not remains.is_complete


def test_every_segment_can_be_flipped_anywhere(patient: Any) -> None:
    """A value is the newest intact one: never a wrong one, at most one record behind."""
    for name in patient.segments[-3:]:
        for offset in range(0, len(patient.read(name)), 211):
            patient.flip(name, offset)
            told = patient.salvaged(patient.stock())
            assert len({key for key in patient.model if told.get(key) != patient.model[key]}) <= 1, (name, offset)
            patient.flip(name, offset)


def test_a_missing_segment_is_missing_lsns(patient: Any) -> None:
    """Its neighbours say which records it held."""
    manifest = read_manifest(patient.fs, PATH)
    assert manifest is not None
    base_lsn = manifest.snapshots[0].lsn
    ended = [(entry, entry.end) for entry in manifest.segments if entry.end is not None]
    entry, end = next((entry, end) for entry, end in ended if entry.first_lsn > base_lsn)
    patient.remove(names.segment_name(entry.number))
    assert patient.stock().missing == [(entry.first_lsn, end.last_lsn)]


def test_records_that_the_snapshot_holds_are_not_missed(patient: Any) -> None:
    """A gap report that names what isn't needed hides what is."""
    patient.remove(patient.segments[0])
    assert patient.stock().is_complete


def test_a_log_cut_at_its_end_is_missing_what_was_promised(patient: Any) -> None:
    """The durable mark is outside of the segment, and remembers."""
    name = patient.segments[-1]
    last_lsn = patient.stock().last_lsn
    patient.write(name, patient.read(name)[:-900])
    assert patient.stock().missing[-1][1] == last_lsn


@pytest.mark.parametrize("with_manifest", [True, False])
def test_a_segment_without_its_header_needs_the_manifest(patient: Any, with_manifest: bool) -> None:
    """The salt seeds every checksum, and stands in both places."""
    patient.flip(patient.segments[-1], 20)
    if not with_manifest:
        patient.remove(names.MANIFEST)
    remains = patient.stock()
    assert remains.segments[-1].faults
    assert remains.is_complete == with_manifest
    assert (patient.salvaged(remains) == patient.model) == with_manifest
    assert bool(list(log_records(patient.fs, remains))[-1].lsn == remains.last_lsn)


def test_a_segment_in_the_place_of_another_is_not_believed(patient: Any) -> None:
    """The manifest says which salt belongs there."""
    one, other = patient.segments[-2:]
    patient.write(other, patient.read(one))
    remains = patient.stock()
    assert remains.foreign == [other]
    assert [segment.name for segment in remains.segments][-1] == one
    assert remains.missing


def test_a_renamed_segment_is_placed_by_its_header(patient: Any) -> None:
    """A backup tool's name for a file isn't what the file says of itself."""
    name = patient.segments[-1]
    data = patient.read(name)
    patient.remove(names.MANIFEST)
    patient.remove(name)
    patient.write(names.segment_name(900), data)
    assert patient.salvaged(patient.stock()) == patient.model


def test_a_segment_behind_an_older_manifest_is_taken(patient: Any) -> None:
    """An older manifest beside a newer log is damage; the log is what was promised last."""
    older = patient.read(names.MANIFEST)
    with patient.open() as store:
        store["late"] = patient.model["late"] = 1
    patient.write(names.MANIFEST, older)
    assert patient.salvaged(patient.stock()) == patient.model


def test_a_pruned_segment_that_stayed_is_left_alone(patient: Any) -> None:
    """It is older than every snapshot, so it has nothing to say."""
    first = patient.segments[0]
    number = names.segment_number(first)
    assert number is not None
    patient.write(names.segment_name(number - 1), patient.read(first))
    remains = patient.stock()
    assert names.segment_name(number - 1) not in [segment.name for segment in remains.segments]
    assert patient.salvaged(remains) == patient.model


@pytest.mark.parametrize("with_manifest", [True, False])
def test_what_an_earlier_recovery_gave_up_stays_given_up(with_manifest: bool, new_patient: Any) -> None:
    """An LSN that was used twice belongs to the later life, even if the bytes of the first are whole again."""
    crashed = new_patient()
    with crashed.open() as store:
        store["kept"] = 1
        for number in range(3):
            store.put(f"torn-{number}", number, sync="never")
        twin = crashed.copy()
    [segment] = [name for name in twin.segments if any(twin.read(name)[:HEADER_BYTES])]
    whole = twin.read(segment)
    twin.flip(segment, HEADER_BYTES + 40 + 17)
    with twin.open(recovery="point-in-time") as store:
        store["later"] = 2
        assert "torn-2" not in store
        kept = dict(store.items())
    twin.write(segment, whole)
    if not with_manifest:
        twin.remove(names.MANIFEST)
    assert twin.salvaged(twin.stock()) == kept


def test_lsns_that_a_recovery_passed_over_are_given_up_and_not_missing(patient: Any) -> None:
    """No LSN that was shown durable is used again, so a point-in-time recovery leaves a hole on purpose."""
    patient.flip(patient.segments[-1], HEADER_BYTES + 50)
    with patient.open(recovery="point-in-time") as store:
        kept = dict(store.items())
    remains = patient.stock()
    assert remains.given_up
    assert remains.missing == []
    assert patient.salvaged(remains) == kept


def test_a_record_that_is_no_batch_is_named(patient: Any) -> None:
    """Checksums vouch for bytes, not for sense."""
    patient.forge(b"\x01\x02", Kind.BATCH)
    remains = patient.stock()
    assert patient.salvaged(remains) == patient.model
    assert remains.senseless == [remains.last_lsn]
    assert not remains.is_complete


def test_a_record_of_an_unknown_kind_is_passed_over(patient: Any) -> None:
    """A later version may write kinds that are safe to ignore."""
    patient.forge(b"later", 200)
    assert patient.salvaged(patient.stock()) == patient.model


@pytest.mark.parametrize("with_manifest", [True, False])
def test_a_journal_comes_out_record_by_record(with_manifest: bool, new_patient: Any) -> None:
    """It has no state, so each record counts."""
    patient = new_patient()
    with journalkit.open_journal(PATH, fs=patient.fs) as journal:
        for number in range(5):
            journal.append(number)
    if not with_manifest:
        patient.remove(names.MANIFEST)
    remains = patient.stock()
    assert remains.kind == "journal"
    assert [CODEC.decode(frame.payload) for frame in log_records(patient.fs, remains)] == [0, 1, 2, 3, 4]


def test_a_live_stores_prepared_segment_holds_nothing(patient: Any) -> None:
    """A segment made ahead is zeros, which is no damage."""
    with patient.open() as store:
        store["one"] = patient.model["one"] = 1
        twin = patient.copy()
    number = names.segment_number(twin.segments[-1])
    assert number is not None
    twin.write(names.segment_name(number + 1), bytes(4096))
    remains = twin.stock()
    assert not remains.segments[-1].faults
    assert twin.salvaged(remains) == twin.model


def test_a_later_format_is_left_to_a_later_version(patient: Any) -> None:
    """What isn't known isn't guessed at, not even in a rescue."""
    name = patient.segments[-1]
    head = bytearray(patient.read(name)[:HEADER_BYTES])
    head[8] = 2
    head[-4:] = checksum(bytes(head[:-4])).to_bytes(4, "little")
    patient.write(name, bytes(head) + patient.read(name)[HEADER_BYTES:])
    with pytest.raises(UnsupportedFormatError, match="upgrade"):
        patient.stock()


def test_a_segment_of_another_life_under_the_same_number_is_not_believed(patient: Any) -> None:
    """Its store and its number are right; the manifest knows the salt of the one that belongs there."""
    name = patient.segments[-1]
    header = decode_header(patient.read(name)[:HEADER_BYTES])
    patient.write(name, replace(header, salt=header.salt ^ 1).encode() + patient.read(name)[HEADER_BYTES:])
    remains = patient.stock()
    assert remains.segments[-1].faults == [("the file is another segment than the manifest names", 0)]
    # The salt that the manifest names is the right one for the records behind that header.
    assert remains.is_complete
    assert patient.salvaged(remains) == patient.model
