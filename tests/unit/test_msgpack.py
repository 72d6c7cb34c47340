"""Values as MessagePack: what is stored and how, what never decodes, and what happens without the package."""

from __future__ import annotations

import contextlib
import enum
import inspect
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from msgspec import Struct, msgpack

import journalkit
from journalkit.errors import CorruptionError, KeyTypeError, KeyValueError, UsageError
from journalkit.format.codec import CborCodec, codec_named
from journalkit.format.malformed import MalformedError
from journalkit.format.values import VALUE_DEPTH_MAX, same

CODEC = codec_named("msgpack")
CBOR = CborCodec()
NOON = datetime(2026, 11, 1, 12, 0, 0, 250_000, tzinfo=UTC)
EXTENSION_OF_CBOR = 0x4A


def nested(depth: int, wrap: Callable[[Any], Any] = lambda inner: [inner]) -> Any:
    """Return as many containers inside each other."""
    value = wrap(0)
    for _ in range(depth - 1):
        value = wrap(value)
    return value


NATIVE: list[Any] = [
    None,
    True,
    False,
    *(sign * 2**bits + off for sign in (1, -1) for bits in (0, 5, 7, 8, 16, 32) for off in (-1, 0)),
    -(2**63),
    2**63,
    2**64 - 1,
    1.5,
    -0.0,
    float("inf"),
    float("nan"),
    *(char * size for char in ("x", "é", b"x") for size in (0, 1, 31, 32, 255, 256, 65_535, 65_536)),
    {"name": "Ada", "logins": 3, "tags": ["a", "b"]},
    {1: {2: {3.0: [None, True, b""]}}, None: 1, b"k": 2, "at": NOON},
    list(range(70_000)),
    {number: [] for number in range(70)},
    [0x80] * 200,
    {"rows": [{"é": 1} for _ in range(70)]},
    NOON,
    datetime(1, 1, 1, tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    nested(VALUE_DEPTH_MAX),
    nested(VALUE_DEPTH_MAX, lambda inner: {"a": inner}),
]

AS_CBOR: list[Any] = [
    2**64,
    -(2**63) - 1,
    [2**70],
    (),
    (1, [2]),
    {"a": {1, 2}},
    frozenset({1}),
    {(1, 2): 3},
    {NOON: 1},
    NOON.astimezone(timezone(timedelta(hours=1))),
    [NOON.replace(tzinfo=timezone(timedelta(0), "Z"))],
    date(2026, 1, 1),
    Decimal("1.50"),
    Fraction(1, 3),
    UUID(int=1),
    nested(VALUE_DEPTH_MAX, lambda inner: (inner,)),
]


def shown(value: Any) -> str:
    """Return a test's name for a value."""
    return type(value).__name__


@pytest.mark.parametrize("value", NATIVE, ids=shown)
def test_what_messagepack_says_exactly_is_written_as_it_is(value: Any) -> None:
    """Any MessagePack library reads it."""
    data = CODEC.encode(value)
    assert data == msgpack.encode(value)
    back = CODEC.decode(data)
    assert same(back, value)


@pytest.mark.parametrize("value", AS_CBOR, ids=shown)
def test_everything_else_is_an_extension_item_that_holds_cbor(value: Any) -> None:
    """So both codecs take the same values, and nothing inside changes its type."""
    data = CODEC.encode(value)
    item = msgpack.decode(data)
    assert (type(item), item.code, bytes(item.data)) == (msgpack.Ext, EXTENSION_OF_CBOR, CBOR.encode(value))
    back = CODEC.decode(data)
    assert type(back) is type(value)
    assert same(back, value)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class Point(NamedTuple):
    x: int


class Spot(Struct):
    x: int


@dataclass
class Place:
    x: int


CHANGED: list[Any] = [
    Colour.RED,
    Level.LOW,
    Word.YES,
    Point(1),
    Spot(1),
    Place(1),
    OrderedDict(a=1),
    defaultdict(int, a=1),
    bytearray(b"x"),
    memoryview(b"x"),
    timedelta(1),
    NOON.time(),
    PurePath("a"),
    1j,
    object(),
    msgpack.Ext(1, b"x"),
]


@pytest.mark.parametrize("wrap", [lambda it: it, lambda it: [it], lambda it: {"a": [it]}, lambda it: (1, it)])
@pytest.mark.parametrize("value", CHANGED, ids=shown)
def test_what_the_library_would_change_is_refused_where_it_stands(value: Any, wrap: Callable[[Any], Any]) -> None:
    """An Enum would come back as its value, a struct as a dict, without an error."""
    with pytest.raises(KeyTypeError, match="would not come back as it is"):
        CODEC.encode(wrap(value))


@pytest.mark.parametrize(
    "value",
    [
        "\ud800",
        {"a\udfff": 1},
        [1, ["\ud800"]],
        datetime(2026, 1, 1),  # noqa: DTZ001 - naive on purpose
        nested(VALUE_DEPTH_MAX + 1),
        nested(VALUE_DEPTH_MAX + 1, lambda inner: {"a": inner}),
        nested(100_000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_out_of_range_is_refused(value: Any) -> None:
    """As with CBOR."""
    with pytest.raises(KeyValueError):
        CODEC.encode(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    """The library would nest until Python's stack ends."""
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(KeyValueError, match="contains itself"):
        CODEC.encode(ring)


MALFORMED: dict[str, str] = {
    "nothing": "",
    "a byte behind an integer": "0100",
    "a byte behind a map": "8000",
    "a byte behind an extension": "d44af600",
    "a head that is none": "c1",
    "a text cut short": "a261",
    "bytes of four gigabytes": "c6ffffffff",
    "an array of four billion": "ddffffffff",
    "an array of millions, deeper": "91dd0fffffff",
    "a map of four billion": "dfffffffff",
    "an extension of four gigabytes": "c9ffffffff4a",
    "no UTF-8": "a1ff",
    "a surrogate": "a3eda080",
    "a map as a key": "818001",
    "an unknown extension": "d401f6",
    "the extension inside an array": "91d44af6",
    "the extension as a key": "81d44af601",
    "an extension behind what is deep": "92" + "91" * 2000 + "c0" + "d401f6",
    "an extension whose content is no CBOR": "d44aff",
    "an extension with bytes behind its CBOR": "d54af6f6",
    "an extension without content": "c7004a",
    "a timestamp of two bytes": "d5ff0000",
    "a timestamp with too many nanoseconds": "d7ff" + ((10**9 << 34) | 5).to_bytes(8).hex(),
    "a timestamp of the year 10000": "c70cff" + "00000000" + (253_402_300_800).to_bytes(8).hex(),
    "one level too many": "91" * 65 + "c0",
    "one level too many, empty": "91" * 64 + "90",
    "one level too many, of maps": "81c0" * 65 + "c0",
    "one level too many, in a key": "81" + "91" * 64 + "c0c0",
    "deeper than Python's stack": "91" * 5000 + "c0",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bytes_are_told(name: str) -> None:
    """Whoever wrote them: no other error, no memory."""
    with pytest.raises(MalformedError) as caught:
        CODEC.decode(bytes.fromhex(MALFORMED[name]))
    assert len(caught.value.reason) <= 200


def test_bytes_behind_an_extension_item_are_told_in_the_librarys_words() -> None:
    """Which is all that is known of them."""
    with pytest.raises(MalformedError, match="trailing characters"):
        CODEC.decode(CODEC.encode(frozenset({1})) + b"\0")


def test_a_full_stack_is_the_callers_and_no_damage() -> None:
    """A sound value read at the end of Python's stack must not be called corrupt."""
    data = CODEC.encode(nested(VALUE_DEPTH_MAX))

    def dive() -> Any:
        try:
            return dive()
        except RecursionError:
            return CODEC.decode(data)

    with contextlib.suppress(RecursionError):
        assert dive() == nested(VALUE_DEPTH_MAX)


@pytest.mark.parametrize("room", range(5, 100, 5))
def test_a_nearly_full_stack_is_the_callers_too(room: int) -> None:
    """Room for a few calls, and not for the value's levels."""
    data = CODEC.encode(nested(VALUE_DEPTH_MAX))

    def read_below(frames: int) -> Any:
        return read_below(frames - 1) if frames else CODEC.decode(data)

    with contextlib.suppress(RecursionError):
        assert read_below(sys.getrecursionlimit() - len(inspect.stack(0)) - room) == nested(VALUE_DEPTH_MAX)


def test_hostile_bytes_in_a_store_are_corruption(tmp_path: Any) -> None:
    """The value's key is named, or the record."""
    with journalkit.open(tmp_path / "s", codec="msgpack") as store:
        store._encode_value = lambda _value: b"\x91" * 3000 + b"\xc0"
        store["deep"] = 1
        for read in (lambda: store["deep"], lambda: dict(store), lambda: store.pop("deep")):
            with pytest.raises(CorruptionError, match=r"key 'deep' can't be decoded .* too deep"):
                read()
    with journalkit.open_journal(tmp_path / "j", codec="raw") as journal:
        journal.append(b"\x91\xc1")
        journal._codec = CODEC
        with pytest.raises(CorruptionError, match="isn't a value"):
            list(journal.read())


def test_a_store_and_a_journal_keep_their_codec(tmp_path: Any) -> None:
    """Offsets and metadata stay CBOR, whatever the values are."""
    with journalkit.open(tmp_path / "s", codec="msgpack", metadata={"made": date(2026, 1, 1)}) as store:
        store.update({"a": {"n": 1}, "b": (1, 2), "at": NOON})
        with store.transaction() as tx:
            tx["n"] = tx["a"]["n"] + 1
            tx.offsets["in"] = (7, 8)
        store.compact()
        store.modify("n", lambda n: [n])
        with pytest.raises(KeyTypeError):
            store["bad"] = Level.LOW
        with pytest.raises(UsageError, match="msgpack"):
            journalkit.open(tmp_path / "s", mode="r", codec="cbor")
    for mode in ("r", "rw"):
        with journalkit.open(tmp_path / "s", mode=mode) as store:
            assert dict(store) == {"a": {"n": 1}, "at": NOON, "b": (1, 2), "n": [2]}
            assert (dict(store.offsets), dict(store.metadata)) == ({"in": (7, 8)}, {"made": date(2026, 1, 1)})
    with journalkit.open_journal(tmp_path / "j", codec="msgpack") as journal:
        journal.append({"kind": "signup"})
        journal.append((1,))
    with journalkit.open_journal(tmp_path / "j", mode="r") as journal:
        assert [record.value for record in journal.read()] == [{"kind": "signup"}, (1,)]


def test_without_the_package_the_extra_is_named_and_nothing_is_made(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens it has to install it; no half store is left behind."""
    journalkit.open(tmp_path / "s", codec="msgpack").close()
    journalkit.open_journal(tmp_path / "j", codec="msgpack").close()
    monkeypatch.setitem(sys.modules, "msgspec", None)
    opens: list[Callable[[], Any]] = [
        lambda: journalkit.open(tmp_path / "new", codec="msgpack"),
        lambda: journalkit.open(tmp_path / "s"),
        lambda: journalkit.open(tmp_path / "s", mode="r"),
        lambda: journalkit.open_journal(tmp_path / "j"),
        lambda: journalkit.open_journal(tmp_path / "j", mode="r"),
        lambda: journalkit.open_journal(tmp_path / "new", codec="msgpack"),
    ]
    for attempt in opens:
        with pytest.raises(UsageError, match=r"pip install 'journalkit\[msgpack\]'"):
            attempt()
    assert not (tmp_path / "new").exists()
    journalkit.open(tmp_path / "plain").close()
