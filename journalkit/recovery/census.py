"""The census: what each segment and table in a directory says it is, whatever its name. Reads headers alone."""

from __future__ import annotations

import contextlib
import os

from journalkit.format import names, segment, table
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.segment import SegmentHeader
from journalkit.format.table import TableHeader
from journalkit.fs.interface import ReadableFile, ReadableFileSystem
from journalkit.recovery.diagnosis import Identity


def take_census(fs: ReadableFileSystem, directory: str) -> dict[str, Identity]:
    """Return the files with a segment's or a table's name, by name. O(files).

    Raises:
        OSError: The directory can't be listed.
    """
    found: dict[str, Identity] = {}
    for name in fs.list(directory):
        if names.segment_number(name) is None and names.table_number(name) is None:
            continue
        try:
            file = fs.open_read(os.path.join(directory, name))
        except OSError:
            continue  # Gone meanwhile, or a directory or a link: whoever needs it says so.
        try:
            found[name] = Identity(name, file.size(), _header(file), is_blank=_is_blank(file))
        except OSError:
            found[name] = Identity(name, file.size(), None)
        finally:
            file.close()
    return found


def _is_blank(file: ReadableFile) -> bool:
    """Whether the file begins with nothing, as a segment does that was prepared ahead."""
    beginning = file.pread(segment.HEADER_BYTES, 0)
    return len(beginning) == segment.HEADER_BYTES and not any(beginning)


def _header(file: ReadableFile) -> SegmentHeader | TableHeader | None:
    """Return the header that the file begins with, of whichever kind; the name says nothing here."""
    with contextlib.suppress(MalformedError, NewerFormatError):
        return segment.decode_header(file.pread(segment.HEADER_BYTES, 0))
    with contextlib.suppress(MalformedError, NewerFormatError):
        return table.decode_header(file.pread(table.HEADER_BYTES, 0))
    return None
