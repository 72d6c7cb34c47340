"""What is refused, when, and in which words: before the job has run for hours, and never the wrong checkpoint's end."""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import Any

import pytest

from journalkit import open_checkpoints
from journalkit.checkpoint.retention import Keep
from journalkit.errors import CheckpointNotFoundError, CorruptionError, UsageError
from journalkit.format import names
from tests.unit.checkpoint.conftest import Place


def test_a_checkpoint_of_another_place_isnt_deleted_here(place: Place) -> None:
    """Ids are alike everywhere: the one of this place that has the same stays."""
    elsewhere = Place(seed=1)
    foreign = elsewhere.open().save({"step": 2})
    job = place.open()
    mine = job.save({"step": 1})
    assert foreign.id == mine.id
    with pytest.raises(CheckpointNotFoundError, match="another of that id"):
        job.delete(foreign)
    assert len(job) == 1
    place.open("janitor", mode="maintain").delete(mine)
    with pytest.raises(CheckpointNotFoundError):
        job.delete(mine)
    elsewhere.end()


@pytest.mark.parametrize("which", [5, None, b"1.1", ("1.1",)])
def test_what_is_no_id_is_refused_as_such(place: Place, which: Any) -> None:
    """And not by whatever first stumbles over it."""
    job = place.open()
    for ask in (job.get, job.delete):
        with pytest.raises(UsageError, match="a str"):
            ask(which)


@pytest.mark.parametrize("wrong", [
    {"digest": "md5"}, {"compression": "lz4"}, {"threads": "2"}, {"threads": True}, {"threads": -1},
])  # fmt: skip
def test_how_to_save_is_refused_at_the_open(place: Place, wrong: dict[str, Any]) -> None:
    """The first save may be hours away, and by then another writer's epoch is gone for it."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        place.open(**wrong)
    assert place.bucket.contents() == {}


def test_a_trash_that_is_never_emptied_is_one(place: Place) -> None:
    """No end of time is computed from it."""
    job = place.open(trash_period=math.inf, keep=Keep(last=1))
    for number in range(3):
        job.save({"step": number})
    assert job.prune().forgotten == ()


def test_a_signal_that_cant_be_handled_leaves_the_others_as_they_were(place: Place) -> None:
    """Nobody would listen to them any more, and the process would not end by them either."""
    before = signal.getsignal(signal.SIGUSR1)
    with (
        pytest.raises(UsageError, match="SIGKILL"),
        place.open().on_preemption(signals=["SIGUSR1", "SIGKILL"]),
    ):
        pass
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_page_that_cant_be_read_keeps_nobody_from_saving(place: Place) -> None:
    """Old checkpoints are damaged: a job that runs has nothing to do with them. A prune says so."""
    job = place.open()
    for number in range(210):
        job.save({"step": number})
    place.flip(next(key for key in place.bucket.contents() if key.startswith(names.PAGES)))
    job = place.open(keep=Keep(last=300))
    for number in range(100):
        job.save({"step": number})
    with pytest.raises(CorruptionError, match="can't be listed"):
        job.prune()


def test_a_file_is_no_place(tmp_path: Path) -> None:
    """It is left as it is, and the words are about files."""
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        open_checkpoints(path)
    assert path.read_text() == "mine"
