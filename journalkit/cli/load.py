"""`journalkit load`: JSON lines into a store, many to a commit."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any, Final

import journalkit
from journalkit.cli import codes, jsonform
from journalkit.cli.arguments import Commands, add_command, add_path, positive
from journalkit.cli.storable import Storable
from journalkit.cli.terminal import count, progress, say, say_json, tell
from journalkit.errors import UsageError

BATCH_LINES: Final = 1000
BATCH_BYTES_MAX: Final = 16 * 1024 * 1024
LINE_BYTES_MAX: Final = 512 * 1024 * 1024
"""What the JSON of the largest record fits in."""


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "load",
        "write JSON lines, as `dump` prints them, into a store",
        run=run,
        text="Keys that are there are replaced, others stay. A line that can't be stored ends the load: the error "
        "names it, nothing of its batch is written, and what came before stays.",
        example="journalkit load state state.jsonl\njournalkit dump state | journalkit load copy",
    )
    add_path(parser, required=True)
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="the lines (default, or -: standard input)"
    )
    parser.add_argument(
        "--batch", type=positive, default=BATCH_LINES, metavar="N", help="lines to a commit (default: %(default)s)"
    )
    parser.add_argument("--codec", help="for a store that is created: how its values are stored (default: cbor)")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line: a key and its value, or the name of an offset and its position."""

    line: int
    value: Any
    key: Any = None
    offset: str | None = None


class _LineError(Exception):
    """A line, named in the message, that can't be stored."""


@dataclass(slots=True)
class _Written:
    """What has been committed."""

    entries: int = 0
    offsets: int = 0
    lines: int = 0


def run(args: argparse.Namespace) -> int:
    """Load the lines."""
    written = _Written()
    storable = Storable(args.path, args.codec)
    with ExitStack() as stack:
        source, total_bytes = _open(args.file, stack)
        advance = stack.enter_context(progress(f"loading {args.path}", total_bytes))
        batches = _batches(source, args.batch, advance)
        try:
            # Before the store is opened: where the first lines are refused, no new store is left behind.
            first = next(batches, [])
            for entry in first:
                _check(storable, entry)
            store = stack.enter_context(journalkit.open(args.path, codec=args.codec))
            if store.recovery_report.outcome == "created":
                tell(f"journalkit load: created the store {args.path}")
            # Batches are handed to the OS as they come, and made durable together.
            stack.callback(store.sync)
            for entries in chain([first], batches):
                _commit(store, storable, entries)
                for entry in entries:
                    written.entries += entry.offset is None
                    written.offsets += entry.offset is not None
                    written.lines = entry.line
        except _LineError as error:
            raise UsageError(f"{_name(args.file)}: {error}; {_so_far(written)}") from error
        lsn = store.sync()
    if args.json:
        say_json({"entries": written.entries, "offsets": written.offsets, "lsn": lsn})
    else:
        offsets = f" and {count(written.offsets, 'offset')}" if written.offsets else ""
        say(f"loaded {count(written.entries, 'entry')}{offsets}, LSN {lsn}")
    return codes.DONE


def _name(file: str) -> str:
    return "standard input" if file == "-" else file


def _so_far(written: _Written) -> str:
    if not written.lines:
        return "nothing was written"
    return f"written before: {count(written.entries + written.offsets, 'entry')}, up to line {written.lines}"


def _open(file: str, stack: ExitStack) -> tuple[IO[bytes], int | None]:
    if file == "-":
        return sys.stdin.buffer, None
    source = stack.enter_context(open(file, "rb"))  # noqa: SIM115 - closed by the stack
    return source, os.fstat(source.fileno()).st_size


def _batches(source: IO[bytes], lines: int, advance: Callable[[int], None]) -> Iterator[list[_Entry]]:
    """Yield what makes a commit: so many lines, or fewer that are large."""
    entries: list[_Entry] = []
    size_bytes = 0
    number = 0
    while line := source.readline(LINE_BYTES_MAX + 1):
        number += 1
        advance(len(line))
        if line.isspace():
            continue
        entries.append(_entry(number, line))
        size_bytes += len(line)
        if len(entries) >= lines or size_bytes >= BATCH_BYTES_MAX:
            yield entries
            entries, size_bytes = [], 0
    if entries:
        yield entries


def _entry(number: int, line: bytes) -> _Entry:
    """Return what a line says; `_LineError` if it isn't an entry."""
    try:
        if len(line) > LINE_BYTES_MAX:
            raise jsonform.JsonFormError(f"it is longer than {LINE_BYTES_MAX} bytes")
        document = jsonform.parse(line.decode())
        names = set(document) if type(document) is dict else set()
        if names == {"key", "value"}:
            return _Entry(number, jsonform.from_json(document["value"]), key=jsonform.from_json(document["key"]))
        if names == {"offset", "value"} and type(document["offset"]) is str:
            return _Entry(number, jsonform.from_json(document["value"]), offset=document["offset"])
        raise jsonform.JsonFormError('it is neither {"key": ..., "value": ...} nor {"offset": "name", "value": ...}')
    except UnicodeDecodeError:
        raise _LineError(f"line {number}: it is not UTF-8") from None
    except jsonform.JsonFormError as error:
        raise _LineError(f"line {number}: {error}") from None


def _commit(store: journalkit.Store, storable: Storable, entries: list[_Entry]) -> None:
    batch = journalkit.Batch()
    for entry in entries:
        if entry.offset is None:
            batch.put(entry.key, entry.value)
        else:
            batch.offsets[entry.offset] = entry.value
    try:
        store.write(batch, sync="never")
    except UsageError as error:
        for entry in entries:
            _check(storable, entry)
        raise _LineError(f"lines {entries[0].line} to {entries[-1].line}: {error}") from error


def _check(storable: Storable, entry: _Entry) -> None:
    try:
        if entry.offset is None:
            storable.check(entry.key, entry.value)
        else:
            storable.check_offset(entry.offset, entry.value)
    except UsageError as error:
        raise _LineError(f"line {entry.line}: {error}") from error
