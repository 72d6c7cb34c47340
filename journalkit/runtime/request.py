"""What a caller asks for when opening, checked before anything is touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from journalkit.clock import Clock
from journalkit.errors import (
    JournalError,
    KeyTypeError,
    KeyValueError,
    StorageError,
    UnsupportedFormatError,
    UsageError,
)
from journalkit.format.codec import CborCodec, codec_named
from journalkit.format.compression import library
from journalkit.format.malformed import MissingLibraryError
from journalkit.fs.interface import ReadableFileSystem
from journalkit.options import Compression
from journalkit.recovery.look import Found
from journalkit.recovery.plan import RECOVERY_MODES
from journalkit.recovery.reader import open_for_reading
from journalkit.recovery.report import RecoveryReport
from journalkit.recovery.scan import Sink
from journalkit.recovery.writer import OpenRequest
from journalkit.runtime.place import MODES
from journalkit.snapshot.cache import BlockCache

AnySink = TypeVar("AnySink", bound=Sink)

METADATA_BYTES_MAX: Final = 32 * 1024
"""Every manifest holds the metadata, and a full disk's reserve has to hold two manifests."""


def check_mode(mode: str) -> None:
    """Raise UsageError unless a store can be opened in this mode."""
    if mode not in MODES:
        raise UsageError(f"mode={mode!r} is none of {', '.join(MODES)}")


def check_compression(compression: Compression | None) -> Compression | None:
    """Return it if it can be done here. Raises UsageError if the library that it takes isn't installed."""
    if compression == "zstd":
        try:
            library()
        except MissingLibraryError as error:
            raise UsageError(f"compression={compression!r}: {error}: {error.remedy}") from error
    return compression


def check_request(request: OpenRequest) -> OpenRequest:
    """Return the request if it makes sense for some store.

    Raises:
        UsageError: There is no such recovery mode or codec, or the metadata can't be stored.
    """
    if request.mode not in RECOVERY_MODES:
        raise UsageError(f"recovery={request.mode!r} is none of {', '.join(RECOVERY_MODES)}")
    if request.codec is not None:
        _check_codec(request.codec)
    if request.metadata is not None:
        _check_metadata(request.metadata)
    return request


def open_to_read(
    fs: ReadableFileSystem,
    directory: str,
    request: OpenRequest,
    cache: BlockCache,
    clock: Clock,
    make_sink: Callable[[], AnySink],
) -> tuple[Found, RecoveryReport, AnySink]:
    """Look at what is there; as `recovery.reader.open_for_reading`, with every error one of the contract.

    Raises:
        UsageError: Also if the request names another codec than the store's.
        StorageError: The operating system failed; trying again is safe.
    """
    try:
        found, report, sink = open_for_reading(
            fs, directory, request.kind, request.mode, cache, clock, make_sink, deep=request.deep
        )
    except JournalError:
        raise
    except OSError as error:
        raise StorageError(f"{directory}: can't be read ({error}); try again", cause=error) from error
    codec = found.manifest.codec
    if request.codec not in (None, codec):
        raise UsageError(f"{directory} keeps its values as {codec!r}, not {request.codec!r}; leave codec out")
    codec_named(codec)
    return found, report, sink


def _check_codec(codec: Any) -> None:
    if not isinstance(codec, str):
        raise KeyTypeError(f"codec={codec!r} is not a codec's name")
    try:
        codec_named(codec)
    except UnsupportedFormatError as error:
        raise KeyValueError(f"codec={codec!r}: {error}") from error


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, Mapping) or not all(type(name) is str for name in metadata):
        raise KeyTypeError("metadata is not a mapping of str to values")
    size_bytes = len(CborCodec().encode(dict(metadata)))
    if size_bytes > METADATA_BYTES_MAX:
        raise KeyValueError(
            f"metadata takes {size_bytes} bytes, {METADATA_BYTES_MAX} are the most; keep it in the store itself"
        )
