"""State that is divided among workers: by key, or as parts of one array.

    key -> key group      by a hash, for ever
    key group -> rank     in ranges, by how many workers there are

A group is what moves from worker to worker when their number changes (the way
of Apache Flink's key groups). It is saved as bytes of its own, so a worker
reads those that are its, and a save writes those that changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import index
from typing import Any, Final

from journalkit.errors import KeyTypeError, KeyValueError
from journalkit.format.checkpoint import PART_MAX
from journalkit.format.checksum import checksum
from journalkit.format.codec import CborCodec
from journalkit.format.keys import encode_key
from journalkit.format.malformed import MalformedError
from journalkit.format.nodes import GROUPS_MAX, fits
from journalkit.types import Key

GROUPS: Final = 128
_MIX: Final = 0x9E37_79B1
_WORD: Final = 0xFFFF_FFFF
_BITS: Final = 32


def key_group(key: Key, groups: int = GROUPS) -> int:
    """Return the group of a key, from 0: the same on every machine, in every version.

    Args:
        key: As a store's keys: str, bytes, int, or a tuple of these.
        groups: How many there are; never changed once a state was saved with it.

    Raises:
        UsageError: It is no key, or there can't be so many groups.
    """
    return _group_of(encode_key(key), _checked_groups(groups))


def key_groups_of(rank: int, size: int, groups: int = GROUPS) -> range:
    """Return the groups whose keys one of `size` workers holds: for who divides the inputs.

    Raises:
        UsageError: There is no such worker, or there can't be so many groups.
    """
    check_rank(rank, size)
    _checked_groups(groups)
    return range(-(-rank * groups // size), -(-(rank + 1) * groups // size))


class Keyed(dict[Any, Any]):
    """A dict that is divided among workers by its keys, and goes to others when their number changes.

    Keys are those of a store, values what a store takes. Everything else is as with any dict.

    Attributes:
        groups: How many key groups there are: the most workers that it can be divided among. Never changed once
            a state was saved with it.
    """

    __slots__ = ("groups",)

    def __init__(self, entries: Mapping[Any, Any] | Iterable[tuple[Any, Any]] = (), *, groups: int = GROUPS) -> None:
        super().__init__(entries)
        self.groups = _checked_groups(groups)

    def __repr__(self) -> str:
        return f"Keyed({super().__repr__()}, groups={self.groups})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (dict(self), self.groups)


class Shard:
    """One worker's part of an array that is divided among several.

    Attributes:
        array: The part: a NumPy array or a PyTorch tensor.
        shape: The shape of the whole.
        offset: Where in it the part begins.
    """

    __slots__ = ("array", "offset", "shape")

    def __init__(self, array: Any, shape: Iterable[int], offset: Iterable[int]) -> None:
        """Raises UsageError: The part doesn't lie within the whole."""
        self.array = array
        try:
            self.shape = tuple(index(size) for size in shape)
            self.offset = tuple(index(begin) for begin in offset)
        except TypeError:
            raise KeyTypeError(f"shape={shape!r:.50}, offset={offset!r:.50}: whole numbers, one a dimension") from None
        part = tuple(int(size) for size in getattr(array, "shape", ()))
        if not hasattr(array, "shape") or not fits(part, self.offset, self.shape):
            raise KeyValueError(f"an array of {part} at {self.offset} is no part of one of {self.shape}")

    def __repr__(self) -> str:
        return f"<Shard of {tuple(self.array.shape)} at {self.offset} of {self.shape}>"


def by_group(keyed: Keyed, mine: range | None) -> dict[int, bytes]:
    """Return the bytes of each group that has any key.

    `mine` are the groups that the caller holds, if there are several workers.

    Raises:
        UsageError: A key or value can't be stored, or belongs to another worker.
    """
    groups: dict[int, list[tuple[bytes, Any, Any]]] = {}
    for key, value in keyed.items():
        encoded = encode_key(key)
        group = _group_of(encoded, keyed.groups)
        if mine is not None and group not in mine:
            raise KeyValueError(f"[{key!r:.50}] belongs to another worker: it is of key group {group}")
        groups.setdefault(group, []).append((encoded, key, value))
    codec = CborCodec()
    found = {}
    for group in sorted(groups):
        # By key, so that a group that is as it was has the bytes that it had.
        entries = sorted(groups[group], key=_encoded)
        found[group] = codec.encode([[key, value] for _, key, value in entries])
    return found


def entries_of(data: bytes) -> list[tuple[Any, Any]]:
    """Return the keys and values of a group.

    Raises:
        MalformedError: It has none.
    """
    found: Any = CborCodec().decode(data)
    if type(found) is not list or any(type(entry) is not list or len(entry) != 2 for entry in found):
        raise MalformedError("a key group is no list of keys and values")
    try:
        return list({entry[0]: entry[1] for entry in found}.items())
    except TypeError:
        raise MalformedError("a key of a key group is none") from None


def check_rank(rank: int, size: int) -> None:
    """Raise UsageError unless there can be such a worker."""
    for name, value in (("rank", rank), ("size", size)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise KeyTypeError(f"{name}={value!r} is not a whole number")
    if not 0 <= rank < size <= PART_MAX + 1:
        raise KeyValueError(
            f"rank={rank}, size={size}: ranks go from 0 to one below how many workers there are, a million at most"
        )


def _made(entries: Mapping[Any, Any], groups: int) -> Keyed:
    return Keyed(entries, groups=groups)


def _encoded(entry: tuple[bytes, Any, Any]) -> bytes:
    return entry[0]


def _group_of(encoded: bytes, groups: int) -> int:
    # Mixed and taken from above: neighbours in a checksum's low bits would share their groups.
    return ((checksum(encoded) * _MIX & _WORD) * groups) >> _BITS


def _checked_groups(groups: int) -> int:
    if isinstance(groups, bool) or not isinstance(groups, int):
        raise KeyTypeError(f"groups={groups!r} is not a whole number")
    if not 0 < groups <= GROUPS_MAX:
        raise KeyValueError(f"groups={groups}: from 1 to {GROUPS_MAX}")
    return groups
