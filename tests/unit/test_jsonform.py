"""The lossless JSON form: every value there and back, equal and of the same types; and no guess on the way in."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journalkit.cli import jsonform
from journalkit.cli.jsonform import JsonFormError
from journalkit.format.values import same

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(["$", "$bytes", "$dict", ""])
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXT
    | st.binary(max_size=8)
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.dates()
    | st.datetimes(timezones=OFFSETS)
    | st.uuids()
    | st.integers(-(1 << 5000), 1 << 5000),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.sets(HASHABLE, max_size=3)
        | st.dictionaries(TEXT, inner, max_size=3)
        | st.dictionaries(HASHABLE, inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_every_value_comes_back_the_same(value: Any) -> None:
    """`dump | load` reproduces a store only if this holds for whatever a store can hold."""
    text = jsonform.dumps(value)
    assert "\n" not in text
    assert same(jsonform.loads(text), value)


def test_several_nans_in_a_set_stay_several() -> None:
    """Found by fuzzing: a dump of such a store couldn't be loaded, since one NaN was read for all of them."""
    for kind in (set, frozenset):
        value = kind({float("nan"), float("nan"), 1.0})
        found = jsonform.loads(jsonform.dumps(value))
        assert same(found, value)
    keyed = {float("nan"): 1, float("nan"): 2}
    assert same(jsonform.loads(jsonform.dumps(keyed)), keyed)


def test_no_control_character_is_sent_as_it_is() -> None:
    """Found by fuzzing: JSON escapes those below the space; DEL and the C1 set, with CSI, went to the terminal."""
    text = "".join(map(chr, range(0x100)))
    said = jsonform.dumps({text: text})
    assert not {character for character in said if character < " " or "\x7f" <= character < "\xa0"}
    assert jsonform.loads(said) == {text: text}


def test_what_json_can_say_stays_what_it_is() -> None:
    """Most values are plain, and other tools read them."""
    value = {"a": [1, 2.0, -0.0, True, None, "x"], "b": {}}
    assert json.loads(jsonform.dumps(value)) == value


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (b"\x00\x01", {"$bytes": "AAE="}),
        ((1, ()), {"$tuple": [1, {"$tuple": []}]}),
        ({2, 1}, {"$set": [1, 2]}),
        (frozenset({"b", "a"}), {"$frozenset": ["a", "b"]}),
        ({1: "a"}, {"$dict": [[1, "a"]]}),
        ({"$x": 1}, {"$dict": [["$x", 1]]}),
        (math.inf, {"$float": "inf"}),
        (Decimal("1.50"), {"$decimal": "1.50"}),
        (Fraction(1, 3), {"$fraction": [1, 3]}),
        (date(2026, 11, 22), {"$date": "2026-11-22"}),
        (datetime(2026, 11, 22, 9, 30, tzinfo=UTC), {"$datetime": "2026-11-22T09:30:00+00:00"}),
        (UUID(int=1), {"$uuid": "00000000-0000-0000-0000-000000000001"}),
        (1 << 4096, {"$int": hex(1 << 4096)}),
        ((1 << 4096) - 1, (1 << 4096) - 1),
    ],
)
def test_each_type_has_its_documented_form(value: Any, form: Any) -> None:
    """Other programs write these too."""
    assert jsonform.to_json(value) == form


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nope",
        "NaN",
        "-Infinity",
        "1e999",
        "1" * 5000,
        '{"a": 1, "a": 2}',
        '{"$what": 1}',
        '{"$tuple": [1], "b": 2}',
        '{"a": 1, "$tuple": [1]}',
        '{"$bytes": "?"}',
        '{"$bytes": "AAE"}',
        '{"$bytes": 1}',
        '{"$tuple": 1}',
        '{"$set": [1, 1]}',
        '{"$set": [[1]]}',
        '{"$dict": [1]}',
        '{"$dict": ["ab"]}',
        '{"$dict": [[1, 2, 3]]}',
        '{"$dict": [[[1], 2]]}',
        '{"$dict": [[1, 2], [1, 3]]}',
        '{"$float": "1.5"}',
        '{"$int": "x"}',
        '{"$decimal": "x"}',
        '{"$fraction": [1, 0]}',
        '{"$fraction": [1]}',
        '{"$date": "22.11.2026"}',
        '{"$datetime": "now"}',
        '{"$uuid": "x"}',
        "[" * 100_000,
    ],
)
def test_what_is_no_form_of_a_value_is_refused(text: str) -> None:
    """A guess would be stored, and nobody would know."""
    with pytest.raises(JsonFormError):
        jsonform.loads(text)
