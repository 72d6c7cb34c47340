"""States saved and loaded: what comes back, what a second save writes, and what damage says of itself."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journalkit.checkpoint import arrays, chunks, reading
from journalkit.checkpoint.saved import SavedArray, SavedBytes, SavedFile
from journalkit.checkpoint.saving import SaveOptions, write_checkpoint
from journalkit.checkpoint.tree import Buffers, capture
from journalkit.errors import KeyValueError, UnsupportedFormatError, UsageError
from journalkit.format import names
from journalkit.objects.interface import Objects
from journalkit.testing import SimulatedBucket


def state_of_everything(saves: Any) -> dict[Any, Any]:
    """Return a state with something of each kind, short and long."""
    long = saves.rows(20)
    padded = np.dtype([("a", "i1"), (("title", "b"), "f8"), ("c", "i2", (3,)), ("d", "S0")], align=True)
    record = np.dtype([("x", "<i4"), ("when", "<M8[ns]"), ("in", [("z", "?"), ("w", "<f4", (2, 2))])])
    return {
        "none": None, "int": 1 << 70, "text": "é", ("a", 1): b"bytes", "list": [1, (2, "x"), {3}, frozenset({4})],
        "time": datetime(2026, 1, 2, tzinfo=UTC), "day": date(2026, 1, 2), "decimal": Decimal("1.50"),
        "fraction": Fraction(1, 3), "uuid": UUID(int=7), "ordered": OrderedDict(b=1, a=[saves.rows(10)]),
        "long bytes": Random(1).randbytes(300_000), "bytearray": bytearray(b"z" * 70_000), "short": bytearray(b"q"),
        "view": memoryview(b"v" * 70_000), "short view": memoryview(b"v"),
        "long": long, "again": long, "part": long[:, ::2], "beginning": long[:15],
        "columns": np.asfortranarray(long), "back": long[::-1],
        "big": long.astype(">i8"), "half": np.arange(9, dtype="f2"), "bool": np.ones(70_000, "?"),
        "complex": np.ones((100, 100), "c16"), "when": np.arange(9_000).astype("M8[us]"), "text array": np.array(["é"]),
        "none of them": np.zeros((3, 0, 2)), "no dimensions": np.array(7, "i2"), "scalar": np.float32(1.5),
        "moment": np.datetime64("2026-01-02", "D"), "records": np.zeros(3_000, record), "record": np.zeros(2, record),
        "nothing wide": np.zeros(3, "S0"), "raw": np.zeros(2, "V3"), "padded": np.zeros(3, padded),
        "columns of columns": np.ones((3, 4), order="F"),
    }  # fmt: skip


def test_everything_comes_back_as_it_was(saves: Any, a_place: Objects) -> None:
    """Equal, of the same types, dtypes, byte orders and order of keys; in memory, and by handles."""
    state = state_of_everything(saves)
    for options in (saves.PLAIN, SaveOptions("blake3", "zstd", threads=2), SaveOptions("sha256", "zstd", threads=0)):
        written = saves.save(a_place, state, options=options)
        manifest = saves.opened(a_place, written)
        assert saves.same(manifest.load(), state)
        lazy = manifest.load(lazy=True)
        assert isinstance(lazy["long"], SavedArray)
        assert isinstance(lazy["long bytes"], SavedBytes)
        read = {key: each.read() if isinstance(each, SavedArray | SavedBytes) else each for key, each in lazy.items()}
        read["ordered"]["a"][0] = read["ordered"]["a"][0].read()
        assert saves.same(read, state)
        assert manifest.verify() == []
    said = manifest.said
    assert (said.offsets, said.metadata, said.metrics, said.name) == ({"in": 1}, {"git": "abc"}, {"loss": 1.0}, "x")


DTYPES = ["?", "i1", "u2", ">u2", "i4", ">i8", "f2", ">f4", "f8", "c8", ">c16", "M8[s]", "m8[ns]", "S3", "U2", "V5"]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_array_comes_back(saves: Any, data: st.DataObject) -> None:
    """Whatever its elements, its shape, and how it lies in memory."""
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    shape = data.draw(st.lists(st.integers(0, 40), max_size=3))
    count = int(np.prod(shape, dtype=int))
    raw = Random(count).randbytes(count * dtype.itemsize)
    array = np.zeros(shape, dtype) if dtype.kind in "?US" else np.frombuffer(raw, dtype).reshape(shape)
    if shape:
        step = data.draw(st.sampled_from([1, 2, -1, -3]))
        array = array[(slice(None),) * data.draw(st.integers(0, len(shape) - 1)) + (slice(None, None, step),)]
        array = array.transpose(data.draw(st.permutations(range(len(shape)))))
    objects = SimulatedBucket().handle()
    assert saves.same(saves.opened(objects, saves.save(objects, array)).load(), array)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=20)
    | st.dates() | st.decimals(allow_nan=False) | st.frozensets(st.integers(), max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
def test_any_value_comes_back(saves: Any, state: Any) -> None:
    """What a store preserves a checkpoint does."""
    objects = SimulatedBucket().handle()
    assert saves.same(saves.opened(objects, saves.save(objects, state)).load(), state)


def test_a_state_that_is_large_without_an_array_is_written_in_part(saves: Any) -> None:
    """Its tree is cut by content: one key more writes the piece that it is in."""
    objects = SimulatedBucket().handle()
    state: dict[str, Any] = {f"user {n}": {"name": f"{n * n} of them", "logins": [n] * 3} for n in range(60_000)}
    first = saves.opened(objects, saves.save(objects, state))
    assert isinstance(first.said.tree, int)
    assert first.load() == state
    state = {**dict(list(state.items())[:7_000]), "another": 1, **state}
    second = saves.save(objects, state, 2, on=[first])
    assert saves.opened(objects, second).load() == state
    assert second.chunks_known > second.chunks_new


def test_a_second_save_writes_what_changed(saves: Any) -> None:
    """One percent of the rows, in one place: three percent of the bytes at most."""
    objects = SimulatedBucket().handle()
    state = {"weights": saves.rows(6_400), "step": 1}
    first = saves.opened(objects, saves.save(objects, state))
    state["weights"][5_120:5_184] += 1
    state["step"] = 2
    second = saves.save(objects, state, 2, on=[first])
    assert second.bytes_written <= second.bytes_total * 3 // 100
    found = saves.opened(objects, second)
    assert saves.same(found.load(), state)
    assert found.verify() == []
    assert saves.same(first.load()["weights"][5_120:5_184], state["weights"][5_120:5_184] - 1)
    third = saves.save(objects, state, 3, on=[found])
    assert (third.chunks_new, third.bytes_written) == (0, third.manifest_bytes)
    assert len(saves.opened(objects, third).packs()) == 2


def test_bytes_that_moved_are_found_again(saves: Any) -> None:
    """They are cut where their content says."""
    objects = SimulatedBucket().handle()
    data = Random(3).randbytes(8 << 20)
    first = saves.opened(objects, saves.save(objects, {"log": data}))
    second = saves.save(objects, {"log": b"a line more" + data}, 2, on=[first])
    assert second.bytes_written < len(data) // 2
    assert saves.opened(objects, second).load()["log"] == b"a line more" + data


def test_bytes_that_come_twice_are_written_once(saves: Any) -> None:
    """In one save, too."""
    objects = SimulatedBucket().handle()
    data = Random(3).randbytes(1 << 20)
    written = saves.save(objects, {"one": data, "two": b"".join((data,)), "three": bytearray(data)})
    assert written.bytes_written < 1.1 * len(data)
    assert saves.opened(objects, written).load() == {"one": data, "two": data, "three": bytearray(data)}


def test_a_pack_of_which_little_is_needed_dies(saves: Any) -> None:
    """Its chunks are written again, so that it can be deleted."""
    objects = SimulatedBucket().handle()
    state = {"weights": saves.rows(1_280)}
    first = saves.opened(objects, saves.save(objects, state))
    state["weights"][: 128 * 7] += 1
    second = saves.opened(objects, saves.save(objects, state, 2, on=[first]))
    assert len(second.packs()) == 2
    third = saves.opened(objects, saves.save(objects, state, 3, on=[second]))
    assert list(third.packs()) == [names.pack_key(1, number, 0) for number in (2, 3)]
    assert saves.same(third.load(), state)


def test_another_digest_offers_nothing(saves: Any) -> None:
    """What is known is known by the digest's name too."""
    objects = SimulatedBucket().handle()
    first = saves.opened(objects, saves.save(objects, {"x": saves.rows(20)}))
    second = saves.save(objects, {"x": saves.rows(20)}, 2, on=[first], options=SaveOptions("blake3", threads=0))
    assert second.chunks_known == 0


def test_a_state_changed_after_capture_is_saved_as_it_was(saves: Any) -> None:
    """Arrays, byte strings that change, lists and maps."""
    objects = SimulatedBucket().handle()
    state = state_of_everything(saves)
    for name in ("view", "short view"):
        state[name] = memoryview(bytearray(state[name]))
    before = state_of_everything(saves)
    captured = capture(state)
    for each in state.values():
        if isinstance(each, np.ndarray) and each.size and each.flags.writeable:
            each[...] = np.zeros((), each.dtype)
        elif isinstance(each, bytearray | memoryview):
            each[:] = bytes(len(each))
        elif isinstance(each, list):
            each.clear()
    state["ordered"]["a"][0] += 1
    state.clear()
    how = {"job": saves.JOB, "epoch": 1, "save": 1, "time_us": 5}
    written = write_checkpoint(objects, captured=captured, options=saves.PLAIN, **how)
    found = saves.opened(objects, written).load()
    for name in ("view", "short view"):
        assert found.pop(name) == before.pop(name)
    assert saves.same(found, before)


def test_memory_of_a_capture_is_used_again(saves: Any) -> None:
    """Getting it from the system costs more than the copy."""
    buffers = Buffers()
    state = {"x": saves.rows(20), "y": saves.rows(30)}
    first = capture(state, buffers=buffers)
    where = {leaf.view.obj.ctypes.data for leaf in first.leaves}  # type: ignore[attr-defined]
    first.release()
    assert first.leaves == ()
    second = capture(state, buffers=buffers)
    assert {leaf.view.obj.ctypes.data for leaf in second.leaves} == where  # type: ignore[attr-defined]
    assert second.size_bytes > 50 * 8192
    second.release()
    buffers.clear()
    assert buffers.take(10).nbytes == 10


def test_without_a_copy_the_state_itself_is_written(saves: Any) -> None:
    """For a caller who waits."""
    array = saves.rows(20)
    captured = capture({"x": array}, copy=False)
    assert captured.leaves[0].view.obj.ctypes.data == array.ctypes.data  # type: ignore[attr-defined]
    captured.release()


class Odd(list[int]):
    """A list of a kind of its own."""


CYCLE: list[Any] = []
CYCLE.append(CYCLE)
NAIVE = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
REFUSED: list[tuple[Any, str]] = [
    ({"a": {"b": [1, object()]}}, "state['a']['b'][1] is a builtins.object"), (Odd(), "state is a"),
    ({"a": np.array([object()])}, "state['a'] holds Python objects"), ([np.ma.ones(3)], "state[0] is a numpy.ma"),
    ([np.zeros(3, [("x", "O")])], "state[0] holds Python objects"), (CYCLE, "nested too deep, or contains itself"),
    ([np.zeros(1, np.dtype("i4", metadata={"a": 1}))], "state[0] has elements of"),
    ([np.zeros(1, np.dtype({"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [0, 2]}))], "has elements of"),
    ([memoryview(np.zeros((2, 2)))], "state[0] is a memoryview of more"), ({1.5j: 1}, "is a builtins.complex"),
    ({(1, 1j): 1}, "is a builtins.complex"), ({"x" * 99: {1j}}, "state[<str>]"), ([NAIVE], "naive"),
    ([Path("/nowhere/at all")], "can't be read"), ([Path("/")], "no file's name"), (["\ud800"], "text"),
]  # fmt: skip


@pytest.mark.parametrize(("state", "words"), REFUSED, ids=range(len(REFUSED)))
def test_what_would_not_come_back_is_refused_by_its_place(state: Any, words: str) -> None:
    """Before anything is written."""
    with pytest.raises(UsageError) as refused:
        capture(state)
    assert words in str(refused.value)


def test_a_path_of_bytes_is_refused() -> None:
    """Names are text everywhere."""

    class BytesPath:
        def __fspath__(self) -> bytes:
            return b"/x"

    with pytest.raises(UsageError, match="path of bytes"):
        capture([BytesPath()])


def test_files_are_saved_with_what_is_in_them(saves: Any, tmp_path: Path) -> None:
    """Short and long; a handle reads them or makes a file of them."""
    objects = SimulatedBucket().handle()
    contents = {"long": Random(2).randbytes(9 << 20), "short": b"few", "empty": b""}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "link").symlink_to(tmp_path / "short")
    state = {name: tmp_path / name for name in contents}
    manifest = saves.opened(objects, saves.save(objects, {**state, "link": tmp_path / "link"}))
    for loaded in (manifest.load(), manifest.load(lazy=True)):
        assert loaded.pop("link").read() == b"few"
        for name, found in loaded.items():
            assert isinstance(found, SavedFile)
            assert (found.name, found.size_bytes, found.read()) == (name, len(contents[name]), contents[name])
            assert name in repr(found)
            found.copy_to(tmp_path / "copy")
            found.copy_to(tmp_path / "copy")
            assert (tmp_path / "copy").read_bytes() == contents[name]
        assert loaded["long"].read(5, 10) == contents["long"][5:15]
    with pytest.raises(OSError, match="can't be written"):
        loaded["short"].copy_to(tmp_path / "no" / "where")


def test_parts_are_read_without_the_rest(saves: Any) -> None:
    """Rows of an array and slices of bytes: only the chunks that they touch."""
    bucket = SimulatedBucket()
    objects = bucket.handle()
    state = {"w": saves.rows(1_280), "columns": np.asfortranarray(saves.rows(20)), "b": Random(4).randbytes(6 << 20)}
    lazy = saves.opened(objects, saves.save(objects, state)).load(lazy=True)
    before = bucket.operation_count
    array = lazy["w"]
    assert (array.shape, len(array), array.dtype) == ((1_280, 1024), 1_280, "<i8")
    assert saves.same(array[100:110], state["w"][100:110])
    assert bucket.operation_count == before + 1
    for part in (5, -1, slice(3, 9, 2), slice(7, 7), (3, 4), Ellipsis):
        assert np.array_equal(array[part], state["w"][part])
    assert saves.same(lazy["columns"][2:4].copy(), state["columns"][2:4].copy())
    assert saves.same(np.asarray(array), state["w"])
    assert np.asarray(array, dtype="f4").dtype == "f4"
    with pytest.raises(IndexError):
        array[1_280]
    data = lazy["b"]
    assert len(data) == 6 << 20
    assert (data[10:20], data[-5:], data[::1_000_000]) == (state["b"][10:20], state["b"][-5:], state["b"][::1_000_000])
    with pytest.raises(TypeError):
        data[5]
    assert "saved" in repr(data) + repr(array)


def test_paths_choose_what_is_loaded(saves: Any) -> None:
    """Of a state that one worker needs little of."""
    bucket = SimulatedBucket()
    objects = bucket.handle()
    state = {"model": {"a": saves.rows(20), "b": [saves.rows(30), 5]}, "other": saves.rows(40)}
    manifest = saves.opened(objects, saves.save(objects, state))
    before = bucket.operation_count
    found = manifest.load(paths=[("model", "b", 0), ("model", "b")])
    assert saves.same(found, {("model", "b", 0): state["model"]["b"][0], ("model", "b"): state["model"]["b"]})  # type: ignore[index]
    assert bucket.operation_count - before <= 2
    for wrong in (("x",), ("model", "b", 2), ("model", "b", 1, 0), ("model", [])):
        with pytest.raises(KeyValueError, match="nothing at state"):
            manifest.load(paths=[wrong])


def test_progress_is_told(saves: Any) -> None:
    """To the last byte."""
    objects = SimulatedBucket().handle()
    told: list[tuple[int, int]] = []
    captured = capture({"x": saves.rows(300)})
    written = write_checkpoint(
        objects, job=saves.JOB, epoch=1, save=1, captured=captured, time_us=5, progress=lambda *how: told.append(how)
    )
    assert told[-1] == (300 * 8192, 300 * 8192)
    for read in (saves.opened(objects, written).load, saves.opened(objects, written).verify):
        told.clear()
        read(progress=lambda *how: told.append(how))  # type: ignore[operator]
        assert told[-1] == (300 * 8192, 300 * 8192)


def test_what_a_package_is_missing_for_is_told(saves: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    objects = SimulatedBucket().handle()
    written = saves.save(objects, {"x": saves.rows(20)}, options=SaveOptions("blake3", "zstd"))

    def nothing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(chunks, "import_module", nothing)
    chunks.digest_named.cache_clear()
    try:
        assert chunks.best_digest() == "sha256"
        assert saves.same(saves.opened(objects, written).load(), {"x": saves.rows(20)})
        with pytest.raises(UnsupportedFormatError, match=r"journalkit\[blake3\]"):
            saves.opened(objects, written).verify()
    finally:
        chunks.digest_named.cache_clear()
    written = saves.save(objects, {"x": saves.rows(20)}, 2)
    monkeypatch.setattr(arrays, "import_module", nothing)
    with pytest.raises(UsageError, match="numpy"):
        saves.opened(objects, written).load()
    assert chunks.digest_named("sha256")(memoryview(b"")) != b""
    assert reading.STEP
