"""`format.run` takes nothing that the general code would not take, and the two together take it all."""

from __future__ import annotations

import struct

from hypothesis import example, given
from hypothesis import strategies as st

from journalkit.format import frame
from journalkit.format.batch import decode_into, encode_batch
from journalkit.format.frame import Kind, Stop
from journalkit.format.malformed import MalformedError
from journalkit.format.run import fold_run

SALT = 0xA1B2
BASE = 4096

keys = st.binary(min_size=1, max_size=12)
values = st.none() | st.binary(max_size=20)
batches = st.lists(st.tuples(keys, values), max_size=4).map(encode_batch)
payloads = batches | st.binary(max_size=30) | st.binary(max_size=9).map(lambda tail: struct.pack("<HI", 0, 3) + tail)
records = st.lists(
    st.tuples(
        payloads,
        st.sampled_from([Kind.BATCH, Kind.BATCH, Kind.BATCH, Kind.RECORD, Kind.SEAL]),
        st.sampled_from([1, 1, 1, 2]),
    ),
    max_size=6,
)


def file_of(made: list[tuple[bytes, Kind, int]]) -> bytes:
    """Return frames that follow one another; a step other than 1 leaves a gap in the LSNs."""
    data, lsn = b"", 0
    for payload, kind, step in made:
        lsn += step
        data += frame.encode(
            payload, lsn=lsn, time_us=1, durable_lsn=0, kind=kind, salt=SALT, offset_bytes=BASE + len(data)
        )
    return data


def plain(data: bytes, begin: int, lsn: int, entries: dict[bytes, bytes | None]) -> tuple[int, int]:
    """Fold with the general code: up to the first thing that isn't the next batch."""
    position = begin
    for found in frame.walk(data, begin, BASE, SALT, []):
        if found.kind != Kind.BATCH or found.flags or found.lsn != lsn + 1:
            break
        try:
            decode_into(found.payload, entries)
        except MalformedError:
            break
        lsn, position = found.lsn, found.end_bytes - BASE
    return position, lsn


@given(made=records, damage=st.none() | st.tuples(st.integers(0, 400), st.integers(1, 255)), cut=st.integers(0, 40))
@example(made=[(b"", Kind.BATCH, 1)], damage=None, cut=0)
def test_a_run_and_the_general_code_take_the_same_records(
    made: list[tuple[bytes, Kind, int]], damage: tuple[int, int] | None, cut: int
) -> None:
    """A fast path that accepts more than the plain one would be a hole in recovery."""
    data = bytearray(file_of(made))
    if damage is not None and damage[0] < len(data):
        data[damage[0]] ^= damage[1]
    buffer = bytes(data[: len(data) - cut] if cut else data)
    expected: dict[bytes, bytes | None] = {}
    expected_end = plain(buffer, 0, 0, expected)

    entries: dict[bytes, bytes | None] = {}
    run = fold_run(buffer, BASE, SALT, 0, entries)
    taken = list(frame.walk(buffer[: run.position], 0, BASE, SALT, []))
    assert (run.records, run.payload_bytes) == (len(taken), sum(len(found.payload) for found in taken))
    assert run.checksum == (taken[-1].checksum if taken else 0)
    assert plain(buffer, run.position, run.lsn, entries) == expected_end
    assert entries == expected


def test_a_regular_run_is_taken_whole() -> None:
    """Otherwise recovery is right and slow, and no other test notices."""
    data = file_of([(encode_batch([(b"key", b"value"), (b"other", None)]), Kind.BATCH, 1)] * 50)
    run = fold_run(data, BASE, SALT, 0, {})
    stops: list[Stop] = []
    assert list(frame.walk(data, run.position, BASE, SALT, stops)) == []
    assert (run.records, run.lsn, run.position) == (50, 50, len(data))
