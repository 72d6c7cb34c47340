"""The compiled way of a get, held to what it is in Python; and what it leaves to Python.

On real files, because it reads no others by itself. Skipped where the extension isn't used.
"""

from __future__ import annotations

import gc
import random
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import journalkit
from journalkit import compiled, errors
from journalkit.format import block as block_format
from journalkit.format import filters
from journalkit.format.block import Block, encode_block, find_entry, run_of
from journalkit.format.codec import CborCodec
from journalkit.snapshot import cache, finding, reader
from journalkit.snapshot.finding import PlainFinder
from journalkit.store import hot, points
from journalkit.types import ABSENT, UNSET

pytestmark = pytest.mark.skipif(not compiled.IS_COMPILED, reason="the extension isn't here, or JOURNALKIT_PURE is set")

SMALL = {"compaction": "manual", "sync": "never", "cache_bytes": 300_000}


def plainly(store: Any) -> None:
    """Have a store read in Python alone."""
    store._look_up_at_once = points._leave
    for table in store._layers.tables:
        table._finder = PlainFinder()
        table._find = table._finder.find


def outcome(function: Callable[[], Any]) -> object:
    """Return what came of a call, as something that compares."""
    try:
        return function()
    except Exception as error:  # noqa: BLE001 - errors are what is compared
        return type(error), str(error), getattr(error, "args", None)


blocks = st.dictionaries(
    st.binary(min_size=1, max_size=5), st.one_of(st.none(), st.binary(max_size=12)), min_size=1, max_size=40
)


@given(blocks, st.binary(min_size=1, max_size=5), st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255))))
def test_entries_are_found_alike(entries: Block, other: bytes, damage: list[tuple[int, int]]) -> None:
    """Those that are there, those that aren't, and those of blocks that are nonsense inside."""
    body = bytearray(encode_block([run_of(sorted(entries.items()))]) + b"CRC!")
    plain: Any = find_entry
    for keys in (list(entries), [other]):
        for key in keys:
            for count in (len(entries), len(entries) + 1, 0, 1 << 40):
                both = (partial(each, bytes(body), count, key) for each in (find_entry, plain.__self__))
                assert len({outcome(each) for each in both}) == 1
        for at, byte in damage[:3]:
            body[at % len(body)] = byte


@pytest.mark.parametrize("given_block", [(bytearray(20), 1, b"k"), (bytes(20), -1, b"k"), (bytes(20), True, b"k")])
def test_what_isnt_a_block_is_the_twins(given_block: Any) -> None:
    """It says what it says."""
    plain: Any = find_entry
    assert outcome(lambda: find_entry(*given_block)) == outcome(lambda: plain.__self__(*given_block))


def fill(path: str, count: int, **options: Any) -> None:
    """Make a state of several tables: a base, a delta on it with deletions, and a tail."""
    with journalkit.open(path, **(SMALL | {"fold_ratio": 100.0}), **options) as store:
        for number in range(count):
            store.put(key_of(number), value_of(number))
        store.compact()
        for number in range(0, count, 7):
            store.put(key_of(number), value_of(number + 1))
        for number in range(3, count, 11):
            store.delete(key_of(number))
        store.compact()
        for number in range(0, count, 13):
            store.put(key_of(number), value_of(number + 2))


def key_of(number: int) -> Any:
    """Return a key, of each kind."""
    return [f"key{number:06}", b"key%06d" % number, number, ("t", number)][number % 4]


def value_of(number: int) -> Any:
    """Return a value: bytes of each length of a head, and others."""
    if not number % 5:
        return {"number": number, "list": [number]}
    return (b"value%06d" % number) * [1, 2, 30, 0, 3][number % 5] if number % 500 else bytes(70000)


@pytest.mark.parametrize("options", [{}, {"codec": "msgpack"}, {"compression": "zstd"}])
def test_gets_say_what_they_say_in_python(tmp_path: Path, options: dict[str, Any]) -> None:
    """Of keys in memtables, in each table, deleted, and nowhere; hot or not; from the cache and from the file."""
    path = str(tmp_path / "store")
    fill(path, 3000, **options)
    opened = {key: value for key, value in options.items() if key != "codec"}
    with (
        journalkit.open(path, mode="r", cache_bytes=300_000) as twin,
        journalkit.open(path, **(SMALL | opened)) as store,
    ):
        plainly(twin)
        dice = random.Random(1)
        some = [dice.randrange(3600) for _ in range(2500)]
        for number in [*range(3600), *some, *some[:500], *some[:500]]:
            key = key_of(number)
            assert outcome(lambda key=key: store[key]) == outcome(lambda key=key: twin[key])
            assert (key in store) == (key in twin)
        store.check()


def test_what_was_put_is_read_at_once(tmp_path: Path) -> None:
    """Whether a key was hot, frozen, folded or absent before; and values that can be changed are the caller's own."""
    with journalkit.open(str(tmp_path / "store"), **SMALL) as store:
        for turn in range(6):
            for key in ("s", b"b", 7, -1, ("t", 1)):
                for value in (b"x%d" % turn, bytes(300), bytes(70000), [turn], {"a": [turn]}, None, "text", turn):
                    store.put(key, value)
                    assert [store[key] for _ in range(4)] == [value] * 4
                    if isinstance(value, list):
                        store[key].append(1)
                        assert store[key] == value
                store.delete(key)
                for _ in range(3):
                    with pytest.raises(KeyError) as missing:
                        _ = store[key]
                    assert missing.value.args == (key,)
                store.put(key, b"back")
            if turn % 2:
                store.view()
            else:
                store.compact()
            assert all(store[key] == b"back" for key in ("s", b"b", 7, -1, ("t", 1)))


@pytest.mark.parametrize("key", [1.5, None, "\ud800", ("a", None), True, [], "x" * 9000])
def test_what_is_no_key_is_refused_in_pythons_words(tmp_path: Path, key: Any) -> None:
    """As ever."""
    with journalkit.open(str(tmp_path / "store"), **SMALL) as store:
        told = outcome(lambda: store[key])
        store._look_up_at_once = points._leave  # type: ignore[assignment]
        assert told == outcome(lambda: store[key])
        assert issubclass(told[0], errors.UsageError)  # type: ignore[index,arg-type]


def test_damage_is_told_in_pythons_words(tmp_path: Path) -> None:
    """Whatever a block has become: the same error for the same keys, and the others are read."""
    path = str(tmp_path / "store")
    fill(path, 3000)
    readers = [journalkit.open(path, mode="r", cache_bytes=0) for _ in range(2)]
    with readers[0] as store, readers[1] as twin:
        plainly(twin)
        layers: Any = store._layers
        with open(layers.tables[-1].path, "r+b") as file:
            data = bytearray(file.read())
            for at in range(5000, len(data) * 3 // 4, 60_000):
                data[at] ^= 1
            file.seek(0)
            file.write(data)
        told = [outcome(lambda n=n: store[key_of(n)]) for n in range(3000)]
        assert told == [outcome(lambda n=n: twin[key_of(n)]) for n in range(3000)]
    lost = [each for each in told if isinstance(each, tuple) and each[0] is errors.CorruptionError]
    assert 0 < len(lost) < 1500


def test_a_file_cut_short_and_a_closed_one_are_told_of(tmp_path: Path) -> None:
    """No read that failed is taken for an answer."""
    path = tmp_path / "store"
    fill(str(path), 3000)
    with journalkit.open(str(path), mode="r", cache_bytes=0) as store:
        layers: Any = store._layers
        base = layers.tables[-1]
        with open(base.path, "r+b") as file:
            file.truncate(base.info.size_bytes // 3)
        told = [outcome(lambda n=n: store[key_of(n)]) for n in range(3000)]
        assert any(isinstance(each, tuple) and each[0] is errors.CorruptionError for each in told)
        base.close()
        assert base._find(b"\x02key000001\x00") in (UNSET, ABSENT)
        with pytest.raises(errors.ClosedError):
            base.get(base.source.root.firsts[0])


def test_filters_are_asked_alike(tmp_path: Path) -> None:
    """For keys that tables don't hold, the same reads are spared: not one block more is read."""
    path = str(tmp_path / "store")
    fill(path, 3000)
    reads = []
    for is_plain in (False, True):
        with journalkit.open(path, mode="r", cache_bytes=300_000) as store:
            if is_plain:
                plainly(store)
            for number in range(0, 3000, 3):
                with pytest.raises(KeyError):
                    _ = store[f"key{number:06}?"]
            reads.append(store._engine.cache.statistics().misses)
    # A read that was in vain is done once more by Python, which notes it.
    assert reads[0] <= reads[1] * 1.2 + 20


def test_readers_beside_a_writer_and_folds_see_whole_values(tmp_path: Path) -> None:
    """Each value that was ever put, and no older one than was acknowledged before the read began."""
    with journalkit.open(str(tmp_path / "store"), **SMALL) as store:
        newest = [0] * 50
        for number in range(50):
            store.put(b"k%d" % number, b"%09d" % 0 * 10)
        stop, wrong = threading.Event(), list[object]()

        def read() -> None:
            dice = random.Random()
            while not stop.is_set():
                number = dice.randrange(50)
                least = newest[number]
                value = store[b"k%d" % number]
                if int(value[:9]) < least or value != value[:9] * 10:
                    wrong.append((number, least, value))

        threads = [threading.Thread(target=read) for _ in range(3)]
        before = sys.getswitchinterval()
        sys.setswitchinterval(0.000_02)
        try:
            for each in threads:
                each.start()
            for turn in range(1, 3000):
                number = turn % 50
                store.put(b"k%d" % number, b"%09d" % turn * 10)
                newest[number] = turn
                if not turn % 500:
                    store.compact()
                elif not turn % 170:
                    store.view()
        finally:
            stop.set()
            sys.setswitchinterval(before)
            for each in threads:
                each.join()
        assert wrong == []


def test_the_numbers_are_the_formats() -> None:
    """Each stands in two languages."""
    speed: Any = compiled.speed
    assert (speed.BLOCK_START_BYTES, speed.BLOCK_ROW_BYTES) == (block_format.START_BYTES, block_format.ROW_BYTES)
    assert (speed.BLOCK_ENTRY_BYTES, speed.BLOCK_CRC_BYTES) == (
        block_format.ENTRY_OVERHEAD_BYTES,
        block_format.CRC_BYTES,
    )
    assert (speed.PAGE_HEAD_BYTES, speed.PAGE_OVERHEAD_BYTES) == (filters.HEAD_BYTES, filters.PAGE_OVERHEAD_BYTES)
    assert (speed.PAGE_BLOCKS, speed.CACHED_BLOCK_BYTES) == (filters.PAGE_BLOCKS, cache.RAW_BYTES)
    assert (speed.ASKED_PLACES, speed.ASKED_MAX, speed.PATIENCE) == (hot.ASKED_PLACES, hot.ASKED_MAX, hot.PATIENCE)
    assert speed.FILTERED_READS == reader.FILTERED_READS


def test_what_is_asked_once_is_hot_the_next_time(tmp_path: Path) -> None:
    """Keys of tables get their place as in Python, whatever the path of the first read."""
    path = str(tmp_path / "store")
    fill(path, 300)
    with journalkit.open(path, mode="r") as store:
        numbers = [number for number in range(300) if number % 13 and number % 11 != 3]
        for _ in range(2):
            for number in numbers:
                _ = store[key_of(number)]
        kept = sum(store._layers.hot.get(key_of(number)) is not None for number in numbers)
        assert kept >= sum(number % 4 != 3 for number in numbers) - 20


def test_nothing_is_kept_that_was_let_go(tmp_path: Path) -> None:
    """A reference too many for each get would show, and one too few long before."""
    path = str(tmp_path / "store")
    fill(path, 3000)
    with journalkit.open(path, **SMALL) as store:
        store.put("new", b"x" * 50)
        codec = CborCodec()

        def work() -> None:
            for number in range(0, 3400, 3):
                outcome(lambda number=number: store[key_of(number)])
                outcome(lambda: store[1.5])  # type: ignore[index]
                _ = store["new"]
            body = encode_block([run_of([(b"k", codec.encode(b"v"))])]) + b"CRC!"
            for _ in range(1000):
                find_entry(body, 1, b"k")
                find_entry(body, 1, b"z")

        growth = []
        for _ in range(2):
            work()
            gc.collect()
            blocks_before = sys.getallocatedblocks()
            work()
            gc.collect()
            growth.append(sys.getallocatedblocks() - blocks_before)
        assert growth[1] < 1500


def test_a_finder_is_made_once_and_of_the_right_parts() -> None:
    """It is asked from Python only in tests; it must not fall over all the same."""
    speed: Any = compiled.speed
    with pytest.raises(TypeError):
        speed.Finder(1, 2, 3)
    with pytest.raises(TypeError):
        speed.Reads(object(), object(), CborCodec(), True, ABSENT, UNSET)
    assert finding.PlainFinder().find(b"k") is UNSET
