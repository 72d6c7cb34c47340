"""Batches: several changes that become one record, all or nothing."""

from __future__ import annotations

from journalkit.types import ABSENT, Absent, Key, Value


class Batch:
    """Changes to be committed together by `Store.write`.

    Nothing is checked or encoded before `write`. Later changes of a key win.
    `offsets` are input positions, stored in the same record as the state that
    was made from them.
    """

    __slots__ = ("changes", "offsets")

    def __init__(self) -> None:
        self.changes: list[tuple[Key, Value | Absent]] = []
        self.offsets: dict[str, Value] = {}

    def put(self, key: Key, value: Value) -> None:
        """Set a key."""
        self.changes.append((key, value))

    def delete(self, key: Key) -> None:
        """Remove a key, whether it is there or not."""
        self.changes.append((key, ABSENT))

    def __len__(self) -> int:
        return len(self.changes) + len(self.offsets)

    def __repr__(self) -> str:
        return f"<Batch of {len(self.changes)} changes and {len(self.offsets)} offsets>"
