"""What is on disk before what: the seal after its records, a header's claims after their truth.

Found missing by mutation testing: the steps could change places, and only the
long proofs would have told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from journalkit.format.segment import HEADER_BYTES, decode_header
from journalkit.testing import PowerCut

Maker = Callable[..., Any]


@pytest.mark.parametrize("durable", [False, True])
def test_a_seal_is_not_even_written_before_its_records_are_durable(bench: Maker, durable: bool) -> None:
    """It vouches for all before it; torn records behind a seal that was kept would be damage and no torn tail."""
    stops = sealed_early = 0
    while True:
        log = bench()
        log.put(b"a" * 5000, durable=durable)
        log.put(b"b" * 5000, durable=durable)
        log.fs.stop_after(stops + 1)
        try:
            log.log.close()
        except PowerCut:
            stops += 1
        else:
            break
        if log.recovered(log.fs.crash("all"))[1].plan.sealed:
            sealed_early += 1
            assert len(log.check(log.fs.crash("none"))) == 2
    assert sealed_early >= 1
    assert stops >= 3


@pytest.mark.parametrize(("durable", "syncs"), [(True, 1), (False, 2)])
def test_what_is_durable_is_not_synced_again_for_the_seal(bench: Maker, durable: bool, syncs: int) -> None:
    """A close costs one fsync of the log, or two where the first has something to do."""
    log = bench()
    log.put(b"a", durable=durable)
    before = len(log.fs.history())
    log.log.close()
    done = [line for line in log.fs.history()[before:] if "sync_data" in line and "log-" in line]
    assert len(done) == syncs, log.fs.story()


def test_the_first_segment_names_no_predecessor(bench: Maker) -> None:
    """A number there would be one more thing that a file is missing."""
    log = bench()
    header = decode_header(log.fs.read_bytes(log.segment_path(1))[:HEADER_BYTES])
    assert (header.previous_number, header.previous_last_lsn) == (0, 0)
    assert (header.previous_end_bytes, header.previous_checksum) == (0, 0)


def test_a_later_segment_names_the_end_of_its_predecessor(bench: Maker) -> None:
    """By it a missing, older or exchanged file is known."""
    log = bench()
    for payload in (b"a", b"b"):
        log.put(payload)
    log.log.rotate()
    (ended,) = log.log.position.ended
    assert ended.end is not None
    header = decode_header(log.fs.read_bytes(log.segment_path(2))[:HEADER_BYTES])
    assert (header.previous_number, header.previous_last_lsn, header.first_lsn) == (1, 2, 3)
    assert (header.previous_end_bytes, header.previous_checksum) == (ended.end.end_bytes, ended.end.checksum)


def test_the_next_segment_is_wanted_from_the_first_half_on_and_not_before(bench: Maker) -> None:
    """Made much sooner, small stores would keep an empty segment; later, a commit might wait for it."""
    log = bench(segment_bytes_max=1 << 14)
    wanted = []
    for _ in range(20):
        log.put(bytes(500))
        wanted.append(log.log.wants_next)
        assert wanted[-1] == (2 * log.log.position.active.end_bytes >= 1 << 14)
    assert {True, False} == set(wanted)
