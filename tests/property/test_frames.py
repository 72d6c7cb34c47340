"""Runs of frames: the quick walk against a plain twin, over whatever bytes there are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from journalkit.format import frame as frames
from journalkit.format.checksum import checksum, seed_at
from journalkit.format.frame import HEADER, HEADER_BYTES, MAGIC, PAYLOAD_BYTES_MAX, Fault, Frame, Stop

PAYLOADS = st.lists(st.binary(max_size=40), max_size=6)
SALTS = st.integers(0, 2**32 - 1)
BASES = st.sampled_from([0, 112, 4096, 2**32 - 60, 2**40])


def run(payloads: list[bytes], salt: int, base_bytes: int) -> bytes:
    """Return the frames of these payloads, one after the other."""
    data = b""
    for index, payload in enumerate(payloads):
        data += frames.encode(
            payload,
            lsn=index + 1,
            time_us=index,
            durable_lsn=index // 2,
            kind=1,
            salt=salt,
            offset_bytes=base_bytes + len(data),
        )
    return data


def plain_walk(buffer: bytes, start_bytes: int, base_bytes: int, salt: int) -> tuple[list[Frame], Stop]:
    """What `walk` must do, in words that can be compared with the format's table."""
    found: list[Frame] = []
    at = start_bytes
    while True:
        offset, rest = base_bytes + at, buffer[at:]
        head = rest[:HEADER_BYTES]
        if not rest:
            return found, Stop(offset, Fault.END, HEADER_BYTES)
        if len(head) < HEADER_BYTES:
            return found, Stop(offset, Fault.SHORT if any(head) else Fault.ZEROS, HEADER_BYTES)
        fields = HEADER.unpack(head)
        is_sound = fields["magic"] == MAGIC and fields["payload_bytes"] <= PAYLOAD_BYTES_MAX
        if not is_sound or checksum(head[4:], seed_at(salt, offset)) != fields["header_checksum"]:
            return found, Stop(offset, Fault.HEADER if any(head) else Fault.ZEROS)
        size = HEADER_BYTES + fields["payload_bytes"]
        payload = rest[HEADER_BYTES:size]
        if len(rest) < size:
            return found, Stop(offset, Fault.SHORT, size, fields["lsn"])
        if checksum(payload, seed_at(salt, offset + HEADER_BYTES)) != fields["payload_checksum"]:
            return found, Stop(offset, Fault.PAYLOAD, size, fields["lsn"])
        found.append(
            Frame(
                offset,
                offset + size,
                fields["lsn"],
                fields["kind"],
                fields["flags"],
                fields["time_us"],
                fields["durable_lsn"],
                fields["header_checksum"],
                payload,
            )
        )
        at += size


def quick_walk(buffer: bytes, start_bytes: int, base_bytes: int, salt: int) -> tuple[list[Frame], Stop]:
    """Return what `walk` gives, as a list."""
    stops: list[Stop] = []
    found = list(frames.walk(buffer, start_bytes, base_bytes, salt, stops))
    [stop] = stops
    return found, stop


@given(PAYLOADS, SALTS, BASES, st.data())
def test_the_quick_walk_equals_the_plain_one(
    payloads: list[bytes], salt: int, base_bytes: int, data: st.DataObject
) -> None:
    """Recovery trusts the quick one with everything; the twin can be read against the format."""
    damaged = bytearray(run(payloads, salt, base_bytes))
    del damaged[data.draw(st.integers(0, len(damaged))) :]
    damaged += data.draw(st.sampled_from([b"", bytes(3), bytes(100), b"\1" * 60]))
    for _ in range(data.draw(st.integers(0, 2))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    buffer = bytes(damaged)
    start_bytes = data.draw(st.sampled_from([0, len(buffer) // 2]))
    quick, plain = (walk(buffer, start_bytes, base_bytes, salt) for walk in (quick_walk, plain_walk))
    assert quick == plain
    assert all(type(frame) is Frame for frame in quick[0])


@given(PAYLOADS, SALTS, BASES)
def test_what_is_written_is_walked(payloads: list[bytes], salt: int, base_bytes: int) -> None:
    """Every record comes back, in order, and the run ends where the writer would go on."""
    data = run(payloads, salt, base_bytes)
    found, stop = quick_walk(data, 0, base_bytes, salt)
    assert [frame.payload for frame in found] == payloads
    assert stop == Stop(base_bytes + len(data), Fault.END, HEADER_BYTES)
