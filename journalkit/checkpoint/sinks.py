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
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

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


class Outputs:
    """What the sinks of a job have prepared, and not committed yet. For one thread at a time."""

    def __init__(self) -> None:
        self._prepared: dict[str, list[Any]] = {}

    def around(self, sinks: Sequence[Sink], save: Callable[[dict[str, list[Any]]], T]) -> T:
        """Prepare, save with the handles, commit; return what the save gave.

        What raises before the save has succeeded leaves all for the next one. What a commit raises is raised once
        all sinks were tried: the checkpoint is there then, and the next save or `recover` commits once more.
        """
        _check_names(sinks)
        for sink in sinks:
            handle = sink.prepare()
            if handle is not None:
                self._prepared.setdefault(sink.name, []).append(handle)
        saved = save({name: list(handles) for name, handles in self._prepared.items()})
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
        return saved

    def recover(self, sinks: Sequence[Sink], prepared: Mapping[str, Sequence[Any]]) -> None:
        """Let the sinks go on from a checkpoint that says this of them.

        Raises:
            UsageError: It has outputs of a sink that isn't given: nobody would commit them.
        """
        _check_names(sinks)
        missing = sorted(set(prepared) - {sink.name for sink in sinks})
        if missing:
            raise UsageError(f"the checkpoint has outputs of {', '.join(map(repr, missing))}: give these sinks as well")
        self._prepared = {}
        for sink in sinks:
            sink.recover(prepared.get(sink.name, ()))


def _check_names(sinks: Sequence[Sink]) -> None:
    names = [sink.name for sink in sinks]
    for name in names:
        if not isinstance(name, str):
            raise KeyTypeError(f"a sink's name is a str, not {name!r:.100}")
    if len(set(names)) != len(names):
        raise KeyValueError(f"sinks are told apart by their names, and these are {names}")
