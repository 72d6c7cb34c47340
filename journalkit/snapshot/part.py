"""A stretch of a table's block that was read, as a batch of a scan."""

from __future__ import annotations

from journalkit.format.codec import Codec
from journalkit.format.columns import Columns, columns, same_sized_items
from journalkit.format.index import IndexEntry
from journalkit.format.malformed import MalformedError
from journalkit.snapshot.cache import Slot
from journalkit.snapshot.source import TableSource
from journalkit.types import Key


class Part:
    """Some entries of a block that was read: a batch. `slot` is the block's place in the cache, if it has one."""

    __slots__ = ("_block", "_entry", "_high", "_low", "_slot", "_source")

    def __init__(
        self, source: TableSource, entry: IndexEntry, block: bytes, slot: Slot | None, low: int, high: int
    ) -> None:
        self._source = source
        self._entry = entry
        self._block = block
        self._slot = slot
        self._low = low
        self._high = high

    def columns(self) -> Columns:
        """As `Batch.columns`."""
        try:
            return columns(self._block, self._low, self._high)
        except MalformedError as error:
            raise self._source.lost(self._entry, error) from error

    def items(self, codec: Codec) -> list[tuple[Key, bytes]] | None:
        """As `Batch.items`."""
        slot = self._slot
        is_ordered = slot is not None and slot.is_ordered
        items = same_sized_items(self._block, self._low, self._high, codec, is_ordered=is_ordered)
        if items is not None and slot is not None:
            slot.is_ordered = True
        return items
