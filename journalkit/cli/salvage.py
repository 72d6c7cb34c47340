"""`journalkit salvage`: every intact record of a damaged store, into a new one, with a report of the gaps."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import journalkit
from journalkit.cli import codes
from journalkit.cli.arguments import Commands, add_command
from journalkit.cli.causes import damage_grid, damage_json
from journalkit.cli.page import Cell, Fields, Grid, Part, Remarks, Toned, show
from journalkit.cli.remains import look_closely
from journalkit.cli.shown import encoded_key_json, is_reserved, range_json, range_text
from journalkit.cli.terminal import count, progress, say_json, size, span
from journalkit.cli.verdicts import FileVerdict
from journalkit.cli.verify import total_bytes
from journalkit.errors import UsageError
from journalkit.format.codec import CborCodec, Codec, codec_named
from journalkit.format.keys import Keyspace, decode_key, reserved_name
from journalkit.format.malformed import MalformedError
from journalkit.format.msgpack import MsgpackCodec
from journalkit.fs.interface import ReadableFileSystem
from journalkit.fs.posix import PosixFileSystem
from journalkit.recovery.salvage import Remains, log_records, state, take_stock
from journalkit.recovery.salvage_tables import Fault
from journalkit.recovery.unreadable import ForgivingFileSystem

BATCH_ENTRIES: Final = 1000
BATCH_BYTES_MAX: Final = 8 * 1024 * 1024
_SAMPLE: Final = 1000
_ROWS_SHOWN: Final = 20
_KEY_WIDTH: Final = 40


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "salvage",
        "copy every intact record of a damaged store into a new one, and tell what is missing",
        run=run,
        text="SOURCE is only read, and needs no sound manifest. TARGET must not be there, or be an empty directory; "
        "it is all that is written. Exit code 0 even where something is missing: the report says what.",
        example="journalkit salvage state rescued\njournalkit salvage state rescued --json > gaps.json",
    )
    parser.add_argument("path", metavar="SOURCE", help="the damaged store's directory")
    parser.add_argument("target", metavar="TARGET", help="the new store's directory")
    parser.add_argument("--codec", help="how values were stored, if the manifest can't tell (default: found by trying)")
    parser.add_argument("--report", metavar="FILE", help="write the report, in JSON, to this file too")


@dataclass(slots=True)
class _Copied:
    """What was written, and what couldn't be."""

    written: int = 0
    offsets: int = 0
    unreadable: list[bytes] = field(default_factory=list)
    last_lsn: int = 0


def run(args: argparse.Namespace) -> int:
    """Copy, and report."""
    fs = ForgivingFileSystem(PosixFileSystem())
    _check_target(fs, args)
    with progress(f"reading {args.path}", 2 * total_bytes(fs, args.path)) as advance:
        remains = take_stock(fs, args.path, advance)
        _, files, _ = look_closely(fs, args.path, advance)
    codec = _codec(fs, remains, args.codec)
    with progress(f"writing {args.target}") as advance:
        copied = (_copy_journal if remains.kind == "journal" else _copy_store)(fs, remains, args.target, codec, advance)
    report = _report(args, remains, codec, copied, files)
    if args.report is not None:
        with open(args.report, "w", encoding="utf-8") as file:
            file.write(json.dumps(report, indent=2) + "\n")
    if args.json:
        say_json(report)
    else:
        show(_page(args, remains, copied, files))
    return codes.DONE


def _check_target(fs: ReadableFileSystem, args: argparse.Namespace) -> None:
    source, target = os.path.realpath(args.path), os.path.realpath(args.target)
    if os.path.commonpath([source, target]) == source:
        raise UsageError(f"{args.target} is inside {args.path}, which is only read; name another target")
    status = fs.status(args.target)
    if status is not None and not status.is_directory:
        raise UsageError(f"{args.target} is a file; name a directory that isn't there yet")
    if status is not None and fs.list(args.target):
        raise UsageError(f"{args.target} is not empty; name a directory that isn't there yet")


def _codec(fs: ReadableFileSystem, remains: Remains, named: str | None) -> Codec:
    """Return the codec of the values: the manifest's, or the one named, or the one that most of them decode with."""
    if remains.manifest is not None:
        return codec_named(remains.manifest.codec)
    if named is not None:
        return codec_named(named)
    sample = list(islice(_encoded_values(fs, remains), _SAMPLE))
    candidates: list[Codec] = [CborCodec()]
    with suppress(UsageError):
        candidates.append(codec_named(MsgpackCodec.name))
    counted = [(sum(_decodes(codec, data) for data in sample), codec) for codec in candidates]
    decoded, best = max(counted, key=lambda pair: pair[0])
    return best if 2 * decoded >= len(sample) else codec_named("raw")


def _decodes(codec: Codec, data: bytes) -> bool:
    try:
        codec.decode(data)
    except MalformedError:
        return False
    return True


def _encoded_values(fs: ReadableFileSystem, remains: Remains) -> Iterator[bytes]:
    if remains.kind == "journal":
        return (frame.payload for frame in log_records(fs, remains))
    return (value for key, value in state(fs, remains) if not is_reserved(key))


def _copy_store(
    fs: ReadableFileSystem, remains: Remains, target: str, codec: Codec, advance: Callable[[int], None]
) -> _Copied:
    copied, own = _Copied(), CborCodec()
    remains.senseless.clear()
    metadata = dict(remains.manifest.metadata) if remains.manifest is not None else None
    with journalkit.open(target, codec=codec.name, metadata=metadata) as store:
        batch, batch_bytes = journalkit.Batch(), 0
        for key, value in state(fs, remains):
            try:
                if not is_reserved(key):
                    batch.put(decode_key(key), codec.decode(value))
                    copied.written += 1
                elif key[0] == Keyspace.OFFSETS:
                    batch.offsets[reserved_name(key)] = own.decode(value)
                    copied.offsets += 1
                else:
                    copied.unreadable.append(key)
            except MalformedError:
                copied.unreadable.append(key)
                continue
            batch_bytes += len(key) + len(value)
            if len(batch) >= BATCH_ENTRIES or batch_bytes >= BATCH_BYTES_MAX:
                store.write(batch, sync="never")
                advance(len(batch))
                batch, batch_bytes = journalkit.Batch(), 0
        store.write(batch, sync="never")
        store.sync()
        copied.last_lsn = store.lsn
    return copied


def _copy_journal(
    fs: ReadableFileSystem, remains: Remains, target: str, codec: Codec, advance: Callable[[int], None]
) -> _Copied:
    copied = _Copied()
    metadata = dict(remains.manifest.metadata) if remains.manifest is not None else None
    with journalkit.open_journal(target, codec=codec.name, metadata=metadata) as journal:
        for frame in log_records(fs, remains):
            try:
                journal.append(codec.decode(frame.payload), sync="never")
            except MalformedError:
                remains.senseless.append(frame.lsn)
                continue
            copied.written += 1
            advance(1)
        journal.sync()
        copied.last_lsn = journal.lsn
    return copied


def _is_complete(remains: Remains, copied: _Copied) -> bool:
    return remains.is_complete and not copied.unreadable


def _page(args: argparse.Namespace, remains: Remains, copied: _Copied, verdicts: Sequence[FileVerdict]) -> list[Part]:
    entries = "record" if remains.kind == "journal" else "entry"
    what: list[tuple[str, Cell]] = [
        ("manifest", Toned("sound", "good") if remains.manifest is not None else Toned(remains.manifest_fault, "bad")),
        ("records", f"{sum(segment.records for segment in remains.segments):,} whole, up to LSN {remains.last_lsn}"),
        (
            "written",
            f"{count(copied.written, entries)}" + (f", {count(copied.offsets, 'offset')}" if copied.offsets else ""),
        ),
    ]
    files = [
        (segment.name, size(segment.size_bytes), count(segment.records, "record"), *_fault(segment.faults))
        for segment in remains.segments
    ]
    files += [
        (table.name, size(table.size_bytes), count(table.entry_count, "entry"), *_fault(table.faults))
        for table in remains.tables
    ]
    files += [(name, "", "not used", Toned("another store's, or a copy", "bad")) for name in remains.foreign]
    gaps = [(span(first, last), f"{last - first + 1:,}") for first, last in remains.missing]
    lost = [
        (
            *range_text(found.keys, _KEY_WIDTH),
            f"the snapshot at LSN {found.lsn} and the log" if found.lsn else "what the log and newer tables still have",
        )
        for found in remains.losses
    ]
    return [
        Fields(f"salvaged {args.path} into {args.target}", what),
        Grid("files", ("file", "size", "intact", "damage"), files, frozenset({"size"})),
        damage_grid(verdicts),
        Grid("missing records", ("which", "records"), gaps[:_ROWS_SHOWN], frozenset({"records"})),
        Grid("keys that the newest snapshot lost", ("from", "to", "taken from"), lost[:_ROWS_SHOWN]),
        Remarks(_conclusion(remains, copied)),
    ]


def _fault(faults: Sequence[tuple[str, int] | Fault]) -> tuple[Cell]:
    if not faults:
        return (Toned("none", "good"),)
    reason, at = faults[0][:2]
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return (Toned(f"{reason} at byte {at}{more}", "bad"),)


def _conclusion(remains: Remains, copied: _Copied) -> list[Cell]:
    if _is_complete(remains, copied):
        return [Toned(f"complete: nothing up to LSN {remains.last_lsn} is missing", "good")]
    lines: list[Cell] = [Toned("incomplete: what stands above is missing", "warn")]
    if remains.senseless:
        lines.append(f"{count(len(remains.senseless), 'record')} passed the checksums and made no sense")
    if copied.unreadable:
        lines.append(f"{count(len(copied.unreadable), 'value')} could not be decoded; --json names their keys")
    return lines


def _report(
    args: argparse.Namespace, remains: Remains, codec: Codec, copied: _Copied, verdicts: Sequence[FileVerdict]
) -> dict[str, Any]:
    def faults(found: Sequence[tuple[str, int] | Fault]) -> list[dict[str, Any]]:
        return [{"reason": reason, "offset_bytes": at} for reason, at, *_ in found]

    return {
        "source": args.path,
        "target": args.target,
        "uuid": remains.store.hex(),
        "kind": remains.kind,
        "codec": codec.name,
        "manifest_fault": remains.manifest_fault or None,
        "complete": _is_complete(remains, copied),
        "damage": damage_json(verdicts),
        "written": copied.written,
        "offsets": copied.offsets,
        "target_lsn": copied.last_lsn,
        "last_lsn": remains.last_lsn,
        "missing_lsns": [list(gap) for gap in remains.missing],
        "given_up_lsns": [list(gap) for gap in remains.given_up],
        "senseless_lsns": remains.senseless,
        "lost_keys": [
            range_json(found.keys) | {"from_snapshot_lsn": found.lsn or None}
            for found in remains.losses
        ],
        "unreadable": [encoded_key_json(key) for key in copied.unreadable],
        "segments": [
            {
                "file": segment.name,
                "records": segment.records,
                "first_lsn": segment.first_lsn or None,
                "last_lsn": segment.last_lsn or None,
                "faults": faults(segment.faults),
            }
            for segment in remains.segments
        ],
        "tables": [
            {
                "file": table.name,
                "lsn": table.lsn,
                "entries": table.entry_count,
                "entries_lost": table.entries_lost,
                "faults": faults(table.faults),
            }
            for table in remains.tables
        ],
        "foreign": remains.foreign,
    }
