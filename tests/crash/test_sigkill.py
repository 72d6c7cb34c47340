"""Nothing acknowledged is lost to SIGKILL, whatever it falls into.

The work is done by `kills.py` in a process of its own: what forks and is
killed should not be the test runner.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("kills.py")


def kill(*arguments: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run the killer."""
    return subprocess.run(
        [sys.executable, str(PROGRAM), "--json", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"TMPDIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
    )


def test_a_few_kills_lose_nothing(tmp_path: Path) -> None:
    """Aimed at each phase in turn, so that a few say something already."""
    done = kill("--kills", "14", tmp_path=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert sum(figures["hits"].values()) == figures["kills"] == 14
    assert figures["acknowledged"] > 0


def test_a_process_that_acknowledges_too_early_is_found_out(tmp_path: Path) -> None:
    """A killer that never finds anything may be looking at nothing."""
    done = kill("--kills", "100", "--canary", tmp_path=tmp_path)
    assert done.returncode == 1
    assert "acknowledged" in done.stderr
