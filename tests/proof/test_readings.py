"""A disk that stands still reads like the one it is of, and a reading is told again only where nothing could differ."""

from __future__ import annotations

import os
import random
import socket
from typing import Any

import pytest
from crash_states import Bound, States, watch
from history import History
from oracle import files_of, judged, opened
from readings import Readings, Sight
from still import Still, left, seen
from workloads import BY_NAME

from journalkit.errors import CorruptionError, JournalError
from journalkit.fs.interface import ReadableFileSystem
from journalkit.testing import SimulatedDisk


def images_of(name: str, *, every: int = 1) -> list[tuple[Any, History]]:
    """Return images that crashes of a workload leave, with their histories."""
    disk, history = SimulatedDisk(), History()
    states = States(disk, Bound(1, 1))
    found: dict[bytes, tuple[Any, History]] = {}

    def at(_operation: str, _path: str, _detail: str) -> None:
        history.observe()
        now = history.copy()
        for image in states.images():
            found.setdefault(image.digest, (image, now))

    watch(disk, at)
    BY_NAME[name].run(disk, history, 1)
    return list(found.values())[::every]


def sight(fs: ReadableFileSystem, history: History) -> Any:
    """Return what a reader sees, or its error."""
    try:
        with opened(fs, history.path, history, "r") as store:
            return Sight.of(store, history.kind)
    except JournalError as error:
        return type(error), str(error)


def test_a_still_disk_holds_what_programs_see_and_what_a_cut_leaves() -> None:
    """At every operation of a workload, by names and bytes: `crash` is what it stands for."""
    disk, history = SimulatedDisk(), History()
    moments = 0

    def at(_operation: str, _path: str, _detail: str) -> None:
        nonlocal moments
        moments += 1
        assert files_of(seen(disk), "/") == files_of(disk.process_crash(), "/")
        assert files_of(left(disk), "/") == files_of(disk.crash("none"), "/")

    watch(disk, at)
    BY_NAME["torn_tail_cut"].run(disk, history, 1)
    assert moments > 50


def test_half_a_rename_between_directories_is_in_one_of_them() -> None:
    """As on the disk itself: one name, wherever it was left."""
    disk = SimulatedDisk()
    for directory in ("/one", "/two"):
        disk.make_directory(directory)
    disk.sync_directory("/")
    disk.create("/one/file").pwrite(b"bytes", 0)
    disk.link("/one/file", "/one/again")
    disk.sync_directory("/one")
    disk.rename("/one/file", "/two/file")
    disk.sync_directory("/two")
    assert files_of(left(disk), "/") == files_of(disk.crash("none"), "/")


def test_a_still_disk_refuses_as_a_disk_does() -> None:
    """What isn't there isn't there, and a directory is no file."""
    disk = SimulatedDisk()
    disk.make_directory("/one")
    disk.create("/one/file")
    for fs in (disk, seen(disk)):
        with pytest.raises(FileNotFoundError):
            fs.open_read("/one/other")
        with pytest.raises(IsADirectoryError):
            fs.open_read("/one")
        with pytest.raises(NotADirectoryError):
            fs.list("/one/file")
        with pytest.raises(FileNotFoundError):
            fs.list("/two")
        assert fs.status("/two") is None
        with pytest.raises(OSError, match="Invalid"):
            fs.open_read("/one/file").pread(-1, 0)


@pytest.mark.parametrize("name", ["killed_in_folds", "journal_pruned"])
def test_what_is_told_is_what_an_open_shows(name: str) -> None:
    """Of every image of a workload: most are never opened, and each is told as it is."""
    readings = Readings()
    cases = images_of(name, every=3)
    random.Random(1).shuffle(cases)
    for image, history in cases:
        disk = seen(image.disk())

        def read(fs: ReadableFileSystem, history: History = history) -> Sight:
            with opened(fs, history.path, history, "r") as store:
                return Sight.of(store, history.kind)

        try:
            told: Any = readings.of(disk, read)
        except JournalError as error:
            told = type(error), str(error)
        assert told == sight(disk, history)
    assert readings.told > 20


def test_one_bit_that_a_reader_asks_for_is_read_anew() -> None:
    """Damage is never told away: a disk with another answer is opened."""
    image, history = images_of("durable_appends")[-1]
    readings = Readings()
    assert judged(image.disk(), history.path, history, thorough=False, readings=readings).complaints == []
    opens = readings.opened
    disk = image.disk()
    disk.flip_bit(f"{history.path}/MANIFEST", 99)
    complaints = judged(disk, history.path, history, thorough=False, readings=readings).complaints
    assert any("refused" in complaint for complaint in complaints)
    assert readings.opened == opens + 1


def test_an_error_is_told_again_as_it_was_raised() -> None:
    """A refusal is what a reading comes to, as a state is."""
    readings = Readings()

    def refuse(fs: ReadableFileSystem) -> Sight:
        fs.status("/a")
        raise CorruptionError("damaged", path="/a")

    for _ in range(2):
        with pytest.raises(CorruptionError, match="damaged"):
            readings.of(Still({}, {}), refuse)
    assert (readings.opened, readings.told) == (1, 1)


def test_a_reader_that_asks_what_its_answers_dont_decide_is_found() -> None:
    """It looked at something else than its files: nothing could be told of it."""
    readings = Readings()
    second = iter(["/a", "/b"])

    def read(fs: ReadableFileSystem) -> Sight:
        fs.status(next(second))
        fs.open_read("/x").pread(1, 0)
        raise CorruptionError("damaged", path="/x")

    with pytest.raises(CorruptionError):
        readings.of(Still({"/x": b"1"}, {}), read)
    with pytest.raises(AssertionError, match="after the same answers"):
        readings.of(Still({"/x": b"2"}, {}), read)


def test_a_reader_that_writes_is_found() -> None:
    """There is nothing to write with where only names and bytes are."""
    assert not hasattr(seen(SimulatedDisk()), "open_write")
    assert not hasattr(Still({"/x": b"1"}, {}).open_read("/x"), "pwrite")


def test_images_are_the_same_whoever_runs_the_workload(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit's parts are told apart by hash, in processes of their own: together they have to hold every image once."""
    mine = {image.digest for image, _ in images_of("torn_tail_cut")}
    monkeypatch.setattr(os, "getpid", lambda: 123_456_789)
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    assert {image.digest for image, _ in images_of("torn_tail_cut")} == mine
