"""What the compiled way of a put does when the disk fails it, and how it makes a record durable.

Held to what `put` does in Python, in the same words. On real files.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit import compiled, errors

Maker = Callable[..., Any]

pytestmark = pytest.mark.skipif(not compiled.IS_COMPILED, reason="the extension isn't here, or JOURNALKIT_PURE is set")


def test_its_slot_is_the_one_that_python_writes(path: str, opened: Maker) -> None:
    """Byte by byte, in each segment."""
    with opened(path, "always") as store:
        for number in range(3):
            store.put("key", number)
            writer = store._log._writer
            active = writer.segments.position.active
            slot = writer._durable.encode(active.entry.number, active.end_bytes, store.lsn)
            assert Path(path, "durable").read_bytes() == slot
            store._log.rotate()
            store.put("after", number)


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond: a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 30])
def test_a_full_disk_refuses_the_record_and_the_store_goes_on(path: str, room: int, sync: str, opened: Maker) -> None:
    """Whether nothing was written or a part of it: nothing of it stays."""
    with opened(path, sync) as store:
        end = store._log.position.active.end_bytes
        with file_size_limit(end + room), pytest.raises(errors.StoreFullError):
            store.put("a", b"x" * 100)
        assert "a" not in store
        assert store.put("b", 2) == 2
    with journalkit.open(path) as store:
        assert dict(store) == {"first": 0, "b": 2}


def become(file: Any, other: str, flags: int = os.O_RDWR) -> None:
    """Have what is written to a file go elsewhere."""
    descriptor = os.open(other, flags)
    os.dup2(descriptor, int(file._descriptor))
    os.close(descriptor)


def test_a_failed_write_ends_the_log(path: str, sync: str, opened: Maker) -> None:
    """What was written is unknown, so nothing more is; reads go on."""
    store = opened(path, sync)
    become(store._log.position.active.file, path, os.O_RDONLY)
    with pytest.raises(errors.StorageError) as failed:
        store.put("a", 1)
    assert failed.value.errno
    with pytest.raises(errors.StorageError):
        store.put("b", 1)
    assert store["first"] == 0
    with suppress(errors.StorageError):  # told only of what nobody was told is durable
        store.close()


def told_by(store: Any, key: str) -> tuple[object, ...]:
    """Return how a put failed."""
    with pytest.raises(errors.StorageError) as failed:
        store.put(key, 1)
    error = failed.value
    return type(error), str(error).replace(store.path, ""), error.errno


def test_a_failed_fsync_ends_the_log_in_pythons_words(tmp_path: Path, opened: Maker) -> None:
    """Nobody is told of success, and no later fsync is believed, though the kernel would say 0."""
    told = []
    for name in ("a", "b"):
        store = opened(str(tmp_path / name), "always")
        if name == "b":
            store._put_alone = None
        active = store._log.position.active
        durable_lsn = store.durable_lsn
        become(active.file, "/dev/null")  # takes every byte, and can't be synced
        told.append([told_by(store, "a"), told_by(store, "b")])
        become(active.file, active.path)
        with pytest.raises(OSError, match="an earlier fsync"):
            active.sync()
        assert (store.durable_lsn, store.lsn, "a" in store) == (durable_lsn, 1, False)
        store.close()
    assert told[0] == told[1]
    assert "could not be synced" in str(told[0][0])


def test_an_interrupt_behind_a_failed_fsync_hides_nothing(path: str, opened: Maker) -> None:
    """The failure is noted before Python runs; who carries the record on finds it."""
    store = opened(path, "always")
    writer, active = store._log._writer, store._log.position.active

    def interrupted(*_: object) -> int:
        become(active.file, active.path)
        raise KeyboardInterrupt

    writer.resume_single = interrupted
    become(active.file, "/dev/null")
    with pytest.raises((KeyboardInterrupt, errors.StorageError)):
        store.put("a", 1)
    del writer.resume_single
    assert "a" not in store
    assert told_by(store, "b")[0] is errors.StorageError
    store.close()


@pytest.mark.parametrize(("device", "is_told"), [("/dev/full", False), (None, True)])
def test_a_slot_that_cant_be_written_is_what_it_is_in_python(
    tmp_path: Path, device: str | None, is_told: bool, opened: Maker, slot_of: Maker
) -> None:
    """On a full disk the older promise stands and the record is durable; anything else ends the log."""
    told = []
    for name in ("a", "b"):
        path = str(tmp_path / name)
        store = opened(path, "always")
        if name == "b":
            store._put_alone = None
        before = slot_of(store)
        become(store._log._writer._durable.file, device or path, os.O_WRONLY if device else os.O_RDONLY)
        if is_told:
            told.append(told_by(store, "a"))
        else:
            told.append((store.put("a", 1), store.durable_lsn, slot_of(store) == before))
        store.close()
    assert told[0] == told[1]


def test_a_crowd_that_comes_back_is_waited_for_in_python(path: str, opened: Maker) -> None:
    """Who was one of many who shared an fsync goes to where the next one is shared."""
    with opened(path, "always") as store:
        store._log._crowd = 2
        assert store._put_alone("a", 1) is None
        assert store.put("a", 1) == 2
        assert store._log._crowd == 1
        assert store._put_alone("a", 2) == 3


