"""A job that is killed again and again, its server too: nothing lost, nothing counted twice, nothing left over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("job_kills.py")
WORKERS = Path(__file__).with_name("worker_kills.py")


def killed(*arguments: str, program: Path = PROGRAM) -> subprocess.CompletedProcess[str]:
    """Run the program with this test's journalkit."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, str(program), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)


def test_a_job_killed_a_few_times_counts_each_input_once() -> None:
    """In a directory; `python tests/crash/job_kills.py` kills as often as one likes."""
    ran = killed("--kills", "12", "--seed", "3")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "each counted once, nothing left over" in ran.stdout


@pytest.mark.slow
def test_a_job_killed_beside_its_server_counts_each_input_once() -> None:
    """On a SeaweedFS that is killed as well."""
    ran = killed("--kills", "30", "--seed", "5", "--server", "seaweedfs")
    if "isn't installed" in ran.stderr:
        pytest.skip("weed isn't installed: pip install 'journalkit[servers]'")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "each counted once, nothing left over" in ran.stdout

def test_a_job_of_several_workers_killed_a_few_times_is_whole() -> None:
    """In a directory, with another number of workers at each start."""
    ran = killed("--kills", "3", "--seed", "3", program=WORKERS)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "each counted once by every key, nothing left over" in ran.stdout


@pytest.mark.slow
def test_a_job_of_several_workers_killed_beside_its_server_is_whole() -> None:
    """On a SeaweedFS that is killed as well."""
    ran = killed("--kills", "12", "--seed", "5", "--server", "seaweedfs", program=WORKERS)
    if "isn't installed" in ran.stderr:
        pytest.skip("weed isn't installed: pip install 'journalkit[servers]'")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "each counted once by every key, nothing left over" in ran.stdout
