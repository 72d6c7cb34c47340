"""Targets with a planted bug, one for each way in which a decoder fails. Each must be found, or the fuzzer is blind.

They are small decoders of the format's own pieces, wrong on purpose. Those
that keep a checksum show that mutation gets past it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable
from contextlib import suppress
from random import Random

from fuzz import decoders, stores
from fuzz.directories import FILE, directory_seeds, golden_directories, mutate_directory, pack, unpack
from fuzz.target import Target, require
from journalkit.format import batch, frame, keys
from journalkit.format.frame import Kind
from journalkit.format.malformed import MalformedError
from journalkit.format.names import MANIFEST


def _batches(_chance: Random) -> Iterable[bytes]:
    yield batch.encode_batch([(b"\x40k", b"value"), (b"\x40j", None), (b"\x40l", b"")])


def _keys(_chance: Random) -> Iterable[bytes]:
    yield keys.encode_key(("canary", 1))


def run_error(data: bytes) -> None:
    """Believe a length, and let an error out that no decoder declares."""
    if len(data) >= batch.ENTRY_BYTES:
        key_bytes, _ = batch.ENTRY.unpack_from(data)
        data[batch.ENTRY_BYTES + key_bytes]


def run_exit(data: bytes) -> None:
    """Leave the program from inside a decoder."""
    if data[:1] not in (b"\x50", b"\x40", b"\x30", b""):
        raise SystemExit(0)


def run_loop(data: bytes) -> None:
    """Walk entries, and never get past one of no bytes."""
    at = 0
    while at < len(data):
        at += data[at]


def run_wait(data: bytes) -> None:
    """Wait for something that doesn't come, without using the processor."""
    if len(data) % 7 == 3:
        threading.Event().wait(3600)


def run_recursion(data: bytes) -> None:
    """Recurse as deep as the input says."""

    def descend(levels: int) -> int:
        return descend(levels - 1) + 1 if levels else 0

    descend(int.from_bytes(data[:2]) % 5000)


def run_memory(data: bytes) -> None:
    """Make room for as much as a length says."""
    if len(data) >= batch.ENTRY_BYTES:
        bytearray(batch.ENTRY.unpack_from(data)[1])


def run_hunger(data: bytes) -> None:
    """Make room for much, though less than the process may have."""
    if len(data) > 40:
        bytearray(b"x") * (300 << 20)


def run_crash(data: bytes) -> None:
    """Die as an extension does that reads where it mustn't."""
    if data[-1:] == b"\0":
        os.kill(os.getpid(), signal.SIGSEGV)


def run_silence(data: bytes) -> None:
    """Take a frame whose payload's checksum is never looked at."""
    base = decoders.BASES[data[0] % len(decoders.BASES)] if data else 0
    body = data[3:]
    if len(body) < frame.HEADER_BYTES:
        return
    fields = frame.HEADER.unpack(body[: frame.HEADER_BYTES])
    payload = body[frame.HEADER_BYTES :][: fields["payload_bytes"]]
    if fields["magic"] != frame.MAGIC or len(payload) < fields["payload_bytes"] or fields["flags"]:
        return
    again = frame.encode(
        payload,
        lsn=fields["lsn"],
        time_us=fields["time_us"],
        durable_lsn=fields["durable_lsn"],
        kind=fields["kind"],
        salt=decoders.SALT,
        offset_bytes=base,
    )
    if again[8:] == body[8 : len(again)]:
        require(again == body[: len(again)], "damage is accepted")


def run_behind_checksums(data: bytes) -> None:
    """Fail at a whole frame only, both of its checksums right, of a kind that no valid input has."""
    base = decoders.BASES[data[0] % len(decoders.BASES)] if data else 0
    for found in frame.walk(data[3:], 0, base, decoders.SALT, []):
        if found.kind not in (*Kind, 200):
            raise LookupError("planted")


def run_two_looks(data: bytes) -> None:
    """Open a directory, lose a record's effect, and open it again: what opens twice has to be the same."""
    fs = stores.as_memory(data)
    how = {"is_journal": False, "deep": False}
    first = stores.look(fs, "r", "default", **how)  # type: ignore[arg-type]
    cut = [item for item in unpack(data) if not item.name.startswith("log-")]
    second = stores.look(stores.as_memory(pack(cut)), "r", "default", **how)  # type: ignore[arg-type]
    require(first == second, f"{first!r:.100} opens as {second!r:.100}")


def run_write(data: bytes) -> None:
    """Look at a directory, and touch it."""
    fs = stores.as_memory(data)
    before = stores.contents(fs)
    if any(item.name == MANIFEST and item.kind == FILE for item in unpack(data)):
        with suppress(MalformedError):
            fs.create(f"{stores.HERE}/seen")
    require(stores.contents(fs) == before, "reading changes the directory")


TARGETS = (
    Target("canary-error", "raises an error that it doesn't declare", _batches, run_error),
    Target("canary-exit", "leaves the program", _keys, run_exit),
    Target("canary-loop", "loops forever", _keys, run_loop),
    Target("canary-wait", "waits forever", _keys, run_wait),
    Target("canary-recursion", "recurses as deep as it is told", _keys, run_recursion),
    Target("canary-memory", "asks for all the memory that there is", _batches, run_memory),
    Target("canary-hunger", "takes much more memory than its input", _keys, run_hunger),
    Target("canary-crash", "ends the process", _keys, run_crash),
    Target("canary-silence", "accepts damage", decoders.frame_seeds, run_silence, decoders.mutate_frames),
    Target("canary-behind-checksums", "fails behind checksums", decoders.frame_seeds, run_behind_checksums,
           decoders.mutate_frames),
    Target("canary-two-looks", "opens twice as two things", lambda _chance: map(pack, golden_directories()),
           run_two_looks, mutate_directory),
    Target("canary-write", "writes where it should read", directory_seeds, run_write, mutate_directory),
)  # fmt: skip
