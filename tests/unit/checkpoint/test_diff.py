"""What differs between two checkpoints: each place once, told by digests, read only where digests can't tell."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import journalkit
from journalkit import Keyed, Shard
from journalkit.checkpoint import chunks
from journalkit.checkpoint.contents import blocks_of
from journalkit.checkpoint.differing import Change, Difference, element_name, words_of
from journalkit.errors import CheckpointNotFoundError, ClosedError, CorruptionError
from journalkit.format import names
from journalkit.format.nodes import ArrayNode, TensorNode
from tests.unit.checkpoint.conftest import LONG, Place

MIB = 1 << 20


def compared(place: Place, before: Any, after: Any, **options: Any) -> Difference:
    """Return what differs between two states that one job saved."""
    job = place.open(**options)
    job.save(before)
    job.save(after)
    return job.diff("1.1")


def said(changes: tuple[Change, ...]) -> dict[tuple[Any, ...], tuple[str, str, str]]:
    """Return what changed, by place."""
    return {each.at: (each.what, each.before, each.after) for each in changes}


def test_each_place_that_differs_is_told_with_what_is_there(place: Place, tmp_path: Path) -> None:
    """At any depth, of every kind; what is the same isn't."""
    (tmp_path / "old.csv").write_bytes(b"1" * LONG)
    (tmp_path / "new.csv").write_bytes(b"1" * LONG)
    long = Random(1).randbytes(LONG)
    same = {"same": [1, {"x": np.ones(3)}], "nan": float("nan"), "bytes": b"short", "long": long}
    before = {
        **same, "n": 1, "kind": 1, "gone": {"x": long}, "deep": [{"a": 1}, {"b": (1, 2)}], "short": [1, 2],
        "array": np.zeros(3, "f4"), "shape": np.zeros((2, 3)), "file": tmp_path / "old.csv", "set": {1},
        "buffer": bytearray(b"x"), "keyed": Keyed({"a": 1}), "ordered": OrderedDict(a=1), "was": Keyed(groups=2),
    }  # fmt: skip
    after = {
        **same, "n": 2, "kind": True, "new": "text", "deep": [{"a": 1}, {"b": (1, 3)}, 5], "short": [1, 2, 3],
        "array": np.ones(3, "f4"), "shape": np.zeros((3, 2)), "file": tmp_path / "new.csv", "set": {1, 2},
        "buffer": b"x", "keyed": Keyed({"a": 2}), "ordered": OrderedDict(a=None), "was": np.zeros(1, "u1"),
    }  # fmt: skip
    found = compared(place, before, after)
    assert said(found.state) == {
        ("n",): ("changed", "int", "int"),
        ("kind",): ("changed", "int", "bool"),
        ("gone",): ("removed", "dict of 1", ""),
        ("deep", 1, "b"): ("changed", "tuple of 2", "tuple of 2"),
        ("deep", 2): ("added", "", "int"),
        ("short",): ("changed", "list of 2", "list of 3"),
        ("array",): ("changed", "array float32 (3,)", "array float32 (3,)"),
        ("shape",): ("changed", "array float64 (2, 3)", "array float64 (3, 2)"),
        ("file",): ("changed", "file old.csv", "file new.csv"),
        ("set",): ("changed", "set of 1", "set of 2"),
        ("buffer",): ("changed", "bytearray", "bytes"),
        ("keyed",): ("changed", "keyed, 128 groups", "keyed, 128 groups"),
        ("ordered", "a"): ("changed", "int", "none"),
        ("was",): ("changed", "keyed, 2 groups", "array uint8 (1,)"),
        ("new",): ("added", "", "text"),
    }
    values = {each.at: (each.old, each.new) for each in found.state if each.old is not None or each.new is not None}
    assert values[("n",)] == (1, 2)
    assert values[("new",)] == (None, "text")
    assert values[("short",)] == ([1, 2], [1, 2, 3])
    sizes = {each.at: (each.size_bytes, each.differing_bytes) for each in found.state}
    assert sizes[("gone",)] == (LONG, 0)
    assert sizes[("file",)] == (LONG, 0)
    assert sizes[("array",)] == (12, 12)
    assert sizes[("shape",)] == (48, 0)
    assert bool(found)


def test_nothing_differs_between_a_checkpoint_and_itself(place: Place) -> None:
    """Nor between two saves of one state."""
    state = {"a": np.arange(200_000), "k": Keyed({"a": 1}), "s": Shard(np.arange(5), (10,), (5,)), "b": b"x" * LONG}
    found = compared(place, state, state)
    assert not found
    assert (found.first_bytes, found.second_bytes, found.shared_bytes) == (0, 0, 1_600_000 + LONG)
    assert not place.opened[0].diff(found.second, found.second)


def test_offsets_metadata_and_metrics_are_compared_too(place: Place) -> None:
    """Each by itself."""
    job = place.open()
    job.save(1, offsets={"a": 1, "b": 2}, metadata={"git": "x"}, metrics={"loss": 0.5})
    job.save(1, offsets={"a": 5, "c": 1}, metadata="none", metrics={"loss": 0.25})
    found = job.diff("1.1", "1.2")
    assert [(each.at, each.what, each.old, each.new) for each in found.offsets] == [
        (("a",), "changed", 1, 5), (("b",), "removed", 2, None), (("c",), "added", None, 1),
    ]  # fmt: skip
    assert said(found.metadata) == {(): ("changed", "dict of 1", "text")}
    assert [(each.old, each.new) for each in found.metrics] == [(0.5, 0.25)]
    assert (found.state, bool(found)) == ((), True)


def test_long_bytes_are_compared_by_digests_and_not_read(place: Place) -> None:
    """Two manifests tell all of it; of an array how much of it lies in chunks that are others."""
    before = np.zeros(5 * MIB, "u1")
    before[:] = np.arange(5 * MIB) % 251
    after = np.concatenate([before, before[:10]])
    after[0] ^= 1
    after[4 * MIB] ^= 1
    text = Random(1).randbytes(6 * MIB)
    job = place.open()
    job.save({"array": before, "bytes": text})
    job.save({"array": after, "bytes": b"in front" + text})
    reader = place.open("reader", mode="r")
    count = len(place.bucket.history())
    found = reader.diff("1.1", "1.2")
    assert not [line for line in place.bucket.history()[count:] if names.PACKS in line]
    array, data = found.state
    assert (array.size_bytes, array.differing_bytes) == (5 * MIB + 10, 2 * MIB + 10)
    assert 0 < data.differing_bytes <= 4 * MIB
    assert found.second_bytes == array.differing_bytes + data.differing_bytes
    assert found.shared_bytes + found.second_bytes == array.size_bytes + data.size_bytes


def test_what_got_shorter_or_longer_is_told(place: Place) -> None:
    """Across the limit from which on bytes lie in chunks too, and where groups of keys come and go."""
    long = Random(1).randbytes(2 * MIB)
    found = compared(
        place,
        {"cut": np.frombuffer(long, "u1"), "a": long, "b": b"x", "keyed": Keyed({"a": 1}), "k": Keyed({1: 1})},
        {"cut": np.frombuffer(long, "u1")[:MIB], "a": b"x", "b": long, "keyed": Keyed(), "k": Keyed({1: 1, 2: 2})},
    )
    assert {each.at[0]: (each.size_bytes, each.differing_bytes) for each in found.state} == {
        "cut": (MIB, 0), "a": (1, 1), "b": (2 * MIB, 2 * MIB), "keyed": (0, 0), "k": (8, 4),
    }  # fmt: skip


def test_digests_of_two_kinds_are_passed_over_by_reading(place: Place) -> None:
    """In pieces; what is the same is the same."""
    pytest.importorskip("blake3")
    text = Random(1).randbytes(3 * MIB)
    before = {"same": text, "array": np.zeros(3 * MIB, "u1"), "longer": np.zeros(2 * MIB, "u1"), "short": b"x" * 5}
    after = {**before, "array": before["array"].copy(), "longer": np.zeros(2 * MIB + 5, "u1")}
    after["array"][2 * MIB] = 1
    first, second = place.open(digest="sha256"), Place(seed=1)
    one, other = first.save(before), second.open(digest="blake3").save(after)
    found = first.diff(one, other)
    assert [(each.at, each.size_bytes, each.differing_bytes) for each in found.state] == [
        (("array",), 3 * MIB, MIB), (("longer",), 2 * MIB + 5, 5),
    ]  # fmt: skip
    # An array's chunks of zeros are one chunk.
    assert (found.shared_bytes, found.first_bytes, found.second_bytes) == (0, 4 * MIB, 5 * MIB + 5)
    place.flip(names.pack_key(1, 1, 0))
    with pytest.raises(CorruptionError, match="aren't what was saved"):
        first.diff(one, other)
    second.end()


def test_bytes_that_were_cut_in_another_way_are_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without NumPy cuts into pieces of one length: other chunks of the same bytes."""
    data = Random(2).randbytes(3 * MIB)
    job = place.open()
    job.save({"a": data, "b": data[::-1]})
    job.delete("1.1")
    other = Place()
    monkeypatch.setattr(chunks, "is_by_content", lambda: False)
    plain = other.open().save({"a": data, "b": data})
    monkeypatch.undo()
    found = job.diff(job.save({"a": data, "b": data[::-1]}), plain)
    assert [(each.at, each.differing_bytes) for each in found.state] == [(("b",), 3 * MIB)]
    other.end()


def test_checkpoints_are_named_as_elsewhere(place: Place) -> None:
    """By id, by name, by the newest, or by themselves."""
    job = place.open()
    first = job.save(1, name="good")
    job.save(2)
    for before in ("1.1", "good", first):
        found = job.diff(before)
        assert (found.first.id, found.second.id) == ("1.1", "1.2")
        assert len(found.state) == 1
    for which in ("9.9", "nobody"):
        with pytest.raises(CheckpointNotFoundError):
            job.diff("good", which)
    job.close()
    with pytest.raises(ClosedError):
        job.diff("good")


def test_one_that_is_deleted_meanwhile_is_said_to_be_gone(place: Place) -> None:
    """Its bytes may be missing, and nothing is damaged."""
    job = place.open(trash_period=0)
    gone, there = job.save(1), job.save(2)
    job.delete(gone)
    job.prune()
    reader = place.open("reader", mode="r")
    stale = reader._finder.made(gone._entry)
    for pair in ((stale, there), (there, stale)):
        with pytest.raises(CheckpointNotFoundError, match="was deleted"):
            reader.diff(*pair)


def test_kinds_have_words() -> None:
    """Those that the libraries have for them."""
    known = {"<f4": "float32", ">f4": ">f4", "|b1": "bool", "|u1": "uint8", "<M8[s]": "<M8[s]", "bfloat16": "bfloat16"}
    assert {kind: element_name(kind) for kind in known} == known
    assert element_name((("x", "<i4"),)) == "records"
    array = ArrayNode("<f8", (), False, b"", is_scalar=True)
    assert words_of(array) == "scalar float64"
    assert words_of(TensorNode(array, False, False, "cpu")) == "tensor float64 ()"


@pytest.mark.parametrize(
    ("shape", "item_bytes", "most_bytes"),
    [
        *[((), 8, 4), ((0, 3), 8, 64), ((7,), 8, 16), ((4,), 0, 1)],
        *[((3, 5, 7), 8, 8), ((3, 5, 7), 8, 60), ((3, 5, 7), 8, 10_000)],
    ],
)
def test_blocks_are_all_of_an_array_and_each_is_small(shape: tuple[int, ...], item_bytes: int, most_bytes: int) -> None:
    """Each element once; none larger than it may be, unless a single element is."""
    counted = np.zeros(shape, int)
    for region in blocks_of(shape, item_bytes, most_bytes):
        counted[region] += 1
        assert counted[region].size * item_bytes <= max(most_bytes, item_bytes)
    assert (counted == 1).all()


def test_stores_are_compared_by_their_tables(place: Place, store: journalkit.Store) -> None:
    """What both have isn't counted; a moment without anything new is the same."""
    job = place.open(digest="sha256")
    job.save({"db": store})
    job.save({"db": store.view()})
    store.put("new", b"x" * 1000)
    job.save({"db": store})
    job.save({"db": b"no store any more"})
    assert not job.diff("1.1", "1.2").state
    (change,) = job.diff("1.1", "1.3").state
    before, after = (f"store at LSN {lsn}" for lsn in (store.lsn - 1, store.lsn))
    assert (change.what, change.before, change.after) == ("changed", before, after)
    assert 1000 < change.differing_bytes < change.size_bytes
    (change,) = job.diff("1.3", "1.4").state
    assert (change.before, change.after) == (f"store at LSN {store.lsn}", "bytes")
    other = Place(seed=5)
    with closing(other.open(digest="blake3")) as elsewhere:
        elsewhere.save({"db": store})
        assert not elsewhere.diff(job.get("1.3"), "latest").state
        store.compact(full=True)
        elsewhere.save({"db": store})
        (change,) = elsewhere.diff(job.get("1.3"), "latest").state
        assert change.differing_bytes == change.size_bytes
    other.end()
