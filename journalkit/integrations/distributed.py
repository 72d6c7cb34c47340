"""What the workers of a job talk by anyway, for `open_worker(exchange=...)`: PyTorch's process groups, and MPI."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from journalkit.checkpoint.rounds import Exchange
from journalkit.errors import UsageError


def torch_exchange(group: Any = None) -> Exchange:
    """Return an exchange by a process group of `torch.distributed`, the default one if none is given.

    Use a group of its own (`torch.distributed.new_group(backend="gloo")`) where saves go on in the background, so that
    they don't come between the job's own exchanges. What the group raises, of lost workers too, is raised.

    Raises:
        UsageError: PyTorch isn't installed, or no process group was begun.
    """
    try:
        distributed = import_module("torch.distributed")
    except ImportError as error:
        raise UsageError("torch_exchange takes PyTorch: pip install torch") from error
    if not distributed.is_available() or not distributed.is_initialized():
        raise UsageError("no process group was begun: torch.distributed.init_process_group(...)")

    def exchange(data: bytes) -> Sequence[bytes]:
        found: list[Any] = [None] * distributed.get_world_size(group)
        distributed.all_gather_object(found, data, group)
        return found

    return exchange


def mpi_exchange(communicator: Any) -> Exchange:
    """Return an exchange by an MPI communicator of `mpi4py`.

    Give it one of its own (`MPI.COMM_WORLD.Dup()`) where saves go on in the background, and an MPI that was begun for
    threads. A worker that is lost ends the others by MPI's own rule.
    """

    def exchange(data: bytes) -> Sequence[bytes]:
        found: Sequence[bytes] = communicator.allgather(data)
        return found

    return exchange
