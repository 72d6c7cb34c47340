"""Compiled functions against their plain twins: the same bytes, and of what is refused the same errors.

Without the extension there is nothing to compare, and these are skipped.
"""

from __future__ import annotations

import gc
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from journalkit import compiled
from journalkit.checkpoint import chunks
from journalkit.errors import UsageError
from journalkit.format import batch, frame, keys, msgpack, run, values
from journalkit.format.batch import decode_into, encode_batch, encode_items
from journalkit.format.codec import CborCodec, RawCodec, codec_named, encode_plain
from journalkit.format.frame import encode, encode_with_checksum
from journalkit.format.keys import encode_key
from journalkit.format.msgpack import is_native
from journalkit.format.run import fold_regular
from journalkit.format.values import is_plain

needs_speed = pytest.mark.skipif(not compiled.IS_COMPILED, reason="the extension isn't here, or JOURNALKIT_PURE is set")


def plain(function: Any) -> Callable[..., Any]:
    """Return the function that a compiled one leaves the rest to."""
    twin: Callable[..., Any] = function.__self__
    return twin


def outcome(function: Callable[..., Any], *arguments: Any) -> tuple[object, ...]:
    """Return what came of a call, in a form that compares: a value, or an error with its words."""
    try:
        result = function(*arguments)
    except Exception as error:  # noqa: BLE001 - errors are what is compared
        return type(error), str(error)
    return type(result), result


def alike(function: Any, *arguments: Any) -> None:
    """Hold both to one outcome."""
    assert outcome(function, *arguments) == outcome(plain(function), *arguments)


elements = st.one_of(
    st.text(max_size=12), st.text(st.characters(), max_size=4), st.binary(max_size=12), st.integers(),
    st.integers(-(1 << 64), 1 << 64),
    st.sampled_from((0, -1, 255, 256, -255, -256, (1 << 63) - 1, -(1 << 63), 1 << 63)),
)  # fmt: skip
some_keys = st.one_of(elements, st.recursive(elements, lambda inner: st.lists(inner, max_size=4).map(tuple)))
some_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(max_size=300)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
)


def nested(depth: int, leaf: Any = 1) -> Any:
    """Return a value of so many lists inside each other."""
    for _ in range(depth):
        leaf = [leaf]
    return leaf


def deep_key(depth: int) -> Any:
    """Return a key of so many tuples inside each other."""
    key: Any = "a"
    for _ in range(depth):
        key = (key,)
    return key


class _Text(str):
    __slots__ = ()


ODD_KEYS = [
    True, None, 1.5, [], "\ud800", "a\ud800", ("\ud800",), _Text("a"), (_Text("a"),), (True,), "", b"", (), ((),), 0,
    "\0", "é" * 4096, "x" * 8191, "x" * 8192, b"x" * 8191, b"x" * 8192, ("x" * 506,), ("x" * 507,), ("x" * 508,),
    ("\0" * 255,), ("\0" * 256,), ("x" * 9000,), (b"\0\xff\0",), 1 << 64, -(1 << 64), (1 << 64) - 1, 1 - (1 << 64),
    1 << 70000, deep_key(15), deep_key(16), deep_key(17), ("x" * 505, 1 << 62), tuple(range(600)),
]  # fmt: skip


@needs_speed
@given(some_keys)
def test_keys_are_encoded_alike(key: Any) -> None:
    """A key that is written by one and looked for by the other has to be found."""
    alike(encode_key, key)


@needs_speed
@pytest.mark.parametrize("key", ODD_KEYS, ids=range(len(ODD_KEYS)))
def test_keys_at_the_limits_are_encoded_or_refused_alike(key: Any) -> None:
    """Limits, escapes, subclasses and lone surrogates, to the words of the error."""
    alike(encode_key, key)


@needs_speed
@given(some_values)
def test_values_are_judged_alike(value: Any) -> None:
    """What one takes for plain the other does."""
    alike(is_plain, value)
    alike(is_native, value)


@needs_speed
@pytest.mark.parametrize(
    "value",
    [
        nested(63), nested(64), nested(65), nested(64, {}), (1,), {1, 2}, [(1,)], {(1,): 1}, {1: [2, {"a": (1,)}]},
        datetime(2026, 1, 1, tzinfo=UTC), [datetime(2026, 1, 1, tzinfo=UTC)], {"a": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"a": [Decimal(1)]}, _Text("a"), [_Text("a")], {_Text("a"): 1}, {True: False, None: 1.5}, bytearray(b"a"),
    ],
    ids=range(18),
)  # fmt: skip
def test_odd_values_are_judged_alike(value: Any) -> None:
    """Depth, types beyond the scalars, subclasses."""
    for depth in ((), (1,), (2,), (64,), (65,), (66,)):
        alike(is_plain, value, *depth)
        alike(is_native, value, *depth)


whole = st.integers(0, (1 << 64) - 1)


@needs_speed
@given(
    st.binary(max_size=300),
    st.tuples(whole, st.integers(-(1 << 63), (1 << 63) - 1), whole, st.integers(0, 255), whole, whole),
)
def test_frames_are_encoded_alike(payload: bytes, numbers: tuple[int, ...]) -> None:
    """Two ways to write that differ in a byte are two formats."""
    alike(encode_with_checksum, payload, *numbers)


@needs_speed
@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize("wrong", [-1, 256, 1 << 64, -(1 << 70), 1.5, "a", None, bytearray(b"xy")])
def test_frames_of_the_wrong_numbers_end_alike(place: int, wrong: Any) -> None:
    """Whatever doesn't fit its field is refused by the plain one, in its words."""
    arguments: list[Any] = [b"payload", 7, 8, 6, 1, 99, 4096]
    arguments[place] = wrong
    alike(encode_with_checksum, *arguments)


mutations = st.lists(st.tuples(st.binary(max_size=20), st.one_of(st.none(), st.binary(max_size=300))), max_size=40)


@needs_speed
@given(mutations)
def test_batches_are_encoded_alike(entries: Any) -> None:
    """Deletions and empty values among them."""
    alike(encode_batch, entries)
    alike(encode_batch, tuple(entries))


@needs_speed
@pytest.mark.parametrize(
    "entries",
    [
        [(b"a", b"b", b"c")], [[b"a", b"b"]], [(b"a", "b")], [("a", b"b")],
        [(b"x" * 65535, b"")], [(b"x" * 65536, b"")],
        7,
        [(b"a", b"b"), (b"a", bytearray(b"b"))],
    ],
    ids=range(8),
)  # fmt: skip
def test_odd_batches_are_encoded_or_refused_alike(entries: Any) -> None:
    """Only pairs of bytes are for the compiled one."""
    alike(encode_batch, entries)


def folded(function: Callable[..., Any], payload: bytes) -> object:
    """Return what a payload came to, and what was folded before it turned out to be none."""
    entries: dict[bytes, bytes | None] = {}
    try:
        return function(payload, entries), entries
    except ValueError as error:
        return str(error), entries


@needs_speed
@given(mutations, st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3), st.integers(0, 2000))
def test_payloads_are_decoded_alike(entries: Any, changes: list[tuple[int, int]], cut: int) -> None:
    """Whole, with bytes changed, and cut short: the same entries, or the same place in the same error."""
    payload = bytearray(encode_batch([(key or b"k", value) for key, value in entries]))
    for at, byte in changes:
        if payload:
            payload[at % len(payload)] = byte
    for data in (bytes(payload), bytes(payload[:cut])):
        assert folded(decode_into, data) == folded(plain(decode_into), data)


@needs_speed
@given(
    st.lists(st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.binary(max_size=30)), max_size=3), max_size=5),
    st.integers(0, 1 << 40), st.integers(0, (1 << 64) - 1), st.integers(0, 1000), st.integers(0, 255), st.booleans(),
)  # fmt: skip
def test_runs_are_folded_alike(
    records: Any, base: int, salt: int, damaged_at: int, damage: int, is_damaged: bool
) -> None:
    """As far as both go they go together, with the same entries; no byte that was changed gets in."""
    data = bytearray()
    for number, entries in enumerate(records):
        payload, at = encode_batch(entries), base + len(data)
        data += encode(payload, lsn=5 + number, time_us=1, durable_lsn=0, kind=1, salt=salt, offset_bytes=at)
    if is_damaged and data:
        data[damaged_at % len(data)] = damage
    both = []
    for function in (fold_regular, plain(fold_regular)):
        entries_of: dict[bytes, bytes | None] = {}
        both.append((function(bytes(data), base, salt, 4, entries_of), entries_of, list(entries_of)))
    assert both[0] == both[1]


@needs_speed
@given(st.lists(st.tuples(some_keys, st.one_of(some_values, st.binary(max_size=70000))), max_size=5))
def test_items_are_encoded_alike(items: Any) -> None:
    """Bytes are written as the codec writes them."""
    for name in ("cbor", "raw", "msgpack"):
        alike(encode_items, items, codec_named(name))


@needs_speed
@pytest.mark.parametrize("size", [0, 23, 24, 255, 256, 65535, 65536])
def test_bytes_of_any_length_have_the_codecs_head(size: int) -> None:
    """Each length of the head, at its ends."""
    for codec in (CborCodec(), RawCodec()):
        alike(encode_items, [("a", bytes(size))], codec)


@needs_speed
@pytest.mark.parametrize(
    "items", [[("a", object())], [(1.5, 1), ("b", 2)], [("a", 1, 2)], [["a", 1]], [7], (("a", 1),)], ids=range(6)
)
def test_odd_items_are_encoded_or_refused_alike(items: Any) -> None:
    """The first thing that is wrong is what is told."""
    alike(encode_items, items, CborCodec())


@needs_speed
@given(some_values)
def test_plain_values_are_encoded_alike(value: Any) -> None:
    """As the library writes them, to the byte."""
    alike(encode_plain, value)


@needs_speed
@pytest.mark.parametrize(
    "value",
    [
        *(n * ((1 << bits) + off) for bits in (3, 5, 8, 16, 32, 63, 64) for off in (-9, -1, 0, 1) for n in (1, -1)),
        23, 24, 25, -24, -25, 0.0, -0.0, float("inf"), -float("inf"), 5e-324, 1.7976931348623157e308, True, None,
        "é" * 99, "\ud800", ["\ud800"], {"\ud800": 1}, nested(63), nested(64), nested(65), nested(70, {}), (1,), [(1,)],
        {(1,): 1}, {1: {2: {3: b"x" * 70000}}}, list(range(300)), dict.fromkeys(range(70000)), "x" * 1022, "x" * 1024,
        [b"x" * 600] * 3, _Text("a"), [_Text("a")], {_Text("a"): 1}, {1.5: 1, None: 2, b"k": 3, True: 4}, object(),
        [object()],
    ],
)  # fmt: skip
def test_values_at_the_ends_of_each_form_are_encoded_alike(value: Any) -> None:
    """Each length of a head at its ends, what has no form, and what is left to the library."""
    alike(encode_plain, value)


@needs_speed
def test_a_number_that_is_none_has_the_librarys_form() -> None:
    """It equals nothing, not even itself, so it stands alone here."""
    assert encode_plain([float("nan")]) == plain(encode_plain)([float("nan")])


@needs_speed
def test_a_list_that_its_own_encoding_changes_is_survived() -> None:
    """A value's encoding runs other code, which may be this list's."""

    class Shrinking:
        name = "own"

        def encode(self, value: Any) -> bytes:
            items.clear()
            return b"x"

    items: list[Any] = [("a", 1), ("b", 2)]
    assert encode_items(items, Shrinking()) == [(encode_key("a"), b"x")]
    items = [("a", 1)]

    class Wrong(Shrinking):
        def encode(self, value: Any) -> Any:
            return 7

    with pytest.raises(TypeError):
        encode_items(items, Wrong())


@needs_speed
@given(st.binary(max_size=3000), st.integers(0, (1 << 32) - 1))
def test_the_checksum_is_the_librarys(data: bytes, seed: int) -> None:
    """By the processor's instruction and by tables."""
    assert compiled.speed is not None
    assert compiled.speed.checksums(data, seed) == (crc32c(data, seed),) * 2


@needs_speed
@pytest.mark.parametrize("size", [3071, 3072, 3073, 6143, 6144, 9300, 16388, 70001])
def test_the_checksum_of_long_data_is_the_librarys(size: int) -> None:
    """Where three stretches are reckoned at once, and at their ends."""
    data = random.Random(size).randbytes(size)
    for seed in (0, 1, 0xFFFFFFFF, size):
        assert compiled.speed is not None
        assert compiled.speed.checksums(data, seed) == (crc32c(data, seed),) * 2


@needs_speed
def test_the_numbers_are_the_formats() -> None:
    """Each stands in two languages."""
    speed: Any = compiled.speed
    assert (speed.FRAME_HEADER_BYTES, speed.FRAME_MAGIC) == (frame.HEADER_BYTES, frame.MAGIC)
    assert (speed.KIND_BATCH, speed.PAYLOAD_BYTES_MAX) == (frame.Kind.BATCH, frame.PAYLOAD_BYTES_MAX)
    assert (speed.ENTRY_HEADER_BYTES, speed.TOMBSTONE) == (batch.ENTRY_BYTES, batch.TOMBSTONE)
    assert (speed.KEY_BYTES_MAX, speed.KEY_DEPTH_MAX) == (keys.KEY_BYTES_MAX, keys.KEY_DEPTH_MAX)
    assert values.VALUE_DEPTH_MAX == speed.VALUE_DEPTH_MAX


@needs_speed
def test_nothing_is_kept_that_was_let_go() -> None:
    """A reference too many for each call would show after a hundred thousand, a reference too few long before."""
    items = [(("a", 1, b"x"), {"a": [1, 2]}), (b"k", b"v" * 50), ("name", 1.5)]
    payload = encode_batch([(b"k%d" % n, b"v" * 100) for n in range(10)])
    data = encode(payload, lsn=1, time_us=1, durable_lsn=0, kind=1, salt=1, offset_bytes=0)

    def work() -> None:
        for _ in range(3000):
            for each in (["a", None], object(), "\ud800", ("\ud800",), 1 << 70):
                outcome(encode_key, each)
            encode_batch(encode_items(items, CborCodec()))
            outcome(encode_items, [("a", 1), ("b", object())], CborCodec())
            outcome(encode_plain, [b"x" * 2000, "\ud800"]), encode_plain([b"x" * 2000])
            is_plain(items), is_native(items)
            encode_with_checksum(payload, 1, 2, 3, 1, 5, 6)
            outcome(encode_with_checksum, payload, -1, 2, 3, 1, 5, 6)
            outcome(decode_into, payload + b"x", {})
            fold_regular(data, 0, 1, 0, {})

    work()
    gc.collect()
    before_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    blocks = sys.getallocatedblocks()
    work()
    gc.collect()
    assert sys.getallocatedblocks() - blocks < 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before_bytes < 8 * 1024 * 1024


def test_an_environment_variable_chooses_the_plain_path() -> None:
    """Who doubts the extension can do without it, and so does a second run of the tests."""
    program = (
        "from journalkit.compiled import IS_COMPILED; from journalkit.format.keys import encode_key; "
        "print(IS_COMPILED, type(encode_key).__name__)"
    )
    environment = {**os.environ, "JOURNALKIT_PURE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "function"]


def test_the_functions_are_there_either_way() -> None:
    """Marked functions are called by the same names whichever path runs."""
    assert all(
        callable(each)
        for each in (encode_key, is_plain, msgpack.is_native, encode_with_checksum, encode_batch, run.fold_regular)
    )
    with pytest.raises(UsageError):
        encode_key(1.5)  # type: ignore[arg-type]


@needs_speed
@given(st.binary(max_size=400), st.integers(0, 1 << 40))
def test_places_are_found_as_python_finds_them(data: bytes, mask: int) -> None:
    """Who saves with the extension and who saves without it cut bytes at the same places."""
    alike(chunks.gear_place, memoryview(data), mask & 0xFFFF_FFFF, chunks.gear())
    for odd in ((memoryview(data), mask, b"short"), (memoryview(data),), (data, None, chunks.gear())):
        assert outcome(chunks.gear_place, *odd)[0] == outcome(plain(chunks.gear_place), *odd)[0]
