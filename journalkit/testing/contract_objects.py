"""What every place for objects owes the code above it: one suite for directories, servers, the fake and yours.

Who writes a `journalkit.objects.interface.Objects` runs each check of
`OBJECTS_CONTRACT` on one of their own, below a prefix that nobody else uses:

    pytest.register_assert_rewrite("journalkit.testing.contract_objects")     # for messages that show values

    @pytest.mark.parametrize("claim", OBJECTS_CONTRACT)
    def test_my_objects(claim):
        OBJECTS_CONTRACT[claim](MyObjects(), f"{claim}/")

Durability is no part of it, as for file systems.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from journalkit.clock import SystemClock
from journalkit.errors import ClosedError, JournalError, UsageError
from journalkit.objects.interface import Objects, ObjectStatus
from journalkit.objects.probe import Probe, probe

Check: TypeAlias = Callable[[Objects, str], None]
"""Takes objects and a prefix that ends with a slash and has none; raises AssertionError where the claim is wrong."""


@contextmanager
def _refused(kind: type[JournalError]) -> Iterator[None]:
    try:
        yield
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")


def _keys(objects: Objects, prefix: str, **asked: Any) -> list[str]:
    return [found.key.removeprefix(prefix) for found in objects.list(prefix, **asked)]


def what_is_put_is_got_whole_and_by_range(objects: Objects, root: str) -> None:
    """A load reads parts of large objects; a read beyond the end is short, never an error."""
    assert objects.put(f"{root}a", (b"01234", b"56789")) == 10
    assert objects.get(f"{root}a") == b"0123456789"
    ranges = [(3, 4), (8, 4), (0, 10), (0, 0), (10, 1), (99, 1), (99, None), (4, None), (10, None)]
    assert [objects.get(f"{root}a", start=start, length=length) for start, length in ranges] == [
        b"3456", b"89", b"0123456789", b"", b"", b"", b"", b"456789", b"",
    ]  # fmt: skip
    assert objects.status(f"{root}a") == ObjectStatus(f"{root}a", 10)
    for start, length in ((-1, None), (0, -1)):
        with _refused(UsageError):
            objects.get(f"{root}a", start=start, length=length)


def what_is_not_there_is_none(objects: Objects, root: str) -> None:
    """An object that was pruned is told apart from a service that fails; the beginning of a key is no object."""
    objects.put(f"{root}d/a", (b"x",))
    for key in ("d", "d/b", "absent/a", "d/a/b"):
        assert (objects.get(f"{root}{key}"), objects.status(f"{root}{key}")) == (None, None)
        assert objects.get(f"{root}{key}", start=1, length=2) is None
        assert objects.get(f"{root}{key}", length=0) is None


def every_kind_of_buffer_is_put_and_no_piece_is_kept(objects: Objects, root: str) -> None:
    """Writers hand in views of arrays, and use the memory again as soon as the next piece is asked for."""
    scratch = bytearray(3)

    def pieces() -> Iterator[Any]:
        yield b"bytes"
        yield bytearray(b"array")
        yield memoryview(b"view")[1:]
        yield memoryview(array("H", [0x4141, 0x4242]))
        yield b""
        yield memoryview(scratch).toreadonly()

    assert objects.put(f"{root}a", pieces()) == 20
    assert objects.get(f"{root}a") == b"bytesarrayiewAABB\0\0\0"
    assert objects.put(f"{root}a", ()) == 0
    assert (objects.get(f"{root}a"), objects.status(f"{root}a")) == (b"", ObjectStatus(f"{root}a", 0))
    with _refused(UsageError):
        objects.put(f"{root}b", (memoryview(b"123456")[::2],))
    assert objects.get(f"{root}b") is None


def a_large_put_arrives_whole(objects: Objects, root: str) -> None:
    """It may go in several requests, of sizes that have nothing to do with those of the pieces."""
    block = bytes(range(256)) * 4096
    pieces = [block, block[:-1], b"odd", *[block] * 17, b"end"]
    objects.put(f"{root}a", iter(pieces))
    assert objects.get(f"{root}a") == b"".join(pieces)
    assert objects.get(f"{root}a", start=len(block) * 2 - 1, length=3) == b"odd"


def a_put_whose_pieces_fail_changes_nothing(objects: Objects, root: str) -> None:
    """A save that is interrupted leaves what there was, and the caller gets their own error."""

    class OursError(OSError):
        pass

    def pieces(count: int) -> Iterator[bytes]:
        yield from [bytes(1 << 20)] * count
        raise OursError

    objects.put(f"{root}a", (b"before",))
    for key in ("a", "b"):
        for count in (0, 1, 18):
            try:
                objects.put(f"{root}{key}", pieces(count))
            except OursError:
                continue
            raise AssertionError("the error was lost")
    assert (objects.get(f"{root}a"), _keys(objects, root)) == (b"before", ["a"])


def create_makes_an_object_once(objects: Objects, root: str) -> None:
    """It is how one of several writers wins; who tries the same bytes again has won still."""
    assert objects.create(f"{root}d/a", b"first")
    assert not objects.create(f"{root}d/a", b"second")
    assert objects.create(f"{root}d/a", b"first")
    assert objects.get(f"{root}d/a") == b"first"
    objects.put(f"{root}d/b", (b"put",))
    assert not objects.create(f"{root}d/b", b"created")
    objects.delete(f"{root}d/a")
    assert objects.create(f"{root}d/a", b"second")
    objects.put(f"{root}d/a", (b"third",))
    assert objects.get(f"{root}d/a") == b"third"


def of_writers_that_create_one_key_one_wins(objects: Objects, root: str) -> None:
    """Two winners are two writers."""
    for turn in range(5):
        won: list[int] = []

        def race(me: int, turn: int = turn, won: list[int] = won) -> None:
            if objects.create(f"{root}{turn}", bytes([me])):
                won.append(me)

        threads = [threading.Thread(target=race, args=(me,)) for me in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [objects.get(f"{root}{turn}")] == [bytes([me]) for me in won]


def delete_takes_several_and_what_is_not_there(objects: Objects, root: str) -> None:
    """A prune that is tried again finds some of its work done."""
    for key in ("a", "b", "d/c"):
        objects.put(f"{root}{key}", (b"x",))
    objects.delete(f"{root}a", f"{root}absent", f"{root}d/c", f"{root}none/at/all", f"{root}b/b")
    objects.delete(f"{root}a")
    objects.delete()
    assert _keys(objects, root) == ["b"]
    objects.delete(f"{root}d", f"{root}b")
    assert (_keys(objects, root), objects.get(f"{root}b")) == ([], None)


def objects_are_listed_sorted_in_pages(objects: Objects, root: str) -> None:
    """The newest head is the last of a list; ten thousand objects are ten requests."""
    keys = ["a", "b/1", "b/2/x", "b/2/y", "b0", "bb", "c-1", "c.1", "d/1"]
    for key in reversed(keys):
        objects.put(f"{root}{key}", (key.encode(),))
    assert _keys(objects, root) == keys == sorted(keys)
    assert [found.size_bytes for found in objects.list(root)] == [len(key) for key in keys]
    for limit in (1, 2, 4, 9):
        pages, after = [], ""
        while page := objects.list(root, after=after, limit=limit):
            pages += [found.key.removeprefix(root) for found in page]
            after = page[-1].key
        assert pages == keys
    assert _keys(objects, f"{root}b/") == ["1", "2/x", "2/y"]
    assert _keys(objects, f"{root}b/2") == ["/x", "/y"]
    assert _keys(objects, root, after=f"{root}b/1") == ["b/2/x", "b/2/y", "b0", "bb", "c-1", "c.1", "d/1"]
    assert _keys(objects, root, after=f"{root}b/2/w") == ["b/2/x", "b/2/y", "b0", "bb", "c-1", "c.1", "d/1"]
    assert _keys(objects, f"{root}b", after=f"{root}b/2/x", limit=2) == ["/2/y", "0"]
    assert (_keys(objects, root, after=f"{root}zz"), _keys(objects, f"{root}zz")) == ([], [])
    assert _keys(objects, f"{root}c", after="!") == ["-1", ".1"]
    with _refused(UsageError):
        objects.list(root, limit=0)


def only_safe_keys_are_taken(objects: Objects, root: str) -> None:
    """A key becomes a path: none may lead elsewhere, and every back end has to be able to hold it."""
    longest = f"{root}{'x' * 200}"
    assert objects.create(longest, b"")
    assert objects.status(longest) == ObjectStatus(longest, 0)
    wrong: list[Any] = ["", "/a", "a/", "a//b", "..", "a/../b", ".a", "a/.tmp", "a b", "ä", "a\n", "a\0", "x" * 201]
    wrong += ["/".join(["abc"] * 201), "-a", "a?b", "a%2fb", "a\\b"]
    for key in wrong:
        for use in (objects.get, objects.status, objects.delete, lambda key: objects.put(key, ())):
            with _refused(UsageError):
                use(key)
        with _refused(UsageError):
            objects.create(key, b"")
    for prefix in ("/", "..", "a//", "a/.."):
        with _refused(UsageError):
            objects.list(prefix)
    with _refused(UsageError):
        objects.get(3)  # type: ignore[arg-type]


def a_probe_finds_the_rules_kept_and_leaves_nothing(objects: Objects, root: str) -> None:
    """Who opens for several writers asks first, and often."""
    del root
    before = [found.key for found in objects.list("probe/")]
    assert probe(objects, SystemClock()) == Probe(
        refuses_second_create=True, lists_at_once=True, reads_at_once=True
    )
    assert [found.key for found in objects.list("probe/")] == before


def a_closed_handle_writes_no_more(objects: Objects, root: str) -> None:
    """Whoever closed it believes that nothing changes any more."""
    objects.put(f"{root}a", (b"x",))
    objects.close()
    objects.close()
    uses: list[Callable[[], object]] = [
        lambda: objects.put(f"{root}b", ()), lambda: objects.create(f"{root}b", b""), lambda: objects.delete(f"{root}a")
    ]  # fmt: skip
    for use in uses:
        with _refused(ClosedError):
            use()


OBJECTS_CONTRACT: Final[Mapping[str, Check]] = {
    check.__name__: check
    for check in (
        what_is_put_is_got_whole_and_by_range,
        what_is_not_there_is_none,
        every_kind_of_buffer_is_put_and_no_piece_is_kept,
        a_large_put_arrives_whole,
        a_put_whose_pieces_fail_changes_nothing,
        create_makes_an_object_once,
        of_writers_that_create_one_key_one_wins,
        delete_takes_several_and_what_is_not_there,
        objects_are_listed_sorted_in_pages,
        only_safe_keys_are_taken,
        a_probe_finds_the_rules_kept_and_leaves_nothing,
        a_closed_handle_writes_no_more,
    )
}
"""Each claim by its name."""
