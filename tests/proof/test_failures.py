"""A small piece of the proof of failures and full disks, and what it must find."""

from __future__ import annotations

import errno
import itertools
from typing import Any

import disk_full
import failures
import pytest
from failing import Trial
from workloads import BY_NAME, CI_WORKLOADS

import journalkit
from journalkit.errors import StorageError, StoreFullError
from journalkit.log.log import Log
from journalkit.log.segment import SegmentWriter
from journalkit.log.writer import LogWriter
from journalkit.testing import SimulatedDisk

WORKLOAD = BY_NAME["durable_appends"]


def failing(kind: str, nth: int, number: int, times: int | None = 1, *, workload: Any = WORKLOAD) -> Trial:
    """Return a run in which an operation fails."""
    return Trial(
        workload,
        f"{kind} {nth} fails",
        lambda disk: disk.fail(kind, nth, number, times=times),
        cuts=("none", "all", "no cut", 5),
    )


@pytest.mark.parametrize("workload", CI_WORKLOADS, ids=lambda workload: workload.name)
def test_some_of_a_workload_s_operations_fail_and_nothing_is_lost(workload: Any) -> None:
    """Every fortieth run of what the runner does."""
    runs = list(failures.trials(workload, failures.counts(workload), every=False, seed=0))[::40]
    complaints = [complaint for trial in runs for complaint in trial.run().complaints]
    assert complaints == []
    assert sum(trial.has_failed for trial in runs) >= len(runs) // 2


def test_every_kind_of_operation_is_in_some_workload() -> None:
    """A kind that nobody asks for would never fail."""
    found = sum((failures.counts(workload) for workload in CI_WORKLOADS), start=failures.Counter())
    assert set(failures.ERRORS) - set(found) <= {"free_bytes", "remove_directory"}


def test_a_disk_of_each_size_is_told_as_full_until_there_is_room() -> None:
    """From nothing to enough: the sizes at which one more request fits just not and just so."""
    trials = list(disk_full.trials(BY_NAME["journal_pruned"], every=False))
    assert [complaint for trial in trials for complaint in trial.complaints] == []
    assert trials[-1].error is None
    assert sum(isinstance(trial.error, StoreFullError) for trial in trials) > 10


def test_sizes_between_two_requests_differ_by_what_a_write_takes() -> None:
    """Each byte of a write that fits in part is a size of its own in a full run."""
    few = sum(1 for _ in disk_full.trials(BY_NAME["journal_pruned"], every=False))
    each = disk_full.trials(BY_NAME["journal_pruned"], every=True)
    assert sum(1 for _ in itertools.islice(each, 3 * few)) == 3 * few


def test_others_fill_the_disk_while_a_store_is_open() -> None:
    """Records into prepared room go on, and what needs more is refused until there is some."""
    runs = list(itertools.islice(disk_full.filled(disk_full.OUTGROWING, [0]), 30, 60, 3))
    assert [complaint for trial in runs for complaint in trial.complaints] == []
    assert any(isinstance(trial.error, StoreFullError) for trial in runs)


# -- canaries: broken on purpose ------------------------------------------------------------------


def test_an_acknowledgement_behind_a_failed_fsync_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """PITFALLS 1: the second fsync says yes, and the bytes are gone."""

    def retried(self: Any, active: Any) -> None:
        try:
            active.file.sync_data()
        except OSError:
            active.file.sync_data()
        self.syncs += 1

    monkeypatch.setattr(LogWriter, "_sync", retried)
    complaints = failing("sync_data", 2, errno.EIO).run().complaints
    assert any("acknowledged" in complaint for complaint in complaints)


def test_a_handle_that_takes_commits_behind_a_lost_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write failed with EIO, nobody knows what stands there, and the handle goes on."""

    def forgiving(self: Any, active: Any, group: Any, cause: OSError) -> None:
        group.error = self._failure("the log could not be written", cause)

    monkeypatch.setattr(LogWriter, "_refuse", forgiving)
    complaints = failing("pwrite", 8, errno.EIO).run().complaints
    assert any("unknown outcome" in complaint for complaint in complaints)


def test_an_error_of_the_operating_system_that_comes_through_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who catches JournalError would not catch it."""
    real = Log.commit

    def raw(self: Any, commit: Any) -> int:
        try:
            return real(self, commit)
        except StorageError as error:
            raise PermissionError(error.errno, "raw") from error

    monkeypatch.setattr(Log, "commit", raw)
    complaints = failing("sync_data", 1, errno.EIO).run().complaints
    assert any("none of the contract" in complaint for complaint in complaints)


def test_a_full_disk_that_ends_the_handle_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """PITFALLS 26: it has to go on once there is room."""

    def unforgiving(self: Any) -> None:
        raise OSError(errno.EIO, "not erased")

    monkeypatch.setattr(SegmentWriter, "withdraw", unforgiving)
    runs = disk_full.filled(disk_full.OUTGROWING, [0])
    assert any("is told as StorageError" in complaint for trial in runs for complaint in trial.complaints)


def test_a_reader_that_a_full_disk_refuses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a disk does, what was read before can be read."""
    real = journalkit.Store.items

    def refused(self: Any) -> Any:
        if self._opened is not None and self._opened.log.failure is not None:
            raise StorageError("no")
        return real(self)

    monkeypatch.setattr(journalkit.Store, "items", refused)
    complaints = failing("sync_data", 3, errno.EIO).run().complaints
    assert any("a read on the same handle was refused" in complaint for complaint in complaints)


def test_a_mended_disk_is_what_a_trial_goes_on_with() -> None:
    """A fault from then on must be over before anybody is asked to go on."""
    trial = failing("pwrite", 8, errno.ENOSPC, None).run()
    assert trial.complaints == []
    assert isinstance(trial.error, StoreFullError)
    assert trial.history.state(trial.history.acknowledged).entries["after"] == "the fault"
    assert isinstance(trial.disk, SimulatedDisk)
