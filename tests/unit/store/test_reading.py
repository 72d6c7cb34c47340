"""Entries that passed every checksum and aren't what they should be, and files that can't be read."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

import journalkit
from journalkit.errors import CorruptionError, ForkedError, JournalError, StorageError, StoreFullError
from journalkit.format.keys import Keyspace, encode_key
from journalkit.runtime import lifecycle
from journalkit.store.failures import unreadable
from tests.unit.store.conftest import Bench


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize(
    "read",
    [
        lambda store: store["k"],
        lambda store: store.get("k"),
        lambda store: store.view()["k"],
        lambda store: dict(store),
        lambda store: list(store.values()),
        lambda store: list(store.scan(reverse=True)),
        lambda store: store.pop("k"),
        lambda store: store.popitem(),
        lambda store: store.modify("k", lambda value: value),
        lambda store: store.put("k", 1, expect=2),
    ],
)
def test_a_value_that_does_not_decode_is_damage_and_named_by_its_key(
    store: journalkit.Store, read: Callable[[Any], Any], folded: bool
) -> None:
    """Somebody wrote it so; it must not come out as another value or as none."""
    store._commit([(encode_key("k"), b"\xff")], None, None)
    if folded:
        store.compact()
    assert list(store) == ["k"]
    with pytest.raises(CorruptionError, match="the value of key 'k'"):
        read(store)
    store["k"] = 1
    assert store == {"k": 1}


def test_a_key_that_does_not_decode_is_damage(store: journalkit.Store) -> None:
    """A scan that left it out would be wrong without a word."""
    store._commit([(encode_key("k") + b"\xff\xff", b"\x01")], None, None)
    for read in (list, dict, lambda it: it.popitem()):
        with pytest.raises(CorruptionError, match="a key can't be decoded"):
            read(store)
    assert len(store) == 1


def test_an_input_whose_name_does_not_decode_is_damage(store: journalkit.Store) -> None:
    """It was a MalformedError, which is nobody's to catch."""
    store._commit([(bytes((Keyspace.OFFSETS,)) + b"\xff", b"\x01")], None, None)
    with pytest.raises(CorruptionError, match="a key can't be decoded"):
        store.offsets  # noqa: B018 - reading it is what raises


def test_an_error_of_the_file_system_is_one_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a child a file of the parent's is closed; elsewhere that would be the disk's doing."""
    closed = OSError(errno.EBADF, "Bad file descriptor", "/store/table")
    monkeypatch.setattr(lifecycle, "_forked_from", [])
    assert isinstance(unreadable(closed), StorageError)
    monkeypatch.setattr(lifecycle, "_forked_from", [1])
    assert isinstance(unreadable(closed), ForkedError)
    assert isinstance(unreadable(OSError(errno.EIO, "Input/output error")), StorageError)
    full = StoreFullError("no room", path="/store", needed_bytes=1, free_bytes=0)
    assert unreadable(full) is full


def test_check_finds_lsns_that_are_out_of_order(store: journalkit.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One function asserts the ladder; if it ever breaks, that is our bug, and said to be."""
    store["a"] = 1
    store.check()
    store.compact()
    store.check()
    monkeypatch.setattr(type(store), "durable_lsn", 0)
    with pytest.raises(JournalError, match="a bug in journalkit"):
        store.check()


@pytest.mark.parametrize("codec", ["cbor", "msgpack", "raw"])
@pytest.mark.parametrize("key_type", [str, bytes])
def test_entries_of_one_shape_scan_as_others_do(bench: Bench, codec: str, key_type: type) -> None:
    """They are found in one step, from tables; beside a newer entry they are merged like all others."""
    numbers = range(600)
    keys = [f"{number:06}" if key_type is str else b"%06d" % number for number in numbers]
    expected = {key: b"%03d" % number * 20 for key, number in zip(keys, numbers, strict=True)}
    store = bench.open(sync="never", codec=codec)
    store.update(expected)
    store.compact()
    for turn in range(3):
        assert list(store.items()) == list(expected.items())
        assert list(store.scan(reverse=True)) == list(expected.items())[::-1]
        assert list(store.scan(keys[7], keys[590], limit=300)) == list(expected.items())[7:307]
        if turn == 1:
            store[keys[300]] = expected[keys[300]] = b"newer"
            del store[keys[301]], expected[keys[301]]
    assert len(store) == len(expected) == 599
