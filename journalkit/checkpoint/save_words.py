"""What a job and the process that saves for it say to each other, by `journalkit.runtime.talk`.

    to the child     where the checkpoints are and how they are written, once; then what to save, as often as
                     there is something; nothing at all is the end
    to the parent    that it has begun, once; while it saves, how far it is; then that it is done, or has failed

The bytes of a state lie in memory that both have, and so does the manifest
that the child has written. Nothing of this is ever on disk.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from journalkit import errors
from journalkit._version import __version__
from journalkit.checkpoint.address import Address, original, portable
from journalkit.checkpoint.saving import SaveOptions
from journalkit.errors import CheckpointAbortedError, JournalError
from journalkit.format.checkpoint import CheckpointManifest, decode_manifest, encode_manifest
from journalkit.format.codec import CborCodec
from journalkit.runtime.talk import line, require_same_version

DONE: Final = "done"
FAILED: Final = "failed"
PROGRESS: Final = "progress"
_LEAF: Final = struct.Struct("<QQ?")
_PLAIN: Final = (bool, int, float, str, type(None))


@dataclass(frozen=True, slots=True)
class Service:
    """What a child needs to know once: where, how, and under which number it has the memory."""

    address: Address
    options: SaveOptions
    memory: int


@dataclass(frozen=True, slots=True)
class Shared:
    """Long bytes of a state: where they lie in the memory, how many they are, and how they are cut."""

    offset_bytes: int
    size_bytes: int
    is_array: bool


@dataclass(frozen=True, slots=True)
class Order:
    """One save: what its manifest says besides, its tree, and its long bytes.

    `base` is the checkpoint that it stands on: epoch, save, and the digest of
    its manifest; None if it stands on none.
    """

    said: CheckpointManifest
    tree: bytes | int
    leaves: tuple[Shared, ...]
    base: tuple[int, int, bytes] | None


@dataclass(frozen=True, slots=True)
class Report:
    """What a child wrote. The manifest lies in the memory, and its digest is that of what was written."""

    manifest_offset: int
    manifest_bytes: int
    manifest_digest: str
    bytes_written: int
    bytes_total: int
    chunks_new: int
    chunks_known: int


def told(service: Service) -> bytes:
    """Return what a child is told first."""
    address, options = service.address, service.options
    return CborCodec().encode(
        {
            "version": __version__,
            "where": address.where,
            "options": portable(dict(address.options), "options"),
            "copies": address.copies,
            "digest": options.digest,
            "compression": options.compression,
            "threads": options.threads,
            "memory": service.memory,
        }
    )


def heard(data: bytes) -> Service:
    """Return it, as a child hears it. Raises UnsupportedFormatError if another version says it."""
    words: Any = CborCodec().decode(data)
    require_same_version(words["version"])
    how = SaveOptions(words["digest"], words["compression"], words["threads"])
    return Service(Address(words["where"], original(words["options"]), words["copies"]), how, words["memory"])


def ordered(order: Order) -> bytes:
    """Return what a child is asked for. Raises as `encode_manifest`."""
    leaves = b"".join(_LEAF.pack(each.offset_bytes, each.size_bytes, each.is_array) for each in order.leaves)
    words = {"said": encode_manifest(order.said), "tree": order.tree, "leaves": leaves, "base": order.base}
    return CborCodec().encode(words)


def order_in(data: bytes) -> Order:
    """Return it, as a child hears it."""
    words: Any = CborCodec().decode(data)
    leaves = tuple(Shared(*each) for each in _LEAF.iter_unpack(words["leaves"]))
    return Order(decode_manifest(words["said"]), words["tree"], leaves, words["base"])


def progress(done_bytes: int, total_bytes: int) -> bytes:
    """Return the line that tells how many bytes were looked at, of how many."""
    return line({PROGRESS: [done_bytes, total_bytes]})


def done(report: Report) -> bytes:
    """Return the line that tells what was written."""
    return line({DONE: [getattr(report, name) for name in Report.__slots__]})


def failed(error: Exception) -> bytes:
    """Return the line that tells of an error, so that `error_in` gives it again."""
    kind = next((each.__name__ for each in type(error).__mro__ if _known(each.__name__) is each), "")
    said = [each for each in error.args if isinstance(each, _PLAIN)]
    attributes = {name: each for name, each in vars(error).items() if isinstance(each, _PLAIN)}
    if isinstance(error, OSError):
        said = [error.errno, error.strerror, error.filename]
    return line({FAILED: {"kind": kind, "said": said, "attributes": attributes, "text": _in_words(error)}})


def error_in(words: Mapping[str, Any]) -> JournalError:
    """Return the error that a child's line tells of: one of ours with its words and attributes, or one that says so."""
    kind = _known(words["kind"])
    if kind is None:
        return CheckpointAbortedError(f"the process that saves met what it didn't expect: {words['text']}; save again")
    error: JournalError = kind.__new__(kind)
    # Not the class's own: what it was given isn't known any more, what became of it is.
    base: type[Exception] = OSError if isinstance(error, OSError) else Exception
    base.__init__(error, *words["said"])
    vars(error).update(words["attributes"])
    return error


def _known(name: str) -> type[JournalError] | None:
    """Return the class of ours that has this name."""
    found = getattr(errors, name, None)
    return found if isinstance(found, type) and issubclass(found, JournalError) else None


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
