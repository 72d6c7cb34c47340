"""Outputs that appear exactly once: two phases around a checkpoint.

    prepare    what was written since the last call is kept, and not to be seen yet: a handle says what
    save       the checkpoint is published, and with it the handles of all that isn't committed
    commit     what the handles say is to be seen. Again is harmless
    recover    a job that goes on from a checkpoint commits its handles once more, and throws away all else

A crash before the publishing: nobody has the handles, and the next `recover`
throws away what was kept. A crash behind it: the checkpoint has them, and
`recover` commits. A save that fails, or whose outcome is unknown, leaves its
handles to the next one. So outputs are to be seen exactly as often as the
inputs that made them count.

Several workers have a sink of the same name each, and save together. Each
prepares for itself; once rank 0 has published each commits. When they go on
all commit, each what is its share, and throw away only when all have: they may
write to one place. `journalkit.checkpoint.together` sees to the order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from journalkit.errors import KeyTypeError, KeyValueError, UsageError

T = TypeVar("T")


class Sink(Protocol):
    """Something that outputs go to. The handles are values as a store has them."""

    @property
    def name(self) -> str:
        """What it is known by in a checkpoint: the same from one run to the next, and no other sink's."""
        ...

    def prepare(self) -> Any:
        """Keep what was written since the last call, durably and unseen; return what says what it is. None: nothing."""
        ...

    def commit(self, handle: Any) -> None:
        """Let what a handle says be seen, durably. It may have been so already, in an earlier process too."""
        ...

    def recover(self, handles: Sequence[Any]) -> None:
        """Commit what some handles say, in order, and throw away whatever else was kept or begun."""
        ...


@runtime_checkable
class SharedSink(Sink, Protocol):
    """A sink that has to know which of several workers it writes for. One that needn't is a `Sink`."""

    def join(self, rank: int) -> None:
        """Write for that worker from now on; called before all else, again and again. A handle says whose it is."""
        ...


class Outputs:
    """What the sinks of a job have prepared, and not committed yet. For one thread at a time.

    Args:
        rank: Which of several workers they write for.
    """

    def __init__(self, rank: int | None = None) -> None:
        self._rank = rank
        self._prepared: dict[str, list[Any]] = {}

    def around(self, sinks: Sequence[Sink], save: Callable[[dict[str, list[Any]]], T]) -> T:
        """Prepare, save with the handles, commit; return what the save gave.

        What raises before the save has succeeded leaves all for the next one. What a commit raises is raised once
        all sinks were tried: the checkpoint is there then, and the next save or `recover` commits once more.
        """
        saved = save(self.prepare(sinks))
        self.commit(sinks)
        return saved

    def prepare(self, sinks: Sequence[Sink]) -> dict[str, list[Any]]:
        """Return the handles of all that isn't committed, with what is prepared now; so a save has to have them."""
        self._join(sinks)
        for sink in sinks:
            handle = sink.prepare()
            if handle is not None:
                self._prepared.setdefault(sink.name, []).append(handle)
        return {name: list(handles) for name, handles in self._prepared.items()}

    def commit(self, sinks: Sequence[Sink]) -> None:
        """Commit what was prepared: a save has succeeded. Raises what a sink does, once all were tried."""
        failure: Exception | None = None
        for sink in sinks:
            try:
                for handle in self._prepared.get(sink.name, ()):
                    sink.commit(handle)
            except Exception as error:  # noqa: BLE001 - raised below, once the others were asked
                failure = failure or error
            else:
                self._prepared.pop(sink.name, None)
        if failure is not None:
            raise failure

    def recover(self, sinks: Sequence[Sink], prepared: Mapping[str, Sequence[Any]]) -> None:
        """Let the sinks go on from a checkpoint that says this of them.

        Raises:
            UsageError: It has outputs of a sink that isn't given: nobody would commit them.
        """
        self._begin_again(sinks, prepared)
        for sink in sinks:
            sink.recover(prepared.get(sink.name, ()))

    def recommit(self, sinks: Sequence[Sink], prepared: Mapping[str, Sequence[Any]]) -> None:
        """Be the first half of `recover`, of several workers: commit. Raises as that."""
        self._begin_again(sinks, prepared)
        for sink in sinks:
            for handle in prepared.get(sink.name, ()):
                sink.commit(handle)

    def discard(self, sinks: Sequence[Sink]) -> None:
        """Be the second half, once all have committed: throw away whatever else was kept or begun."""
        for sink in sinks:
            sink.recover(())

    def _begin_again(self, sinks: Sequence[Sink], prepared: Mapping[str, Sequence[Any]]) -> None:
        self._join(sinks)
        missing = sorted(set(prepared) - {sink.name for sink in sinks})
        if missing:
            raise UsageError(f"the checkpoint has outputs of {', '.join(map(repr, missing))}: give these sinks as well")
        self._prepared = {}

    def _join(self, sinks: Sequence[Sink]) -> None:
        _check_names(sinks)
        if self._rank is not None:
            for sink in sinks:
                if isinstance(sink, SharedSink):
                    sink.join(self._rank)


def _check_names(sinks: Sequence[Sink]) -> None:
    names = [sink.name for sink in sinks]
    for name in names:
        if not isinstance(name, str):
            raise KeyTypeError(f"a sink's name is a str, not {name!r:.100}")
    if len(set(names)) != len(names):
        raise KeyValueError(f"sinks are told apart by their names, and these are {names}")
