"""Arrays mapped from a directory's packs, and trees that only a library finds no sense in."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from journalkit.checkpoint import arrays, chunks
from journalkit.checkpoint.loading import Manifest, read_manifest
from journalkit.checkpoint.pack import Scratch, in_order
from journalkit.checkpoint.saving import SaveOptions, write_checkpoint
from journalkit.checkpoint.tree import Kept, capture
from journalkit.errors import CorruptionError, UnsupportedFormatError, UsageError
from journalkit.format import compression
from journalkit.format.checkpoint import PackEntry
from journalkit.format.malformed import MissingLibraryError
from journalkit.format.nodes import ArrayNode
from journalkit.format.tree import encode_tree
from journalkit.objects.interface import Objects
from journalkit.objects.places import open_objects
from journalkit.testing import SimulatedBucket


def test_arrays_in_one_piece_are_mapped_and_others_read(saves: Any, tmp_path: Path) -> None:
    """Aligned, writable in memory alone, and there after the pack was deleted."""
    objects = open_objects(tmp_path)
    state = {"w": saves.rows(300), "c": np.asfortranarray(saves.rows(20)), "b": Random(1).randbytes(100_000), "x": 1}
    first = saves.opened(objects, saves.save(objects, state))
    loaded = first.load(mapped=True)
    assert saves.same(loaded, state)
    assert loaded["w"].ctypes.data % 64 == 0
    loaded["w"][0] = 0
    assert saves.same(first.load(), state)
    state["w"][150] += 1
    second = saves.opened(objects, saves.save(objects, state, 2, on=[first]))
    scattered = second.load(mapped=True)
    objects.delete(*second.packs())
    assert saves.same(scattered, state)
    assert saves.same(loaded["w"][1:], first_rows(state["w"])[1:])
    with pytest.raises(CorruptionError, match="a pack is missing"):
        saves.opened(objects, saves.save(objects, {}, 3)) and Manifest(objects, "", first.said).load(mapped=True)


def first_rows(rows: Any) -> Any:
    """Return rows as they were before one was changed."""
    rows = rows.copy()
    rows[150] -= 1
    return rows


def test_a_map_of_a_pack_that_was_cut_off_is_refused(saves: Any, tmp_path: Path) -> None:
    """Looking behind its end would end the process."""
    objects = open_objects(tmp_path)
    manifest = saves.opened(objects, saves.save(objects, {"w": saves.rows(300)}))
    [key] = manifest.packs()
    objects.put(key, ((objects.get(key) or b"")[:-1],))
    with pytest.raises(CorruptionError, match="ends too early"):
        manifest.load(mapped=True)


def test_what_cannot_be_mapped_is_in_memory(saves: Any, tmp_path: Path) -> None:
    """In a bucket, compressed, or shared with bytes that were cut by content."""
    data = Random(1).randbytes(3 << 20)
    state = {"w": np.frombuffer(data, "u1"), "z": np.zeros(1 << 18), "b": data}
    for objects in (SimulatedBucket().handle(), open_objects(tmp_path)):
        options = SaveOptions("sha256", "zstd", threads=0)
        manifest = saves.opened(objects, saves.save(objects, state, options=options))
        assert saves.same(manifest.load(mapped=True), state)


def test_bytes_cut_by_content_lie_in_one_piece_if_they_are_one_run(saves: Any, tmp_path: Path) -> None:
    """An array at the place of bytes that are known lies where they do."""
    objects = open_objects(tmp_path)
    state = {"b": Random(1).randbytes(5 << 20)}
    manifest = saves.opened(objects, saves.save(objects, state))
    said = manifest.said
    listed = said.chunked[0]
    assert listed.chunk_bytes == 0
    assert manifest.reader.one_piece(0) == (PackEntry(1, 1, 0, said.packs[0].pack_bytes), 64)
    twice = replace(listed, runs=(*listed.runs[:2], 1, 0, 64 + listed.sizes[0], listed.runs[2] - 1))
    assert Manifest(objects, "", replace(said, chunked=(twice,))).reader.one_piece(0) is None


HOSTILE = [
    ArrayNode("|V7", (1,), False, b"1234"), ArrayNode("<q9", (1,), False, b"1234"),
    ArrayNode("|q4", (1,), False, b"1234"),
    ArrayNode("|O", (1,), False, bytes(8)), ArrayNode((("x", "<i4"), ("x", "<i4")), (1,), False, bytes(8)),
    ArrayNode((("x", "<i4", (1 << 61,)),), (1,), False, bytes(8)), ArrayNode("no_such_thing", (1,), False, b""),
    ArrayNode((("", "<i4"),), (2,), False, bytes(4)), ArrayNode((("x", "|O"),), (1,), False, bytes(8)),
    ArrayNode("<f8,<f8", (1,), False, bytes(16)),
]  # fmt: skip


@pytest.mark.parametrize("node", HOSTILE, ids=range(len(HOSTILE)))
def test_elements_that_a_library_does_not_know_are_damage(saves: Any, node: ArrayNode) -> None:
    """With their place, whatever the library says; the rest can be loaded."""
    objects = SimulatedBucket().handle()
    written = saves.save(objects, {})
    tree = encode_tree({"a": {"b": node}, "c": 1})
    manifest = Manifest(objects, written.manifest_key, replace(written.manifest, tree=tree))
    for lazy in (False, True):
        with pytest.raises(CorruptionError, match=r"(state\['a'\]\['b'\]|tree) makes no sense"):
            manifest.load(lazy=lazy)
    if node.kind != "<f8,<f8":  # which the format itself knows
        assert manifest.load(paths=[("c",)]) == {("c",): 1}
    broken = Manifest(objects, written.manifest_key, replace(written.manifest, tree=b"\xff"))
    with pytest.raises(CorruptionError, match="its tree makes no sense"):
        broken.load()
    [error] = broken.verify()
    assert "its tree" in str(error)


def test_without_numpy_bytes_are_cut_at_fixed_places(saves: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is appended is found all the same."""
    monkeypatch.setattr(chunks, "is_by_content", lambda: False)
    objects = SimulatedBucket().handle()
    data = Random(3).randbytes((4 << 20) + 7)
    first = saves.opened(objects, saves.save(objects, data))
    second = saves.save(objects, data + b"more", 2, on=[first])
    assert (second.chunks_known, second.chunks_new) == (4, 1)
    assert saves.opened(objects, second).load() == data + b"more"


def test_places_by_content_are_where_the_bytes_are() -> None:
    """Between the bounds, the same after a shift, and the same as a hash reckoned byte by byte says."""
    data = Random(5).randbytes(9 << 20)
    pieces = [bytes(piece) for piece in chunks.by_content(memoryview(data))]
    assert b"".join(pieces) == data
    assert all(chunks.CONTENT_BYTES_MIN <= len(piece) <= chunks.CONTENT_BYTES_MAX for piece in pieces[:-1])
    shifted = {bytes(piece) for piece in chunks.by_content(memoryview(b"x" * 1000 + data))}
    assert len(shifted & set(pieces)) >= len(pieces) - 2
    alike = next(chunks.by_content(memoryview(bytes(9 << 20))))
    assert len(alike) in (chunks.CONTENT_BYTES_MIN + 1, chunks.CONTENT_BYTES_MAX)
    assert list(chunks.by_content(memoryview(b""))) == []


def plain_place(data: bytes, mask: int) -> int:
    """Return what `gear_place` does, byte by byte."""
    state, table = 0, struct.unpack("<256I", chunks.gear())
    for at, byte in enumerate(data):
        state = (state << 1) + table[byte] & 0xFFFF_FFFF
        if at >= 31 and not state & mask:
            return at - 31 + 1
    return 0


@pytest.mark.parametrize("seed", range(20))
def test_the_hash_is_the_one_of_its_definition(seed: int) -> None:
    """A place that moved would have everybody write everything again."""
    data = Random(seed).randbytes(500)
    mask = 0xFFFF_FFFF << (32 - seed % 12) & 0xFFFF_FFFF
    assert chunks.gear_place(memoryview(data), mask, chunks.gear()) == plain_place(data, mask)
    assert struct.unpack_from("<2I", chunks.gear()) == (2_617_980_014, 789_771_595)


def test_a_place_without_zstd_says_what_to_install(saves: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing and reading."""
    objects: Objects = SimulatedBucket().handle()
    written = saves.save(objects, np.zeros(1 << 18), options=SaveOptions("sha256", "zstd", threads=0))

    def nothing() -> Any:
        raise MissingLibraryError("zstd takes a package that isn't installed")

    monkeypatch.setattr(chunks, "library", nothing)
    with pytest.raises(UnsupportedFormatError, match=r"journalkit\[zstd\]"):
        saves.opened(objects, written).load()
    with pytest.raises(UsageError, match=r"journalkit\[zstd\]"):
        saves.save(objects, 1, 2, options=SaveOptions("sha256", "zstd", threads=0))
    assert compression.library() is not None


def test_a_compressed_chunk_of_another_length_is_damage(saves: Any) -> None:
    """Its frame may be whole."""
    objects = SimulatedBucket().handle()
    manifest = saves.opened(
        objects, saves.save(objects, np.zeros(1 << 18), options=SaveOptions("sha256", "zstd", threads=0))
    )
    [key] = manifest.packs()
    whole = objects.get(key) or b""
    listed = manifest.said.chunked[0]
    short = compression.library().compress(b"x").ljust(listed.stored[0], b"\0")
    objects.put(key, (whole[:64] + short + whole[64 + len(short) :],))
    with pytest.raises(CorruptionError, match="compressed chunk"):
        manifest.load()


def test_without_numpy_bytes_are_saved_and_loaded(saves: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is needed for what isn't an array."""
    import sys

    monkeypatch.delitem(sys.modules, "numpy")
    data = {"b": Random(1).randbytes(200_000), "a": bytearray(70_000), "v": memoryview(bytes(70_000))}
    objects = SimulatedBucket().handle()
    captured = capture(data)
    data["a"][0] = 1
    written = write_checkpoint(objects, job=saves.JOB, epoch=1, save=1, captured=captured, time_us=5)
    found = read_manifest(objects, written.manifest_key).load()
    assert found == {**data, "a": bytearray(70_000)}
    assert arrays.is_array(found) is False


def test_work_ahead_comes_in_order_and_raises_in_its_place() -> None:
    """With threads and without."""
    for threads in (0, 3):
        assert list(in_order(lambda n: n * n, range(50), threads, 4)) == [(n, n * n) for n in range(50)]
        given = in_order(lambda n: 1 // (5 - n), range(50), threads, 4)
        assert [next(given)[0] for _ in range(5)] == [0, 1, 2, 3, 4]
        with pytest.raises(ZeroDivisionError):
            next(given)


def test_a_state_that_changes_while_it_is_saved_is_sound_all_the_same(saves: Any) -> None:
    """Some chunks are as they were before and some as they are after, and each is what its digest says."""
    bucket = SimulatedBucket()
    array = np.zeros(1 << 20)

    class Changing:
        """Objects whose put lets the application run on."""

        def __init__(self) -> None:
            self.inner = bucket.handle()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def put(self, key: str, parts: Any) -> int:
            def changing() -> Any:
                for part in parts:
                    array[:] += 1
                    yield bytes(part)

            return self.inner.put(key, changing())

    for threads in (0, 2):
        objects: Any = Changing()
        captured = capture({"w": array}, copy=False)
        written = write_checkpoint(
            objects, job=saves.JOB, epoch=1, save=threads, captured=captured, time_us=5,
            options=SaveOptions("sha256", threads=threads),
        )  # fmt: skip
        assert read_manifest(objects, written.manifest_key).verify() == []


def test_memory_for_copies_is_used_again_once_nobody_looks_at_it() -> None:
    """And not before: some places keep what they are given until it is sent."""
    scratch = Scratch()
    first = scratch.copy_of(memoryview(b"first"))
    second = scratch.copy_of(memoryview(b"second"))
    kept = first.cast("B")[1:]
    memory = id(second.obj)
    del first, second
    third = scratch.copy_of(memoryview(b"third"))
    assert (bytes(kept), bytes(third), id(third.obj)) == (b"irst", b"third", memory)
    large = scratch.copy_of(memoryview(bytes(2 << 20)))
    assert len(large) == 2 << 20


def test_handles_say_what_they_are_not(saves: Any, tmp_path: Path) -> None:
    """An array without dimensions has no length, an empty range reads nothing, a copy that fails leaves nothing."""
    objects = SimulatedBucket().handle()
    (tmp_path / "file").write_bytes(bytes(70_000))
    wide = np.zeros((), "S70000")
    state = {"w": wide, "b": bytes(70_000), "f": tmp_path / "file"}
    manifest = saves.opened(objects, saves.save(objects, state))
    lazy = manifest.load(lazy=True)
    with pytest.raises(TypeError, match="no dimensions"):
        len(lazy["w"])
    assert (lazy["b"][5:5], lazy["f"].read(70_000)) == (b"", b"")
    assert lazy["w"][()] == wide
    objects.delete(*manifest.packs())
    with pytest.raises(CorruptionError, match="missing"):
        lazy["f"].copy_to(tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_digest_that_nobody_knows_is_of_a_later_version() -> None:
    """It isn't guessed."""
    with pytest.raises(UnsupportedFormatError, match="upgrade"):
        chunks.digest_named("sha3")


def test_small_arrays_that_lie_side_by_side_are_read_together(saves: Any) -> None:
    """A request of object storage takes its time, however little it brings."""
    for options in (SaveOptions("sha256", threads=0), SaveOptions("sha256", "zstd", threads=0)):
        bucket = SimulatedBucket()
        objects = bucket.handle()
        state = {f"w{n}": np.arange(n * 100, n * 100 + 10_001 + n) for n in range(150)}
        manifest = saves.opened(objects, saves.save(objects, state, options=options))
        before = bucket.operation_count
        assert saves.same(manifest.load(), state)
        assert bucket.operation_count - before <= 3
        assert manifest.verify() == []
        [key] = manifest.packs()
        whole = bytearray(objects.get(key) or b"")
        whole[len(whole) // 2] ^= 1
        objects.put(key, (bytes(whole[:-1]),))
        found = [str(error) for error in manifest.verify()]
        assert len(found) == 3
        assert "state['w149']" in found[-1]
        objects.delete(key)
        with pytest.raises(CorruptionError, match="missing"):
            manifest.load()


def test_what_was_loaded_can_be_saved_again(saves: Any, tmp_path: Path) -> None:
    """Handles and files too: a job loads its state, goes on, and saves it."""
    objects = SimulatedBucket().handle()
    (tmp_path / "model.bin").write_bytes(b"weights" * 20_000)
    (tmp_path / "short").write_bytes(b"few")
    state = {"w": saves.rows(20), "b": bytearray(70_000), "s": np.float32(1), "f": [tmp_path / "model.bin"]}
    first = saves.opened(objects, saves.save(objects, {**state, "g": tmp_path / "short"}))
    for lazy in (False, True):
        second = saves.save(objects, first.load(lazy=lazy), 2 + lazy, on=[first])
        assert second.chunks_new == 0
        found = saves.opened(objects, second).load()
        assert (found.pop("g").read(), found["f"][0].name, found.pop("f")[0].read()) == (
            b"few", "model.bin", b"weights" * 20_000,
        )  # fmt: skip
        assert saves.same(found, {name: state[name] for name in "wbs"})
    with pytest.raises(TypeError, match="kept"):
        Kept()  # type: ignore[abstract]
