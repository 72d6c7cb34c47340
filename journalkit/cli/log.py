"""`journalkit log`: the records, in order, as far as the log can be believed."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, Final

from journalkit.cli import codes
from journalkit.cli.arguments import Commands, add_command, add_path, not_negative, positive
from journalkit.cli.examination import examine
from journalkit.cli.shown import Values, encoded_key_json, encoded_key_text
from journalkit.cli.terminal import say, say_json, shortened, size, tell, time_json, when
from journalkit.format.batch import decode_into
from journalkit.format.frame import Frame, Kind
from journalkit.format.malformed import MalformedError
from journalkit.format.names import segment_name
from journalkit.fs.posix import PosixFileSystem
from journalkit.recovery.plan import Plan
from journalkit.recovery.scan import read_kept

_KEYS_SHOWN: Final = 4
_KEY_WIDTH: Final = 40
_VALUE_WIDTH: Final = 72
_NAMES: Final[dict[int, str]] = {Kind.BATCH: "batch", Kind.RECORD: "record"}
_HEAD: Final = f"{'LSN':>10}  {'time':<27}  {'kind':<6}  {'size':>9}  {'keys':>5}  what"


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "log",
        "print the records of the log: LSN, time, size, keys",
        run=run,
        text="Shows what the log still holds; what is folded into a snapshot and pruned is gone from it. Of a damaged "
        "log it shows the records before the damage, then says so and leaves with exit code 2.",
        example="journalkit log state --from 1000 --limit 20\njournalkit log events --values\n"
        "journalkit log state --reverse --limit 5 --json",
    )
    add_path(parser)
    parser.add_argument("--from", dest="first", type=positive, metavar="LSN", help="the first record to show")
    parser.add_argument("--to", dest="last", type=not_negative, metavar="LSN", help="the last record to show")
    parser.add_argument("--limit", type=not_negative, metavar="N", help="show at most N records")
    parser.add_argument("--reverse", action="store_true", help="show the newest first")
    parser.add_argument("--values", action="store_true", help="show values too; a journal's are always shown")


def run(args: argparse.Namespace) -> int:
    """Print records up to the first damage."""
    fs = PosixFileSystem()
    found = examine(fs, args.path, deep=False, from_lsn=args.first or 1)
    if args.first is not None and args.first <= found.manifest.pruned_lsn:
        tell(f"journalkit log: up to LSN {found.manifest.pruned_lsn} the log was pruned; it begins behind that")
    selection = _Selection(
        first=args.first or 1,
        last=found.plan.last_lsn if args.last is None else args.last,
        limit=args.limit,
        is_reversed=args.reverse,
        tell_one=_Teller(args, found.manifest.codec).tell_one,
    )
    while True:
        try:
            read_kept(fs, args.path, found.plan.segments, after_lsn=selection.next_lsn - 1, sink=selection.take)
        except _EnoughError:
            selection.finish()
            return codes.DONE
        except FileNotFoundError:
            # Pruned since we looked. What is missing for good is damage, and not in the next plan.
            found = examine(fs, args.path, deep=False, from_lsn=selection.next_lsn)
        else:
            selection.finish()
            return _conclude(args.path, found.plan)


def _conclude(path: str, plan: Plan) -> int:
    """Say what stands behind the last record, if anything does; return the exit code."""
    if plan.damage:
        tell(f"journalkit log: {plan.damage[0].as_error(path)}")
        return codes.ERROR
    for cut in plan.cuts:
        name = segment_name(cut.segment)
        tell(f"journalkit log: {name}: a torn tail of {cut.count_bytes} bytes at byte {cut.offset_bytes}, not shown")
    return codes.DONE


class _EnoughError(Exception):
    """The last record that was asked for has been told."""


class _Selection:
    """A sink that passes on the records that were asked for. In reverse it holds them, no more than the limit."""

    def __init__(
        self, *, first: int, last: int, limit: int | None, is_reversed: bool, tell_one: Callable[[Frame], None]
    ) -> None:
        self.next_lsn = first
        self._last = last
        self._left = limit
        self._tell_one = tell_one
        self._held: deque[Frame] | None = deque(maxlen=limit) if is_reversed else None

    def take(self, frame: Frame) -> None:
        """Pass a record on, or hold it; raise `_EnoughError` behind the last one."""
        if frame.lsn > self._last or (self._left == 0 and self._held is None):
            raise _EnoughError
        self.next_lsn = frame.lsn + 1
        if self._held is not None:
            self._held.append(frame)
            return
        self._tell_one(frame)
        if self._left is not None:
            self._left -= 1

    def finish(self) -> None:
        """Pass on what was held."""
        for frame in reversed(self._held or ()):
            self._tell_one(frame)


class _Teller:
    """Prints one record."""

    def __init__(self, args: argparse.Namespace, codec: str) -> None:
        self._as_json = args.json
        self._with_values = args.values
        self._values = Values(codec)
        self._is_first = True

    def tell_one(self, frame: Frame) -> None:
        """Print a record: one line, and under `--values` one more for each change."""
        if self._as_json:
            say_json(self._json(frame))
            return
        if self._is_first:
            say(_HEAD)
            self._is_first = False
        kind = _NAMES.get(frame.kind, f"kind {frame.kind}")
        lead = f"{frame.lsn:>10}  {when(frame.time_us, fine=True):<27}  {kind:<6}  {size(len(frame.payload)):>9}  "
        if frame.kind == Kind.RECORD:
            say(lead + self._values.text(frame.payload, _VALUE_WIDTH))
            return
        changes = _changes(frame)
        if changes is None:
            say(lead + "<undecodable>")
            return
        say(lead + _summary(changes))
        if self._with_values:
            for key, value in changes.items():
                what = "deleted" if value is None else self._values.text(value, _VALUE_WIDTH, key)
                say(f"{'':>12}{shortened(encoded_key_text(key), _KEY_WIDTH)} = {what}")

    def _json(self, frame: Frame) -> dict[str, Any]:
        told: dict[str, Any] = {
            "lsn": frame.lsn,
            "time": time_json(frame.time_us),
            "kind": _NAMES.get(frame.kind, frame.kind),
            "payload_bytes": len(frame.payload),
        }
        if frame.kind == Kind.RECORD:
            return told | self._values.json(frame.payload)
        changes = _changes(frame)
        if changes is None:
            return told | {"payload": frame.payload.hex()}
        return told | {"mutations": len(changes), "changes": [self._change(*change) for change in changes.items()]}

    def _change(self, key: bytes, value: bytes | None) -> dict[str, Any]:
        told = encoded_key_json(key) | {"op": "delete" if value is None else "put"}
        if value is None:
            return told
        return told | (self._values.json(value, key) if self._with_values else {"value_size": len(value)})


def _changes(frame: Frame) -> dict[bytes, bytes | None] | None:
    changes: dict[bytes, bytes | None] = {}
    try:
        decode_into(frame.payload, changes)
    except MalformedError:
        return None
    return changes


def _summary(changes: dict[bytes, bytes | None]) -> str:
    shown = [
        ("-" if value is None else "") + shortened(encoded_key_text(key), _KEY_WIDTH)
        for key, value in islice(changes.items(), _KEYS_SHOWN)
    ]
    more = f", and {len(changes) - _KEYS_SHOWN} more" if len(changes) > _KEYS_SHOWN else ""
    return f"{len(changes):>5}  " + ", ".join(shown) + more
