"""Layouts: one row of fields is struct, size and documentation at once."""

from __future__ import annotations

import struct

import pytest

from journalkit.format.layout import Field, Layout
from journalkit.format.malformed import MalformedError

POINT = Layout(
    Field("magic", "4s", "who we are"),
    Field("kind", "B", "one byte, so that padding would show"),
    Field("number", "Q", "which one"),
)


def test_fields_stand_one_after_the_other_little_endian_without_padding() -> None:
    """The bytes on disk are part of the promise; native alignment would differ by machine."""
    assert POINT.size == 4 + 1 + 8
    assert POINT.pack(magic=b"JKIT", kind=7, number=258) == b"JKIT\x07\x02\x01\0\0\0\0\0\0"
    assert POINT.struct.format == "<4sBQ"


def test_what_was_packed_by_name_comes_back_by_name() -> None:
    """Callers name fields, so that a reordered table cannot swap two numbers silently."""
    values = {"magic": b"JKIT", "kind": 255, "number": 2**64 - 1}
    assert POINT.unpack(POINT.pack(**values)) == values
    assert POINT.unpack(memoryview(bytearray(POINT.pack(**values)))) == values


def test_a_field_begins_where_its_predecessors_end() -> None:
    """Checksums and tests address fields by offset; it comes from the same table."""
    assert [POINT.offset_of(name) for name in POINT.names] == [0, 4, 5]
    with pytest.raises(KeyError):
        POINT.offset_of("colour")


@pytest.mark.parametrize("size", [0, POINT.size - 1, POINT.size + 1])
def test_bytes_of_another_size_are_malformed(size: int) -> None:
    """Lengths come from untrusted files: a struct.error would escape the error contract."""
    with pytest.raises(MalformedError):
        POINT.unpack(bytes(size))


@pytest.mark.parametrize(
    "values",
    [
        {"magic": b"", "kind": 1},
        {"magic": b"", "kind": 1, "colour": 2},
        {"magic": b"", "kind": 1, "number": 1, "colour": 2},
    ],
)
def test_missing_and_unknown_fields_are_our_bug(values: dict[str, object]) -> None:
    """A header field forgotten by a writer must not become a silent zero."""
    with pytest.raises(TypeError):
        POINT.pack(**values)


def test_a_value_that_does_not_fit_its_field_is_refused() -> None:
    """Truncating a number on its way to disk would be silent loss."""
    with pytest.raises(struct.error):
        POINT.pack(magic=b"JKIT", kind=256, number=0)


def test_a_table_with_two_fields_of_one_name_is_refused() -> None:
    """By-name access would hide one of the two."""
    with pytest.raises(ValueError, match="twice"):
        Layout(Field("a", "B", ""), Field("a", "B", ""))


def test_a_field_holds_one_value() -> None:
    """Two codes in one field ("BQ") would shift every later name; native alignment would pad."""
    with pytest.raises(ValueError, match="one value"):
        Field("pair", "BQ", "")
    with pytest.raises(ValueError, match="one value"):
        Field("padding", "4x", "")


def test_the_documentation_is_rendered_from_the_same_table() -> None:
    """Prose and code can't differ if one makes the other."""
    assert POINT.markdown() == (
        "| offset | bytes | field | meaning |\n"
        "|---|---|---|---|\n"
        "| 0 | 4 | `magic` | who we are |\n"
        "| 4 | 1 | `kind` | one byte, so that padding would show |\n"
        "| 5 | 8 | `number` | which one |\n"
    )
