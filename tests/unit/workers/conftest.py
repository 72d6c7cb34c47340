"""Workers of a run: each in a thread of its own, on one directory or bucket."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import journalkit

Live = Callable[[journalkit.Worker], Any]


class Job:
    """A place, and the runs of a job in it."""

    def __init__(self, where: Path) -> None:
        self.where = str(where / "job")
        self._starts = itertools.count(1)

    def run(self, size: int, live: Live, **options: Any) -> list[Any]:
        """Start that many workers and return what each came to: what `live` returned, or the error that it raised.

        What is no error of journalkit, a failed check for one, is raised here.
        """
        usual: dict[str, Any] = {"run": f"start {next(self._starts)}", "patience": 30}
        given = usual | options
        found: list[Any] = [None] * size
        failed: list[BaseException] = []

        def begin(rank: int) -> None:
            try:
                mine = {name: value(rank) if callable(value) else value for name, value in given.items()}
                with journalkit.open_worker(self.where, rank=rank, size=size, **mine) as worker:
                    found[rank] = live(worker)
            except journalkit.errors.JournalError as error:
                found[rank] = error
            except BaseException as error:  # noqa: BLE001 - raised again below
                failed.append(error)

        threads = [threading.Thread(target=begin, args=(rank,)) for rank in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]
        return found

    def checkpoints(self, **options: Any) -> journalkit.Checkpoints:
        """Open them for looking."""
        return journalkit.open_checkpoints(self.where, mode="r", **options)

    def contents(self) -> set[str]:
        """Return what lies in the place, heads not counted."""
        top = Path(self.where)
        found = {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}
        return {key for key in found if not key.startswith(("heads/", "probe/"))}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job that hasn't begun."""
    return Job(tmp_path)
