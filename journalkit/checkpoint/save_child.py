"""The process that saves for a job: it computes digests, compresses, and writes packs and manifests.

It never writes a head, deletes or sweeps: what it wrote is nobody's until the
job, whose epoch it is, publishes it. It stays from one save to the next, and
ends with the job. Signals that a terminal or a scheduler sends to all
processes of a job are for the job to answer, which may need it just then.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Final

from journalkit.checkpoint import save_words
from journalkit.checkpoint.manifests import Manifests
from journalkit.checkpoint.pack import Known
from journalkit.checkpoint.save_words import Order, Report, Service
from journalkit.checkpoint.saving import SaveOptions, write_whole
from journalkit.checkpoint.tree import Captured, Leaf
from journalkit.clock import SystemClock
from journalkit.errors import CorruptionError, StorageError
from journalkit.format.checkpoint import CheckpointManifest, encode_manifest
from journalkit.format.head import CheckpointEntry
from journalkit.fs.child import Parent
from journalkit.fs.shared import SharedMemory
from journalkit.objects.interface import Objects
from journalkit.runtime.talk import begun, line, message

NOT_OURS: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
"""Signals that are for the job. It has others by which it ends this process."""
ALIVE: Final = "alive"
ALIVE_S: Final = 1.0
"""How often it says, while it saves, that it is there."""
_PROGRESS_BYTES: Final = 4 << 20

Say = Callable[[bytes], None]


def main() -> None:
    """Be the child of the process that started this one, for as long as that wants it."""
    for name in NOT_OURS:
        signal.signal(signal.Signals[name], signal.SIG_IGN)
    parent = Parent()
    orders: SimpleQueue[bytes] = SimpleQueue()

    def hear() -> None:
        while True:  # ends with the parent, and this process too, whatever it is doing
            orders.put(message(parent.read))

    threading.Thread(target=hear, daemon=True).start()
    serve(orders.get, parent.say, scribe_for)


def scribe_for(service: Service) -> Scribe:
    """Return what saves, in the process that was started for it. Raises as `Address.open`."""
    return Scribe(service.address.open(SystemClock()), service.options, SharedMemory(service.memory))


def serve(order: Callable[[], bytes], say: Say, begin: Callable[[Service], Scribe]) -> None:
    """Do one save after the other, until nothing is ordered any more."""
    try:
        scribe = begin(save_words.heard(order()))
    except Exception as error:  # noqa: BLE001 - whatever it is, the job has to hear of it
        say(save_words.failed(error))
        return
    say(begun())
    guard = threading.Lock()

    def one_at_a_time(said: bytes) -> None:
        with guard:
            say(said)

    while data := order():
        with _saying_so(one_at_a_time):
            answer = scribe.answer(data, one_at_a_time)
        one_at_a_time(answer)
    scribe.close()


class Scribe:
    """What saves: a place, the memory that states lie in, and what it wrote last."""

    def __init__(self, objects: Objects, options: SaveOptions, memory: SharedMemory) -> None:
        self._objects = objects
        self._options = options
        self._memory = memory
        self._last: tuple[bytes, CheckpointManifest] | None = None

    def answer(self, data: bytes, say: Say) -> bytes:
        """Do what is ordered, and return the line that tells how it went."""
        try:
            return save_words.done(self._saved(save_words.order_in(data), say))
        except Exception as error:  # noqa: BLE001 - whatever it is, the job has to hear of it
            return save_words.failed(error)

    def close(self) -> None:
        """Let go of the place."""
        self._objects.close()

    def _saved(self, order: Order, say: Say) -> Report:
        said, base = order.said, self._base(order.base)
        mapped = self._memory.map_read() if order.leaves else b""
        view = memoryview(mapped)
        leaves = tuple(
            Leaf(view[each.offset_bytes :][: each.size_bytes], each.is_array, is_private=True, steps=())
            for each in order.leaves
        )
        known = Known.of([base] if base is not None else [], said.digest)
        captured = Captured(order.tree, leaves)
        written = write_whole(self._objects, said, captured, known, self._options, _Progress(say))
        self._last = (written.manifest_digest, written.manifest)
        manifest = encode_manifest(written.manifest)
        try:
            at = self._memory.append(manifest)
        except OSError as error:
            raise StorageError(f"there is no memory to tell what was written: {error.strerror}", cause=error) from error
        return Report(
            at, len(manifest), written.manifest_digest.hex(),
            written.bytes_written, written.bytes_total, written.chunks_new, written.chunks_known,
        )  # fmt: skip

    def _base(self, base: tuple[int, int, bytes] | None) -> CheckpointManifest | None:
        """Return the manifest of what a save stands on; None where it can't: then all is written anew."""
        if base is None:
            return None
        epoch, save, digest = base
        if self._last is not None and self._last[0] == digest:
            return self._last[1]
        with suppress(CorruptionError):  # the job sees for itself whether it is there still
            entry = CheckpointEntry(epoch, save, 0, 0, digest)
            return Manifests(self._objects).read(entry).said
        return None


class _Progress:
    """Tells the job how far a save is, now and then."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._told_bytes = 0

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        if done_bytes == total_bytes or done_bytes >= self._told_bytes + _PROGRESS_BYTES:
            self._told_bytes = done_bytes
            self._say(save_words.progress(done_bytes, total_bytes))


@contextmanager
def _saying_so(say: Say) -> Iterator[None]:
    """Say now and then that this process is there, for as long as the block lasts."""
    has_ended = threading.Event()

    def loop() -> None:
        while not has_ended.wait(ALIVE_S):
            say(line({ALIVE: True}))

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()
