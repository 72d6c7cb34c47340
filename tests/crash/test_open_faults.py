"""What the operating system may answer while a store is opened: an error of ours, and a store that opens later."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from journalkit.errors import (
    JournalError,
    KeyTypeError,
    LockedError,
    RecordTooLargeError,
    StorageError,
    StoreFullError,
    StoreNotFoundError,
    UsageError,
)
from journalkit.format.manifest import MANIFEST_BYTES_MAX
from journalkit.testing import PowerCut

OPERATIONS = [
    "allocate", "create", "describe", "drop_cache", "list", "lock", "make_directory", "open_direct", "open_read",
    "open_write", "pread", "pwrite", "rename", "size", "status", "sync", "sync_directory", "unlink",
]  # fmt: skip


def torn(world: Any) -> Any:
    """Fill a store so that opening it has everything to do: a snapshot, a tail to replay, one to cut, strays."""
    session = world.open()
    for _ in range(3):
        session.put()
    session.fold()
    session.put()
    session.put(durable=False)
    store = world.copy()
    tail = store.segments()[-1]
    data = bytearray(store.read(tail))
    data[len(data) - 1] = 1
    store.write(tail, bytes(data))
    store.write("MANIFEST.tmp", b"half a manifest")
    store.write("table-0000000000000099.jkt.tmp", b"half a table")
    return store


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EACCES], ids=errno.errorcode.get)
def test_any_operation_may_fail_and_nothing_is_lost(world: Any, operation: str, error: int) -> None:
    """Errors during recovery are as common as crashes: told as an error of ours, and harmless to the next open."""
    for store in (torn(world), type(world)()):
        for nth in range(1, 40):
            trial = store.fork()
            trial.fs.fail(operation, nth, error)
            try:
                session = trial.open()
            except JournalError as failure:
                cause = failure if isinstance(failure, OSError) else failure.__cause__
                assert isinstance(cause, OSError)
                assert cause.errno == error
            else:
                if operation not in ("pread", "size"):
                    trial.check(session)
            for again in (trial.fork(), trial.crash("none")):
                session = again.open()
                again.check(session)
                session.close()
            if not any("->" in line for line in trial.fs.history()) and nth > 20:
                break


def test_a_full_disk_at_any_byte_is_told_and_the_store_opens_once_there_is_room(world: Any) -> None:
    """PITFALLS 26: whatever room there is, the records stay, and the error says what to do."""
    store = torn(world)
    store.remove("reserve")
    used = sum(len(data) for data in store.files().values())
    refused = 0
    for room in [*range(0, 2000, 61), *range(2000, 80_000, 997)]:
        trial = store.fork()
        trial.fs.capacity_bytes = used + room
        try:
            trial.open().release_tables()
        except StoreFullError as error:
            refused += error.path == "/store" and error.needed_bytes > 0 and "free space and go on" in str(error)
        trial.fs.capacity_bytes = None
        assert trial.check_opens() == 5
    assert refused > 20


def test_a_full_disk_with_a_reserve_opens(world: Any) -> None:
    """The reserve is there for the manifest, the segment and the quarantine of exactly this moment."""
    store = torn(world)
    store.fs.capacity_bytes = sum(len(data) for data in store.files().values())
    session = store.open()
    assert store.check(session) == 5
    assert session.report.quarantine
    assert not session.opened.reserve.refill()
    assert session.put() == 6


def test_no_room_for_the_quarantine_gives_nothing_up(world: Any) -> None:
    """What is cut is copied first, or not cut."""
    store = torn(world)
    store.remove("reserve")
    before = {name: data for name, data in store.files().items() if not name.endswith(".tmp")}
    store.fs.fail("make_directory", 1, errno.ENOSPC)
    with pytest.raises(StoreFullError):
        store.open()
    assert {name: data for name, data in store.files().items() if name != "LOCK"} == {
        name: data for name, data in before.items() if name != "LOCK"
    }


def test_a_directory_sync_that_fails_as_full_is_no_full_disk(world: Any) -> None:
    """After the rename nobody knows which manifest survives: "nothing was written, go on" would be a lie."""
    store = torn(world)
    for nth in range(1, 12):
        trial = store.fork()
        trial.fs.fail("sync_directory", nth, errno.ENOSPC)
        try:
            trial.open().release_tables()
        except StorageError:
            named = {f"log-{entry.number:016d}.jks" for entry in trial.manifest.segments}
            assert named <= set(trial.names())
        except StoreFullError:
            assert trial.manifest == store.manifest
        assert trial.check_opens() == 5


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES], ids=errno.errorcode.get)
def test_a_directory_that_can_not_be_written_is_told_in_a_sentence(world: Any, error: int) -> None:
    """PITFALLS 27: and mode="r" is the next step."""
    store = torn(world)
    store.fs.fail("lock", 1, error)
    before = store.files()
    with pytest.raises(StorageError, match=r"can't be opened for writing .*; mode='r' only reads") as caught:
        store.open()
    assert caught.value.errno == error
    assert store.files() == before
    assert len(store.look()) == 5


def test_two_openers_in_one_process_exclude_each_other(world: Any) -> None:
    """PITFALLS 21: the second one is told where the first was opened, and has not touched a byte."""
    first = world.open(opened_at="app.py:12")
    first.put()
    before = world.files()
    with pytest.raises(LockedError, match=r"in this process, at app.py:12") as caught:
        world.open()
    assert caught.value.opened_at == "app.py:12"
    assert world.files() == before
    first.close()
    world.open().close()


def test_the_lock_is_free_again_after_a_refused_and_after_a_failed_open(world: Any) -> None:
    """Else a full disk would also need a restart."""
    store = torn(world)
    for operation, path in (("open_direct", "log-"), ("create", "log-"), ("rename", "MANIFEST")):
        store.fs.fail(operation, 1, errno.EIO, path_contains=path)
        with pytest.raises(StorageError):
            store.open()
    assert store.check_opens() == 5


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"codec": "morse"}, UsageError),
        ({"metadata": {"x": object()}}, KeyTypeError),
        ({"metadata": {"x": bytes(MANIFEST_BYTES_MAX)}}, RecordTooLargeError),
        ({"create": False}, StoreNotFoundError),
    ],
)
def test_options_that_a_new_store_can_not_have_leave_no_trace(world: Any, options: Any, error: type) -> None:
    """Bad input: nothing changed on disk, not even an empty directory."""
    with pytest.raises(error):
        world.open(**options)
    assert world.fs.operation_count == 0


def test_a_path_that_is_a_file_or_holds_something_else_is_left_alone(world: Any) -> None:
    """A document by mistake, or somebody's working directory."""
    world.fs.write_bytes("/store", b"a file")
    for attempt in (world.open, world.look):
        with pytest.raises(UsageError, match="is a file or a link"):
            attempt()
    other = type(world)()
    other.fs.make_directory("/store")
    other.write("thesis.tex", b"words")
    with pytest.raises(UsageError, match=r"is not a store and holds 'thesis.tex'"):
        other.open()
    with pytest.raises(StoreNotFoundError):
        other.look()
    assert other.files() == {"thesis.tex": b"words"}


def test_a_store_is_opened_as_what_it_is(world: Any) -> None:
    """A journal's records make no sense in a mapping; another codec's values none at all."""
    world.open(codec="cbor").close()
    for options in ({"kind": "journal"}, {"codec": "raw"}):
        before = world.files()
        with pytest.raises(UsageError, match="/store"):
            world.open(**options)
        assert world.files() == before
    world.open(codec="cbor").close()


def test_a_store_that_changed_its_kind_between_the_look_and_the_lock_is_refused(world: Any) -> None:
    """Somebody else created it in between: what is checked before the lock is checked again under it."""
    journal = type(world)()
    journal.open(kind="journal").close()

    class Meanwhile(type(world.fs)):  # type: ignore[misc]
        def lock(self, path: str) -> Any:
            for name in ("MANIFEST", *journal.segments()):
                self.write_bytes(f"/store/{name}", journal.read(name))
            return super().lock(path)

    world.fs = Meanwhile()
    with pytest.raises(UsageError, match="is a journal, not a store"):
        world.open()


def test_a_network_file_system_is_refused_unless_named(world: Any) -> None:
    """PITFALLS 21: its locks and its fsync may lie; whoever accepts that says so by its name."""
    world.fs.reported_filesystem_type = "nfs4"
    for trust in (None, "9p"):
        with pytest.raises(UsageError, match="trust_filesystem='nfs4'"):
            world.open(trust_filesystem=trust)
    assert world.fs.operation_count == 0
    world.open(trust_filesystem="nfs4").close()


def test_the_directories_above_are_made_and_their_parent_may_be_closed_to_us(world: Any) -> None:
    """A fresh machine: `open("/var/lib/app/state")`, where /var/lib can't be read by us."""
    world.fs.fail("sync_directory", 1, errno.EACCES)
    session = world.open()
    session.put()
    assert world.check(world.crash("none").open()) == 1


def test_an_interrupted_open_gives_the_lock_back(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during a long recovery, in a shell that goes on."""
    store = torn(world)
    before = store.files()

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for place in ("look", "begin_segment"):
        with monkeypatch.context() as patch:
            patch.setattr(f"journalkit.recovery.writer.{place}", interrupt)
            with pytest.raises(KeyboardInterrupt):
                store.open()
        if place == "look":
            assert store.files() == before
    assert store.check_opens() == 5


def test_a_power_cut_is_no_error_to_be_told(world: Any) -> None:
    """The fake's own rule, on which every crash test stands: nothing catches the end of power and goes on."""
    world.fs.stop_after(3)
    with pytest.raises(PowerCut):
        world.open()
