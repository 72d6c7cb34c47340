"""One segment after the other: named before it is used, sealed before it is left."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from journalkit.errors import StorageError, StoreFullError
from journalkit.format.manifest import Manifest
from journalkit.format.segment import HEADER_BYTES
from journalkit.log.segment import STEP_BYTES_MIN
from journalkit.manifest import read_manifest
from journalkit.testing import PowerCut

Maker = Callable[..., Any]


def fill(log: Any, *, durable: bool = False) -> None:
    """Write until the log has gone on in another segment."""
    before = log.log.statistics.rotations
    while log.log.statistics.rotations == before:
        log.put(b"x" * 300, durable=durable)


def named(log: Any) -> list[int]:
    """Return the segments that the manifest on disk names."""
    manifest = read_manifest(log.fs, "/store")
    assert manifest is not None
    return [entry.number for entry in manifest.segments]


def test_the_log_goes_on_in_the_next_segment(bench: Maker) -> None:
    """Whole segments can be pruned; one that grew for ever couldn't."""
    log = bench(segment_bytes_max=4096)
    for _ in range(3):
        fill(log)
    assert len(log.log.position.ended) == 3
    log.log.close()
    assert len(log.check(log.fs.crash("none"))) == len(log.acknowledged)


def test_a_rotation_syncs_what_it_leaves_behind(bench: Maker) -> None:
    """A seal vouches for every record before it, those too that nobody asked to sync."""
    log = bench(segment_bytes_max=4096)
    fill(log)
    durable = {lsn: payload for lsn, payload in log.acknowledged.items() if lsn <= log.log.durable_lsn}
    assert len(durable) == len(log.acknowledged) - 1
    log.check(log.fs.crash("none"), promised=durable)


def test_a_segment_takes_nothing_before_a_durable_manifest_names_it(bench: Maker) -> None:
    """Records in a segment that nothing names are lost with the next power cut."""
    log = bench(segment_bytes_max=4096)
    log.log.prepare_next()
    assert named(log) == [1, 2]
    assert log.fs.status(log.segment_path(2)).size_bytes == STEP_BYTES_MIN
    log.log.prepare_next()
    assert named(log) == [1, 2]
    fill(log)
    assert log.log.position.active.entry.number == 2


def test_it_is_time_for_the_next_when_the_active_one_is_half_full(bench: Maker) -> None:
    """Prepared ahead, a rotation costs the writers no directory fsync."""
    log = bench(segment_bytes_max=4096)
    assert not log.log.wants_next
    log.put(b"x" * 2000)
    assert log.log.wants_next
    log.log.prepare_next()
    assert not log.log.wants_next


def test_every_manifest_names_the_prepared_segment(bench: Maker) -> None:
    """A compactor publishes at any time; what it leaves out would be gone once the log went there."""
    log = bench(segment_bytes_max=4096)
    log.log.prepare_next()
    log.publish()
    assert named(log) == [1, 2]
    fill(log)
    log.publish()
    assert named(log) == [1, 2]
    assert read_manifest(log.fs, "/store").segments[0].end is not None


def test_a_publish_between_naming_and_noting_does_not_drop_the_segment(bench: Maker) -> None:
    """Two threads publish: whoever comes second must see what the first one named."""
    log = bench(segment_bytes_max=4096)
    publish = log.keeper.publish

    def overtaken(change: Callable[[Manifest], Manifest]) -> Manifest:
        result = publish(change)
        log.keeper.publish = publish
        log.publish()
        return result

    log.keeper.publish = overtaken
    log.log.prepare_next()
    assert named(log) == [1, 2]
    fill(log)
    log.check(log.fs.process_crash())


def test_a_segment_is_not_named_before_its_number_is_taken(bench: Maker) -> None:
    """A manifest whose next number is below its last segment's would not open again."""
    log = bench(segment_bytes_max=4096)
    log.fs.fail("rename", 1, errno.ENOSPC, times=2)
    with pytest.raises(StoreFullError):
        log.log.prepare_next()
    log.publish()
    assert named(log) == [1]
    assert log.log.wants_next is False
    log.put(b"x" * 3000)
    assert log.log.wants_next
    log.log.prepare_next()
    assert named(log) == [1, 2]


@pytest.mark.parametrize("operation", ["create", "allocate", "sync", "sync_directory"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EMFILE])
def test_a_segment_that_cannot_be_made_is_made_later(bench: Maker, operation: str, error: int) -> None:
    """A full disk or a want of descriptors passes; what was left half made mustn't be in the way for ever."""
    log = bench(segment_bytes_max=4096)
    # Twice: on a full disk room is asked for once more, for less.
    log.fs.fail(operation, 1, error, times=2 if operation == "allocate" else 1)
    with pytest.raises(StoreFullError if error == errno.ENOSPC else StorageError):
        log.log.prepare_next()
    assert log.fs.status(log.segment_path(2)) is None
    assert log.log.failure is None
    fill(log)
    log.log.close()
    log.check(log.fs.crash("none"))


def test_what_a_cut_short_attempt_left_is_replaced(bench: Maker) -> None:
    """Interrupted between creating and noting, or with a file that couldn't be removed."""
    log = bench(segment_bytes_max=4096)
    log.fs.fail("sync", 1, errno.EIO, path_contains="log-")
    log.fs.fail("unlink", 1, errno.EIO)
    with pytest.raises(StorageError, match="the log goes on"):
        log.log.prepare_next()
    assert log.fs.status(log.segment_path(2)) is not None
    log.log.prepare_next()
    fill(log)
    log.log.close()
    log.check(log.fs.crash("none"))


def test_commits_go_on_where_there_is_no_successor(bench: Maker) -> None:
    """No room for a new segment is no reason to refuse records that the old one has room for."""
    log = bench(segment_bytes_max=4096)
    log.fs.fail("create", 1, errno.ENOSPC, times=3, path_contains="log-")
    for _ in range(50):
        log.put(b"x" * 300)
    assert log.log.statistics.rotations == 0
    assert log.log.position.active.end_bytes > 3 * 4096
    with pytest.raises(StoreFullError):
        log.log.rotate()
    with pytest.raises(StoreFullError):
        log.log.rotate()
    log.log.rotate()
    assert log.log.statistics.rotations == 1
    log.log.close()
    log.check()


@pytest.mark.parametrize("error", [errno.EMFILE, errno.EIO])
def test_not_being_able_to_look_fences_nobody(bench: Maker, error: int) -> None:
    """For want of a descriptor the manifest can't be read at the rotation; the lock holds meanwhile."""
    log = bench(segment_bytes_max=4096)
    log.log.prepare_next()
    log.fs.fail("open_read", 1, error, times=2)
    for _ in range(50):
        log.put(b"x" * 300)
    with pytest.raises(StorageError, match="the log goes on"):
        log.log.rotate()
    assert log.log.failure is None
    log.log.rotate()
    log.log.close()
    log.check()


def test_a_manifest_whose_fate_is_unknown_ends_the_log(bench: Maker) -> None:
    """The segment may or may not be named; nothing is trusted to it."""
    log = bench(segment_bytes_max=4096)
    log.fs.fail("sync_directory", 2, errno.EIO)
    with pytest.raises(StorageError, match="manifest"):
        fill(log)
    with pytest.raises(StorageError):
        log.put(b"y")


@pytest.mark.parametrize("path", ["1.jks", "2.jks"])
@pytest.mark.parametrize("operation", ["pwrite", "sync_data"])
def test_a_rotation_that_fails_ends_the_log(bench: Maker, operation: str, path: str) -> None:
    """Neither segment can be vouched for; everything acknowledged as durable is still there."""
    log = bench(segment_bytes_max=4096)
    log.put(b"a", durable=True)
    log.log.prepare_next()
    log.fs.fail(operation, 1, errno.EIO, path_contains=path)
    with pytest.raises(StorageError, match="could not go on in a new segment"):
        log.log.rotate()
    with pytest.raises(StorageError):
        log.put(b"b")
    log.publish()
    for keep in ("none", "all", 1, 2, 3, 4):
        log.check(log.fs.crash(keep))


def test_a_manifest_promises_a_header_only_once_it_is_durable(bench: Maker) -> None:
    """Published between writing a header and its fsync, it made a power cut look like damage."""
    log = bench(segment_bytes_max=4096)
    log.put(b"a", durable=True)
    log.log.prepare_next()
    log.fs.fail("sync_data", 2, errno.EIO)
    with pytest.raises(StorageError):
        log.log.rotate()
    log.publish()
    assert [entry.first_lsn for entry in read_manifest(log.fs, "/store").segments] == [1, 0]
    assert log.check(log.fs.crash("none")) == [(1, b"a")]


def test_a_slot_that_fails_at_a_rotation_ends_the_log(bench: Maker) -> None:
    """As it does at any other time; the records are in sealed segments."""
    log = bench(segment_bytes_max=4096)
    log.put(b"a")
    log.fs.fail("pwrite", 1, errno.EIO, path_contains="durable")
    with pytest.raises(StorageError):
        log.log.rotate()
    log.check(log.fs.crash("none"))


def test_rotating_an_empty_segment_does_nothing(bench: Maker) -> None:
    """A compactor that folds an idle store makes no files."""
    log = bench()
    log.log.rotate()
    log.put(b"a")
    log.log.rotate()
    log.log.rotate()
    assert log.log.statistics.rotations == 1
    assert log.log.position.active.end_bytes == HEADER_BYTES


def test_forgetting_keeps_what_is_still_needed(bench: Maker) -> None:
    """A segment goes when its last record is in every snapshot that is kept."""
    log = bench(segment_bytes_max=4096)
    for _ in range(3):
        fill(log)
    first, second, third = log.log.position.ended
    assert log.log.forget(second.end.last_lsn - 1) == (first,)
    assert log.log.position.ended == (second, third)
    assert [entry.number for entry in log.log.entries(second.end.last_lsn)] == [3, 4]
    assert log.log.forget(0) == ()


def test_a_promise_in_the_manifest_is_never_taken_back(bench: Maker) -> None:
    """Two publishers, one of which looked at the durable LSN long ago."""
    log = bench(segment_bytes_max=4096)
    log.put(b"a")
    log.keeper.publish(lambda manifest: manifest.next_generation(durable_lsn=5))
    log.log.prepare_next()
    assert log.keeper.current.durable_lsn == 5


@pytest.mark.parametrize("keep", ["none", "all", 1, 2])
def test_a_power_cut_anywhere_in_a_rotation_loses_nothing_durable(bench: Maker, keep: Any) -> None:
    """Every operation between the first record and the last is tried as the last one."""
    stop = 1
    while True:
        log = bench(segment_bytes_max=4096)
        log.fs.stop_after(stop)
        try:
            for index in range(30):
                log.put(b"%d" % index * 200, durable=index % 2 == 0)
            log.log.close()
        except PowerCut:
            durable = {lsn: payload for lsn, payload in log.acknowledged.items() if lsn <= log.log.durable_lsn}
            log.check(log.fs.crash(keep), promised=durable)
        else:
            break
        stop += 1
    assert stop > 90
