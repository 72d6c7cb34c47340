"""The process that merges for a fold: killed, hung, lying or left alone, it costs a fold and nothing else."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from waiting import is_itself, wait_for

import journalkit
from journalkit.errors import ClosedError, JournalError, StorageError
from journalkit.store import outside
from journalkit.testing import SimulatedClock

QUIET: dict[str, Any] = {"compaction": "process", "fold_bytes_min": 1 << 40, "max_age": 1e9, "max_recovery": 1e9}
"""Folds are done by children, and only when they are asked for."""


def opened(path: Path, **options: Any) -> journalkit.Store:
    """Open a store whose folds are children's."""
    return journalkit.open(path, **(QUIET | options))


@pytest.fixture
def child_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what makes every child run this program instead; it may call `real()`."""

    def program(body: str) -> None:
        lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
        source = (
            "import os, signal, sys, time\n"
            "from journalkit.store import fold_child\n"
            "from journalkit.runtime.talk import begun\n"
            f"real = fold_child.main\ndef main():\n{lines}\n"
        )
        (tmp_path / "another_child.py").write_text(source)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(outside, "MODULE", "another_child")

    return program


def children() -> list[int]:
    """Return the processes that this one has started, and that still run."""
    found = []
    for place in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid() and fields[0] != "Z":
                found.append(int(place.name))
    return found


@contextmanager
def folding(store: journalkit.Store) -> Iterator[list[BaseException]]:
    """Fold in another thread for as long as the block lasts; what it raised is in the list afterwards."""
    raised: list[BaseException] = []

    def fold() -> None:
        try:
            store.compact()
        except JournalError as error:
            raised.append(error)

    thread = threading.Thread(target=fold)
    thread.start()
    try:
        yield raised
    finally:
        thread.join(30)
        assert not thread.is_alive()


def tables(path: Path) -> list[str]:
    """Return the names of tables in a store's directory, unfinished ones too."""
    return sorted(place.name for place in path.iterdir() if place.name.startswith("table-"))


def test_a_child_writes_the_bytes_that_the_thread_would(tmp_path: Path) -> None:
    """Which process merges is nobody's business but the processor's."""
    chance = random.Random(5)
    edits = [
        {("key", chance.randrange(4000)): chance.randbytes(chance.randrange(300)) for _ in range(count)}
        for count in (4000, 900, 300, 2500)
    ]
    folders = {"process": tmp_path / "process", "manual": tmp_path / "manual"}
    for compaction, folder in folders.items():
        with opened(
            folder, compaction=compaction, clock=SimulatedClock(seed=1), sync="never", keep_snapshots=9
        ) as store:
            for edit in edits:
                store.update(edit)
                del store[next(iter(edit))]
                store.compact()
            statistics = store.statistics()
            assert statistics.folds == len(edits)
            assert statistics.folds_outside == (len(edits) if compaction == "process" else 0)
            assert statistics.fold_refusal == ""
            store.check()
    assert len(tables(folders["process"])) == len(edits)
    for name in tables(folders["manual"]):
        assert (folders["process"] / name).read_bytes() == (folders["manual"] / name).read_bytes()
    assert children() == []


def test_the_stores_own_thread_folds_by_children(tmp_path: Path) -> None:
    """`compaction="process"` is all that a program has to say."""
    with journalkit.open(tmp_path / "store", compaction="process", fold_bytes_min=10_000, sync="never") as store:
        for number in range(300):
            store[number] = b"x" * 100
        wait_for(lambda: store.statistics().folds_outside)
        assert store.statistics().last_fold_error == ""
        assert len(store) == 300


def test_a_child_that_is_killed_at_any_moment_costs_its_fold_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the out-of-memory killer does it: the fold fails and says so, nothing is left of it, the next one works."""
    monkeypatch.setattr(outside, "FAILURES_MAX", 1000)
    path, chance, kills = tmp_path / "store", random.Random(3), 0
    with opened(path, sync="never") as store:
        expected = dict.fromkeys(range(3000), b"x" * 300)
        store.update(expected)
        for number in range(8):
            store[number] = expected[number] = b"y" * number
            before = tables(path)
            with folding(store) as raised:
                child = wait_for(children)[0]
                time.sleep(chance.uniform(0.0, 0.5))
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            assert children() == []
            assert dict(store) == expected
            if raised:
                kills += 1
                assert isinstance(raised[0], StorageError)
                assert tables(path) == before
                assert store.statistics().last_fold_error
        assert kills
        store.compact()
        store.check()
        assert dict(store) == expected
        assert store.statistics().last_fold_error == ""


def test_a_killed_child_is_told_and_three_in_a_row_are_done_without(
    tmp_path: Path, child_program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What keeps dying doesn't keep the log growing; the state says so, and later children are tried again."""
    child_program("sys.stdout.buffer.write(begun()); sys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)")
    clock = SimulatedClock()
    with opened(tmp_path / "store", clock=clock) as store:
        store["a"] = 1
        for _ in range(outside.FAILURES_MAX):
            with pytest.raises(StorageError, match="the process that merges was killed by SIGKILL"):
                store.compact()
        store.compact()
        statistics = store.statistics()
        assert (statistics.folds, statistics.folds_outside, statistics.fold_failures) == (1, 0, outside.FAILURES_MAX)
        assert "3 processes in a row failed" in statistics.fold_refusal
        assert "SIGKILL" in statistics.fold_refusal
        monkeypatch.undo()
        store["a"] = 2
        store.compact()
        assert store.statistics().folds_outside == 0
        clock.advance(outside.AWAY_S)
        store["a"] = 3
        store.compact()
        statistics = store.statistics()
        assert (statistics.folds_outside, statistics.fold_refusal) == (1, "")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("sys.exit(3)", "it ended with status 3"),
        ("raise ImportError('no such thing')", r"it ended with status 1 \(ImportError: no such thing\)"),
        ("print('hello')\nos._exit(0)", r"it ended with status 0 \(hello\)"),
    ],
)
def test_a_child_that_never_begins_is_done_without_at_once(
    body: str, said: str, tmp_path: Path, child_program: Callable[[str], None]
) -> None:
    """Where no child can be had a fold is done here; nobody has to know why to be safe."""
    child_program(body)
    with opened(tmp_path / "store") as store:
        store["a"] = 1
        store.compact()
        statistics = store.statistics()
        assert (statistics.folds, statistics.folds_outside, statistics.fold_failures) == (1, 0, 0)
        assert re.search(said, statistics.fold_refusal)


@pytest.mark.parametrize(("executable", "is_frozen"), [("/usr/sbin/app", False), ("", False), (sys.executable, True)])
def test_a_program_with_python_inside_is_never_started_again(
    executable: str, is_frozen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There `sys.executable` is the application: a second one of it would be something else than a merge."""
    monkeypatch.setattr(sys, "executable", executable)
    if is_frozen:
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    with opened(tmp_path / "store") as store:
        store["a"] = 1
        store.compact()
        assert store.statistics().folds == 1
        assert "there is no Python interpreter to start" in store.statistics().fold_refusal


def test_where_no_other_process_sees_the_files_this_one_folds() -> None:
    """Memory is nobody else's."""
    with journalkit.open("memory://", **QUIET) as store:
        store["a"] = 1
        store.compact()
        statistics = store.statistics()
        assert (statistics.folds, statistics.folds_outside) == (1, 0)
        assert statistics.fold_refusal == "no other process sees this file system"


LIES = {
    "a table that isn't there": "info = TableInfo(job.number, 300, 1, 5, job.salt)",
    "another table's number": "info = replace(write(job, entries), number=job.number + 1)",
    "an older table": "write(job, entries); info = job.tables[0]",
    "another content": "info = replace(write(job, entries), entry_count=7)",
    "damaged bytes": """
info = write(job, entries)
path = os.path.join(job.directory, temporary_name(table_name(job.number)))
with open(path, "r+b") as file:
    file.seek(60); old = file.read(1); file.seek(60); file.write(bytes([old[0] ^ 1]))""",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_child_that_lies_is_not_believed(lie: str, tmp_path: Path, child_program: Callable[[str], None]) -> None:
    """Memory rots in children too: what is published was read back from the device here."""
    child_program(
        """
from dataclasses import replace
from journalkit.clock import SystemClock
from journalkit.format.names import table_name, temporary_name
from journalkit.format.table import TableInfo
from journalkit.fs.child import Parent
from journalkit.fs.posix import PosixFileSystem
from journalkit.store.fold_words import done, heard
parent = Parent()
parent.say(begun())
job, entries = heard(parent.read)
def write(job, entries):
    return fold_child._write(job, entries, PosixFileSystem(), SystemClock(), lambda: False)
"""
        + LIES[lie]
        + "\nparent.say(done(info))\n"
    )
    path = tmp_path / "store"
    with opened(path, compaction="manual") as store:
        store["a"] = 1
        store.compact()
    before = tables(path)
    with opened(path) as store:
        store["a"] = 2
        with pytest.raises(JournalError):
            store.compact()
        assert (store["a"], store.snapshot_lsn, store.statistics().folds) == (2, 1, 0)
        assert tables(path) == before


def test_a_child_needs_no_codec(tmp_path: Path, child_program: Callable[[str], None]) -> None:
    """Values go from table to table as they are."""
    pytest.importorskip("msgspec")
    child_program(
        "sys.modules['msgspec'] = None\nsys.modules['cbor2'].loads = sys.modules['cbor2'].dumps = None\nreal()"
    )
    with opened(tmp_path / "store", codec="msgpack") as store:
        for number in range(2):
            store["a"] = {"number": number}
            store.compact()
        assert store.statistics().folds_outside == 2
        assert store["a"] == {"number": 1}


HANG = "sys.stdout.buffer.write(begun()); sys.stdout.flush(); time.sleep(600)"


@pytest.mark.parametrize("how", ["it sleeps", "it is stopped", "it reads nothing"])
def test_close_ends_a_child_within_a_second_and_leaves_nothing(
    how: str, tmp_path: Path, child_program: Callable[[str], None]
) -> None:
    """Whatever the child does: who closes doesn't wait for it, and nothing of it is left."""
    if how != "it is stopped":
        child_program(HANG)
    path = tmp_path / "store"
    store = opened(path, sync="never")
    store.update(dict.fromkeys(range(1000), b"x" * (3000 if how == "it reads nothing" else 1)))
    with folding(store) as raised:
        # Stopped before it is a program of its own, it would stop its parent too, who waits for that.
        child = wait_for(lambda: [child for child in children() if is_itself(child)])[0]
        if how == "it is stopped":
            os.kill(child, signal.SIGSTOP)
        time.sleep(0.3)
        began_s = time.monotonic()
        store.close()
        assert time.monotonic() - began_s < 1.0
    assert isinstance(raised[0], ClosedError)
    assert children() == []
    assert tables(path) == []
    with opened(path) as store:
        assert len(store) == 1000


def test_an_interrupted_fold_ends_its_child(
    tmp_path: Path, child_program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C is for the program that holds the store; its child isn't asked, and doesn't stay."""
    child_program(HANG)
    with opened(tmp_path / "store") as store:
        store["a"] = 1
        alarm = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
        alarm.start()
        with pytest.raises(KeyboardInterrupt):
            store.compact()
        assert children() == []
        monkeypatch.undo()
        store.compact()
        assert store.statistics().folds_outside == 1


def test_a_fork_of_the_program_keeps_no_child_alive(tmp_path: Path, child_program: Callable[[str], None]) -> None:
    """A forked worker that outlives its parent would hold the pipe by which a child notices the end."""
    child_program(HANG)
    store = opened(tmp_path / "store")
    store["a"] = 1
    with folding(store):
        wait_for(children)
        time.sleep(0.3)
        fork = os.fork()
        if not fork:
            os._exit(_pipes())
        before = _pipes()
        _, status = os.waitpid(fork, 0)
        assert os.waitstatus_to_exitcode(status) == before - 2
        store.close()


def _pipes() -> int:
    places = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd") if int(number) > 2]
    return sum(os.readlink(place).startswith("pipe:") for place in places if os.path.islink(place))
