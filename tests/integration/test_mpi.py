"""Workers that agree by a real MPI: saved with two, loaded with three, saved and loaded with two again."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import journalkit

LAUNCHER = Path(sys.executable).with_name("mpiexec")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("mpi4py") is None or not LAUNCHER.exists(),
        reason="needs MPI: pip install mpi4py mpich",
    ),
]

JOB = """\
import sys
from pathlib import Path
import numpy as np
from mpi4py import MPI
import journalkit
from journalkit import Keyed, Shard, key_group, key_groups_of
from journalkit.errors import CheckpointAbortedError, KeyTypeError
from journalkit.integrations.distributed import mpi_exchange

own = MPI.COMM_WORLD.Dup()
rank, size = own.rank, own.size
with journalkit.open_worker(sys.argv[1], rank=rank, size=size, exchange=mpi_exchange(own)) as worker:
    loaded = worker.load_latest()
    mine = key_groups_of(rank, size)
    state = loaded[0] if loaded else {
        "counts": Keyed({key: 0 for key in range(100) if key_group(key) in mine}),
        "array": Shard(np.zeros((120 // size, 2000)), (120, 2000), (rank * 120 // size, 0)),
        "step": 0,
    }
    state["step"] += 1
    for key in state["counts"]:
        state["counts"][key] += 1
    state["array"].array += 1
    try:
        worker.save({"bad": object()} if rank == 1 else state)
    except KeyTypeError if rank == 1 else CheckpointAbortedError:
        worker.save_async(state, step=state["step"]).wait()
        Path(sys.argv[2], f"step {state['step']}, rank {rank}").touch()
"""


def test_workers_agree_by_mpi_whatever_their_number(tmp_path: Path) -> None:
    """Errors of one are told to the others by it, too."""
    program = tmp_path / "job.py"
    program.write_text(JOB)
    saved = tmp_path / "saved"
    saved.mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    for step, size in enumerate((2, 3, 2), start=1):
        command = [str(LAUNCHER), "-n", str(size), sys.executable, str(program), str(tmp_path / "job"), str(saved)]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        told = {each.name for each in saved.glob(f"step {step},*")}
        assert told == {f"step {step}, rank {rank}" for rank in range(size)}, ran.stdout + ran.stderr
    with journalkit.open_checkpoints(tmp_path / "job", mode="r") as checkpoints:
        assert [each.workers for each in checkpoints] == [2, 3, 2]
        state = checkpoints.get("latest").load()
    assert dict(state["counts"]) == dict.fromkeys(range(100), 3)
    assert (state["array"].array == 3).all()
