"""A life: a process that opens a store and writes at full speed, until somebody ends it.

What it does it says in shared memory, which no power cut takes and no full
disk stops: which numbers it submitted, which LSN each commit came back with,
and up to which LSN it was told that records survive a power cut. `Tally.least`
and `Tally.most` turn that into what a store must hold afterwards, exactly: the
fold of a prefix in LSN order, whatever the threads did in between.

What the commits are is `writers.py`'s, in the folder of the crash tests, which
this module puts on the path: others take what they need of it from here.
"""

from __future__ import annotations

import gc
import logging
import mmap
import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

sys.path.insert(0, str(Path(__file__).parent.parent / "crash"))

from aims import PHASES, Aim
from mounts import die_with_parent
from phases import Board, Phase, PhaseFileSystem
from writers import THREADS, Model, batch_of, complaints, counts_in

import journalkit
from journalkit.errors import CorruptionError, StorageError

__all__ = ["PHASES", "Aim", "Board", "Model", "Phase", "Tally", "complaints", "start"]

SYNC_MODES: Final[tuple[journalkit.Sync, ...]] = ("always", "interval", "never")
SEGMENT_SIZES: Final = (4096, 16_384, 65_536)
_COMMITS_MAX: Final = 1 << 18
_TEXT_BYTES: Final = 16_384
_FAR: Final = 1 << 60
_WORDS: Final = 4 + 3 * THREADS
_OPENED, _BASE, _CUT, _DURABLE = range(4)
_SUBMITTED, _ACKNOWLEDGED, _RETURNED = (4 + lane * THREADS for lane in range(3))


class Tally:
    """The shared memory of a life and of whoever judges it.

    Each word has one writer, and each is set in one piece; so a reader needs no lock.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _WORDS * 8 + _TEXT_BYTES + _COMMITS_MAX)
        self._words = memoryview(self._memory)[: _WORDS * 8].cast("Q")
        self._text_at = _WORDS * 8
        self._who_at = self._text_at + _TEXT_BYTES

    def clear(self) -> None:
        """Begin anew, for another life."""
        used = int(max(self._words[_RETURNED : _RETURNED + THREADS], default=0)) - self._words[_BASE] + 1
        self._memory[self._text_at : self._text_at + _TEXT_BYTES] = bytes(_TEXT_BYTES)
        self._memory[self._who_at : self._who_at + max(used, 0)] = bytes(max(used, 0))
        for word in range(_WORDS):
            self._words[word] = 0

    # The life's side

    def open(self, lsn: int) -> None:
        """The store is open, and this is its last record."""
        self._words[_BASE] = lsn
        self._words[_OPENED] = 1

    def submit(self, thread: int, number: int) -> None:
        """A thread is about to commit this number."""
        self._words[_SUBMITTED + thread] = number

    def returned(self, thread: int, lsn: int) -> None:
        """The commit that a thread submitted last has this LSN."""
        self._memory[self._who_at + lsn - self._words[_BASE]] = thread + 1
        self._words[_RETURNED + thread] = lsn

    def acknowledge(self, thread: int, lsn: int) -> None:
        """A thread was told that everything up to here survives a power cut."""
        self._words[_ACKNOWLEDGED + thread] = max(lsn, self._words[_ACKNOWLEDGED + thread])

    def fail(self, what: str) -> None:
        """Say what should not have happened; the first one counts."""
        if not self.failure:
            data = what.encode()[-_TEXT_BYTES:]
            self._memory[self._text_at : self._text_at + len(data)] = data

    # The judge's side

    @property
    def is_open(self) -> bool:
        """Whether the life got to open its store."""
        return bool(self._words[_OPENED])

    @property
    def base(self) -> int:
        """The last record that it found."""
        return self._words[_BASE]

    @property
    def failure(self) -> str:
        """What should not have happened, "" if nothing did."""
        return self._memory[self._text_at : self._text_at + _TEXT_BYTES].rstrip(b"\0").decode(errors="replace")

    @property
    def acknowledged(self) -> int:
        """The LSN up to which somebody was told that records survive; 0 if nobody was."""
        return max(self._words[_ACKNOWLEDGED : _ACKNOWLEDGED + THREADS])

    @property
    def commits(self) -> int:
        """How many commits came back."""
        return max(0, max(self._words[_RETURNED : _RETURNED + THREADS]) - self.base) if self.is_open else 0

    @property
    def cut(self) -> int:
        """0: all is well. 1: the power may be gone. 2: it is."""
        return self._words[_CUT]

    @cut.setter
    def cut(self, stage: int) -> None:
        self._words[_CUT] = stage

    def least(self, before: list[int], lsn: int) -> list[int]:
        """Return each thread's number in a state that reaches to `lsn`, as far as it is known to be that high."""
        known = self._known(0, lsn)
        return [count + known.count(thread + 1) for thread, count in enumerate(before)]

    def most(self, before: list[int], lsn: int) -> list[int]:
        """Return the highest number each thread may have in a state that ends at `lsn`."""
        later = self._known(max(lsn - self.base, 0), _FAR)
        return [
            max(count, self._words[_SUBMITTED + thread] - later.count(thread + 1))
            for thread, count in enumerate(before)
        ]

    def _known(self, after: int, lsn: int) -> bytes:
        """Return who committed, from `after` records behind the base to `lsn`; 0 where nobody came back to say so."""
        if not self.is_open:
            return b""
        end = min(lsn - self.base, max(self._words[_RETURNED : _RETURNED + THREADS]) - self.base)
        return self._memory[self._who_at + after + 1 : self._who_at + max(end, after) + 1]


def start(path: str, board: Board, tally: Tally, seed: int, *, canary: str = "", pauses_s: float = 0.02) -> int:
    """Start a life on the store at `path` and return its process; folds come at most `pauses_s` apart."""
    board.clear()
    tally.clear()
    child = os.fork()
    if child:
        return child
    try:
        die_with_parent()
        gc.freeze()
        logging.disable()  # what goes wrong after the cut is expected
        _live(path, board, tally, seed, canary, pauses_s)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent has to hear of it
        _note_end(tally, error)
    finally:
        os._exit(0)


def _live(path: str, board: Board, tally: Tally, seed: int, canary: str, pauses_s: float) -> None:
    chance = random.Random(seed)
    fs = CanaryFileSystem(board) if canary == "no fsync" else PhaseFileSystem(board)
    fs.enter(Phase.RECOVERY)
    store = journalkit.open(
        path,
        fs=fs,  # type: ignore[arg-type]
        sync=chance.choice(SYNC_MODES),
        sync_interval_ms=5,
        fold_bytes_min=20_000,
        fold_ratio=chance.choice((0, 0.5, 4)),
        keep_snapshots=chance.choice((1, 2, 3)),
        segment_bytes_max=chance.choice(SEGMENT_SIZES),
    )
    tally.open(store.lsn)
    fs.leave_recovery()
    counts = counts_in(store)
    # Lives that wait for each record, lives that wait for hardly any, and what is between.
    durable_share = chance.choice((0.0, 0.02, 0.3, 1.0))

    def write(thread: int) -> None:
        dice = random.Random(seed * THREADS + thread)
        for number in range(counts[thread] + 1, counts[thread] + _COMMITS_MAX // THREADS):
            mode = "always" if dice.random() < durable_share else dice.choice(("interval", "never"))
            was_cut = tally.cut == 2
            tally.submit(thread, number)
            lsn = store.write(batch_of(thread, number), sync=cast("journalkit.Sync", mode))
            tally.returned(thread, lsn)
            if mode == "always" and was_cut:
                tally.fail(f"LSN {lsn} was acknowledged as durable when the power had been cut before it was submitted")
            if mode == "always" or canary == "early":
                tally.acknowledge(thread, lsn)
            elif dice.random() < 0.1:
                tally.acknowledge(thread, store.durable_lsn)

    def fold() -> None:
        while True:
            store.compact()
            time.sleep(chance.uniform(0.0, pauses_s))

    threads = [threading.Thread(target=_guarded, args=(tally, write, thread), daemon=True) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    _guarded(tally, fold)
    for thread in threads:
        thread.join()


def _guarded(tally: Tally, function: Callable[..., None], *args: int) -> None:
    try:
        function(*args)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent has to hear of it
        _note_end(tally, error)


def _note_end(tally: Tally, error: BaseException) -> None:
    """Nothing may be raised while there is power; without it only that nothing can be written or read any more."""
    is_the_device = isinstance(error, StorageError) or (
        isinstance(error, CorruptionError) and "can't be read" in error.reason
    )
    if not tally.cut or not is_the_device:
        tally.fail("".join(traceback.format_exception(error)))


class CanaryFileSystem(PhaseFileSystem):
    """A broken one: it says that bytes are durable and does nothing for it."""

    def create(self, path: str) -> Any:
        return _Lying(super().create(path))

    def open_write(self, path: str) -> Any:
        return _Lying(super().open_write(path))


class _Lying:
    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def sync_data(self) -> None:
        """Nothing."""

    def sync(self) -> None:
        """Nothing."""
