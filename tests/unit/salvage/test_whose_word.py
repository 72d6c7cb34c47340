"""Whose word counts in a salvage: of a segment whose header is gone, and of records that nobody promised."""

from __future__ import annotations

from typing import Any

import pytest

from journalkit.errors import StoreNotFoundError
from journalkit.format import names
from journalkit.format.segment import HEADER_BYTES, decode_header
from journalkit.manifest import read_manifest
from journalkit.recovery.salvage import log_records
from journalkit.recovery.salvage_log import SegmentRemains, read_segment

PATH = "/store"


def entry_of(patient: Any, name: str) -> Any:
    """Return what the manifest says of a segment."""
    manifest = read_manifest(patient.fs, PATH)
    assert manifest is not None
    return next(entry for entry in manifest.segments if names.segment_name(entry.number) == name)


@pytest.mark.parametrize("with_entry", [True, False])
def test_a_segment_without_a_header_has_the_number_of_its_name_and_the_salt_of_the_manifest(
    patient: Any, with_entry: bool
) -> None:
    """Where a successor says that it ends is found by its number; records are found by the salt."""
    name = patient.segments[0]
    size = len(patient.read(name))
    whole = decode_header(patient.read(name)[:HEADER_BYTES])
    patient.flip(name, 40)
    entry = entry_of(patient, name) if with_entry else None
    found = read_segment(patient.fs, PATH, name, whole.number, entry)
    expected = SegmentRemains(name, whole.number, size, faults=[("the segment's header is damaged", 0)])
    if entry is not None:
        expected.salt = whole.salt
        if entry.end is not None:
            expected.limit_lsn = expected.promised_lsn = entry.end.last_lsn
            expected.limit_bytes = entry.end.end_bytes
    assert found == expected


def test_what_nobody_promised_is_not_missing(new_patient: Any) -> None:
    """Of a table that can't be read, alone, nobody knows whether there ever was a record."""
    patient = new_patient()
    patient.fs.make_directory(PATH)
    patient.write(names.table_name(7), b"garbled" * 20)
    remains = patient.stock()
    assert (remains.missing, remains.last_lsn) == ([], 0)
    assert patient.salvaged(remains) == {}


def test_of_two_tables_that_the_manifest_can_not_know_the_newer_one_counts(new_patient: Any) -> None:
    """A manifest was copied back from before two folds; their log is pruned, and the tables are all that is left."""
    patient = new_patient()
    with patient.open() as store:
        store["a"] = 0
    older = patient.read(names.MANIFEST)
    for value in (1, 2):
        with patient.open() as store:
            store["a"] = value
            store.compact()
    for name in patient.segments:
        patient.remove(name)
    patient.write(names.MANIFEST, older)
    assert len(patient.tables) == 2
    assert patient.salvaged(patient.stock()) == {"a": 2}


def test_what_is_no_whole_record_is_told_with_its_bytes_and_its_place(patient: Any) -> None:
    """Two places apart, each by itself."""
    segment = patient.stock().segments[0]
    frames = list(log_records(patient.fs, patient.stock()))[: segment.records]
    assert len(frames) > 1
    for frame in (frames[0], frames[-1]):
        patient.flip(segment.name, frame.offset_bytes + 20)
    assert patient.stock().segments[0].faults == [
        (f"{frame.end_bytes - frame.offset_bytes} bytes that are no whole record", frame.offset_bytes)
        for frame in (frames[0], frames[-1])
    ]


@pytest.mark.parametrize("is_there", [True, False])
def test_where_there_is_nothing_of_ours_the_error_names_the_path(new_patient: Any, is_there: bool) -> None:
    """A misspelt path is what it is, as a rule."""
    patient = new_patient()
    if is_there:
        patient.fs.make_directory(PATH)
    with pytest.raises(StoreNotFoundError, match="check the path") as raised:
        patient.stock()
    assert raised.value.path == PATH
