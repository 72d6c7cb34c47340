"""Calls that fail by strace: a store's process raises what its contract names and keeps what it promised."""

from __future__ import annotations

import shutil

import pytest
import syscalls
from fault_writer import Canary
from mounts import lacking
from units import Outcome, Unit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("strace") is None, reason="not installed: strace"),
    pytest.mark.skipif(bool(lacking()), reason=lacking() or "nothing is lacking"),
]


def failing(*calls: str, canary: Canary = "", **arguments: object) -> Outcome:
    """Let these calls fail, each in a life of its own."""
    return syscalls.prove(Unit("test", {"seed": 1, "calls": list(calls), "canary": canary, **arguments}))


def test_each_sync_of_a_log_that_fails_is_told_and_costs_nothing_promised() -> None:
    """A small piece of the proof, where a mistake costs most."""
    outcome = failing("fdatasync", "rename")
    assert outcome.failures == []
    assert outcome.counts["system calls"] >= 15


def test_an_unlock_that_fails_at_a_close_raises_nothing() -> None:
    """It let an OSError out that no contract names; found by this proof."""
    outcome = failing("flock", errors=["ENOLCK"])
    assert outcome.failures == []
    assert outcome.counts["system calls"] > 0


@pytest.mark.parametrize(("canary", "call"), [("deaf", "fdatasync"), ("early", "pwrite64")])
def test_a_store_that_ignores_or_foretells_what_calls_return_is_found_out(canary: Canary, call: str) -> None:
    """A proof that these pass proves nothing."""
    assert failing(call, canary=canary).failures


def test_an_interrupt_that_python_repeats_is_told_to_nobody() -> None:
    """The call is simply made again: it must neither be counted as lost nor poison anything."""
    outcome = failing("pwrite64", errors=["EINTR"], parts=3)
    assert outcome.failures == []
    assert outcome.counts["processes that were told"] == 0


def test_what_is_not_reached_is_not_counted() -> None:
    """The sums are of calls that failed, not of tries."""
    plain = failing("mkdir", errors=["EIO"])
    assert plain.counts["system calls"] == 2  # once, and for good
    assert failing("execve", errors=["EIO"]).counts == {}
