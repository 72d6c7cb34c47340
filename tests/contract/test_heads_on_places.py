"""Writers that race for a job on real places: processes in one directory, threads on real servers."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from journalkit.checkpoint.heads import HEADS_KEPT, HeadWriter, newest_head
from journalkit.clock import SystemClock
from journalkit.errors import FencedError
from journalkit.format.head import CheckpointEntry, Head
from journalkit.fs.posix import PosixFileSystem
from journalkit.objects.directory import DirectoryObjects
from journalkit.objects.interface import Objects
from journalkit.objects.places import open_objects

PROGRAM = """
import sys
sys.path[:0] = {path!r}
from dataclasses import replace
from journalkit.checkpoint.heads import HeadWriter
from journalkit.clock import SystemClock
from journalkit.errors import FencedError
from journalkit.format.head import CheckpointEntry
from journalkit.objects.places import open_objects

for _ in range(4):
    writer = HeadWriter.begin(open_objects({place!r}), SystemClock())
    try:
        for save in range(8):
            added = CheckpointEntry(writer.epoch, save, 0, 1, bytes(32))
            writer.publish(lambda head: replace(head, checkpoints=(*head.checkpoints, added)))
            print(writer.epoch, save, flush=True)
    except FencedError:
        print(writer.epoch, "fenced", flush=True)
"""


def race(open_one: Callable[[], Objects], writers: int, lives: int) -> tuple[set[tuple[int, int]], list[int]]:
    """Let threads race, each with handles of its own; return what was acknowledged, and every epoch that was taken."""
    acknowledged: set[tuple[int, int]] = set()
    epochs: list[int] = []
    errors: list[BaseException] = []

    def live(me: int) -> None:
        chance = Random(me)
        try:
            for _ in range(lives):
                writer = HeadWriter.begin(open_one(), SystemClock())
                epochs.append(writer.epoch)
                try:
                    for save in range(chance.randrange(1, 12)):
                        added = CheckpointEntry(writer.epoch, save, 0, 1, bytes(32))

                        def change(head: Head, added: CheckpointEntry = added) -> Head:
                            return replace(head, checkpoints=(*head.checkpoints, added))

                        writer.publish(change)
                        acknowledged.add(added.place)
                except FencedError:
                    continue
        except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
            errors.append(error)

    threads = [threading.Thread(target=live, args=(me,)) for me in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return acknowledged, epochs


def check(objects: Objects, acknowledged: set[tuple[int, int]], epochs: list[int]) -> None:
    """What was acknowledged is there, once, and nothing else; nobody shared an epoch."""
    head = newest_head(objects)
    assert head is not None
    places = [known.place for known in head.checkpoints]
    assert sorted(places) == sorted(acknowledged)
    assert sorted(epochs) == list(range(1, len(epochs) + 1))
    assert len(objects.list("heads/")) <= HEADS_KEPT + len(epochs)


def test_processes_that_race_in_a_directory_lose_nothing(tmp_path: Path) -> None:
    """No lock is between them, only names that one of them gets."""
    place = str(tmp_path / "job")
    path = [entry for entry in sys.path if entry]
    program = PROGRAM.format(path=path, place=place)
    racing = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    acknowledged: set[tuple[int, int]] = set()
    epochs: set[int] = set()
    for process in racing:
        said, complaints = process.communicate(timeout=60)
        assert process.returncode == 0, complaints
        for line in said.splitlines():
            epoch, save = line.split()
            epochs.add(int(epoch))
            if save != "fenced":
                acknowledged.add((int(epoch), int(save)))
    assert len(epochs) == 12
    objects = DirectoryObjects(place, PosixFileSystem())
    check(objects, acknowledged, sorted(epochs))


def test_threads_that_race_in_a_directory_lose_nothing(tmp_path: Path) -> None:
    """The same, more closely."""
    place = tmp_path / "job"
    check(open_objects(place), *race(lambda: open_objects(place), writers=4, lives=4))


@pytest.mark.slow
@pytest.mark.parametrize("server", ["seaweedfs"])  # moto looks for a key and writes it in two steps: both may win
def test_writers_that_race_on_a_server_lose_nothing(server: str, remote: Callable[..., Objects]) -> None:
    """What the simulated bucket promises, real ones keep."""
    check(remote(server, "race"), *race(lambda: remote(server, "race"), writers=3, lives=3))


@pytest.mark.slow
@pytest.mark.parametrize("server", ["moto", "seaweedfs"])
def test_a_path_of_a_bucket_is_a_place_of_its_own(server: str, remote: Callable[..., Objects]) -> None:
    """Two jobs in one bucket never see each other."""
    one, other, whole = remote(server, "jobs/one"), remote(server, "jobs/other"), remote(server)
    one.put("a/b", (b"one",))
    assert other.create("a/b", b"other")
    assert [found.key for found in one.list()] == ["a/b"]
    assert [found.key for found in other.list("a/", after="a/a")] == ["a/b"]
    assert [found.key for found in whole.list("jobs/")] == ["jobs/one/a/b", "jobs/other/a/b"]
    one.delete("a/b")
    assert (one.get("a/b"), other.get("a/b")) == (None, b"other")
