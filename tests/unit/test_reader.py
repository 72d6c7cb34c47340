"""Opening for reading: beside a writer at work, without a byte changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from journalkit.errors import CorruptionError, StoreNotFoundError, UsageError
from journalkit.format.batch import encode_one
from journalkit.log.commit import Stateless
from journalkit.recovery.look import look, require_manifest
from journalkit.recovery.reader import open_for_reading
from journalkit.recovery.replay import Replay
from journalkit.recovery.report import RecoveryReport
from journalkit.recovery.writer import Opened, OpenRequest, open_for_writing
from journalkit.snapshot.cache import BlockCache
from journalkit.testing import SimulatedClock, SimulatedDisk

STORE = "/store"
FIRST = "/store/log-0000000000000001.jks"


def write(disk: SimulatedDisk, *keys: bytes) -> Opened:
    """Open the store for writing, put some keys, and leave it open."""
    request = OpenRequest("store", True, None, "default", None, None, 4096, "test:1")
    opened = open_for_writing(
        disk, STORE, request, BlockCache(0), SimulatedClock(), lambda _frame: None, Stateless()
    )
    for key in keys:
        opened.log.append(encode_one(key, b"v"), 1, ((key, b"v"),), durable=True)
    return opened


class Clock(SimulatedClock):
    """A clock with which something happens while a reader waits."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.naps = 0
        self._meanwhile = meanwhile

    def sleep(self, seconds: float) -> None:
        self.naps += 1
        self._meanwhile()


def read(
    disk: SimulatedDisk, clock: SimulatedClock | None = None, *, kind: str = "store", mode: Any = "default"
) -> tuple[list[bytes], RecoveryReport]:
    """Open the store for reading and return its keys and the report."""
    found, report, replay = open_for_reading(
        disk, STORE, kind, mode, BlockCache(0), clock or Clock(), lambda: Replay(STORE)
    )
    assert found.manifest == require_manifest(disk, STORE)
    return list(replay.entries), report


def test_a_reader_beside_a_writer_sees_what_recovery_would_keep() -> None:
    """Undurable records too: they are in the files."""
    disk = SimulatedDisk()
    writer = write(disk, b"a", b"b")
    keys, report = read(disk)
    assert keys == [b"a", b"b"]
    assert (report.outcome, report.last_lsn, report.records_replayed, report.bytes_cut) == ("replayed", 2, 2, 0)
    writer.close()
    write(disk).close()
    assert read(disk)[1].outcome == "replayed"


def test_a_reader_of_an_empty_store_finds_it_clean_and_of_a_torn_one_says_cut() -> None:
    """The report says what an open for writing would do."""
    disk = SimulatedDisk()
    write(disk).close()
    assert read(disk)[1].outcome == "clean"
    torn = SimulatedDisk()
    write(torn, b"a")
    data = bytearray(torn.read_bytes(FIRST))
    data[-1] = 1
    torn.write_bytes(FIRST, bytes(data))
    keys, report = read(torn)
    assert (keys, report.outcome, report.quarantine) == ([b"a"], "cut", "")
    assert torn.read_bytes(FIRST) == bytes(data)


def test_damage_that_goes_away_was_a_writer_at_work() -> None:
    """PITFALLS 25: chunked reads of a file that is being written show holes; nobody must be told of corruption."""
    disk = SimulatedDisk()
    write(disk, b"a", b"b")
    whole = disk.read_bytes(FIRST)
    disk.zero(FIRST, 130, 10)
    clock = Clock(lambda: disk.write_bytes(FIRST, whole))
    assert read(disk, clock)[0] == [b"a", b"b"]
    assert clock.naps == 1


def test_damage_that_stays_while_nothing_moves_is_damage() -> None:
    """And it is told after one more look, not after an endless wait."""
    disk = SimulatedDisk()
    write(disk, b"a", b"b").close()
    disk.flip_bit(FIRST, 8 * 150)
    clock = Clock()
    with pytest.raises(CorruptionError, match="log-0000000000000001"):
        read(disk, clock)
    assert clock.naps == 1
    assert read(disk, mode="point-in-time")[0] == []


def test_a_file_that_a_writer_prunes_under_a_reader_is_looked_for_in_the_next_manifest() -> None:
    """The look begins with a manifest; until it is through there may be another."""
    disk = SimulatedDisk()
    write(disk, b"a").close()
    kept = disk.read_bytes(FIRST)
    disk.unlink(FIRST)
    clock = Clock(lambda: disk.write_bytes(FIRST, kept))
    assert read(disk, clock)[0] == [b"a"]


def test_a_reader_is_told_what_is_wrong_with_the_path_or_the_kind() -> None:
    """Each its own error, and nothing is made."""
    disk = SimulatedDisk()
    with pytest.raises(StoreNotFoundError, match="open it for writing to create one"):
        read(disk)
    write(disk).close()
    with pytest.raises(UsageError, match="is a store, not a journal"):
        read(disk, kind="journal")


def test_a_look_that_fails_halfway_leaves_no_file_open() -> None:
    """A service that retries a damaged store every second must not run out of descriptors."""
    disk = SimulatedDisk()
    write(disk, b"a").close()
    disk.flip_bit(FIRST, 8 * 150)
    open_before = sum(disk._state.handles.values())
    with pytest.raises(CorruptionError):
        look(disk, STORE, require_manifest(disk, STORE), BlockCache(0), Replay(STORE), mode="strict")
    assert sum(disk._state.handles.values()) == open_before
    found = look(disk, STORE, require_manifest(disk, STORE), BlockCache(0), Replay(STORE))
    assert found.plan.damage
