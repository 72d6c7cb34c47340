"""A closed store, damaged bit by bit, cut by cut, and by the loss of the file that everything hangs on."""

from __future__ import annotations

from typing import Any

import pytest

from journalkit.errors import CorruptionError, JournalError

FIRST, MIDDLE, LAST = (f"log-{number:016d}.jks" for number in (1, 2, 3))


@pytest.mark.parametrize("name", ["MANIFEST", "durable", FIRST, MIDDLE, LAST])
def test_no_flipped_bit_of_a_closed_store_changes_what_is_read(world: Any, name: str) -> None:
    """PITFALLS 5 and 6: an error that names it, or the same state because something else vouched for it."""
    world.fill()
    right = world.look()
    path, bits = f"/store/{name}", 8 * len(world.read(name))
    refused = 0
    for bit in range(0, bits, 1 if bits < 4000 else 3):
        world.fs.flip_bit(path, bit)
        try:
            found = world.look()
        except JournalError:
            refused += 1
        else:
            assert found == right
        world.fs.flip_bit(path, bit)
    assert refused == (0 if name == "durable" else len(range(0, bits, 1 if bits < 4000 else 3)))


@pytest.mark.parametrize("name", ["MANIFEST", "durable", FIRST, MIDDLE, LAST])
def test_no_truncation_of_a_closed_store_is_taken_for_its_end(world: Any, name: str) -> None:
    """Every cut of every file: a shorter file is the commonest damage there is."""
    world.fill()
    right, data = world.look(), world.read(name)
    for size in range(len(data)):
        world.write(name, data[:size])
        if name == "durable":
            assert world.look() == right
        else:
            with pytest.raises(JournalError, match="/store/"):
                world.look()


@pytest.mark.parametrize("data", [b"", b"JKMAN", b"\0" * 64])
def test_a_manifest_that_is_none_is_corruption_and_never_a_new_store(world: Any, data: bytes) -> None:
    """Promise 8: creating over it would be the end of the data beside it."""
    world.fill()
    world.write("MANIFEST", data)
    before = world.files()
    for attempt in (world.open, world.look, lambda: world.open(mode="point-in-time")):
        with pytest.raises(CorruptionError, match="MANIFEST"):
            attempt()
    assert world.files() == before


@pytest.mark.parametrize("remains", [FIRST, "table-0000000000000001.jkt", "durable", "reserve"])
def test_files_of_a_store_without_a_manifest_are_corruption(world: Any, remains: str) -> None:
    """The manifest comes first, so whatever else is there says that it was lost."""
    world.open().close()
    data = world.read("durable")
    for name in world.names():
        world.remove(name)
    world.write(remains, data)
    for attempt in (world.open, world.look):
        with pytest.raises(CorruptionError, match=f"the manifest is missing beside {remains}"):
            attempt()
    assert world.names() == [remains]


def test_a_foreign_manifest_is_noticed_by_its_segments(world: Any) -> None:
    """A restore into the wrong directory."""
    world.fill()
    world.write("MANIFEST", type(world)(seed=99).fill().read("MANIFEST"))
    with pytest.raises(CorruptionError, match="belongs to another store"):
        world.open()


def test_a_missing_or_foreign_slot_promises_nothing(world: Any) -> None:
    """The slot is never synced: without it, or with one of another life, the rest has to do."""
    world.fill()
    right = world.look()
    others = [type(world)(seed=99).fill().read("durable"), world.older[7]["durable"], b"", b"x" * 76]
    for data in others:
        world.write("durable", data)
        assert world.look() == right
    world.remove("durable")
    assert world.look() == right
    clone = world.copy()
    clone.open().put()
    session = world.open()
    world.write("durable", clone.read("durable"))
    session.release_tables()
    assert world.fork().look() == right
