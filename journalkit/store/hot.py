"""Hot values: single values that were read more than once, decoded, by the key as the program gives it.

A hit is one look-up in a dict, without a lock, and a copy if the value is one
that a caller could change. Whether a value comes from here or from the layers
makes no difference but time: `Layers.apply` drops a key before its new value
can be seen, and nothing is filled in while it does.

    reader  attach an empty slot, see that nobody is applying, read the layers, fill the slot
    writer  note that it applies, drop the slots of its keys, change the entries, note that it is done

So a slot that is filled and attached holds what the layers say: a writer that
begins behind the reader's look finds the slot and drops it, and what a dropped
slot is filled with nobody sees. A fold changes no value, and nothing here.

Who reads each key once pays for a byte: a key gets a slot the second time it
is asked for. Room is made by second chance, and only where that is quick.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from itertools import starmap
from sys import getsizeof, intern
from typing import Any, Final, TypeAlias

from journalkit.format.keys import BYTES, STR, TUPLE, USER_FIRST, decode_key
from journalkit.format.values import IMMUTABLE
from journalkit.types import Key, Value

Inner: TypeAlias = "tuple[tuple[Any, Inner], ...]"
"""Where in a container others lie that a copy has to copy too, and where in those."""

SLOT_BYTES: Final = 200
"""About what a slot takes beside key and value: itself, its places in a dict and in the ring."""

ASKED_PLACES: Final = 1 << 20
_ASKED_MASK: Final = ASKED_PLACES - 1
ASKED_MAX: Final = ASKED_PLACES // 2
"""Which keys were asked for is kept as a byte for each hash, and forgotten when half of them are set."""

LARGEST_SHARE: Final = 4
"""A value larger than this part of the budget isn't kept."""


PATIENCE: Final = 4
"""When all is full, one of so many newcomers looks for slots to give up, and only up to the first that was read. Where
more is read in turn than there is room for, most of what is here stays, instead of going just before it is wanted."""


_SHARED: Final = frozenset({None, False, True, "", *map(chr, range(128)), *range(2, 257)})
_TYPES_OF_SHARED: Final = frozenset(map(type, _SHARED))
"""Values of which Python has one for all, and their types: no others are looked up, some have no hash."""


class Slot:
    """A key's place. `value` is None until it is filled; `inner` is None for a value that can't be changed."""

    __slots__ = ("inner", "key", "read_since", "size_bytes", "value")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.value: Value = None
        self.inner: Inner | None = None
        self.read_since = False
        self.size_bytes = 0


class HotValues:
    """About `budget_bytes` of values. Any thread may use it; none ever waits here.

    A dict for each type of key, because 1 and True are the same key to a dict.
    Keys that are tuples are not kept: what they are made of has no single type.
    """

    __slots__ = ("_asked", "_asked_count", "_budget_bytes", "_is_full", "_lock", "_newcomers", "_ring", "_size_bytes",
                 "byte_keys", "int_keys", "str_keys")  # fmt: skip

    def __init__(self, budget_bytes: int) -> None:
        """Begin empty; 0 keeps nothing."""
        self._budget_bytes = budget_bytes
        self._asked = bytearray(ASKED_PLACES if budget_bytes else 0)
        self._asked_count = 0
        self._lock = threading.Lock()
        self._ring: deque[Slot] = deque()
        self._size_bytes = 0
        self._is_full = False
        self._newcomers = 0
        self.str_keys: dict[Key, Slot] = {}
        self.byte_keys: dict[Key, Slot] = {}
        self.int_keys: dict[Key, Slot] = {}

    def __len__(self) -> int:
        """Return how many slots are attached."""
        return len(self.str_keys) + len(self.byte_keys) + len(self.int_keys)

    @property
    def keeps(self) -> bool:
        """Whether anything is ever kept."""
        return self._budget_bytes > 0

    def get(self, key: Key) -> Slot | None:
        """Return a key's slot, if it has one."""
        slots = self._slots(type(key))
        return None if slots is None else slots.get(key)

    def attach(self, key: Key) -> Slot | None:
        """Return a new, empty slot, attached, for a key that was asked for before, or None: not every key gets one."""
        # Hot: each get that goes to the layers comes by here, most of them for nothing.
        kind = type(key)
        slots = self.byte_keys if kind is bytes else self.str_keys if kind is str else self._slots(kind)
        if slots is None or not self._budget_bytes:
            return None
        at = hash(key) & _ASKED_MASK
        if not self._asked[at]:
            self._asked[at] = True
            self._asked_count += 1
            if self._asked_count > ASKED_MAX:
                self._asked, self._asked_count = bytearray(ASKED_PLACES), 0
            return None
        if self._is_full:
            self._newcomers += 1
            if self._newcomers % PATIENCE:
                return None
        slot = slots[key] = Slot(key)
        return slot

    def fill(self, slot: Slot, value: Value) -> None:
        """Let a slot that was attached before the layers were read hold what they said, or detach it.

        The value is the caller's: what is kept of one that can be changed is a copy.
        """
        kept = keepsake(value)
        if kept is not None and kept[0] is not None:
            copy, slot.inner, value_bytes = kept
            slot.size_bytes = SLOT_BYTES + getsizeof(slot.key) + value_bytes
            if slot.size_bytes <= self._budget_bytes // LARGEST_SHARE and self._take_in(slot):
                slot.value = copy
                return
        self.detach(slot)

    def detach(self, slot: Slot) -> None:
        """Give a slot up."""
        slots = self._slots(type(slot.key))
        if slots is not None:
            slots.pop(slot.key, None)

    def drop(self, mutations: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Detach the slots of keys that are about to change."""
        str_keys, byte_keys = self.str_keys, self.byte_keys
        for key, _ in mutations:
            tag = key[0]
            if tag == STR:
                str_keys.pop(key[1:].decode(), None)
            elif tag == BYTES:
                byte_keys.pop(key[1:], None)
            elif tag != TUPLE:
                self._drop_integer(key)

    def _drop_integer(self, key: bytes) -> None:
        if self.int_keys and key >= USER_FIRST:
            self.int_keys.pop(decode_key(key), None)

    def _slots(self, kind: type) -> dict[Key, Slot] | None:
        if kind is str:
            return self.str_keys
        if kind is bytes:
            return self.byte_keys
        return self.int_keys if kind is int else None

    def _take_in(self, slot: Slot) -> bool:
        """Make room and put the slot on the ring; False if another thread is at it."""
        held: list[bool] = []
        try:
            # As in `BlockCache.forget`: one C call takes the lock and notes it.
            held.extend(starmap(self._lock.acquire, ((False,),)))
            if held != [True]:
                return False
            if not self._make_room(slot.size_bytes):
                return False
            self._size_bytes += slot.size_bytes
            self._ring.append(slot)
            return True
        finally:
            if held == [True]:
                self._lock.release()

    def _make_room(self, size_bytes: int) -> bool:
        """Give up slots that nobody read since they last came round; False if there are none near at hand."""
        while self._size_bytes + size_bytes > self._budget_bytes:
            self._is_full = True
            slot = self._ring.popleft()
            if slot.read_since:
                slot.read_since = False
                self._ring.append(slot)
                return False
            self._size_bytes -= slot.size_bytes
            slots = self._slots(type(slot.key))
            if slots is not None and slots.get(slot.key) is slot:
                self.detach(slot)
        return True


def fresh(value: Value, inner: Inner) -> Value:
    """Return a copy of a container that shares nothing with it that can be changed."""
    made = value.copy()
    for at, deeper in inner:
        made[at] = fresh(made[at], deeper) if deeper else made[at].copy()
    return made


def keepsake(value: Value) -> tuple[Value, Inner | None, int] | None:
    """Return a copy of a value, what `fresh` needs to copy that, and about its bytes; None if that can't be done.

    What can't be changed is no copy but itself, and needs nothing: None. The
    copies of many values share the keys of their dicts.
    """
    kind = type(value)
    if kind in IMMUTABLE:
        return value, None, _leaves_bytes((value,))
    if kind is dict:
        kept: Any = {intern(key) if type(key) is str else key: child for key, child in value.items()}
        children, items = kept.values(), kept.items()
    elif kind is list:
        kept = value.copy()
        children, items = kept, enumerate(value)
    elif kind is tuple or kind is frozenset:
        is_flat = IMMUTABLE.issuperset(map(type, value))
        return (value, None, getsizeof(value) + _leaves_bytes(value)) if is_flat else None
    else:
        return None
    size_bytes = getsizeof(kept)
    leaves = [child for child in children if type(child) in IMMUTABLE]
    size_bytes += _leaves_bytes(leaves)
    if len(leaves) == len(kept):
        return kept, (), size_bytes
    inner = []
    for at, child in list(items):
        if type(child) in IMMUTABLE:
            continue
        copied = keepsake(child)
        if copied is None:
            return None
        kept[at], deeper, child_bytes = copied
        size_bytes += child_bytes
        if deeper is not None:
            inner.append((at, deeper))
    return kept, tuple(inner), size_bytes


def _leaves_bytes(values: Iterable[Value]) -> int:
    """Return about what values in a container take, not counting those of which Python has one for all."""
    return sum(getsizeof(value) for value in values if type(value) not in _TYPES_OF_SHARED or value not in _SHARED)
