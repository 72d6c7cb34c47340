"""Workers of a run: each in a thread of its own, on one directory or bucket."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import journalkit

Live = Callable[[journalkit.Worker], Any]


class Gathering:
    """An exchange of threads: each gives something and gets what all gave, by rank."""

    def __init__(self, size: int) -> None:
        self._barrier = threading.Barrier(size, timeout=30)
        self._given = [b""] * size

    def of(self, rank: int) -> Callable[[bytes], Sequence[bytes]]:
        """Return one rank's side of it."""

        def exchange(data: bytes) -> Sequence[bytes]:
            self._given[rank] = data
            self._barrier.wait()
            found = list(self._given)
            self._barrier.wait()
            return found

        return exchange


class Job:
    """A place, and the runs of a job in it, whose workers agree by the storage or by an exchange."""

    def __init__(self, where: Path, *, exchanges: bool = False) -> None:
        self.where = str(where / "job")
        self._exchanges = exchanges
        self._starts = itertools.count(1)

    def run(self, size: int, live: Live, **options: Any) -> list[Any]:
        """Start that many workers and return what each came to: what `live` returned, or the error that it raised.

        What is no error of journalkit, a failed check for one, is raised here.
        """
        usual: dict[str, Any] = {"run": f"start {next(self._starts)}", "patience": 30}
        if self._exchanges:
            usual = {"exchange": Gathering(size).of}
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


@pytest.fixture(params=[False, True], ids=["storage", "exchange"])
def job(tmp_path: Path, request: pytest.FixtureRequest) -> Job:
    """A job that hasn't begun."""
    return Job(tmp_path, exchanges=request.param)


@pytest.fixture
def stored(tmp_path: Path) -> Job:
    """One whose workers agree by the storage."""
    return Job(tmp_path)
