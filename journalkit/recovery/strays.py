"""Files in a store's directory that the manifest doesn't name.

An interrupted publish, prune or rotation leaves some behind: they hold nothing
and are swept at the next open for writing. A segment that recovery gave up and
couldn't set aside yet is set aside then. A segment beyond the manifest that
holds anything says that the manifest is an older copy: that is damage. What
isn't ours is reported and never touched.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from journalkit.format import names, table
from journalkit.format.frame import Kind
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.manifest import Manifest
from journalkit.format.segment import HEADER_BYTES, SegmentHeader, decode_header
from journalkit.fs.interface import ReadableFile, ReadableFileSystem
from journalkit.log.reader import SegmentReader
from journalkit.recovery.damage import Damage, DamageKind

_OURS = frozenset({names.MANIFEST, names.LOCK, names.DURABLE, names.RESERVE, names.QUARANTINE})


@dataclass(slots=True)
class Strays:
    """What was found beside the manifest, by what is to be done about it.

    `sweep` may be unlinked; `aside` holds bytes that somebody may want and
    goes to the quarantine; `unknown` isn't ours. Of segments beyond the
    manifest, all of them `damage`, `last_lsn` and `epoch` are the highest.
    """

    sweep: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    last_lsn: int = 0
    epoch: int = 0


def find_strays(fs: ReadableFileSystem, directory: str, manifest: Manifest) -> Strays:
    """Sort what the manifest doesn't name. Reads segments and headers of tables that it doesn't name, no other file.

    Raises:
        OSError: The directory, or a file in it, can't be read.
    """
    segments = {entry.number for entry in manifest.segments}
    tables = {info.number for entry in manifest.snapshots for info in entry.tables}
    found = Strays()
    for name in fs.list(directory):
        number = names.segment_number(name)
        is_table = names.table_number(name) is not None
        if names.is_temporary(name):
            found.sweep.append(name)
        elif name in _OURS or number in segments or names.table_number(name) in tables:
            continue
        elif number is None and not is_table:
            found.unknown.append(name)
        else:
            _sort_one(fs, os.path.join(directory, name), name, manifest, found)
    return found


def _sort_one(fs: ReadableFileSystem, path: str, name: str, manifest: Manifest, found: Strays) -> None:
    number = names.segment_number(name)
    try:
        file = fs.open_read(path)
    except FileNotFoundError:
        return  # A writer beside us pruned it.
    except OSError:
        # A directory or a link that has a name like ours.
        found.unknown.append(name)
        return
    try:
        if number is None:
            (found.sweep if _is_our_table(file, manifest) else found.unknown).append(name)
        elif number >= manifest.next_segment:
            _sort_later(file, name, number, manifest, found)
        else:
            _sort_earlier(file, name, manifest, found)
    finally:
        file.close()


def _sort_later(file: ReadableFile, name: str, number: int, manifest: Manifest, found: Strays) -> None:
    """Sort a segment that the manifest can't know: an open that was cut short leaves an empty one."""
    header, reason = _read_header(file)
    kind = DamageKind.DAMAGED
    if header is not None and header.store != manifest.store:
        reason = "the segment belongs to another store"
    elif header is not None and header.number != number:
        reason = f"the file is segment {header.number}, swapped or copied"
    elif not _holds_bytes(file):
        found.sweep.append(name)
        return
    elif header is not None:
        reason = "the manifest doesn't know this segment, which holds records"
        kind = DamageKind.ROLLED_BACK_FILE
        found.last_lsn = max(found.last_lsn, _whole(file, header)[0])
        found.epoch = max(found.epoch, header.epoch)
    found.damage.append(Damage(name, reason, 0, kind=kind))
    found.aside.append(name)


def _sort_earlier(file: ReadableFile, name: str, manifest: Manifest, found: Strays) -> None:
    """Sort a segment that a manifest once named: pruned, empty, or given up by a recovery."""
    header, _ = _read_header(file)
    if header is None:
        is_wanted = _holds_bytes(file)
    elif header.store != manifest.store:
        found.unknown.append(name)
        return
    else:
        last_lsn, has_frames = _whole(file, header)
        is_wanted = last_lsn > manifest.pruned_lsn or (not has_frames and _holds_bytes(file))
    (found.aside if is_wanted else found.sweep).append(name)


def _read_header(file: ReadableFile) -> tuple[SegmentHeader | None, str]:
    """Return the header, or None and why there is none that we can read."""
    try:
        return decode_header(file.pread(HEADER_BYTES, 0)), ""
    except (MalformedError, NewerFormatError) as error:
        return None, f"the manifest doesn't know this segment, and its header can't be read ({error})"


def _whole(file: ReadableFile, header: SegmentHeader) -> tuple[int, bool]:
    """Return the highest LSN of the segment's whole records (0: there are none), and whether any frame is whole."""
    last_lsn, has_frames = 0, False
    for frame in SegmentReader(file, header.salt).search(HEADER_BYTES, file.size()):
        has_frames = True
        if frame.kind != Kind.SEAL:
            last_lsn = max(last_lsn, frame.lsn)
    return last_lsn, has_frames


def _holds_bytes(file: ReadableFile) -> bool:
    """Whether anything stands behind the place of the header."""
    return SegmentReader(file, 0).content_end(HEADER_BYTES, file.size()) > HEADER_BYTES


def _is_our_table(file: ReadableFile, manifest: Manifest) -> bool:
    """Whether a table that no manifest names is one of ours, left by a fold or a prune that was cut short."""
    try:
        return table.decode_header(file.pread(table.HEADER_BYTES, 0)).store == manifest.store
    except (MalformedError, NewerFormatError):
        return False
