"""The compiled way of a put that is alone, held to what `put` does in Python; and what it leaves to Python.

On real files, because it knows no others. Skipped where the extension isn't used.
"""

from __future__ import annotations

import gc
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit import compiled, errors
from journalkit.format.frame import HEADER_BYTES, encode_with_checksum
from journalkit.format.keys import encode_key
from journalkit.fs.posix import PosixFileSystem

Maker = Callable[..., Any]

pytestmark = pytest.mark.skipif(not compiled.IS_COMPILED, reason="the extension isn't here, or JOURNALKIT_PURE is set")


def play(store: Any, seed: int) -> list[object]:
    """Do the same work; return what came of it."""
    dice, outcomes = random.Random(seed), []
    for number in range(250):
        text, numbered = f"k{dice.randrange(20)}", b"b%d" % dice.randrange(9)
        key: Any = dice.choice([text, numbered, dice.randrange(-3, 300), ("t", 1)])
        value: Any = dice.choice([bytes(dice.randrange(300)), number, {"a": [number]}, "text", None, b"x" * 70000])
        verb = dice.randrange(12)
        try:
            if verb == 0:
                outcomes.append(store.delete(key))
            elif verb == 1:
                outcomes.append(store.put(key, object()))
            elif verb == 2 and not number % 20:
                store.compact()
            elif verb == 3 and not number % 10:
                outcomes.append(store.put(key, value, sync="always"))
            elif verb in (4, 5):
                outcomes.append(store.get(key))
                outcomes.append(store.get(key))
            elif verb == 6:
                outcomes.append(len(list(store.view())))
            else:
                outcomes.append(store.put(key, value))
        except errors.JournalError as error:
            outcomes.append((type(error), str(error)))
    return outcomes


@pytest.mark.parametrize(("seed", "codec"), [(1, None), (2, None), (3, "msgpack")])
def test_a_store_with_a_lane_is_one_without(
    tmp_path: Path, seed: int, codec: str | None, sync: str, opened: Maker, slot_of: Maker
) -> None:
    """The same answers, the same records, the same counts, whichever way its puts go."""
    with_lane, without = (
        opened(str(tmp_path / name), sync, codec=codec, segment_bytes_max=1 << 20) for name in ("a", "b")
    )
    without._put_alone = None
    assert play(with_lane, seed) == play(without, seed)
    assert list(with_lane.items()) == list(without.items())
    assert (with_lane.lsn, with_lane.durable_lsn) == (without.lsn, without.durable_lsn)
    assert slot_of(with_lane) == slot_of(without)
    assert with_lane._log.statistics == without._log.statistics
    assert with_lane._layers.unfolded_bytes == without._layers.unfolded_bytes
    with_lane.close()
    without.close()
    with journalkit.open(str(tmp_path / "a")) as again, journalkit.open(str(tmp_path / "b")) as twin:
        assert list(again.items()) == list(twin.items())
        assert again.recovery_report.last_lsn == twin.recovery_report.last_lsn


def test_its_frame_is_the_one_that_python_writes(path: str, sync: str, opened: Maker) -> None:
    """Byte by byte, and so is what it notes for who carries it on."""
    with opened(path, sync) as store:
        writer = store._log._writer
        active = writer.segments.position.active
        notes: list[tuple[Any, ...]] = []
        writer.resume_single = lambda *told: notes.append(tuple(writer.single)) or type(writer).resume_single(
            writer, *told
        )
        start, durable_lsn = active.end_bytes, writer.durable_lsn
        with changing(store):
            assert store.put("key", b"value") == 2
        ((payload, kind, mutations, durable, data, at, lsn),) = notes
        assert (kind, durable, at, lsn) == (1, sync == "always", start, 2)
        assert mutations == ((encode_key("key"), b"\x45value"),)
        file = PosixFileSystem().open_read(active.path)
        written = file.pread(len(data), start)
        file.close()
        assert written == data
        assert payload == data[HEADER_BYTES:]
        time_us = int.from_bytes(data[24:32], "little")
        arguments = (lsn, time_us, durable_lsn, 1, active.entry.salt, start)
        assert encode_with_checksum(payload, *arguments) == (data, active.last_checksum)


@contextmanager
def changing(store: Any) -> Iterator[None]:
    """Have another thread hold the layers' lock, and let it go as soon as somebody waits in Python."""
    lock, held, done = store._layers._lock, threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait(0.05)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_put_beside_a_freeze_is_finished_in_python(path: str, sync: str, opened: Maker) -> None:
    """The write is done; what can't be done at once is waited for, with the leadership known to be ours."""
    with opened(path, sync) as store:
        with changing(store):
            assert store.put("a", 1) == 2
        assert store["a"] == 1
        assert not store._log._leadership.locked()
        assert store._log._leader == 0
        assert store.put("b", 2) == 3


def test_an_interrupt_while_python_finishes_it_loses_nothing(path: str, sync: str, opened: Maker) -> None:
    """The record has an LSN: whoever leads next completes it, and that is the interrupted thread itself."""
    with opened(path, sync) as store:
        writer = store._log._writer

        def interrupted(_failure: object, _is_written: object) -> int:
            raise KeyboardInterrupt

        writer.resume_single = interrupted
        with changing(store), pytest.raises(KeyboardInterrupt):
            store.put("a", 1)
        assert (store["a"], store.lsn, writer.single) == (1, 2, None)
        assert not store._log._leadership.locked()
        del writer.resume_single
        assert store.put("b", 2) == 3
    with journalkit.open(path) as store:
        assert dict(store) == {"first": 0, "a": 1, "b": 2}


@pytest.mark.parametrize(
    ("key", "value"),
    [(1.5, 1), ("\ud800", 1), (("a", None), 1), ("x" * 9000, 1), ("a", object()), ("a", {1: {2: object()}})],
)
def test_what_is_refused_is_refused_in_pythons_words(path: str, key: Any, value: Any, opened: Maker) -> None:
    """Nothing was written."""
    with opened(path) as store:
        told = []
        for put_alone in (store._put_alone, None):
            store._put_alone = put_alone
            with pytest.raises(errors.UsageError) as refused:
                store.put(key, value)
            told.append((type(refused.value), str(refused.value)))
        assert told[0] == told[1]
        assert store.lsn == 1


def test_what_is_hot_is_dropped(path: str, sync: str, opened: Maker) -> None:
    """A key that was read often enough to be kept decoded, of each type, has its new value at once."""
    with opened(path, sync) as store:
        for key in ("s", b"b", 7, -1, ("t",)):
            for value in ([1], [2], b"3"):
                store.put(key, value)
                assert [store[key] for _ in range(4)] == [value] * 4


def test_most_puts_take_it(path: str, sync: str, monkeypatch: pytest.MonkeyPatch, opened: Maker) -> None:
    """It would be of no use else; what it leaves is counted."""
    with opened(path, sync) as store:
        seen: list[object] = []
        append = store._log.append
        monkeypatch.setattr(store._log, "append", lambda *given: (seen.append(given), append(*given))[1])
        for number in range(3000):
            store.put(number, b"x" * 100)
        assert len(seen) < 10  # where the segment's prepared room ended
        store.put("a", 1, sync="never")
        store.put("a", 1, sync="always")
        store.put("a", 2, expect=1)
        assert len(seen) >= 3


def test_files_that_arent_the_systems_have_none(sync: Any) -> None:
    """They go through the interface of `fs/`."""
    memory: Any = journalkit.open("memory://", sync=sync)
    with memory:
        memory["a"] = 1
        assert memory._put_alone("a", 2) is None
        assert memory["a"] == 1


def test_a_closed_store_and_a_transaction_refuse_as_ever(path: str, opened: Maker) -> None:
    """The guards stand before it."""
    store = opened(path)
    with store.transaction(), pytest.raises(errors.UsageError):
        store.put("a", 1)
    put_alone = store._put_alone
    store.close()
    with pytest.raises(errors.ClosedError):
        store.put("a", 1)
    assert put_alone("a", 1) is None


def test_threads_beside_rotations_and_folds_lose_nothing(path: str, opened: Maker) -> None:
    """Each acknowledged record is there, once, in the order of its thread, however the ways of writing mix."""
    store = opened(path, segment_bytes_max=1 << 18)
    before = sys.getswitchinterval()
    lsns: list[list[int]] = [[] for _ in range(4)]

    def fill(thread: int) -> None:
        for number in range(1500):
            sync: Any = "always" if thread == 3 and not number % 300 else None
            lsns[thread].append(store.put((thread, number), b"x" * 90, sync=sync))

    sys.setswitchinterval(0.000_01)
    try:
        threads = [threading.Thread(target=fill, args=(thread,)) for thread in range(4)]
        for each in threads:
            each.start()
        for _ in range(2):
            store.compact()
            len(store)
        for each in threads:
            each.join()
    finally:
        sys.setswitchinterval(before)
    assert sorted(lsn for each in lsns for lsn in each) == list(range(2, 6002))
    assert all(each == sorted(each) for each in lsns)
    store.close()
    with journalkit.open(path, recovery="strict") as store:
        assert len(store) == 6001
        assert store.lsn == 6001


def test_interrupts_in_a_loop_of_puts_lose_nothing(path: str, sync: str, opened: Maker) -> None:
    """Ctrl-C anywhere: what was acknowledged is there, and at most the interrupted record besides."""
    store = opened(path, sync)  # no rotation: that is another test's, and an fsync outlasts the alarm
    acknowledged = store.lsn

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        for turn in range(300):
            with suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.000_2 + turn * 0.000_001)
                while True:
                    acknowledged = store.put(acknowledged, b"x" * 90)
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert not store._log._leadership.locked()
            assert store.lsn - acknowledged in (0, 1)
            acknowledged = store.lsn
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert acknowledged > 100
    store.close()
    with journalkit.open(path, recovery="strict") as store:
        assert store.lsn == acknowledged


def test_a_finalizer_that_puts_does_not_wait_for_itself(path: str, sync: str, opened: Maker) -> None:
    """A collection may come wherever something is made; it mustn't come in the middle."""
    with opened(path, sync) as store:

        class Writes:
            def __init__(self) -> None:
                self.itself = self

            def __del__(self) -> None:
                with suppress(errors.UsageError):
                    store.put("finalized", 1)

        before = gc.get_threshold()
        gc.set_threshold(1)
        try:
            for number in range(300):
                Writes()
                store.put(number, [number])
        finally:
            gc.set_threshold(*before)
        gc.collect()
        assert store["finalized"] == 1
        assert all(store[number] == [number] for number in range(300))


def test_nothing_is_kept_that_was_let_go(path: str, opened: Maker) -> None:
    """A reference too many for each put would show, and a reference too few long before."""
    with opened(path) as store:

        def work() -> None:
            for _ in range(2000):
                for key in ("s", b"b", 7, ("t", 1)):
                    store.put(key, b"value")
                    store.put(key, {"a": 1})
                    with suppress(errors.UsageError):
                        store.put(key, object())
                _ = store["s"]

        # What was hot and is dropped stays on the ring for a while, either way.
        growth = []
        for put_alone in (store._put_alone, None):
            store._put_alone = put_alone
            work()
            gc.collect()
            blocks = sys.getallocatedblocks()
            work()
            gc.collect()
            growth.append(sys.getallocatedblocks() - blocks)
        assert abs(growth[0] - growth[1]) < 500


def test_a_dropped_store_goes_with_its_lane(path: str, opened: Maker) -> None:
    """The lane knows the log; nothing there knows it back once a put is done."""
    store = opened(path)
    lane = store._put_alone.__self__
    store.close()
    assert sys.getrefcount(lane) == 3  # the method's, this name, the call's
    with pytest.raises(RuntimeError):
        iter(lane)
    with pytest.raises(TypeError):
        lane.__init__(*(None,) * 12)
