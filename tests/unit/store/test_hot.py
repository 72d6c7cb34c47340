"""Hot values: within their budget, the caller's own copies, and never older than what the layers say."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest

import journalkit
from journalkit.errors import ClosedError
from journalkit.format.keys import encode_key
from journalkit.format.values import IMMUTABLE, same
from journalkit.options import MIB
from journalkit.store.engine import shares
from journalkit.store.hot import ASKED_MAX, SLOT_BYTES, HotValues, fresh, keepsake
from journalkit.store.layers import Layers
from journalkit.store.points import PointReads
from journalkit.types import Key, Value
from tests.unit.conftest import overtaken
from tests.unit.store.conftest import Bench

VALUES: list[Any] = [
    7, "text", b"bytes", 1.5, True, datetime(2026, 11, 22, tzinfo=UTC), Decimal("1.5"), Fraction(1, 3), UUID(int=7),
    (1, "a"), frozenset({1, 2}), [], {}, [1, [2, [3]]], {"a": 1, 2: b"x"}, {"a": {"b": [1, {"c": []}]}, "d": [None]},
    {"at": date(2026, 11, 22), "pair": (1, 2)}, {"names": {"x": "y"}, 1: {2: 3}}, {"nothing": None},
    {"sizes": [Decimal("sNaN"), b"", "", 1.0, 10**9]}, Decimal("sNaN"),
]  # fmt: skip


def kept(hot: HotValues, key: Key, value: Value) -> bool:
    """Ask for a key until it has a slot, fill that, and return whether it holds the value."""
    slot = hot.attach(key) or hot.attach(key)
    if slot is None:
        return False
    hot.fill(slot, value)
    return hot.str_keys.get(key) is slot and slot.value is not None


def changed_everywhere(value: Any) -> None:
    """Change a value and every container in it."""
    children = list(value.values()) if isinstance(value, dict) else list(value)
    for child in children:
        if isinstance(child, dict | list):
            changed_everywhere(child)
    value.clear()


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_is_kept_comes_back_the_same_and_is_the_callers_own(value: Any) -> None:
    """Changing a value that was read changes nothing that anybody reads later."""
    original = copy.deepcopy(value)
    made = keepsake(value)
    assert made is not None
    keeps, inner, size_bytes = made
    assert size_bytes >= 0
    assert (inner is None) == (not isinstance(value, dict | list))
    if inner is not None:
        changed_everywhere(value)
        for _ in range(2):
            given = fresh(keeps, inner)
            assert same(given, original)
            changed_everywhere(given)
    assert same(keeps, original)


@pytest.mark.parametrize("value", [{1, 2}, ([],), ((1,),), {"a": {1}}, [([],)], frozenset({(1,)})], ids=repr)
def test_what_can_not_be_copied_in_short_is_not_kept(value: Any) -> None:
    """It is decoded each time, which is right for every value."""
    assert keepsake(value) is None
    hot = HotValues(1 << 20)
    assert not kept(hot, "key", value)
    assert len(hot) == 0


def test_none_is_no_value_of_a_slot() -> None:
    """None says that a slot is empty; a key whose value it is is looked up each time."""
    hot = HotValues(1 << 20)
    assert not kept(hot, "key", None)
    assert len(hot) == 0


def test_only_types_that_nobody_can_change_are_handed_out_twice() -> None:
    """A list in here would make every reader share it."""
    for kind in IMMUTABLE:
        assert kind.__hash__ is not None


def test_the_budget_holds_and_what_is_read_again_stays() -> None:
    """A cache that grows is a leak; one that forgets what is wanted is useless."""
    hot = HotValues(20 * (SLOT_BYTES + 100))
    assert kept(hot, "wanted", b"value")
    for number in range(400):
        kept(hot, f"{number:06}", b"value")
        assert "wanted" in hot.str_keys
        hot.str_keys["wanted"].read_since = True
        assert len(hot) <= 21
    assert len(hot) > 10
    assert "000001" not in hot.str_keys, "what nobody reads makes room"


def test_more_than_there_is_room_for_read_in_turn_leaves_most_where_it_is() -> None:
    """Else each would go just before it is wanted, and none would ever be found."""
    hot = HotValues(20 * (SLOT_BYTES + 100))
    hits = 0
    for turn in range(20):
        for number in range(30):
            slot = hot.str_keys.get(f"{number:06}")
            if slot is not None:
                slot.read_since = True
                hits += turn >= 10
            else:
                kept(hot, f"{number:06}", b"value")
    assert len(hot) <= 21
    assert hits > 10 * 10


def test_what_everybody_reads_all_the_time_does_not_keep_the_clock_turning() -> None:
    """Readers set their mark without asking anybody: making room has to end all the same."""
    hot = HotValues(10 * (SLOT_BYTES + 100))
    for number in range(50):
        kept(hot, f"{number:06}", b"value")
        for slot in hot.str_keys.values():
            slot.read_since = True
    assert 8 <= len(hot) <= 11


def test_a_value_too_large_for_the_budget_is_not_kept() -> None:
    """One large value must not push out everything else."""
    hot = HotValues(4000)
    assert kept(hot, "small", b"x" * 100)
    assert not kept(hot, "large", b"x" * 1000)
    assert list(hot.str_keys) == ["small"]


def test_blocks_get_half_of_a_little_and_less_of_much() -> None:
    """Blocks of the index have to fit; above that, a value that was asked for is worth more than its neighbours."""
    assert [shares(total) for total in (0, 4096, 64 * MIB, 1024 * MIB)] == [
        (0, 0), (2048, 2048), (16 * MIB, 48 * MIB), (256 * MIB, 768 * MIB),
    ]  # fmt: skip


def test_nothing_is_kept_without_a_budget() -> None:
    """cache_bytes=0 asks for exactly that."""
    hot = HotValues(0)
    assert [hot.attach("key") for _ in range(3)] == [None, None, None]


def test_a_key_gets_a_slot_the_second_time() -> None:
    """Who reads a million keys once each neither fills the cache nor pays for it."""
    hot = HotValues(1 << 20)
    for key in ("a", b"b", 1):
        assert hot.attach(key) is None
        assert hot.attach(key) is not None
    assert hot.attach(("a",)) is hot.attach(("a",)) is None


def test_keys_that_were_asked_for_are_forgotten_in_time() -> None:
    """With every place set, each key would get a slot the first time."""
    hot = HotValues(1 << 20)
    for number in range(ASKED_MAX):
        assert hot.attach(number) is None
    assert hot.attach(5) is not None
    hot.attach(ASKED_MAX)
    assert hot.attach(6) is None


def test_a_thread_that_finds_another_at_it_keeps_nothing() -> None:
    """A reader never waits, not even for another reader."""
    hot = HotValues(1 << 20)
    with hot._lock:
        assert not kept(hot, "key", 1)
    assert len(hot) == 0
    assert kept(hot, "key", 1)


@pytest.mark.parametrize("key", ["a\0é", b"\x30", -3, 1 << 70, 0])
def test_a_write_drops_the_keys_it_changes(key: Key) -> None:
    """Whatever type a key is of; others stay."""
    hot = HotValues(1 << 20)
    for each in (key, "other", b"other", 99):
        slot = hot.attach(each) or hot.attach(each)
        assert slot is not None
        hot.fill(slot, "value")
    hot.drop([(encode_key(key), None), (encode_key(("t", 1)), b""), (b"\x01offset", b""), (encode_key(-99), None)])
    assert {*hot.str_keys, *hot.byte_keys, *hot.int_keys} == {"other", b"other", 99}


def test_a_store_serves_hot_values_of_every_type_of_key(store: journalkit.Store) -> None:
    """And what a dict takes for the same key isn't."""
    keys: list[Key] = ["1", b"1", 1, (1,), -(1 << 80)]
    store.update([(key, {"key": str(key), "list": [1]}) for key in keys])
    for turn in range(5):
        for key in keys:
            value = store[key]
            assert value == {"key": str(key), "list": [1]}, turn
            changed_everywhere(value)
    assert len(store._layers.hot) == 4
    for wrong in (True, 1.0, None, ["1"]):
        with pytest.raises(TypeError):
            store[wrong]  # type: ignore[index]
        with pytest.raises(TypeError):
            wrong in store  # noqa: B015
    assert all(key in store for key in keys)


def test_every_write_is_seen_by_the_next_read(store: journalkit.Store) -> None:
    """Put, batch, transaction, deletion, clear: and a fold changes nothing."""

    def read() -> list[Any]:
        keys: tuple[Key, ...] = ("a", b"b", 3)
        found = [[store.get(key) for key in keys] for _ in range(4)][-1]
        assert [key in store for key in keys] == [value is not None for value in found]
        return found

    store.update([("a", 1), (b"b", 1), (3, 1)])
    assert read() == [1, 1, 1]
    store["a"] = 2
    assert read() == [2, 1, 1]
    store.compact()
    assert read() == [2, 1, 1]
    store.update([("a", 3), (b"b", [3]), (3, 3)])
    assert read() == [3, [3], 3]
    with store.transaction() as tx:
        tx[b"b"] = {"x": 4}
        del tx[3]
    assert read() == [3, {"x": 4}, None]
    del store["a"]
    assert read() == [None, {"x": 4}, None]
    store.clear()
    assert read() == [None, None, None]


def test_a_closed_store_gives_no_hot_value(store: journalkit.Store) -> None:
    """Closed is closed."""
    store["a"] = 1
    assert [store["a"] for _ in range(3)] == [1, 1, 1]
    store.close()
    with pytest.raises(ClosedError):
        store["a"]
    with pytest.raises(ClosedError):
        "a" in store  # noqa: B015


def test_whether_a_hot_key_is_there_is_not_looked_for_in_the_layers(
    store: journalkit.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked as often as read, it cost ten times as much."""
    store.update({"a": 1, b"b": 2})
    store.compact()
    assert [(store["a"], store[b"b"]) for _ in range(3)] == [(1, 2)] * 3
    monkeypatch.setattr(Layers, "get_below", lambda *_: pytest.fail("looked for in the layers"))
    assert "a" in store
    assert b"b" in store


def test_damage_and_absence_leave_no_slot(store: journalkit.Store) -> None:
    """An empty slot would stay for ever: nothing that makes room knows of it."""
    for _ in range(3):
        assert "nothing" not in store
        with pytest.raises(KeyError):
            store["nothing"]
    assert len(store._layers.hot) == 0


READS = {PointReads._look_up.__code__, HotValues.attach.__code__, HotValues.fill.__code__, HotValues._take_in.__code__}
WRITES = {Layers.apply.__code__, Layers._apply.__code__, HotValues.drop.__code__}


def test_a_read_that_a_write_overtakes_at_any_line_leaves_nothing_old(bench: Bench) -> None:
    """What was read before the write must not be served after it."""
    store = bench.open(sync="never")
    line, came = 0, True
    while came:
        line += 1
        store.update({"k": line})
        for _ in range(3):
            store._layers.hot.str_keys.clear()
            assert store["k"] == line
        store._layers.hot.str_keys.clear()
        _, came = overtaken(lambda: store["k"], READS, line, lambda line=line: store.put("k", -line))
        assert [store["k"] for _ in range(3)] == [-line if came else line] * 3, f"line {line}"
    assert line > 20


@pytest.mark.parametrize("is_hot", [False, True])
def test_a_write_that_reads_overtake_at_any_line_leaves_nothing_old(bench: Bench, is_hot: bool) -> None:
    """What is read while a group is applied isn't kept, and who saw the new value sees the old one no more."""
    store = bench.open(sync="never")
    line, came = 0, True
    while came:
        line += 1
        store.update({"k": line, "l": line})
        store._layers.hot.str_keys.clear()
        if is_hot:
            assert [store["k"] + store["l"] for _ in range(3)] == [2 * line] * 3
        seen: list[int] = []

        def reads(seen: list[int] = seen) -> None:
            for _ in range(3):
                seen.extend((store["k"], store["l"]))

        _, came = overtaken(lambda line=line: store.update({"k": -line, "l": -line}), WRITES, line, reads)
        assert len(set(seen)) <= 1, f"line {line}: {seen}"
        assert [store["k"], store["l"]] == [-line, -line], f"line {line}"
    assert line > 10
