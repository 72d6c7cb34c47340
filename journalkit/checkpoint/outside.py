"""Saves in another process, seen from here: started early, told what to save, listened to, ended.

What it writes is nobody's until the writer of the epoch publishes it, which is
this process. So a child that is killed, lies or hangs costs a save, never more:
the next save has a number of its own, and another child. What one leaves that
can't be ended, or that outlives this process for a moment, lies under keys that
nobody uses again, and goes as what any killed save has left.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, cast

from journalkit.checkpoint import save_words
from journalkit.checkpoint.address import Address
from journalkit.checkpoint.chunks import best_digest
from journalkit.checkpoint.pack import Progress
from journalkit.checkpoint.save_words import DONE, FAILED, PROGRESS, Order, Report, Service, Shared, error_in
from journalkit.checkpoint.saving import SaveOptions, Written, encoded
from journalkit.checkpoint.sharing import SharedBuffers
from journalkit.checkpoint.tree import Captured
from journalkit.clock import Clock
from journalkit.errors import CheckpointAbortedError, ClosedError, StorageError, UsageError
from journalkit.format import names
from journalkit.format.checkpoint import CheckpointManifest, decode_manifest
from journalkit.format.head import CheckpointEntry
from journalkit.format.malformed import MalformedError
from journalkit.fs.child import PosixChild
from journalkit.fs.interface import Child
from journalkit.fs.shared import SharedMemory
from journalkit.runtime.talk import Ear, measured

MODULE: Final = "journalkit.checkpoint.save_child"
LISTEN_S: Final = 0.25
SILENCE_S: Final = 120.0
"""A child that says nothing for so long is stopped, or hangs: it says every second that it is there."""
_GOODBYE_LOOKS: Final = 8
_AGAIN: Final = "nothing was published, the next save starts another one"

Start = Callable[[str, SharedMemory], Child]


class Outside:
    """The process that saves for a job, and the memory that both have. Threads may share it."""

    def __init__(self, address: Address, options: SaveOptions, clock: Clock, start: Start = PosixChild) -> None:
        """Start it, and wait until it is there.

        Raises:
            UsageError: There can't be one: no Python to start, or no memory that two processes share.
            JournalError: It can't open the place.
        """
        self._address = address
        self._options = options
        self._clock = clock
        self._start = start
        self._one = threading.Lock()
        self._is_closed = self._is_forked = False
        self._there: tuple[Child, Ear] | None = None
        try:
            self._memory = SharedMemory()
        except OSError as error:
            raise _not_here(error) from error
        self.buffers = SharedBuffers(self._memory)
        try:
            self._begin()
        except BaseException as error:
            self._memory.abandon()
            if isinstance(error, CheckpointAbortedError | StorageError):
                raise _not_here(error) from error
            raise

    def write_checkpoint(
        self,
        *,
        job: bytes,
        epoch: int,
        save: int,
        captured: Captured,
        time_us: int,
        offsets: Mapping[Any, Any],
        metadata: Any,
        metrics: Mapping[str, float],
        name: str,
        prepared: Mapping[str, Any],
        base: CheckpointEntry | None,
        progress: Progress | None,
    ) -> Written:
        """Have the process write a captured state; as `journalkit.checkpoint.saving.write_checkpoint`.

        Raises:
            CheckpointAbortedError: The process was killed, ended or hangs; there is no checkpoint, and the next save
                starts another process.
            StorageError: No process can be started, or there is no memory.
            ClosedError: The handle is being closed.
            JournalError: What it met.
        """
        said = CheckpointManifest(
            job, epoch, save, 0, time_us, self._options.digest or best_digest(), b"", (), (),
            dict(offsets), metadata, dict(metrics), name, dict(prepared),
        )  # fmt: skip
        encoded(said)  # so that what can't be said is refused before anything is written
        with self._one:
            self._refuse_closed()
            leaves = tuple(
                Shared(self.buffers.place(cast(memoryview, leaf.view)), leaf.size_bytes, leaf.is_array)
                for leaf in captured.leaves
            )
            stands_on = (*base.place, base.manifest_digest) if base is not None else None
            return self._asked(Order(said, captured.tree, leaves, stands_on), progress)

    def close(self) -> None:
        """End the process, and let go of the memory. A save that is under way fails. Again is harmless."""
        self._is_closed = True
        with self._one:
            try:
                self._say_goodbye()
            finally:
                self._end_child()
                self.buffers.clear()
                self._memory.abandon()

    def abandon(self) -> None:
        """Let go of what a fork of this process has inherited of it; the process that saves is its parent's."""
        self._is_forked = True
        self.buffers.abandon()

    def __del__(self) -> None:
        # Dropped without being closed. In a fork the child is somebody else's.
        if not self._is_forked:
            self._end_child()

    # -- within ---------------------------------------------------------------------------------

    def _asked(self, order: Order, progress: Progress | None) -> Written:
        """Hold one conversation. The child stays if it had something to say, and is ended in any other case."""
        try:
            words = self._answer(order, progress)
            written = _written(self._memory, Report(*words[DONE]), order) if DONE in words else None
        except BaseException:
            self._end_child()
            raise
        if written is None:
            raise error_in(words[FAILED])
        return written

    def _answer(self, order: Order, progress: Progress | None) -> dict[str, Any]:
        """Tell the child what to save and return what it says in the end."""
        child, ear = self._ready()
        patience = _Patience(self._clock, self._refuse_closed)
        with suppress(BrokenPipeError):  # what it has to say tells more
            child.send(measured(save_words.ordered(order)), patience.check)
        while True:
            patience.heard(self._listen(ear))
            while ear.words:
                words = ear.words.pop(0)
                if DONE in words or FAILED in words:
                    return words
                if PROGRESS in words and progress is not None:
                    progress(*words[PROGRESS])

    def _ready(self) -> tuple[Child, Ear]:
        """Return a child that is there: another one, where nobody heard of its end before."""
        while self._there is not None and (heard := self._there[1].listen(0)) is not False:
            if heard is None:
                self._end_child()
        return self._there if self._there is not None else self._begin()

    def _begin(self) -> tuple[Child, Ear]:
        """Start a child, and wait until it says that it has begun."""
        try:
            child = self._start(MODULE, self._memory)
        except OSError as error:
            raise StorageError(f"no process can be started: {error}", cause=error) from error
        ear = Ear(child)
        self._there = there = (child, ear)
        patience = _Patience(self._clock, self._refuse_closed)
        try:
            with suppress(BrokenPipeError):
                service = Service(self._address, self._options, int(self._memory.fileno()))
                child.send(measured(save_words.told(service)), patience.check)
            while not ear.words:
                patience.heard(self._listen(ear))
            words = ear.words.pop(0)
            if FAILED in words:
                raise error_in(words[FAILED])
        except BaseException:
            self._end_child()
            raise
        return there

    def _listen(self, ear: Ear) -> bool:
        """Wait a little for what the child says, and return whether it said anything."""
        heard = ear.listen(LISTEN_S)
        if heard is None:
            raise CheckpointAbortedError(f"the process that saves {ear.end()[1]}: {_AGAIN}")
        return heard

    def _say_goodbye(self) -> None:
        """Let the child end by itself, so that it leaves nothing lying about. It has no long time for that."""
        if self._there is None:
            return
        child, ear = self._there
        with suppress(OSError):
            child.send(measured(b""), _give_up)
            for _ in range(_GOODBYE_LOOKS):
                if ear.listen(LISTEN_S) is None:
                    return

    def _end_child(self) -> None:
        there, self._there = self._there, None
        if there is not None:
            there[0].end()

    def _refuse_closed(self) -> None:
        if self._is_closed:
            raise ClosedError(f"{self._address.where} was closed: open it again")


class _Patience:
    """How long a child may say nothing: as long as it is there it says so every second."""

    def __init__(self, clock: Clock, refuse_closed: Callable[[], None]) -> None:
        self._clock = clock
        self._refuse_closed = refuse_closed
        self._last_s = clock.monotonic_s()

    def heard(self, something: bool) -> None:
        """Note whether it said something, and raise as `check`."""
        if something:
            self._last_s = self._clock.monotonic_s()
        self.check()

    def check(self) -> None:
        """Raise CheckpointAbortedError if it has said nothing for too long, ClosedError if nobody waits any more."""
        self._refuse_closed()
        if self._clock.monotonic_s() - self._last_s > SILENCE_S:
            raise CheckpointAbortedError(
                f"the process that saves has said nothing for {SILENCE_S:.0f} s, and was ended: {_AGAIN}"
            )


def _written(memory: SharedMemory, report: Report, order: Order) -> Written:
    """Return what a child has written, from the manifest that it has put into the memory."""
    said = order.said
    data = memory.read(report.manifest_offset, report.manifest_bytes)
    digest = hashlib.sha256(data).digest()
    try:
        manifest = decode_manifest(data)
    except (MalformedError, ValueError) as error:
        raise _other_than_asked(str(error)) from error
    if digest.hex() != report.manifest_digest or (manifest.job, manifest.epoch, manifest.save) != (
        said.job, said.epoch, said.save,
    ):  # fmt: skip
        raise _other_than_asked("its manifest is another one")
    if [each.length for each in manifest.chunked] != [each.size_bytes for each in order.leaves]:
        raise _other_than_asked("its manifest is of another state")
    return Written(
        manifest,
        names.checkpoint_key(said.epoch, said.save),
        len(data),
        digest,
        report.bytes_written,
        report.bytes_total,
        report.chunks_new,
        report.chunks_known,
    )


def _other_than_asked(reason: str) -> CheckpointAbortedError:
    return CheckpointAbortedError(f"the process that saves wrote something else than it was asked ({reason}): {_AGAIN}")


def _not_here(error: Exception) -> UsageError:
    return UsageError(f"saving='process' can't be had here: {error}; leave saving='thread'")


def _give_up() -> None:
    raise TimeoutError
