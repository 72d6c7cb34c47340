"""Room for a seal: there is always some, wherever in its prepared space a segment stands when the disk fills up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from journalkit.format.frame import HEADER_BYTES as FRAME_BYTES
from journalkit.format.segment import HEADER_BYTES
from journalkit.log.segment import SEAL_BYTES, STEP_BYTES_MIN

Maker = Callable[..., Any]


@pytest.mark.parametrize("left_bytes", [0, 1, SEAL_BYTES - 1, SEAL_BYTES, SEAL_BYTES + 1])
def test_a_full_disk_lets_a_log_be_sealed_wherever_its_last_record_ends(bench: Maker, left_bytes: int) -> None:
    """Closing works on a full disk: a record that leaves no room for the seal takes more room with it."""
    log = bench()
    log.put(bytes(STEP_BYTES_MIN - HEADER_BYTES - FRAME_BYTES - left_bytes), durable=True)
    log.fs.capacity_bytes = sum(len(log.fs.read_bytes(f"/store/{name}")) for name in log.fs.list("/store"))
    log.log.close()
    assert log.recovered()[1].plan.sealed
