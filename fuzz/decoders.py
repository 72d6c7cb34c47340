"""Targets without a file: keys, values, batches, frames.

The first byte of an input says which question is asked, so that decoders that
take the same kind of bytes share a corpus.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from contextlib import suppress
from random import Random
from typing import Any

from fuzz import reseal, second
from fuzz.draw import Source, draw_key, draw_mutations, draw_value, source_of, spelled
from fuzz.mutation import mutate
from fuzz.target import FindingError, Target, require
from journalkit.cli import jsonform
from journalkit.errors import UsageError
from journalkit.format import batch, codec, frame, keys, names, run
from journalkit.format.frame import Frame, Kind, Stop
from journalkit.format.malformed import MalformedError
from journalkit.fs.memory import MemoryFileSystem
from journalkit.log import reader

SALT = 0x5EED
_CBOR = codec.CborCodec()


# --- keys ------------------------------------------------------------------------------------------------------


def _sorting(key: Any) -> Any:
    """Return what Python sorts as the contract says keys sort: int < bytes < str < tuple."""
    if type(key) is tuple:
        return 3, tuple(map(_sorting, key))
    return (int, bytes, str).index(type(key)), key


def _try_key(key: Any) -> bytes | None:
    try:
        return keys.encode_key(key)
    except UsageError:
        return None


def run_key(data: bytes) -> None:
    """Decode a key, a reserved name, a file's name; compare orders and prefixes of generated keys."""
    question, body = data[:1], data[1:]
    kind = question[0] % 6 if question else 0
    source = Source(body)
    if kind == 0:
        with suppress(MalformedError):
            key = keys.decode_key(body)
            require(keys.encode_key(key) == body, f"{body!r} decodes to {key!r}, which encodes to something else")
        if not 0 < body[:1].ljust(1, b"\0")[0] < keys.NEGATIVE_BIG:  # reserved keys have a decoder of their own
            second.compare("decode_key", keys.decode_key, body)
    elif kind == 1:
        with suppress(MalformedError):
            name = keys.reserved_name(body)
            require(body[1:] == name.encode(), "a reserved name isn't the bytes that it came from")
            if body[0] in tuple(keys.Keyspace):
                require(keys.reserved_key(keys.Keyspace(body[0]), name) == body, "a reserved key changes")
            require(body < keys.USER_FIRST, "a reserved key sorts among the user's")
    elif kind == 2:
        key = draw_key(source)
        encoded = _try_key(key)
        if encoded is not None:
            require(spelled(keys.decode_key(encoded)) == spelled(key), f"{key!r} doesn't come back")
            require(encoded >= keys.USER_FIRST, f"{key!r} sorts among reserved keys")
    elif kind == 3:
        one, other = draw_key(source), draw_key(source)
        encoded, another = _try_key(one), _try_key(other)
        if encoded is not None and another is not None:
            require(
                (encoded < another) == (_sorting(one) < _sorting(other)) and (encoded == another) == (one == other),
                f"{one!r} and {other!r} sort as their bytes don't",
            )
    elif kind == 4:
        _run_prefix(draw_key(source), draw_key(source))
    else:
        _run_file_name(body)


def _run_prefix(prefix: Any, key: Any) -> None:
    try:
        low, high = keys.prefix_bounds(prefix)
    except UsageError:
        return
    encoded = _try_key(key)
    if encoded is None:
        return
    matches = type(key) is type(prefix) and key[: len(prefix)] == prefix
    inside = low <= encoded and (high is None or encoded < high)
    require(matches == inside, f"{key!r} and the prefix {prefix!r}: {inside} by bytes")


def _run_file_name(body: bytes) -> None:
    name = body.decode("latin-1")
    for number_of, name_of in ((names.segment_number, names.segment_name), (names.table_number, names.table_name)):
        number = number_of(name)
        require(number is None or name_of(number) == name, f"{name!r} is read as number {number}")
    if names.is_temporary(name):
        require(name.endswith(".tmp") and "/" not in name, f"{name!r} would be swept")


def key_seeds(chance: Random) -> Iterable[bytes]:
    """Keys of every kind, names, and stuff for the generators."""
    for _ in range(24):
        encoded = _try_key(draw_key(source_of(chance)))
        if encoded is not None:
            yield b"\0" + encoded[:2000]
    yield b"\1" + keys.reserved_key(keys.Keyspace.OFFSETS, "orders/é")
    for kind in (2, 3, 4):
        for _ in range(4):
            yield bytes((kind,)) + chance.randbytes(60)
    for name in (names.segment_name(7), names.table_name(1 << 20), "MANIFEST.tmp", names.segment_name(1) + ".tmp"):
        yield b"\5" + name.encode()


# --- values ----------------------------------------------------------------------------------------------------


def run_value(data: bytes) -> None:
    """Decode CBOR, the general way and the quick one; carry generated values through codec and JSON."""
    kind, body = (data[0] % 5 if data else 0), data[1:]
    if kind == 0:
        _run_cbor(body)
    elif kind == 1:
        _run_round_trip(draw_value(Source(body)))
    elif kind == 2:
        raw = codec.codec_named("raw")
        require(raw.decode(raw.encode(body)) == body, "raw bytes change")
    elif kind == 3:
        with suppress(jsonform.JsonFormError):
            value = jsonform.loads(body.decode("utf-8", "surrogateescape"))
            require(spelled(jsonform.loads(jsonform.dumps(value))) == spelled(value), "a value's JSON changes")
            _run_round_trip(value)
    else:
        with suppress(UsageError):
            value = draw_value(Source(body))
            _CBOR.encode(value)
            require(spelled(jsonform.loads(jsonform.dumps(value))) == spelled(value), f"{value!r:.200} changes in JSON")


def _run_cbor(body: bytes) -> None:
    second.compare("decode_value", _CBOR.decode, body)
    quick, general = _decoded(_CBOR.decode, body), _decoded(codec._decode_exactly, body)
    if quick is None:
        return
    value, text = quick
    # The general way leaves what a value may be to `decode`, so only what both take is compared.
    require(general is not None and general[1] == text, f"two ways to decode {body!r:.200} disagree")
    again = _CBOR.encode(value)
    require(spelled(_CBOR.decode(again)) == text, f"{value!r:.200} is read and doesn't come back once written")
    require(spelled(jsonform.loads(jsonform.dumps(value))) == text, f"{value!r:.200} changes in JSON")


def _decoded(decode: Any, body: bytes) -> tuple[Any, str] | None:
    try:
        value = decode(body)
    except MalformedError:
        return None
    except Exception as error:
        # What the library raises is for `decode` to translate.
        if decode == _CBOR.decode or not type(error).__module__.startswith("cbor2"):
            raise
        return None
    return value, spelled(value)


def _run_round_trip(value: Any) -> None:
    try:
        data = _CBOR.encode(value)
    except UsageError:
        return
    found = _CBOR.decode(data)
    require(spelled(found) == spelled(value), f"{value!r:.200} comes back as {found!r:.200}")


def value_seeds(chance: Random) -> Iterable[bytes]:
    """Values of every kind, their JSON, and stuff for the generator."""
    for _ in range(60):
        source = source_of(chance)
        with suppress(UsageError):
            value = draw_value(source)
            data = _CBOR.encode(value)
            if len(data) < 2000:
                yield b"\0" + data
                yield b"\3" + jsonform.dumps(value).encode("utf-8", "surrogatepass")
    for kind in (1, 4):
        for _ in range(10):
            yield bytes((kind,)) + chance.randbytes(80)
    yield b"\2raw"
    for number in (2, 3, 0, 30, 37, 258, 1004, 28, 29, 35, 4, 0x4A4B0001, 0x4A4B0002, 0x4A4B0003, 55799):
        yield b"\0\xda" + number.to_bytes(4) + b"\x82\x01\x02"


# --- batches ---------------------------------------------------------------------------------------------------


def _plain_entries(payload: bytes) -> list[tuple[bytes, bytes | None]] | None:
    """Decode a batch as the format's page says, one entry after the other; None if it isn't one."""
    found: list[tuple[bytes, bytes | None]] = []
    while payload:
        if len(payload) < 6:
            return None
        key_bytes, value_bytes = struct.unpack("<HI", payload[:6])
        is_deletion = value_bytes == 0xFFFF_FFFF
        size = key_bytes + (0 if is_deletion else value_bytes)
        entry, payload = payload[6 : 6 + size], payload[6 + size :]
        if len(entry) < size or not 1 <= key_bytes <= 8192:
            return None
        found.append((entry[:key_bytes], None if is_deletion else entry[key_bytes:]))
    return found


def run_batch(data: bytes) -> None:
    """Decode a batch beside a plain decoder; encode one entry alone and among others."""
    kind, body = (data[0] % 2 if data else 0), data[1:]
    entries: dict[bytes, bytes | None] = {}
    if kind == 0:
        plain = _plain_entries(body)
        try:
            batch.decode_into(body, entries)
        except MalformedError:
            require(plain is None, "a batch is refused")
            return
        require(plain is not None and dict(plain) == entries, "a batch decodes to something else")
        require(batch.encode_batch(plain or ()) == body, "a batch doesn't encode to what it came from")
        return
    mutations = draw_mutations(Source(body))
    payload = batch.encode_batch(mutations)
    require(payload == b"".join(batch.encode_one(*mutation) for mutation in mutations), "encode_one is another encoder")
    batch.decode_into(payload, entries)
    require(entries == dict(mutations), "mutations change")


def batch_seeds(chance: Random) -> Iterable[bytes]:
    """Batches, and stuff for the generator."""
    for _ in range(16):
        yield b"\0" + batch.encode_batch(draw_mutations(source_of(chance)))[:2000]
        yield b"\1" + chance.randbytes(60)


# --- frames ----------------------------------------------------------------------------------------------------

BASES = (0, 112, 5, (1 << 32) - 60, (1 << 40) + 3)
_CHUNKS = (64, 100, 1024, 1 << 20)


def _drawn_run(chance: Random, base: int) -> bytes:
    data = b""
    for lsn in range(1, chance.randrange(2, 7)):
        kind = chance.choice((Kind.BATCH, Kind.BATCH, Kind.BATCH, Kind.RECORD, Kind.SEAL, 200))
        payload = batch.encode_batch(draw_mutations(source_of(chance, 40)))[:300]
        if chance.random() < 0.5:
            payload = batch.encode_one(b"\x40k", chance.randbytes(chance.randrange(30)))
        data += frame.encode(
            payload, lsn=lsn, time_us=0, durable_lsn=lsn - 1, kind=kind, salt=SALT, offset_bytes=base + len(data)
        )
    return data + bytes(chance.choice((0, 0, 30, 100)))


def frame_seeds(chance: Random) -> Iterable[bytes]:
    """Runs of frames, each for a place in a file and a size of the pieces that it is read in."""
    for number in range(40):
        base = number % len(BASES)
        yield bytes((base, chance.randrange(len(_CHUNKS)), chance.randrange(3))) + _drawn_run(chance, BASES[base])


def mutate_frames(data: bytes, chance: Random) -> bytes:
    """Change the frames and make their checksums right."""
    head, body = data[:3].ljust(3, b"\0"), data[3:]
    return head + reseal.frames(mutate(body, chance), 0, BASES[head[0] % len(BASES)], SALT)


def run_frames(data: bytes) -> None:
    """Walk a run whole and in pieces, search it, and fold it in one loop: all have to agree."""
    head, body = data[:3].ljust(3, b"\0"), data[3:]
    base = BASES[head[0] % len(BASES)]
    found, stop = _walk(body, base)
    _check_folding(body, base, found, first_lsn=head[2] % 3)
    if base > 1 << 20:
        return  # a file that long isn't made
    usual = reader.CHUNK_BYTES
    reader.CHUNK_BYTES = _CHUNKS[head[1] % len(_CHUNKS)]
    try:
        _check_pieces(body, base, found, stop)
    finally:
        reader.CHUNK_BYTES = usual


def _walk(body: bytes, base: int) -> tuple[list[Frame], Stop]:
    stops: list[Stop] = []
    found = list(frame.walk(body, 0, base, SALT, stops))
    at = base
    for one in found:
        again = frame.encode(
            one.payload,
            lsn=one.lsn,
            time_us=one.time_us,
            durable_lsn=one.durable_lsn,
            kind=one.kind,
            salt=SALT,
            offset_bytes=one.offset_bytes,
        )
        raw = body[one.offset_bytes - base : one.end_bytes - base]
        require(one.offset_bytes == at and one.end_bytes == at + len(raw), "frames don't follow one another")
        require(one.flags or again == raw, f"the frame at {at} isn't what it says")
        at = one.end_bytes
    if len(stops) != 1 or stops[0].offset_bytes != at:
        raise FindingError(f"{stops} after a run that ends at {at}")
    return found, stops[0]


def _check_pieces(body: bytes, base: int, found: list[Frame], stop: Stop) -> None:
    """Compare a reader that sees the file in small pieces with one look at all of it."""
    fs = MemoryFileSystem()
    file = fs.create("/log")
    file.pwrite(body, base)
    pieces = reader.SegmentReader(file, SALT)
    require(list(pieces.frames(base, base + len(body))) == found, "frames read in pieces differ")
    require(
        pieces.stop is not None and (pieces.stop.offset_bytes, pieces.stop.fault) == (stop.offset_bytes, stop.fault),
        f"{pieces.stop} in pieces, {stop} at once",
    )
    searched = list(pieces.search(base, base + len(body)))
    plain: list[Frame] = []
    for at in range(len(body)):
        if not plain or base + at >= plain[-1].end_bytes:
            plain += list(frame.walk(body, at, base, SALT, []))[:1]
    require(searched == plain, "a search in pieces finds other frames than a look at every byte")
    require(pieces.content_end(base, base + len(body)) - base == len(body.rstrip(b"\0")), "zeros are counted wrongly")


def _check_folding(body: bytes, base: int, found: list[Frame], *, first_lsn: int) -> None:
    """Compare the one loop with frame by frame: it may stop earlier, at what isn't regular, and nowhere else."""
    entries: dict[bytes, bytes | None] = {}
    folded = run.fold_run(body, base, SALT, first_lsn, entries)
    taken = [one for one in found if one.end_bytes <= base + folded.position]
    plain: dict[bytes, bytes | None] = {}
    for number, one in enumerate(taken, first_lsn + 1):
        require((one.kind, one.flags, one.lsn) == (Kind.BATCH, 0, number), "a fold takes what isn't a plain batch")
        batch.decode_into(one.payload, plain)
    end = taken[-1] if taken else None
    require(
        (folded.position, folded.lsn, folded.records)
        == (end.end_bytes - base if end else 0, first_lsn + len(taken), len(taken)),
        "a fold counts other records than it took",
    )
    require(folded.payload_bytes == sum(len(one.payload) for one in taken), "a fold counts other bytes than it took")
    require(end is None or folded.checksum == end.checksum, "a fold names another checksum")
    left = found[len(taken) :]
    if left and (left[0].kind, left[0].flags, left[0].lsn) == (Kind.BATCH, 0, folded.lsn + 1):
        # It stopped at a regular frame: its payload is no batch, and what that had before its fault may be there.
        with suppress(MalformedError):
            batch.decode_into(left[0].payload, plain)
            # A header of an entry is read with the frame's, so the last frame of a buffer may be too short for it.
            require(base + len(body) - left[0].offset_bytes < frame.HEADER_BYTES + 6, "a fold leaves a plain batch")
            return
    require(entries == plain, "a fold gives other entries than its frames")


TARGETS = (
    Target("key", "keys, reserved names, order, prefixes, file names", key_seeds, run_key),
    Target("value", "CBOR, raw, JSON", value_seeds, run_value),
    Target("batch", "batches of mutations", batch_seeds, run_batch),
    Target("frame", "frames, the search behind damage, the fused replay", frame_seeds, run_frames, mutate_frames),
)
