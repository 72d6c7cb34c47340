"""Ends: of the program while a save is under way, of threads that can't be had, of handles that others use."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.runtime import lifecycle
from tests.unit.checkpoint.conftest import Place

PROGRAM = """
import sys
sys.path[:0] = {path!r}
import random
import journalkit

job = journalkit.open_checkpoints({place!r})
job.save_async({{"model": bytearray(random.Random(1).randbytes(24_000_000))}}, offsets={{"in": 1}})
"""


def test_a_program_that_ends_while_a_save_is_under_way_waits_for_it(tmp_path: Path) -> None:
    """Nobody closed the handle; the interpreter begins no thread any more, and the save needs none."""
    program = PROGRAM.format(path=[entry for entry in sys.path if entry], place=str(tmp_path / "job"))
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    with journalkit.open_checkpoints(tmp_path / "job", mode="r") as reader:
        found = reader.latest()
    assert found is not None
    assert (dict(found.offsets), found.verify()) == ({"in": 1}, [])


def test_a_save_needs_no_threads_of_its_own(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system has no more of them; what goes wrong without them is told as with them."""

    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadPoolExecutor, "submit", refuse)
    state = {"model": bytes(5_000_000)}
    job = place.open()
    saved = job.save(state)
    assert saved.load() == state
    place.flip(next(iter(saved.manifest.packs())))
    assert len(saved.verify()) == 1


def test_whatever_a_handle_says_at_exit_the_others_are_closed(place: Place) -> None:
    """A defect in one of them is no reason for the next one's save to be lost."""

    class Broken:
        def forbid(self) -> None: ...

        def close(self) -> None:
            raise RuntimeError("broken")

    first, last = Broken(), Broken()
    lifecycle.register(first)
    job = place.open()
    lifecycle.register(last)
    lifecycle._at_exit()
    lifecycle.unregister(first)
    lifecycle.unregister(last)
    assert "closed" in repr(job)
