"""Fsyncs whose outcome is known whatever interrupts them."""

from __future__ import annotations

import errno

import pytest

from journalkit.log.attempt import SyncAttempts


class File:
    """A file that fails and is interrupted on request; `synced` counts what came through."""

    def __init__(self) -> None:
        self.synced = 0
        self.raises: list[BaseException | None] = []

    def sync_data(self) -> None:
        if self.raises and (error := self.raises.pop(0)) is not None:
            raise error
        self.synced += 1


def test_each_run_is_a_sync_of_its_own() -> None:
    """What was written since the last one needs another."""
    file = File()
    attempts = SyncAttempts(file)  # type: ignore[arg-type]
    attempts.run()
    attempts.run()
    assert file.synced == 2


def test_a_sync_after_a_failed_one_fails_without_asking_the_kernel() -> None:
    """The kernel has marked the pages clean: its second answer would be a lie."""
    file = File()
    file.raises = [None, OSError(errno.EIO, "failed")]
    attempts = SyncAttempts(file)  # type: ignore[arg-type]
    attempts.run()
    with pytest.raises(OSError, match="failed"):
        attempts.run()
    for _ in range(2):
        with pytest.raises(OSError, match="an earlier fsync"):
            attempts.run()
    assert file.synced == 1


def test_a_sync_after_one_that_failed_on_the_compiled_path_fails_likewise() -> None:
    """It is noted by its number; who asks is told as if it had failed here."""
    file = File()
    attempts = SyncAttempts(file)  # type: ignore[arg-type]
    attempts.run()
    attempts.failed_errno = errno.EIO
    for _ in range(2):
        with pytest.raises(OSError, match=r"an earlier fsync of this file failed \(Input/output error\)") as failed:
            attempts.run()
        assert failed.value.errno == errno.EIO
    assert file.synced == 1


def test_a_sync_that_was_cut_short_inside_counts_as_failed() -> None:
    """Nobody knows what it did."""
    file = File()
    file.raises = [KeyboardInterrupt()]
    attempts = SyncAttempts(file)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        attempts.run()
    with pytest.raises(OSError, match="an earlier fsync"):
        attempts.run()
