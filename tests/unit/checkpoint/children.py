"""Processes that save, as threads: what they do to a simulated bucket can be cut off at any operation."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from journalkit.checkpoint.address import Address
from journalkit.checkpoint.outside import Outside
from journalkit.checkpoint.save_child import Scribe, serve
from journalkit.checkpoint.save_words import Service
from journalkit.checkpoint.saving import SaveOptions
from journalkit.fs.shared import SharedMemory
from tests.unit.checkpoint.conftest import Place

CHILD = "child"


class KilledError(BaseException):
    """The process is no more."""


class ThreadChild:
    """A `journalkit.fs.interface.Child` that saves into a bucket."""

    def __init__(self, place: Place) -> None:
        self.is_ended = False
        self._place = place
        self._heard: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._status = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, data: bytes, pause: Callable[[], None]) -> None:
        if not self._thread.is_alive():
            raise BrokenPipeError
        self._heard.put(data[4:])

    def receive(self, timeout_s: float) -> bytes | None:
        try:
            return self._said.get(timeout=timeout_s) if timeout_s else self._said.get_nowait()
        except queue.Empty:
            return None if self._thread.is_alive() else b""

    def mutter(self, noise: bytes) -> None:
        """Say what nobody asked for."""
        self._said.put(noise)

    def end(self) -> int | None:
        if self._thread.is_alive():
            self._status = -9
        self.is_ended = True
        self._heard.put(None)
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self._status

    def _run(self) -> None:
        try:
            serve(self._next, self._said.put, self._scribe)
        except KilledError:
            self._status = -9

    def _next(self) -> bytes:
        data = self._heard.get()
        if data is None:
            raise KilledError
        return data

    def _scribe(self, service: Service) -> Scribe:
        # A number of its own, as a process has it.
        return Scribe(self._place.bucket.handle(CHILD), service.options, SharedMemory(os.dup(service.memory)))


class Children:
    """Starts children that save, and remembers them."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.started: list[Any] = []
        self.next: list[Any] = []
        """What is started instead, as long as there is something; an error is raised."""

    def start(self, _module: str, _memory: SharedMemory) -> Any:
        found = self.next.pop(0) if self.next else ThreadChild(self.place)
        if isinstance(found, Exception):
            raise found
        self.started.append(found)
        return found

    def begin(self, *, options: SaveOptions) -> Outside:
        """Be what `open_on` is given."""
        return Outside(Address("simulated://"), options, self.place.clock, self.start)


class Scripted:
    """A child that says what it is told to, one thing at a time, and never ends by itself; a look takes a second."""

    def __init__(self, place: Place, *says: bytes | None, status: int | None = -9) -> None:
        self.says = list(says)
        self.sent: list[bytes] = []
        self.is_ended = False
        self._clock = place.clock
        self._status = status

    def send(self, data: bytes, pause: Callable[[], None]) -> None:
        self.sent.append(data)

    def receive(self, timeout_s: float) -> bytes | None:
        if not timeout_s:
            return None
        self._clock.advance(1)
        return self.says.pop(0) if self.says else None

    def end(self) -> int | None:
        self.is_ended = True
        return self._status
