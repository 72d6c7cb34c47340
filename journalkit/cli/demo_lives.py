"""The demo's worker seen from outside: its lives, what each said, and what a kill hit.

What a kill hit is read from the directory that it left behind, with the eyes
of any other process: a temporary table is a fold that was under way.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

from journalkit.cli.demo_worker import FINISH
from journalkit.errors import JournalError
from journalkit.format import names
from journalkit.fs.posix import PosixFileSystem
from journalkit.manifest import read_manifest

Hit: TypeAlias = Literal["start", "recovery", "append", "rotate", "fold", "publish", "prune"]
HITS: Final[tuple[Hit, ...]] = ("start", "recovery", "append", "rotate", "fold", "publish", "prune")

_READ_BYTES: Final = 1 << 16
_END_WAIT_S: Final = 10.0


class Worker:
    """One life of the worker's process.

    Attributes:
        is_opening: Whether it has begun to open the store.
        opened: What it said when the store was open, None before.
        position: The last position that it acknowledged, None if there was none.
        failure: Why it gave up, "" if it didn't.
        done: Whether it came to the end of its work.
        ended: Whether nothing more will come from it.
        snapshots: LSNs of the snapshots that it saw.
    """

    def __init__(self, store: str, text: str, options: Sequence[str]) -> None:
        # A session of its own: a Ctrl-C is for us, and we end the worker.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "journalkit.cli.demo_worker", store, text, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self._store = store
        self._began_s = time.monotonic()
        self._pending = b""
        self._selector = selectors.DefaultSelector()
        if self._process.stdout is not None:
            self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self.is_opening = False
        self.opened: dict[str, Any] | None = None
        self.position: tuple[int, int] | None = None
        self.failure = ""
        self.done = False
        self.ended = False
        self.snapshots: set[int] = set()

    @property
    def age_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._began_s

    def listen(self, timeout_s: float) -> None:
        """Take in what it says, waiting at most so long for the first word."""
        for key, _ in self._selector.select(max(timeout_s, 0.0)):
            data = os.read(key.fd, _READ_BYTES)
            if not data:
                self._end()
                return
            *lines, self._pending = (self._pending + data).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))

    def _hear(self, said: dict[str, Any]) -> None:
        event = said["event"]
        self.is_opening = self.is_opening or event == "opening"
        self.done = self.done or event == "done"
        if event == "failed":
            self.failure = said["reason"]
        if event == "open":
            self.opened = said
        if event in ("open", "committed"):
            index, offset = said["position"]
            self.position = (index, offset)
            if said["snapshot_lsn"]:
                self.snapshots.add(said["snapshot_lsn"])

    def is_folding(self) -> bool:
        """Whether a fold can be seen from outside just now."""
        try:
            return self.opened is not None and any(map(_is_temporary_table, os.listdir(self._store)))
        except FileNotFoundError:
            return False

    def finish(self) -> None:
        """Ask it to end behind the file that it reads."""
        pipe = self._process.stdin
        if pipe is not None and not pipe.closed:
            try:
                pipe.write(FINISH)
            except BrokenPipeError:
                return  # it has ended, and what it said tells how

    def kill(self) -> Hit | None:
        """Kill it without warning and return what that hit, None if it had ended by itself."""
        self._process.kill()
        while not self.ended:
            self.listen(_END_WAIT_S)
        if self.done or self._process.returncode != -signal.SIGKILL:
            return None
        if not self.is_opening:
            return "start"
        return "recovery" if self.opened is None else what_was_hit(self._store)

    def _end(self) -> None:
        self.ended = True
        self._process.wait()
        said = self._process.stderr.read().decode("utf-8", "replace") if self._process.stderr is not None else ""
        if self._process.returncode > 0 and not self.failure:
            self.failure = (said.strip().splitlines() or [f"exit code {self._process.returncode}"])[-1]
        self._release()

    def dispose(self) -> None:
        """Make sure that nothing of it is left."""
        if not self.ended:
            self._process.kill()
            self._process.wait()
            self.ended = True
            self._release()

    def _release(self) -> None:
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def _is_temporary_table(name: str) -> bool:
    return names.is_temporary(name) and names.table_number(name.removesuffix(names.TEMPORARY_SUFFIX)) is not None


def what_was_hit(store: str) -> Hit:
    """Return what was under way when everything stopped, as the directory shows it."""
    found = os.listdir(store)
    if any(map(_is_temporary_table, found)):
        return "fold"
    if names.temporary_name(names.MANIFEST) in found:
        return "publish"
    try:
        manifest = read_manifest(PosixFileSystem(), store)
    except JournalError:
        manifest = None  # the next life says so, and better
    if manifest is None:
        return "recovery"
    tables = {number for name in found if (number := names.table_number(name)) is not None}
    segments = {number for name in found if (number := names.segment_number(name)) is not None}
    if any(number >= manifest.next_table for number in tables):
        return "fold"  # written, and not yet published
    if any(number >= manifest.next_segment for number in segments):
        return "rotate"
    live_tables = {info.number for entry in manifest.snapshots for info in entry.tables}
    live_segments = {entry.number for entry in manifest.segments}
    return "prune" if tables - live_tables or segments - live_segments else "append"
