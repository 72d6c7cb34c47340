"""What a load gives in the place of a store: a handle that says what was saved, and makes a store of it.

It reads by chunk and checks each chunk that it reads. It needs the checkpoint
to be there still, as the handles of `journalkit.checkpoint.saved` do.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from inspect import signature
from types import MappingProxyType
from typing import Any, Final

from journalkit.checkpoint.reading import ChunkReader
from journalkit.checkpoint.stores import Streamed
from journalkit.checkpoint.streams import PIECE_BYTES, Stream, in_pieces
from journalkit.clock import Clock, SystemClock
from journalkit.errors import KeyTypeError
from journalkit.format.nodes import StoreNode, TableNode
from journalkit.format.stored import metadata_of
from journalkit.fs.interface import FileSystem
from journalkit.recovery.restoring import write_store
from journalkit.runtime.place import MEMORY, caller, resolve
from journalkit.store.open import open_store
from journalkit.store.store import Store
from journalkit.types import Lsn

_AHEAD: Final = 4
"""How many spans are read ahead: a few requests of 8 MiB."""
_OPTIONS: Final = frozenset(signature(open_store).parameters) - {"path", "create", "codec", "metadata"}
_IN_MEMORY: Final = "restored"


class SavedStore(Streamed):
    """A store of a state, as it was at `lsn`.

    Attributes:
        uuid: The store's identity, which the one that is restored shares.
        lsn: The last record whose effect is in it.
        codec: How values are stored.
        tables: How many tables were saved.
        size_bytes: How many bytes they have.
    """

    def __init__(self, reader: ChunkReader, node: StoreNode, words: str) -> None:
        self._reader = reader
        self._node = node
        self._words = words
        self.uuid = node.store.hex()
        self.lsn: Lsn = node.lsn
        self.codec = node.codec
        self.tables = len(node.tables)
        self.size_bytes = sum(reader.length(table.content.index) for table in node.tables)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What was given as `metadata` when the store was created: a copy."""
        return MappingProxyType(metadata_of(self._node))

    def __repr__(self) -> str:
        return f"<{self._words}: store of LSN {self.lsn}, {self.size_bytes} bytes, saved>"

    def restore(
        self,
        path: str | os.PathLike[str],
        *,
        trust_filesystem: str | None = None,
        fs: FileSystem | None = None,
        clock: Clock | None = None,
        **options: Any,
    ) -> Store:
        """Make a store of it in a directory that has none, open it, and return it.

        All of it is checked on its way, and read back from the device. The store has the keys, values, offsets,
        metadata, codec and LSN that were saved, and one snapshot, of that LSN; its log begins there. It is a store of
        its own from then on, and has the UUID of the one that was saved, as a copy has.

        Args:
            path: A directory that isn't there, or is empty; or one in which an earlier restore was cut short, which
                begins anew.
            trust_filesystem: As for `journalkit.open`.
            fs: As for `journalkit.open`.
            clock: As for `journalkit.open`.
            options: How to open it: those of `journalkit.open`, but for `create`, `codec` and `metadata`, which are
                what was saved.

        Durability:
            The store survives a power cut once this returns. If the process ends in the middle, the directory has a
            whole store, or doesn't open as one.

        Raises:
            UsageError: There is something in the directory, or an option can't be. Nothing is left.
            LockedError: Another process restores or creates a store there just now.
            CorruptionError: What was saved is damaged, or missing. Nothing is left.
            UnsupportedFormatError: It takes a later journalkit, or a package.
            StoreFullError: No room. Nothing is left.
            ArchiveUnavailableError, StorageError: It can't be read, or not be written. Nothing is left; but where only
                the opening of what was restored has failed, and what came of it isn't known, that is there.

        Complexity:
            O(bytes of the store); memory for some chunks.
        """
        wrong = next((name for name in options if name not in _OPTIONS), None)
        if wrong is not None:
            raise KeyTypeError(f"{wrong}={options[wrong]!r:.50} is no option here, or is what was saved: leave it out")
        place = resolve(path, fs)
        # In memory there is one directory, which the store that is opened has to find.
        directory = place.directory if place.directory != MEMORY else _IN_MEMORY
        hands = clock if clock is not None else SystemClock()
        restored = write_store(
            place.fs,
            directory,
            self._node,
            lambda table: self._reader.pieces(table.content.index, self._words, ahead=_AHEAD),
            hands,
            size_bytes=self.size_bytes,
            opened_at=caller(),
            trust_filesystem=trust_filesystem,
        )
        given = (path, fs) if directory == place.directory else (directory, place.fs)
        try:
            return open_store(
                given[0], create=False, fs=given[1], clock=clock, trust_filesystem=trust_filesystem, **options
            )
        except BaseException:
            restored.take_back()
            raise

    def captured(self) -> tuple[StoreNode, Sequence[Stream]]:
        """Return its node and the bytes of its tables, for a save."""
        return self._node, [SavedTable(self._reader, table, self._words) for table in self._node.tables]


class SavedTable(Stream):
    """A table of a checkpoint, to be saved again."""

    def __init__(self, reader: ChunkReader, table: TableNode, words: str) -> None:
        self._reader = reader
        self._index = table.content.index
        self._words = words
        self.key: Hashable = (reader, self._index)

    @property
    def size_bytes(self) -> int:
        """How many bytes the table has."""
        return self._reader.length(self._index)

    def pieces(self) -> Iterator[memoryview]:
        """Read it, each chunk checked by digest. Raises as `Stream.pieces`."""
        return in_pieces(self._reader.pieces(self._index, self._words, ahead=_AHEAD))

    def digests(self, kind: str) -> Sequence[tuple[bytes, int]] | None:
        """Return what the checkpoint says of it."""
        return self._reader.digests(self._index, kind) if self._reader.chunk_bytes(self._index) == PIECE_BYTES else None
