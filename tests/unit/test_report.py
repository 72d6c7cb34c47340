"""The recovery report: one value, one line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from journalkit.recovery.report import RecoveryReport

CLEAN = RecoveryReport("clean", 0, False, 7, 0, 0, "", 0.25)


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (CLEAN, "clean: LSN 7, 0 records replayed in 0.250 s"),
        (replace(CLEAN, outcome="replayed", records_replayed=1), "replayed: LSN 7, 1 record replayed in 0.250 s"),
        (replace(CLEAN, snapshot_lsn=7), "clean: LSN 7, snapshot 7, 0 records replayed in 0.250 s"),
        (
            replace(CLEAN, snapshot_lsn=3, fell_back=True, records_replayed=4),
            "clean: LSN 7, an older snapshot (a newer one is damaged) 3, 4 records replayed in 0.250 s",
        ),
        (
            replace(CLEAN, fell_back=True, records_replayed=7),
            "clean: LSN 7, the whole log (the snapshot is damaged), 7 records replayed in 0.250 s",
        ),
        (
            replace(CLEAN, outcome="cut", bytes_cut=90, quarantine="s/quarantine"),
            "cut: LSN 7, 0 records replayed, 90 bytes cut, kept in s/quarantine in 0.250 s",
        ),
    ],
)
def test_a_report_reads_as_one_line(report: RecoveryReport, line: str) -> None:
    """It goes into logs and the terminal; whoever reads it has had a crash and wants one sentence."""
    assert str(report) == line
