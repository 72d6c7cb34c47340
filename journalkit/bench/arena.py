"""The arena: the contenders of a row, open side by side, each in a directory of its own.

Whatever ends a row, an error and Ctrl-C too, they are closed and their
directories removed. A peer that is missing or fails is named in the row; a
contender that reads back something else than was written ends the bench.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from journalkit.bench import data
from journalkit.bench.engine import MIB, BenchError, Database, Engine, Item, Terms
from journalkit.bench.engines import PEERS, device
from journalkit.bench.engines.own import own
from journalkit.bench.result import BEST_PEER, Goal, Row, Unit
from journalkit.bench.rounds import Contender, Contest, Missing, Run, contest, reason
from journalkit.bench.scale import Scale
from journalkit.errors import UsageError

ROOM_BYTES_MIN: Final = 64 * MIB
PREFIX: Final = "journalkit-bench-"
LOADED_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Bench:
    """One run: where, how much, and against whom."""

    directory: str
    scale: Scale
    peers: Sequence[Engine] = PEERS

    @contextmanager
    def place(self) -> Iterator[str]:
        """Yield a new directory on the file system that is measured; it is removed afterwards.

        Raises:
            UsageError: The directory isn't one that can be written to.
            BenchError: There is no room.
        """
        if not os.path.isdir(self.directory):
            raise UsageError(f"{self.directory} is not a directory; the bench writes below an existing one")
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise UsageError(f"{self.directory} can't be written to; name another with --directory")
        self.require_room()
        path = tempfile.mkdtemp(prefix=PREFIX, dir=self.directory)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def require_room(self) -> None:
        """Raise BenchError if the disk is about full: what fails then says nothing of speed."""
        free_bytes = shutil.disk_usage(self.directory).free
        if free_bytes < ROOM_BYTES_MIN:
            raise BenchError(
                f"{self.directory} has {free_bytes // MIB} MiB free, too little to measure; make room, use --quick, or "
                "name another with --directory"
            )

    @contextmanager
    def arena(
        self, terms: Terms, *, ours: Engine | None = None, peers: bool = True, writes: bool = False
    ) -> Iterator[Arena]:
        """Open journalkit and every peer on the same terms.

        Args:
            terms: What all are asked for.
            ours: journalkit with other options than the defaults.
            peers: Whether they take part.
            writes: The row times single writes, so whoever syncs each one unasked can't take part without.
        """
        with self.place() as path, ExitStack() as stack:
            arena = Arena(self, terms, path)
            stack.callback(arena.close)
            arena.enter(ours or own())
            for engine in self.peers if peers else ():
                if writes and engine.always_syncs and terms.durability != "power cut":
                    arena.missing.append(Missing(engine.name, "it syncs every commit, and can't be asked for less"))
                else:
                    arena.enter(engine)
            yield arena


@dataclass(slots=True)
class Arena:
    """Open databases by name, journalkit's first, and who is missing."""

    bench: Bench
    terms: Terms
    path: str
    databases: dict[str, Database] = field(default_factory=dict)
    engines: dict[str, Engine] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)

    @property
    def ours(self) -> Database:
        """The journalkit store, as an engine."""
        return next(iter(self.databases.values()))

    def enter(self, engine: Engine) -> None:
        """Open a contender's database. The first one is journalkit and has to work; a peer may be missing."""
        path = os.path.join(self.path, engine.name)
        try:
            engine.require()
            os.mkdir(path)
            self.databases[engine.name] = engine.open(path, self.terms)
        except Exception as error:
            if not self.databases:
                raise
            self.drop(engine.name, reason(error))
            return
        self.engines[engine.name] = engine

    def reopened(self, name: str, *, forgotten: bool = False) -> Database:
        """Close a contender's database and open it again; `forgotten` empties the system's cache in between."""
        path = os.path.join(self.path, name)
        self.databases[name].close()
        if forgotten:
            device.forget(path)
        self.databases[name] = self.engines[name].open(path, self.terms)
        return self.databases[name]

    def drop(self, name: str, why: str) -> None:
        """Go on without a peer, unless it failed for want of room."""
        self.bench.require_room()
        self.missing.append(Missing(name, why))
        database = self.databases.pop(name, None)
        if database is not None:
            with contextlib.suppress(Exception):
                database.close()

    def each(self, work: Callable[[str, Database], object]) -> None:
        """Let every contender do something outside the clock; a peer that fails drops out."""
        ours = self.ours
        for name, database in list(self.databases.items()):
            try:
                work(name, database)
            except BenchError:
                raise
            except Exception as error:
                if database is ours:
                    raise
                self.drop(name, reason(error))

    def load(self, count: int, *, settle: bool = True) -> None:
        """Put the first `count` keys into every database, in commits of 10,000."""
        for first in range(0, count, LOADED_AT_ONCE):
            some = data.items(first, min(first + LOADED_AT_ONCE, count), objects=self.terms.objects)
            self.each(lambda _, database, some=some: database.write(some))  # type: ignore[misc]
        if settle:
            self.each(lambda _, database: database.settle())

    def compete(
        self,
        run_of: Callable[[Database], Run],
        rounds: int,
        *,
        besides: Iterable[Contender] = (),
        reads: bool = False,
    ) -> Contest:
        """Let all do the same work in turn.

        Args:
            run_of: Gives each contender's work.
            rounds: How often each does it.
            besides: Contenders that aren't databases.
            reads: It is about reading, where some are shown and don't count: who hands out live objects, and who
                maps its files where memory is bounded.
        """
        return self.compete_by_name(lambda name: run_of(self.databases[name]), rounds, besides=besides, reads=reads)

    def compete_by_name(
        self, run_of: Callable[[str], Run], rounds: int, *, besides: Iterable[Contender] = (), reads: bool = False
    ) -> Contest:
        """`compete` for work that opens the databases itself."""
        contenders = [
            Contender(name, run_of(name), engine.settings(self.terms), counts=not (reads and self._apart(engine)))
            for name, engine in self.engines.items()
            if name in self.databases
        ]
        result = contest(contenders[0], [*contenders[1:], *besides], rounds)
        for gone in result.dropped:
            self.drop(gone.name, gone.why)
        return result

    def _apart(self, engine: Engine) -> bool:
        return engine.live_objects or (self.terms.bounded and engine.maps_files)

    def must_hold(self, expected: Sequence[Item], *, ours: bool = True) -> None:
        """Read back from every contender, or from all but journalkit.

        Raises:
            BenchError: An answer isn't what was written.
        """

        def read_back(name: str, database: Database) -> None:
            if database is self.ours and not ours:
                return
            with database.reader() as get:
                try:
                    must(all(get(key) == value for key, value in expected), name)
                except KeyError:
                    must(False, name)

        self.each(read_back)

    def row(
        self,
        name: str,
        what: str,
        goal: Goal | None,
        result: Contest | None,
        *,
        against: str = BEST_PEER,
        unit: Unit = "s",
        note: str = "",
        writes: bool = True,
    ) -> Row:
        """Return a row of this arena."""
        durability = self.terms.durability if writes else ""
        return Row(name, what, against, goal, result, tuple(self.missing), durability, unit, note)

    def close(self) -> None:
        """Close all. What a peer says to that is nobody's business any more."""
        for database in self.databases.values():
            with contextlib.suppress(Exception):
                database.close()
        self.databases.clear()


def must(held: bool, name: str) -> None:
    """Stop the bench if a contender didn't do its work: a wrong answer is not a fast one."""
    if not held:
        raise BenchError(f"{name} did not read back what was written; the figures mean nothing")


def unmeasured(name: str, what: str, goal: Goal | None, why: str, *, against: str = BEST_PEER, **more: Any) -> Row:
    """Return a row that says why there is no figure."""
    return Row(name, what, against, goal, None, (Missing("journalkit", why),), **more)
