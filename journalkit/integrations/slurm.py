"""Slurm: what a job is told by it, and how it asks to be run again."""

from __future__ import annotations

import os
import subprocess
from typing import Final

from journalkit.errors import JournalError

_WAIT_S: Final = 20


class RequeueError(JournalError):
    """Slurm didn't take the job back. Submit it again."""


def job_id() -> str | None:
    """Return the id of the Slurm job that this process runs in; of an array's task, its own. None outside of Slurm."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    if array and task:
        return f"{array}_{task}"
    return os.environ.get("SLURM_JOB_ID") or None


def requeue() -> bool:
    """Ask Slurm to run this job again, behind a last save; return whether there is a Slurm to ask.

    Slurm ends the job at once and starts it again, under the same id, when its turn comes. The job has to allow it:
    `sbatch --requeue`. A job that Slurm preempted with `PreemptMode=REQUEUE` is requeued without being asked for.

    Raises:
        RequeueError: Slurm was asked, and refused or didn't answer.
    """
    job = job_id()
    if job is None:
        return False
    try:
        asked = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, timeout=_WAIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RequeueError(f"job {job} can't be requeued: {error}") from error
    if asked.returncode:
        said = (asked.stderr or asked.stdout).strip() or f"exit code {asked.returncode}"
        raise RequeueError(f"job {job} was not requeued: {said}")
    return True
