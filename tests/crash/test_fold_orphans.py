"""Children of folds whose parent is killed: they end too, and never had a hand on the store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import is_itself, wait_for

import journalkit
from journalkit.errors import LockedError

HOLDER = """
import sys, threading, journalkit
from journalkit.store import outside
outside.MODULE = sys.argv[2]
# Slow enough that the child is there for as long as somebody looks at it.
store = journalkit.open(sys.argv[1], compaction="process", fold_bytes_min=1 << 26, fold_bytes_per_s=200_000)
store.update({number: b"x" * 100 for number in range(20_000)})
threading.Thread(target=store.compact, daemon=True).start()
print("folding", flush=True)
threading.Event().wait()
"""

HANGS = """
import time
from journalkit.fs.child import Parent
from journalkit.runtime.talk import begun
from journalkit.store.fold_words import heard

def main():
    parent = Parent()
    parent.say(begun())
    heard(parent.read)
    parent.watch(lambda: None)
    time.sleep(600)
"""


@contextmanager
def holder_of(path: Path, module: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start a program that folds a store, and yield it with the fold's child."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(path.parent), *sys.path])}
    command = [sys.executable, "-P", "-c", HOLDER, str(path), module]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline()
            yield holder, wait_for(lambda: [child for child in children_of(holder.pid) if is_itself(child)])[0]
        finally:
            holder.kill()


def children_of(process: int) -> list[int]:
    """Return the processes that this one has started."""
    found = Path(f"/proc/{process}/task").glob("*/children")
    return [int(number) for place in found for number in place.read_text().split()]


def is_running(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def temporaries(path: Path) -> list[str]:
    """Return the names of unfinished files in a store's directory."""
    return [place.name for place in path.iterdir() if place.name.endswith(".tmp")]


@pytest.mark.parametrize("moment_s", [0.0, 0.2, 0.4])
def test_whoever_opens_next_owns_the_store_at_once(moment_s: float, tmp_path: Path) -> None:
    """A child inherits no lock; even one that is stopped keeps nobody out, and what it left is swept."""
    path = tmp_path / "store"
    with holder_of(path, "journalkit.store.fold_child") as (holder, child):
        time.sleep(moment_s)
        with pytest.raises(LockedError):
            journalkit.open(path)
        os.kill(child, signal.SIGSTOP)
        files = [os.readlink(place) for place in Path(f"/proc/{child}/fd").iterdir()]
        assert not [name for name in files if name.startswith(str(path)) and "table-" not in name]
        holder.kill()
        holder.wait()
        with journalkit.open(path, compaction="manual") as store:
            assert len(store) == 20_000
            os.kill(child, signal.SIGCONT)
            wait_for(lambda: not is_running(child), 5)
            store.compact()
            store.check()
    with journalkit.open(path, compaction="manual") as store:
        assert not temporaries(path)
        assert len(store) == 20_000


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    """Whatever it is doing: a program that is killed leaves no process behind."""
    (tmp_path / "hanging_child.py").write_text(HANGS)
    with holder_of(tmp_path / "store", "hanging_child") as (holder, child):
        time.sleep(1)
        assert is_running(child)
        holder.kill()
        holder.wait()
        wait_for(lambda: not is_running(child), 5)


def test_what_an_orphan_left_is_reported_and_swept_by_the_next_writer(tmp_path: Path) -> None:
    """A reader sees the state and touches nothing."""
    path = tmp_path / "store"
    with journalkit.open(path, compaction="manual") as store:
        store["a"] = 1
        store.compact()
    left = path / "table-0000000001048577.jkt.tmp"
    left.write_bytes(b"half a table")
    with journalkit.open(path, mode="r") as store:
        assert store == {"a": 1}
    assert left.exists()
    shown = subprocess.run(
        [sys.executable, "-P", "-m", "journalkit", "verify", str(path)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (shown.returncode, "1 file left over" in shown.stdout) == (0, True), shown
    with journalkit.open(path):
        assert not temporaries(path)
