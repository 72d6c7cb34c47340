"""The demo's worker: counts words in one store until it is killed, or until it is done.

    python -m journalkit.cli.demo_worker STORE INPUT [options]

Started again, it goes on from what the store holds: counts and input position
change in one transaction, so they can't disagree. What it did it says in JSON
lines on standard output, a commit only once it is durable. It ends when its
standard input does: nobody is left to hear it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, BinaryIO, Final

import journalkit
from journalkit.cli import codes
from journalkit.cli.demo_input import Input, load_input, words_of
from journalkit.errors import JournalError
from journalkit.options import MIB

POSITION: Final = "input"
FINISH: Final = b"f"
"""On standard input: end behind the file that is being read."""

_SEGMENT_BYTES_MAX: Final = MIB // 4
_FOLD_RATIO: Final = 0.25


def tell(event: str, **fields: Any) -> None:
    """Write one line in one piece: what arrives is whole."""
    os.write(1, json.dumps({"event": event, **fields}).encode() + b"\n")


class Orders:
    """What the parent wants, read from standard input by a thread."""

    def __init__(self) -> None:
        self.finish = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while order := os.read(0, 1):
            self.finish = self.finish or order == FINISH
        os._exit(codes.BROKEN_PIPE)


class Pace:
    """Holds the worker back to a rate, so that the input outlasts the kills on a fast machine too."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._began_s = time.monotonic()
        self._done_bytes = 0

    def wait(self, count_bytes: int, orders: Orders) -> None:
        """Sleep until so many more bytes were due."""
        self._done_bytes += count_bytes
        if self._bytes_per_s and not orders.finish:
            ahead_s = self._done_bytes / self._bytes_per_s - (time.monotonic() - self._began_s)
            time.sleep(max(0.0, min(ahead_s, 1.0)))


def count_all(store: journalkit.Store, text: Input, chunk_bytes: int, pace: Pace, orders: Orders) -> None:
    """Count from the store's position to the end of the input, or of a file if the parent says so."""
    index, offset = store.offsets.get(POSITION, (0, 0))
    while index < len(text.files):
        with open(text.files[index], "rb") as file:
            file.seek(offset)
            while chunk := _chunk(file, chunk_bytes):
                count_chunk(store, words_of(chunk), (index, file.tell()))
                pace.wait(len(chunk), orders)
        index, offset = index + 1, 0
        if orders.finish:
            break
    if store.offsets.get(POSITION) != (index, 0):
        count_chunk(store, [], (index, 0))


def _chunk(file: BinaryIO, chunk_bytes: int) -> bytes:
    """Return some whole lines."""
    chunk = file.read(chunk_bytes)
    return chunk + file.readline() if chunk else b""


def count_chunk(store: journalkit.Store, words: Sequence[str], position: tuple[int, int]) -> None:
    """Add some words to the counts and move the position behind them: one record, all of it or nothing."""
    with store.transaction() as counts:
        for word, number in Counter(words).items():
            counts[word] = counts.get(word, 0) + number
        counts.offsets[POSITION] = position
    tell("committed", position=position, lsn=store.lsn, snapshot_lsn=store.snapshot_lsn)


def main(argv: Sequence[str] | None = None) -> int:
    """Work; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m journalkit.cli.demo_worker")
    parser.add_argument("store")
    parser.add_argument("input")
    parser.add_argument("--chunk-bytes", type=int, required=True)
    parser.add_argument("--fold-bytes-min", type=int, required=True)
    parser.add_argument("--bytes-per-s", type=float, default=0.0)
    args = parser.parse_args(argv)
    orders = Orders()
    text = load_input(args.input)
    tell("opening")
    try:
        with journalkit.open(
            args.store,
            sync="always",
            fold_bytes_min=args.fold_bytes_min,
            fold_ratio=_FOLD_RATIO,
            segment_bytes_max=_SEGMENT_BYTES_MAX,
        ) as store:
            report = store.recovery_report
            tell(
                "open",
                report=str(replace(report, quarantine=os.path.basename(report.quarantine))),
                seconds=report.seconds,
                records_replayed=report.records_replayed,
                bytes_cut=report.bytes_cut,
                position=store.offsets.get(POSITION, (0, 0)),
                lsn=store.lsn,
                snapshot_lsn=store.snapshot_lsn,
            )
            count_all(store, text, args.chunk_bytes, Pace(args.bytes_per_s), orders)
    except (JournalError, OSError) as error:
        tell("failed", reason=str(error))
        return codes.ERROR
    tell("done")
    return codes.DONE


if __name__ == "__main__":
    sys.exit(main())
