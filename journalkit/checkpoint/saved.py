"""What a lazy load gives in the place of long bytes: handles that read what they are asked for.

A handle reads by chunk and checks each chunk that it reads. It needs the
checkpoint to be there still: a job that prunes keeps those that are open.
"""

from __future__ import annotations

import os
from contextlib import closing, suppress
from math import prod
from typing import Any, Final

from journalkit.checkpoint import arrays
from journalkit.checkpoint.reading import ChunkReader
from journalkit.checkpoint.tree import Kept
from journalkit.errors import KeyTypeError, StorageError
from journalkit.format import names
from journalkit.format.nodes import ArrayNode, BytesNode, Chunked, Content, FileNode, TensorNode, content_of
from journalkit.fs.atomic import place_file, write_all
from journalkit.fs.interface import FileSystem
from journalkit.fs.posix import PosixFileSystem

_COPY_BYTES: Final = 8 << 20


class _Saved(Kept):
    """Long bytes of a checkpoint, or short ones that are in the tree."""

    def __init__(self, reader: ChunkReader, content: Content, words: str) -> None:
        self._reader = reader
        self._content = content
        self._words = words
        self.size_bytes = reader.length(content.index) if isinstance(content, Chunked) else len(content)

    def _bytes(self, start: int, stop: int) -> memoryview:
        if isinstance(self._content, Chunked):
            return self._reader.read(self._content.index, self._words, start, stop)
        return memoryview(self._content)[start:stop]


class SavedBytes(_Saved):
    """Bytes of a state. A slice of it is read when it is asked for."""

    def __init__(self, reader: ChunkReader, node: BytesNode, words: str) -> None:
        super().__init__(reader, node.content, words)
        self._kind = node.kind

    def __len__(self) -> int:
        return self.size_bytes

    def __repr__(self) -> str:
        return f"<{self._words}: {self.size_bytes} bytes, saved>"

    def __getitem__(self, part: slice) -> bytes:
        """Return a slice: the chunks that it touches are read. Raises as `ChunkReader.read`."""
        if not isinstance(part, slice):
            raise KeyTypeError(f"{self._words} is read by slices")
        start, stop, step = part.indices(self.size_bytes)
        if step != 1:
            return self[:][part]
        return bytes(self._bytes(start, stop))

    def kept(self) -> Any:
        """Return all of it, for a save."""
        return self.read()

    def read(self) -> bytes | bytearray | memoryview:
        """Return all of it, as it was saved. Raises as `ChunkReader.read`."""
        data = self._bytes(0, self.size_bytes)
        if self._kind == "bytearray":
            return bytearray(data)
        return bytes(data) if self._kind == "bytes" else memoryview(bytes(data))


class SavedFile(_Saved):
    """A file of a state: its name, without directories, and what was in it."""

    def __init__(self, reader: ChunkReader, node: FileNode, words: str) -> None:
        super().__init__(reader, node.content, words)
        self.name = self.file_name = node.name

    def __repr__(self) -> str:
        return f"<{self._words}: file {self.name!r} of {self.size_bytes} bytes, saved>"

    def kept(self) -> Any:
        """Return what is in it, for a save."""
        return self.read()

    def read(self, start: int = 0, count: int | None = None) -> bytes:
        """Return what is in it, or a range of that. Raises as `ChunkReader.read`."""
        stop = self.size_bytes if count is None else min(start + count, self.size_bytes)
        return bytes(self._bytes(start, stop))

    def copy_to(self, path: str | os.PathLike[str], *, fs: FileSystem | None = None) -> None:
        """Make a file of it, whole or not at all; one that is there is replaced.

        Durability:
            The file survives a power cut once this returns.

        Raises:
            StorageError: It can't be written.
            CorruptionError, ArchiveUnavailableError: It can't be read. What was at the path is there still.
        """
        target = os.fspath(path)
        on = fs if fs is not None else PosixFileSystem()
        temporary = names.temporary_name(target)
        try:
            with suppress(FileNotFoundError):
                on.unlink(temporary)
            try:
                with closing(on.create(temporary)) as file:
                    for start in range(0, self.size_bytes, _COPY_BYTES):
                        write_all(file, self._bytes(start, min(start + _COPY_BYTES, self.size_bytes)), start)
                    file.sync()
                place_file(on, temporary, target)
            except BaseException:
                with suppress(OSError):
                    on.unlink(temporary)
                raise
        except StorageError:  # of what it is read from
            raise
        except OSError as error:
            raise StorageError(f"{target} can't be written: {error.strerror}", cause=error, path=target) from error


class SavedArray(_Saved):
    """An array or tensor of a state: its shape, and parts of it or all when they are asked for."""

    def __init__(self, reader: ChunkReader, node: ArrayNode | TensorNode, words: str) -> None:
        super().__init__(reader, content_of(node), words)
        self._node = node
        self._array = node.array if isinstance(node, TensorNode) else node
        self.shape = self._array.shape

    @property
    def dtype(self) -> str:
        """What its elements are, by the name that NumPy or PyTorch has for them."""
        return str(self._array.kind)

    def __len__(self) -> int:
        if not self.shape:
            raise KeyTypeError(f"{self._words} has no dimensions")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<{self._words}: {self.dtype} {self.shape}, saved>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Return all of it, for NumPy, which knows how to ask."""
        del copy  # it is always a new one
        found = self.read()
        return found if dtype is None else found.astype(dtype)

    def __getitem__(self, part: Any) -> Any:
        """Return a part by the first axis: only its rows are read. Anything else is asked of all of it.

        Raises as `ChunkReader.read`.
        """
        if isinstance(part, slice) and self.shape and not self._array.by_columns:
            start, stop, step = part.indices(self.shape[0])
            if step == 1 and start < stop:
                return self._rows(start, stop)
        if isinstance(part, int) and self.shape and not self._array.by_columns:
            row = part + self.shape[0] if part < 0 else part
            if not 0 <= row < self.shape[0]:
                raise IndexError(f"{self._words} has {self.shape[0]} rows, not {part}")
            return self._rows(row, row + 1)[0]
        return self.read()[part]

    def read(self) -> Any:
        """Return all of it: an array, or a tensor on the CPU. Raises as `ChunkReader.read`."""
        return made_of(self._node, self._bytes(0, self.size_bytes))

    def kept(self) -> Any:
        """Return all of it, for a save."""
        return self.read()

    def _rows(self, start: int, stop: int) -> Any:
        row_bytes = prod(self.shape[1:]) * arrays.item_bytes(self._node)
        if isinstance(self._node, TensorNode):
            node: ArrayNode | TensorNode = TensorNode(self._part(stop - start), False, False, self._node.device)
        else:
            node = self._part(stop - start)
        return made_of(node, self._bytes(start * row_bytes, stop * row_bytes))

    def _part(self, rows: int) -> ArrayNode:
        return ArrayNode(self._array.kind, (rows, *self.shape[1:]), False, b"")


def made_of(node: ArrayNode | TensorNode, data: memoryview) -> Any:
    """Return the array or tensor that bytes stand for.

    Raises:
        UsageError: It takes a library that isn't installed.
    """
    if isinstance(node, TensorNode):
        return arrays.tensor_of(node, data)
    return arrays.array_of(node, data)
