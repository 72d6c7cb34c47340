"""A table, every byte of it: blocks, indexes and filters read in order, and compared with each other.

A new table has to pass before a manifest names it, and `verify` asks it of any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from journalkit.errors import CorruptionError
from journalkit.format.block import CRC_BYTES
from journalkit.format.filters import HEAD_BYTES, PAGE_BLOCKS, joined, page_count, page_place, part_of
from journalkit.format.index import IndexBlock
from journalkit.format.table import HEADER_BYTES, TableInfo
from journalkit.snapshot.source import TableBytes, open_source

WINDOW_BYTES = 1 << 20


def check_table(
    file: TableBytes,
    path: str,
    info: TableInfo,
    store_uuid: bytes,
    *,
    thorough: bool = True,
    step: Callable[[], None] | None = None,
) -> None:
    """Read the table that the manifest records as `info`; return if it is sound.

    Args:
        file: Its bytes.
        path: What an error calls it.
        info: What is expected.
        store_uuid: Whose it has to be.
        thorough: Decode blocks and compare filters with them; without, checksums and blocks' ends are compared.
        step: Called for each block. May sleep, or raise to give up.

    Raises:
        CorruptionError: The first damage found, and which keys it costs.
        UnsupportedFormatError, OSError: As `open_source`.

    Complexity:
        O(size); memory for a window of the file, one block, and the keys' checksums of one index block.
    """
    _Check(file, path, info, store_uuid, thorough=thorough, step=step).run()


class _Window:
    """Reads ahead, so that a pass over small blocks costs a few large reads, direct ones above all."""

    __slots__ = ("_data", "_file", "_start")

    def __init__(self, file: TableBytes) -> None:
        self._file = file
        self._start = 0
        self._data = b""

    def pread(self, count_bytes: int, offset_bytes: int) -> bytes:
        low = offset_bytes - self._start
        if low < 0 or low + count_bytes > len(self._data):
            self._data = self._file.pread(max(count_bytes, WINDOW_BYTES), offset_bytes)
            self._start, low = offset_bytes, 0
        return self._data[low : low + count_bytes]

    def size(self) -> int:
        return self._file.size()


class _Check:
    """One pass over a table: every block is read, and together they cover the file without a gap."""

    def __init__(
        self,
        file: TableBytes,
        path: str,
        info: TableInfo,
        store_uuid: bytes,
        *,
        thorough: bool,
        step: Callable[[], None] | None,
    ) -> None:
        self._thorough = thorough
        self._step = step
        # Data blocks follow one another; index blocks lie ahead of where the window is.
        self._data = open_source(_Window(file), path, info, store_uuid)
        self._source = replace(self._data, file=file)
        self._position = HEADER_BYTES
        self._block_count = 0
        self._data_bytes = 0

    def run(self) -> None:
        """Raise CorruptionError for the first thing that is wrong."""
        footer = self._source.footer
        self._visit(self._source.root)
        self._expect(footer.root_offset)
        if (self._block_count, self._data_bytes) != (footer.block_count, footer.data_bytes):
            raise CorruptionError("the footer counts other blocks than there are", path=self._source.path)

    def _visit(self, index: IndexBlock) -> None:
        crcs: list[bytes] = []
        for at in range(len(index.firsts)):
            entry = index.entry(at)
            if index.level:
                self._visit(self._source.index(index, entry))
                self._expect(entry.offset_bytes)
            else:
                self._expect(entry.offset_bytes)
                if self._thorough:
                    crcs.append(self._data.checked_crcs(entry))
                else:
                    self._data.raw_block(entry)
                if self._step is not None:
                    self._step()
                self._block_count += 1
                self._data_bytes += entry.length_bytes
            self._position += entry.length_bytes
        if self._source.is_filtered:
            self._check_filter(index, crcs)

    def _check_filter(self, index: IndexBlock, crcs: list[bytes]) -> None:
        """Compare each byte of an index block's filter with the keys that it speaks of."""
        for page in range(page_count(index)):
            first = page * PAGE_BLOCKS
            offset_bytes, length_bytes, _ = page_place(index, first)
            self._expect(offset_bytes)
            said = self._data.page(index, first)[HEAD_BYTES:-CRC_BYTES]
            if self._thorough and said != joined(map(part_of, crcs[first : first + PAGE_BLOCKS])):
                raise CorruptionError(
                    "a filter isn't that of the keys of its blocks; gets may miss them",
                    path=self._source.path,
                    offset_bytes=offset_bytes,
                )
            self._position += length_bytes

    def _expect(self, offset_bytes: int) -> None:
        if self._position != offset_bytes:
            raise CorruptionError(
                f"{offset_bytes - self._position} bytes belong to no block",
                path=self._source.path,
                offset_bytes=self._position,
            )
