"""The durable slot's file: a promise if it is whole, nothing otherwise."""

from __future__ import annotations

from journalkit.format.segment import DURABLE, DurableSlot
from journalkit.fs.memory import MemoryFileSystem
from journalkit.log.durable import DurableFile, read_durable

STORE, WRITER = b"s" * 16, b"w" * 16


def opened(fs: MemoryFileSystem) -> DurableFile:
    """Return a writer's end of the slot."""
    return DurableFile(fs, "/", store=STORE, writer=WRITER, epoch=4)


def test_no_file_is_no_promise() -> None:
    """A new store has none."""
    assert read_durable(MemoryFileSystem(), "/") is None


def test_an_open_changes_no_promise() -> None:
    """Until the first fsync of the new writer the old promise is all that there is."""
    fs = MemoryFileSystem()
    first = opened(fs)
    assert read_durable(fs, "/") is None
    first.write(1, 500, 7)
    first.close()
    second = opened(fs)
    assert read_durable(fs, "/") == DurableSlot(STORE, WRITER, 4, 1, 500, 7)
    second.close()


def test_each_write_replaces_the_promise() -> None:
    """Within a segment and across a rotation."""
    fs = MemoryFileSystem()
    durable = opened(fs)
    for segment, end_bytes, lsn in [(1, 500, 7), (1, 600, 8), (2, 112, 8), (2, 300, 9)]:
        durable.write(segment, end_bytes, lsn)
        assert read_durable(fs, "/") == DurableSlot(STORE, WRITER, 4, segment, end_bytes, lsn)


def test_a_longer_file_promises_nothing() -> None:
    """Bytes behind the slot are not ours: whatever wrote them may have written the slot."""
    fs = MemoryFileSystem()
    opened(fs).write(1, 500, 7)
    fs.open_write("/durable").pwrite(b"x", DURABLE.size)
    assert read_durable(fs, "/") is None


def test_the_head_of_a_segments_slots_is_what_they_have_in_common() -> None:
    """The compiled path puts the rest behind it, whatever segment this one is at."""
    durable = opened(MemoryFileSystem())
    durable.write(1, 500, 7)
    for segment in (1, 2):
        assert durable.encode(segment, 600, 8).startswith(durable.head(segment))
        assert durable.encode(segment, 700, 9).startswith(durable.head(segment))
    assert durable.head(1) != durable.head(2)
    durable.close()
