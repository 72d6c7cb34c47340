"""Checks: what a commit may ask for when its place in the log is decided.

A check is called by the log's leader with the LSN of the last record before
the commit's and with the earlier commits of the same group, which have places
and aren't visible yet. It raises ConflictError to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from itertools import chain
from typing import TypeAlias

from journalkit.errors import ConflictError
from journalkit.format.keys import USER_FIRST
from journalkit.log.commit import Commit
from journalkit.store.layers import Frozen, Layers
from journalkit.store.reading import Decoder, shown
from journalkit.types import ABSENT, Absent, Key, Value

Check: TypeAlias = Callable[[int, Sequence[Commit]], None]
Encoded: TypeAlias = "bytes | Absent | None"


class MissingKeyError(ConflictError):
    """The key that was to be deleted isn't there."""


def is_there(encoded: Encoded) -> bool:
    """Whether an encoded value is one, and not a deletion or nothing."""
    return encoded is not None and encoded is not ABSENT


class Checks:
    """Makes the checks of one store."""

    __slots__ = ("_layers", "_values")

    def __init__(self, layers: Layers, values: Decoder) -> None:
        self._layers = layers
        self._values = values

    def _current(self, encoded_key: bytes, earlier: Sequence[Commit]) -> Encoded:
        """The key's value after every record that has a place."""
        for commit in reversed(earlier):
            for key, value in reversed(commit.mutations):
                if key == encoded_key:
                    return value
        return self._layers.get(encoded_key)

    def exists(self, encoded_key: bytes) -> Check:
        """The key is there."""

        def check(_last_lsn: int, earlier: Sequence[Commit]) -> None:
            if not is_there(self._current(encoded_key, earlier)):
                raise MissingKeyError("the key is absent")

        return check

    def unchanged(self, key: Key, encoded_key: bytes, before: Encoded) -> Check:
        """The key's encoded value is what it was, or it is still absent."""

        def check(_last_lsn: int, earlier: Sequence[Commit]) -> None:
            current = self._current(encoded_key, earlier)
            if is_there(current) != is_there(before) or (is_there(current) and current != before):
                raise ConflictError(f"key {shown(key)} was changed meanwhile; read it again and retry")

        return check

    def expected(self, key: Key, encoded_key: bytes, expect: Value | Absent) -> Check:
        """The key's decoded value equals `expect`, or the key is absent as `ABSENT` says."""

        def check(_last_lsn: int, earlier: Sequence[Commit]) -> None:
            current = self._current(encoded_key, earlier)
            if current is None or current is ABSENT:
                if expect is not ABSENT:
                    raise ConflictError(
                        f"key {shown(key)} is absent, {shown(expect)} was expected; read it again and retry"
                    )
            elif expect is ABSENT or self._values.value(key, current) != expect:
                raise ConflictError(f"key {shown(key)} isn't what was expected; read it again and retry")

        return check

    def still_last(self, state: Frozen, encoded_key: bytes, before: bytes) -> Check:
        """The key that was the last one in `state` still is, with the same value."""

        def check(_last_lsn: int, earlier: Sequence[Commit]) -> None:
            if self._current(encoded_key, earlier) != before or any(
                key > encoded_key for key in self._set_since(state, earlier)
            ):
                raise ConflictError("the last key is another one meanwhile; try again")

        return check

    def no_others(self, state: Frozen, keys: Container[bytes]) -> Check:
        """No key but these was set since `state`."""

        def check(_last_lsn: int, earlier: Sequence[Commit]) -> None:
            if any(key not in keys for key in self._set_since(state, earlier)):
                raise ConflictError("other keys were set meanwhile; try again")

        return check

    def _set_since(self, state: Frozen, earlier: Sequence[Commit]) -> Iterator[bytes]:
        """Yield at least every user key that was set behind `state` and may be there."""
        written = self._layers.written_since(state)
        if written is None:
            raise ConflictError("a fold came between; try again")
        placed = (mutation for commit in earlier for mutation in commit.mutations)
        for key, value in chain(written, placed):
            if value is not None and key >= USER_FIRST:
                yield key

    def nothing_since(self, lsn: int) -> Check:
        """No record has a place behind `lsn`."""

        def check(last_lsn: int, _earlier: Sequence[Commit]) -> None:
            if last_lsn != lsn:
                raise ConflictError(
                    f"what was read at LSN {lsn} may have changed since (the log is at {last_lsn}); run it again"
                )

        return check
