"""Views: the state at one LSN, as a read-only mapping."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Self

from journalkit.errors import ClosedError
from journalkit.format.manifest import Manifest
from journalkit.snapshot.batches import FIRST_ENTRIES, Batches
from journalkit.store.layers import Frozen
from journalkit.store.moment import Moment, Momentary
from journalkit.store.reading import OFFSETS_RANGE, Decoder, OrderedReads
from journalkit.types import Absent, Lsn, Value


class View(OrderedReads, Momentary):
    """A store as it was at `lsn`: reads, scans, offsets. Any thread may use it.

    It keeps the memory and the files that it needs until it is closed or
    dropped; writers never wait for it.
    """

    def __init__(self, state: Frozen, manifest: Manifest, values: Decoder, offsets: Decoder) -> None:
        """Use `Store.view`."""
        self._state: Frozen | None = state
        self._manifest = manifest
        self._values = values
        self._offsets = offsets
        self._lsn = state.lsn

    @property
    def lsn(self) -> Lsn:
        """The last record whose effect is visible here."""
        return self._lsn

    @property
    def offsets(self) -> Mapping[str, Value]:
        """Input positions as they were, by name: a copy. O(offsets)."""
        return MappingProxyType(self._offsets.offsets(self._batches(*OFFSETS_RANGE)))

    def moment(self) -> Moment:
        """Return the state with what its store is. For journalkit's own layers."""
        return Moment(self._frozen(), self._manifest)

    def close(self) -> None:
        """Let go of what the view keeps; later reads raise ClosedError. Idempotent."""
        self._state = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._state is None else "open"
        return f"<journalkit.View of {self._values.path} at LSN {self._lsn}, {state}>"

    def _encoded(self, encoded_key: bytes) -> bytes | Absent | None:
        return self._frozen().get(encoded_key)

    def _encoded_many(self, encoded_keys: list[bytes]) -> dict[bytes, bytes]:
        return self._frozen().get_many(encoded_keys)

    def _batches(
        self, start: bytes | None, stop: bytes | None, *, reverse: bool = False, first_entries: int = FIRST_ENTRIES
    ) -> Batches:
        return self._frozen().batches(start, stop, reverse=reverse, first_entries=first_entries)

    def _frozen(self) -> Frozen:
        state = self._state
        if state is None:
            raise ClosedError("the view is closed; take a new one from the store")
        return state
