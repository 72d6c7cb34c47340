"""Files in a store's directory that the manifest doesn't name.

An interrupted publish, prune or rotation leaves some behind: they hold nothing
and are swept at the next open for writing. A segment beyond the manifest that
does hold records says that the manifest is an older copy: that is damage.
Names that aren't ours are reported and never touched.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from journalkit.format import names
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.manifest import Manifest
from journalkit.format.segment import HEADER_BYTES, decode_header
from journalkit.fs.interface import ReadableFileSystem
from journalkit.log.reader import SegmentReader
from journalkit.recovery.plan import Damage

_OURS = frozenset({names.MANIFEST, names.LOCK, names.DURABLE, names.RESERVE, names.QUARANTINE})


@dataclass(frozen=True, slots=True)
class Strays:
    """`sweep` may be unlinked, `aside` holds records that were given up, `unknown` isn't ours."""

    sweep: tuple[str, ...]
    aside: tuple[str, ...]
    unknown: tuple[str, ...]
    damage: tuple[Damage, ...]


def find_strays(fs: ReadableFileSystem, directory: str, manifest: Manifest) -> Strays:
    """Sort what the manifest doesn't name. Reads segments beyond the manifest, and no other file."""
    segments = {entry.number for entry in manifest.segments}
    tables = {info.number for entry in manifest.snapshots for info in entry.tables}
    first = min(segments, default=manifest.next_segment)
    sweep: list[str] = []
    aside: list[str] = []
    unknown: list[str] = []
    damage: list[Damage] = []
    for name in fs.list(directory):
        segment, table = names.segment_number(name), names.table_number(name)
        if segment is not None and segment not in segments:
            holds = _holds_records(fs, os.path.join(directory, name))
            if holds and segment >= manifest.next_segment:
                damage.append(Damage(name, "the manifest doesn't know this segment, which holds records", 0))
            elif holds and segment >= first:
                aside.append(name)
            else:
                sweep.append(name)
        elif (table is not None and table not in tables) or names.is_temporary(name):
            sweep.append(name)
        elif segment is None and table is None and name not in _OURS:
            unknown.append(name)
    return Strays(tuple(sweep), tuple(aside), tuple(unknown), tuple(damage))


def _holds_records(fs: ReadableFileSystem, path: str) -> bool:
    """Whether there is a whole record in the segment, by its own header."""
    file = fs.open_read(path)
    try:
        header = decode_header(file.pread(HEADER_BYTES, 0))
        found = SegmentReader(file, header.salt).search(HEADER_BYTES, file.size())
        return any(frame.lsn >= header.first_lsn for frame in found)
    except MalformedError:
        return False
    except NewerFormatError:
        return True
    finally:
        file.close()
