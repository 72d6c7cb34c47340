"""Writers of heads that note who they are, and turns that a seed gives to threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from journalkit.format.head import CheckpointEntry, Head


def entry(epoch: int, save: int, name: str = "") -> CheckpointEntry:
    """Return a checkpoint."""
    return CheckpointEntry(epoch, save, 1, 100, bytes([save % 256]) * 32, name, {"loss": save / 7})


def adding(added: CheckpointEntry) -> Callable[[Head], Head | None]:
    """Return a change that adds a checkpoint, once."""

    def change(head: Head) -> Head | None:
        if any(known.place == added.place for known in head.checkpoints):
            return None
        kept = sorted([*head.checkpoints, added], key=lambda known: known.place)
        return replace(head, checkpoints=tuple(kept))

    return change


class Turns:
    """Threads of which one goes on at a time, from one pause to its next; a seed says which."""

    def __init__(self, seed: int, *, patience: int = 0) -> None:
        self._chance = Random(seed)
        self._patience = patience
        self._changed = threading.Condition()
        self._waiting: set[str] = set()
        self._turn = ""
        self._sleeping: dict[str, int] = {}
        self._errors: list[BaseException] = []

    def pause(self, who: str, *_: str) -> None:
        """Wait for the next turn."""
        with self._changed:
            self._waiting.add(who)
            self._turn = ""
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._turn == who)
            self._waiting.discard(who)

    def run(self, programs: dict[str, Callable[[], None]]) -> None:
        """Run them all to their ends."""
        alive = set(programs)

        def live(who: str, program: Callable[[], None]) -> None:
            try:
                self.pause(who)
                program()
            except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
                self._errors.append(error)
            finally:
                with self._changed:
                    alive.discard(who)
                    self._turn = ""
                    self._changed.notify_all()

        threads = [threading.Thread(target=live, args=each, daemon=True) for each in programs.items()]
        for thread in threads:
            thread.start()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._turn == "" and self._waiting >= alive)
                if not alive:
                    break
                self._turn = self._choose(sorted(alive))
                self._changed.notify_all()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _choose(self, alive: list[str]) -> str:
        """Give somebody a turn: now and then one sleeps, for longer than heads are kept."""
        if self._patience and self._chance.random() < 0.02:
            self._sleeping[self._chance.choice(alive)] = self._patience
        awake = [who for who in alive if not self._sleeping.get(who)] or alive
        self._sleeping = {who: left - 1 for who, left in self._sleeping.items() if left > 1}
        return self._chance.choice(awake)


@pytest.fixture(scope="session")
def turns() -> type[Turns]:
    """Give the class."""
    return Turns


@pytest.fixture(scope="session")
def make_entry() -> Callable[..., CheckpointEntry]:
    """Give the function."""
    return entry


@pytest.fixture(scope="session")
def add_to() -> Callable[[CheckpointEntry], Callable[[Head], Head | None]]:
    """Give the function."""
    return adding
