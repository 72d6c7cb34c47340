"""Memory for captures that another process reads: what is copied there goes through no pipe.

One capture lies in it at a time, its parts behind one another, in some large
mappings; the next one begins anew. Memory that a capture fills is kept for the
next one, what it didn't need goes back to the system.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import Final

from journalkit.checkpoint import arrays
from journalkit.checkpoint.tree import Buffers
from journalkit.errors import ClosedError, StorageError
from journalkit.fs.shared import GRAIN_BYTES, Mapped, SharedMemory

ALIGNMENT_BYTES: Final = 64
_MAPPED_BYTES_MIN: Final = 16 << 20
_PIECE_BYTES: Final = 1 << 20
"""So little is copied at once that nobody waits for the interpreter for long."""


@dataclass(slots=True)
class _Mapping:
    """One stretch of the memory: where it begins, how much of it is taken, and how much there is memory for."""

    offset_bytes: int
    held: Mapped
    view: memoryview
    taken_bytes: int = 0
    there_bytes: int = 0


class SharedBuffers(Buffers):
    """`Buffers` in shared memory. Threads may share it; what they take is of the same capture."""

    def __init__(self, memory: SharedMemory) -> None:
        super().__init__()
        self._memory = memory
        self._guard = threading.Lock()
        self._mappings: list[_Mapping] = []
        self._current = 0
        self._places: dict[int, tuple[int, memoryview]] = {}
        self._is_gone = False

    def take(self, size_bytes: int) -> memoryview:
        """Return memory of that size, behind what was taken.

        Raises:
            StorageError: There is no more. What was taken before stays.
            ClosedError: All was let go of.
        """
        with self._guard:
            if self._is_gone:
                raise ClosedError("the memory of captures was let go of: open the checkpoints again")
            try:
                mapping = self._mapping_for(size_bytes)
                start = -(-mapping.taken_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
                end = start + size_bytes
                if end > mapping.there_bytes:
                    # In one go: page by page it would take longer, and a lack of memory would be a signal.
                    self._memory.need(mapping.offset_bytes + mapping.there_bytes, end - mapping.there_bytes)
                    mapping.there_bytes = end
            except (OSError, ValueError, OverflowError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise StorageError(
                    f"there is no memory for {size_bytes} bytes that another process can read: {reason}; nothing was "
                    "saved, save less, or with saving='thread'",
                    cause=error if isinstance(error, OSError) else None,
                ) from error
            mapping.taken_bytes = end
            view = mapping.view[start:end]
            self._places[id(view)] = (mapping.offset_bytes + start, view)
            return view

    def place(self, view: memoryview) -> int:
        """Return where bytes are in the memory, and put them there if they are elsewhere. Raises as `take`."""
        found = self._places.get(id(view))
        if found is None:
            target = self.take(len(view))
            for start in range(0, len(view), _PIECE_BYTES):
                arrays.fill(target[start : start + _PIECE_BYTES], view[start : start + _PIECE_BYTES])
            # Under what it was asked for too: a save that is written anew has it there already.
            found = self._places[id(view)] = (self._places[id(target)][0], view)
        return found[0]

    def give_back(self, views: list[memoryview]) -> None:  # noqa: ARG002 - it knows what was taken
        """Keep the memory of the last capture; what it didn't need goes."""
        with self._guard:
            self._places.clear()
            del self._mappings[self._current + bool(self._mappings and self._mappings[self._current].taken_bytes) :]
            end_bytes = 0
            for mapping in self._mappings:
                end_bytes = mapping.offset_bytes + mapping.taken_bytes
                self._memory.free(mapping.held, mapping.taken_bytes)
                mapping.there_bytes, mapping.taken_bytes = mapping.taken_bytes, 0
            self._current = 0
            self._end_at(end_bytes)

    def clear(self) -> None:
        """Let go of all of it, for good. What is still being read stays until it is given back."""
        with self._guard:
            self._is_gone = True
            self._mappings.clear()
            if not self._places:
                self._end_at(0)

    def abandon(self) -> None:
        """Let go of the mappings: this is a fork of the process that made them. What it looks at itself stays."""
        self._places.clear()
        for mapping in self._mappings:
            with contextlib.suppress(BufferError):
                mapping.view.release()
                mapping.held.close()

    def _mapping_for(self, size_bytes: int) -> _Mapping:
        """Return the first mapping, from the current one on, that has room behind what is taken; map more if none."""
        for at in range(self._current, len(self._mappings)):
            mapping = self._mappings[at]
            if mapping.taken_bytes + ALIGNMENT_BYTES + size_bytes <= len(mapping.view):
                self._current = at
                return mapping
        last = self._mappings[-1] if self._mappings else None
        offset_bytes = last.offset_bytes + len(last.view) if last is not None else 0
        # Each as large as all before: a descriptor is kept for each, and what isn't filled takes no memory.
        wanted = max(size_bytes + ALIGNMENT_BYTES, offset_bytes, _MAPPED_BYTES_MIN)
        mapped = self._memory.map(offset_bytes, -(-wanted // GRAIN_BYTES) * GRAIN_BYTES)
        self._mappings.append(_Mapping(offset_bytes, mapped, memoryview(mapped)))
        self._current = len(self._mappings) - 1
        return self._mappings[-1]

    def _end_at(self, size_bytes: int) -> None:
        # Closed meanwhile: then it goes by itself.
        with contextlib.suppress(OSError):
            self._memory.end_at(size_bytes)
