"""Records that pass their checksums and hold what nobody writes: what is said of them, and what isn't.

Each was found by fuzzing: by the targets `open`, `salvage` and `segment`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

import journalkit
from journalkit.errors import CorruptionError
from journalkit.format.batch import encode_one
from journalkit.format.frame import Kind, encode
from journalkit.format.keys import encode_key
from journalkit.format.names import segment_name
from journalkit.format.segment import HEADER_BYTES, decode_header
from journalkit.fs.memory import MemoryFileSystem
from journalkit.recovery.salvage import log_records, take_stock
from journalkit.testing import SimulatedClock

HERE = "/odd"


def with_record(open_it: Any, payload: bytes, kind: int, *, time_us: int = 0) -> MemoryFileSystem:
    """Return a closed store or journal whose only record is this one."""
    fs = MemoryFileSystem()
    open_it(HERE, fs=fs, clock=SimulatedClock(seed=1)).close()
    file = fs.open_write(f"{HERE}/{segment_name(1)}")
    salt = decode_header(file.pread(HEADER_BYTES, 0)).salt
    file.truncate(HEADER_BYTES)
    frame = encode(payload, lsn=1, time_us=time_us, durable_lsn=0, kind=kind, salt=salt, offset_bytes=HEADER_BYTES)
    file.pwrite(frame, HEADER_BYTES)
    fs.unlink(f"{HERE}/durable")
    return fs


@pytest.mark.parametrize(
    ("time_us", "time"),
    [
        ((1 << 63) - 1, datetime.max.replace(tzinfo=UTC)),
        (-(1 << 63), datetime.min.replace(tzinfo=UTC)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_beyond_the_calendar_costs_no_record(time_us: int, time: datetime) -> None:
    """A commit's time is a label; reading a journal raised OverflowError where a clock had been far off."""
    fs = with_record(journalkit.open_journal, b"\x07", Kind.RECORD, time_us=time_us)
    with journalkit.open_journal(HERE, fs=fs, mode="r") as journal:
        assert [(record.time, record.value) for record in journal.read()] == [(time, 7)]


@pytest.mark.parametrize(
    ("payload", "kind", "open_it"),
    [
        (encode_one(encode_key("k"), b"\xff"), Kind.BATCH, journalkit.open),
        (encode_one(b"\x7f", b"\x00"), Kind.BATCH, journalkit.open),
        (b"no batch", Kind.BATCH, journalkit.open),
        (b"\xff", Kind.RECORD, journalkit.open_journal),
        (encode_one(encode_key("k"), b"\x00"), Kind.BATCH, journalkit.open_journal),
    ],
    ids=["value", "key", "batch", "record", "batch in a journal"],
)
def test_what_makes_no_sense_is_salvaged_from_the_store_itself(payload: bytes, kind: int, open_it: Any) -> None:
    """The next step named the directory above, and a command that has no more to say: the bytes are sound."""
    fs = with_record(open_it, payload, kind)
    with pytest.raises(CorruptionError) as caught, open_it(HERE, fs=fs, mode="r") as opened:
        list(opened.read() if isinstance(opened, journalkit.Journal) else opened.items())
    assert f"copy what can be read with `journalkit salvage {HERE} NEW`" in str(caught.value)


def test_a_record_that_may_be_ignored_is_not_missing() -> None:
    """A later version's: it has an LSN like any other. Salvage called it a gap, and the rescued store incomplete."""
    fs = with_record(journalkit.open, b"of a later version", 200)
    remains = take_stock(fs, HERE)
    assert remains.is_complete
    assert remains.last_lsn == 1
    assert list(log_records(fs, remains)) == []


@pytest.mark.parametrize("mode", ["r", "rw"])
def test_a_batch_in_a_journal_is_never_read_as_nothing(mode: Any) -> None:
    """A journal of batches opened, and was empty: what can't be read isn't nothing."""
    fs = with_record(journalkit.open_journal, encode_one(encode_key("k"), b"\x00"), Kind.BATCH)
    with pytest.raises(CorruptionError, match="a batch in a journal"):
        journalkit.open_journal(HERE, fs=fs, mode=mode)
