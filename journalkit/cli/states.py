"""What a state is made of, for people: each value by its place, long ones by what they are and how long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from journalkit.checkpoint.checkpoint import Checkpoint
from journalkit.checkpoint.keyed import Keyed, Shard
from journalkit.checkpoint.saved import SavedArray, SavedBytes, SavedFile
from journalkit.checkpoint.saved_store import SavedStore
from journalkit.cli import jsonform
from journalkit.cli.terminal import count, shortened

_WIDTH: Final = 60
_LARGE: Final = (Mapping, list, tuple, bytearray, memoryview, Shard, SavedArray, SavedBytes, SavedFile, SavedStore)

Leaf: TypeAlias = tuple[tuple[Any, ...], str, int | None]
"""Where something stands in a state, what it is, and how long it is if it is long."""


def leaves_of(checkpoint: Checkpoint) -> Iterator[Leaf]:
    """Yield what a checkpoint's state is made of; of several workers behind each one's rank. Raises as `load`."""
    workers = checkpoint.workers
    for rank in range(workers):
        yield from _leaves(checkpoint.load(lazy=True, worker=(rank, workers)), (f"rank {rank}",) if workers > 1 else ())


def _leaves(value: Any, steps: tuple[Any, ...]) -> Iterator[Leaf]:
    """Yield what a state is made of."""
    if isinstance(value, Keyed):
        yield steps, f"{count(len(value))} keys in {count(value.groups)} groups", None
    elif isinstance(value, Shard):
        [(_, kind, taken)] = _leaves(value.array, steps)
        yield steps, f"{kind} at {value.offset} of {value.shape}", taken
    elif isinstance(value, SavedStore):
        yield steps, f"store, LSN {value.lsn}, {count(value.tables, 'table')}", value.size_bytes
    elif isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*steps, key))
    elif isinstance(value, list | tuple) and value and any(_is_large(inner) for inner in value):
        for at, inner in enumerate(value):
            yield from _leaves(inner, (*steps, at))
    elif isinstance(value, SavedArray):
        yield steps, f"{value.dtype} {value.shape}", value.size_bytes
    elif isinstance(value, SavedFile):
        yield steps, f"file {value.name}", value.size_bytes
    elif isinstance(value, SavedBytes):
        yield steps, "bytes", value.size_bytes
    elif hasattr(value, "dtype") and hasattr(value, "shape"):
        yield steps, f"{value.dtype} {tuple(value.shape)}", getattr(value, "nbytes", None)
    elif isinstance(value, bytearray | memoryview):
        yield steps, type(value).__name__, len(value)
    elif isinstance(value, Mapping):
        yield steps, "{}", None
    else:
        yield steps, shown(value), None


def _is_large(value: Any) -> bool:
    return isinstance(value, _LARGE) or hasattr(value, "dtype")


def steps_shown(steps: tuple[Any, ...]) -> str:
    """Return the words for a place in a state."""
    return " ".join(step if isinstance(step, str) and step else repr(step) for step in steps) or "(all of it)"


def shown(value: Any) -> str:
    """Return a value's words, not too many."""
    return value if isinstance(value, str) else shortened(jsonform.dumps(value), _WIDTH)
