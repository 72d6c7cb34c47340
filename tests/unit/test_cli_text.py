"""What people read: sizes, counts, times, pages, and bytes that don't decode."""

from __future__ import annotations

import pytest

from journalkit.cli.page import Fields, Grid, Remarks, Toned, plain
from journalkit.cli.shown import Values, encoded_key_json, encoded_key_text, range_json, range_text
from journalkit.cli.terminal import count, plural, shortened, size, span, time_json, visible, when
from journalkit.format.codec import CborCodec
from journalkit.format.keys import Keyspace, encode_key, reserved_key
from journalkit.recovery.salvage_ranges import ALL_KEYS, above


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024 * 1024 - 1, "1.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (1024**6, "1024.0 PiB"),
    ],
)
def test_a_size_is_short_and_never_1024_of_a_unit(number: int, text: str) -> None:
    """A person compares sizes at a glance."""
    assert size(number) == text


def test_words_follow_their_numbers() -> None:
    """`1 entries` looks like a program that nobody looked at."""
    assert [count(1, "entry"), count(2000, "entry"), count(0, "key")] == ["1 entry", "2,000 entries", "0 keys"]
    assert (count(1234), plural(2, "record"), span(3, 3), span(3, 4)) == ("1,234", "records", "LSN 3", "LSN 3 to 4")


def test_a_time_is_utc_and_a_label_beyond_the_calendar_is_a_number() -> None:
    """A record's time is whatever its clock said."""
    assert when(0) == "1970-01-01 00:00:00Z"
    assert when(1_500_000, fine=True) == "1970-01-01 00:00:01.500000Z"
    assert when(2**62) == f"{2**62} µs"
    assert time_json(1) == "1970-01-01T00:00:00.000001+00:00"
    assert time_json(-(2**62)) == -(2**62)


def test_what_can_not_be_seen_is_spelled_out() -> None:
    """Also what marks the direction of text, which hides more than it shows."""
    assert visible("a\u202eb\x85é") == "a\\u202eb\\x85é"
    assert shortened("abcdef", 4) == "abc…"
    assert shortened("abc", 3) == "abc"


def test_a_page_without_a_terminal_is_aligned_by_spaces() -> None:
    """For a file, a pipe, a mail: columns without colour, and parts without rows left out."""
    parts = [
        Fields("what", [("a", "1"), ("long", Toned("2\n", "bad"))]),
        Grid("empty", ("x",), []),
        Grid("", ("name", "n"), [("x", "10"), ("yy", "9")], frozenset({"n"})),
        Remarks(["so"]),
    ]
    lines = plain([part for part in parts if part.rows])
    assert lines == ["what", "  a     1", "  long  2\\n", "", "  name   n", "  x     10", "  yy     9", "", "so"]


def test_keys_that_do_not_decode_are_shown_as_bytes() -> None:
    """A damaged store is where such keys are seen, so they are shown."""
    assert encoded_key_text(b"\x99") == "<undecodable> 99"
    assert encoded_key_json(b"\x99") == {"key_bytes": "99"}
    assert encoded_key_text(reserved_key(Keyspace.OFFSETS, "in")) == "<offsets> in"
    assert encoded_key_json(b"\x0fx") == {"keyspace": "keyspace 15", "name": "x"}
    assert encoded_key_text(encode_key(("a", 1))) == '{"$tuple": ["a", 1]}'


def test_values_that_do_not_decode_are_shown_as_bytes() -> None:
    """The log is told also where the codec is of a later version."""
    assert Values("cbor").json(b"\xff") == {"value_bytes": "ff"}
    assert Values("later").json(b"\x01") == {"value_bytes": "01"}
    assert Values("later").text(b"\x01", 40) == "<undecodable> 01"
    encoded = CborCodec().encode((1, 2))
    assert Values("raw").json(encoded, reserved_key(Keyspace.OFFSETS, "in")) == {"value": {"$tuple": [1, 2]}}


def test_the_ends_of_a_range_say_whether_they_belong_to_it() -> None:
    """A key more or less matters to whoever goes and looks for it."""
    a, b = encode_key("a"), encode_key("b")
    assert range_text((a, above(b))) == ("a", "b")
    assert range_text((above(a), b), 1) == ("after a", "before b")
    assert range_text(ALL_KEYS) == ("the first key", "the last key")
    assert range_json(ALL_KEYS) == {"from": None, "to": None}
    assert range_json((above(a), above(b))) == {
        "from": {"key": "a", "inclusive": False},
        "to": {"key": "b", "inclusive": True},
    }
