"""`journalkit checkpoints restore --to`: a state as ordinary files, all of it or nothing, whatever its keys are."""

from __future__ import annotations

import errno
import io
import json
import math
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import journalkit
from journalkit import Keyed, Shard, open_checkpoints
from journalkit.checkpoint.checkpoint import Checkpoint
from journalkit.cli import exporting, jsonform
from journalkit.cli.exporting import check_target, export
from journalkit.cli.npy import npy_header
from journalkit.cli.safe_names import SafeNames
from journalkit.errors import (
    CheckpointNotFoundError,
    CorruptionError,
    JournalError,
    StorageError,
    StoreFullError,
    UsageError,
)
from journalkit.format import names
from journalkit.format.nodes import ArrayNode, BytesNode, GroupsNode, TensorNode
from journalkit.fs.posix import PosixFileSystem
from tests.integration.cli.conftest import Ran
from tests.unit.workers.conftest import Job

LONG = 100_000
WEIGHTS = np.arange(600_000, dtype="f4").reshape(600, 1000)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """Return a directory with a checkpoint whose state has something of every kind."""
    (tmp_path / "in.csv").write_bytes(b"1,2\n" * 50_000)
    state = {
        "w": WEIGHTS, "turned": np.asfortranarray(WEIGHTS[:10]), "few": np.arange(3), "scalar": np.float32(2),
        "records": np.zeros(3, [("é", "<i4"), ("y", ">f8", (2,))]), "none": np.zeros((0, 4)),
        "text": "x", "long": b"y" * LONG, "short": b"z", "buffer": bytearray(b"b"), "nan": math.nan, "set": {1},
        "nested": [{"a": (1, None)}, {"in.csv": tmp_path / "in.csv"}], "file": tmp_path / "in.csv",
        "$dollar": {1: "one"}, "ordered": OrderedDict(b=1, a=np.ones(2)), "keyed": Keyed({"a": 1}, groups=4),
        "shard": Shard(np.arange(5), (10,), (5,)),
    }  # fmt: skip
    path = tmp_path / "job"
    with open_checkpoints(path) as checkpoints:
        checkpoints.save(state, offsets={"in": 7}, metadata={"git": "abc"}, metrics={"loss": 0.5}, name="good")
    return path


@pytest.fixture
def checkpoint(job: Path) -> Any:
    """Return it."""
    with open_checkpoints(job, mode="r") as checkpoints:
        yield checkpoints.get("good")


def exported(directory: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the document, and its state by key."""
    told = json.loads((directory / "state.json").read_text("utf-8"))
    state = told["state"]
    return told, dict(state["$dict"]) if "$dict" in state else state


def test_all_of_a_state_is_in_files(run: Callable[..., Ran], job: Path, tmp_path: Path) -> None:
    """What is short in JSON, arrays as NumPy has them, long bytes and files as they are."""
    said = run("checkpoints", "restore", job, "good", "--to", tmp_path / "out")
    assert (said.code, said.err) == (0, "")
    assert said.out == f"wrote 1.1 into {tmp_path / 'out'}: state.json and 12 more files, 2.8 MiB\n"
    told, state = exported(tmp_path / "out")
    assert (told["id"], told["offsets"], told["metadata"]) == ("1.1", {"in": 7}, {"git": "abc"})
    assert (told["name"], told["metrics"], told["workers"]) == ("good", {"loss": 0.5}, 1)
    assert jsonform.from_json([state[key] for key in ("text", "short", "set")]) == ["x", b"z", {1}]
    assert math.isnan(jsonform.from_json(state["nan"]))  # type: ignore[arg-type]
    assert state["$dollar"] == {"$dict": [[1, "one"]]}

    def file_of(reference: Any) -> Path:
        return tmp_path / "out" / reference["$file"]["path"]

    for name, array in (("w", WEIGHTS), ("turned", WEIGHTS[:10]), ("few", np.arange(3)), ("none", np.zeros((0, 4)))):
        loaded = np.load(file_of(state[name]))
        assert (loaded.dtype, loaded.shape) == (array.dtype, array.shape)
        assert (loaded == array).all()
    assert np.load(file_of(state["scalar"])) == 2
    assert np.load(file_of(state["records"])).dtype.names == ("é", "y")
    assert np.isfortran(np.load(file_of(state["turned"])))
    assert state["w"]["$file"] == {
        "path": "files/w.npy", "is": "array", "kind": "float32", "shape": [600, 1000], "size_bytes": 2_400_128,
    }  # fmt: skip
    assert file_of(state["long"]).read_bytes() == b"y" * LONG
    assert (state["buffer"]["$file"]["is"], file_of(state["buffer"]).read_bytes()) == ("bytearray", b"b")
    assert state["nested"][0] == {"a": {"$tuple": [1, None]}}
    inner, outer = state["nested"][1]["in.csv"], state["file"]
    assert (inner["$file"]["path"], outer["$file"]["path"]) == ("files/in.csv", "files/in-2.csv")
    assert file_of(outer).read_bytes() == file_of(inner).read_bytes() == b"1,2\n" * 50_000
    assert [pair[0] for pair in state["ordered"]["$ordered"]] == ["b", "a"]
    assert state["keyed"] == {"$keyed": {"groups": 4, "entries": [["a", 1]]}}
    shard = state["shard"]["$shard"]
    assert (shard["shape"], shard["offset"], np.load(file_of(shard["array"])).tolist()) == ([10], [5], list(range(5)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "job", "out"]


def test_a_store_is_written_as_the_store_that_it_was(run: Callable[..., Ran], tmp_path: Path) -> None:
    """A directory that `journalkit.open` takes, and `verify` finds nothing wrong with; each has a name of its own."""
    with journalkit.open(tmp_path / "state") as store, open_checkpoints(tmp_path / "job") as checkpoints:
        store.update(dict.fromkeys(range(500), b"x" * 100))
        store.compact()
        store.put("last", 1)
        checkpoints.save({"db": store, "d": {"b": store.view()}, "n": 1})
        expected = dict(store)
    ran = run("checkpoints", "restore", tmp_path / "job", "latest", "--to", tmp_path / "out")
    assert ran.code == 0, ran.err
    told, state = exported(tmp_path / "out")
    for found in (state["db"], state["d"]["b"]):
        directory = tmp_path / "out" / found["$file"]["path"]
        assert found["$file"]["is"] == "store"
        assert run("verify", directory).code == 0
        with journalkit.open(directory, create=False) as store:
            assert (dict(store), store.lsn) == (expected, found["$file"]["lsn"])
    assert told["state"]["n"] == 1


def test_the_place_is_only_read_and_its_job_goes_on(run: Callable[..., Ran], job: Path, tmp_path: Path) -> None:
    """Nobody is fenced for a look."""
    with open_checkpoints(job) as running:
        (tmp_path / "empty").mkdir()
        told = run("checkpoints", "restore", job, "good", "--to", tmp_path / "empty", "--json").json
        assert (told["id"], told["to"], told["files"]) == ("1.1", str(tmp_path / "empty"), 13)
        assert told["size_bytes"] == sum(path.stat().st_size for path in (tmp_path / "empty").rglob("*.*"))
        running.save({"step": 2})


def test_what_several_workers_gave_is_written_by_rank(job: Path, tmp_path: Path) -> None:
    """As each gave it: what belongs together is said by a Shard's offset."""
    workers = Job(tmp_path)
    workers.where = str(tmp_path / "several")
    workers.run(2, lambda each: each.save({"mine": each.rank, "w": Shard(np.ones(2), (4,), (2 * each.rank,))}))
    with open_checkpoints(workers.where, mode="r") as checkpoints:
        export(PosixFileSystem(), checkpoints.get("latest"), str(tmp_path / "out"), lambda _count: None)
    told = json.loads((tmp_path / "out" / "state.json").read_text("utf-8"))
    assert (told["workers"], [each["mine"] for each in told["states"]]) == (2, [0, 1])
    assert [each["w"]["$shard"]["offset"] for each in told["states"]] == [[0], [2]]
    assert sorted(os.listdir(tmp_path / "out" / "files")) == ["rank_0.w.npy", "rank_1.w.npy"]
    assert job.exists()


@pytest.mark.parametrize("target", ["file", "full", "job/inside", "no/where", "link"])
def test_nothing_is_ever_written_over(run: Callable[..., Ran], job: Path, tmp_path: Path, target: str) -> None:
    """A new directory or an empty one, outside the place."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "link").symlink_to(tmp_path / "full")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    said = run("checkpoints", "restore", job, "good", "--to", tmp_path / target)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_a_directory_that_is_filled_meanwhile_stays_what_it_is(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """The last step finds it, and takes its own back."""
    target = tmp_path / "out"
    target.mkdir()

    def advance(_count: int) -> None:
        (target / "mine").touch()

    with pytest.raises(StorageError, match="can't be written"):
        export(PosixFileSystem(), checkpoint, str(target), advance)
    assert [path.name for path in target.iterdir()] == ["mine"]
    assert not list(tmp_path.glob(".*"))


def test_damage_is_told_and_leaves_nothing(run: Callable[..., Ran], job: Path, tmp_path: Path) -> None:
    """Every chunk is checked."""
    pack = job / names.pack_key(1, 1, 0)
    data = bytearray(pack.read_bytes())
    data[-5] ^= 1
    pack.write_bytes(bytes(data))
    said = run("checkpoints", "restore", job, "good", "--to", tmp_path / "out")
    assert (said.code, "aren't what was saved" in said.err) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "job"]


class Failing(PosixFileSystem):
    """A file system of which one operation goes wrong, or at which the program is interrupted."""

    def __init__(self, nth: int, error: BaseException) -> None:
        super().__init__()
        self.left = nth
        self._error = error

    def count(self) -> None:
        """Count an operation."""
        self.left -= 1
        if self.left == 0:
            raise self._error

    def make_directory(self, path: str) -> None:
        self.count()
        super().make_directory(path)

    def sync_directory(self, path: str) -> None:
        self.count()
        super().sync_directory(path)

    def rename(self, source: str, target: str) -> None:
        self.count()
        super().rename(source, target)

    def create(self, path: str) -> Any:
        self.count()
        return _File(super().create(path), self)


class _File:
    def __init__(self, file: Any, fs: Failing) -> None:
        self._file, self._fs = file, fs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def pwrite(self, data: Any, offset_bytes: int) -> int:
        self._fs.count()
        return int(self._file.pwrite(data, offset_bytes))

    def sync(self) -> None:
        self._fs.count()
        self._file.sync()


ERRORS = [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "I/O error"), KeyboardInterrupt()]


@pytest.mark.parametrize("error", ERRORS, ids=["full", "broken", "interrupted"])
def test_failing_at_any_operation_leaves_nothing_or_all(
    checkpoint: Checkpoint, tmp_path: Path, error: BaseException
) -> None:
    """No half-written directory, under any name."""
    expected = {"full": StoreFullError, "broken": StorageError, "interrupted": KeyboardInterrupt}
    counted = Failing(10_000, error)
    export(counted, checkpoint, str(tmp_path / "whole"), lambda _count: None)
    operations = 10_000 - counted.left
    before = sorted(path.name for path in tmp_path.iterdir())
    kind = expected["interrupted" if isinstance(error, KeyboardInterrupt) else {28: "full", 5: "broken"}[error.errno]]
    assert operations > 40
    for nth in range(1, operations):
        with pytest.raises(kind):
            export(Failing(nth, error), checkpoint, str(tmp_path / "out"), lambda _count: None)
        assert sorted(path.name for path in tmp_path.iterdir()) == before
    # The last one is the sync of the name: whether that survives a power cut isn't known, and all of it is there.
    with pytest.raises(KeyboardInterrupt if kind is KeyboardInterrupt else StorageError):
        export(Failing(operations, error), checkpoint, str(tmp_path / "out"), lambda _count: None)
    assert exported(tmp_path / "out")[0] == exported(tmp_path / "whole")[0]


def test_a_full_disk_is_told_as_such(
    run: Callable[..., Ran], job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With how much it takes, in one line."""
    monkeypatch.setattr("journalkit.cli.checkpoint_restore.PosixFileSystem", lambda: Failing(9, ERRORS[0]))
    said = run("checkpoints", "restore", job, "good", "--to", tmp_path / "out")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "no room for" in said.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "job"]


def test_one_that_is_deleted_meanwhile_is_said_to_be_gone(job: Path, tmp_path: Path) -> None:
    """And nothing is left of the try."""
    with open_checkpoints(job, trash_period=0) as checkpoints:
        gone = checkpoints.get("good")
        assert gone.manifest
        checkpoints.save({})
        checkpoints.delete("good")
        checkpoints.prune()
        with pytest.raises(CheckpointNotFoundError):
            export(PosixFileSystem(), gone, str(tmp_path / "out"), lambda _count: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"k": GroupsNode(4, {0: BytesNode("bytes", b"\x01")})}, "makes no sense"),
        ({"r": ArrayNode((("x", "<i4"),), (3,), False, b"")}, "makes no sense"),
        ({"r": object()}, "isn't written into files"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_place(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: Any, words: str
) -> None:
    """Whole bytes can still be wrong."""
    monkeypatch.setattr(type(checkpoint.manifest), "trees", lambda _self: [tree])
    with pytest.raises(JournalError, match=words) as told:
        export(PosixFileSystem(), checkpoint, str(tmp_path / "out"), lambda _count: None)
    assert "state['" in str(told.value)
    assert isinstance(told.value, CorruptionError | UsageError)


def test_tensors_are_arrays_or_bytes(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of number that NumPy lacks is written as it is."""
    known = TensorNode(ArrayNode("<f4", (2,), False, bytes(8)), True, False, "cpu")
    unknown = TensorNode(ArrayNode("bfloat16", (2,), False, bytes(4)), False, True, "cuda:0")
    monkeypatch.setattr(type(checkpoint.manifest), "trees", lambda _self: [{"a": known, "b": unknown}])
    monkeypatch.setattr(exporting.arrays, "check_size", lambda *_: None)
    export(PosixFileSystem(), checkpoint, str(tmp_path / "out"), lambda _count: None)
    _, state = exported(tmp_path / "out")
    assert state["a"]["$file"] == {
        "path": "files/a.npy", "is": "tensor", "requires_grad": True, "is_parameter": False, "device": "cpu",
        "kind": "float32", "shape": [2], "size_bytes": 136,
    }  # fmt: skip
    assert (state["b"]["$file"]["path"], state["b"]["$file"]["kind"]) == ("files/b.bin", "bfloat16")


def test_heads_of_arrays_are_numpys_own() -> None:
    """However many fields a record has."""
    many = tuple((f"field-{number}", "<i4") for number in range(5000))
    for kind in ("<f4", ">c16", "<M8[ns]", "|S3", (("x", "<i4"), ("", "|V4"), ("y", "<f8")), (("日", "<i4"),), many):
        for shape in ((), (2, 3)):
            node = ArrayNode(kind, shape, False, b"")
            header = npy_header(node)
            assert header is not None
            assert len(header) % 64 == 0
            path_like = io.BytesIO(header + bytes(100 * 5000 * 6))
            loaded = np.load(path_like, max_header_size=1 << 20)
            assert loaded.shape == shape


@pytest.mark.parametrize(
    ("steps", "name"),
    [
        (("model", "layer", 0), "model.layer.0.x"),
        (("../../etc/passwd",), "_.._etc_passwd.x"),
        (("",), "state.x"),
        ((), "state.x"),
        ((".hidden",), "hidden.x"),
        (("-rf",), "rf.x"),
        (("CON",), "_CON.x"),
        (("nul", "a"), "_nul.a.x"),
        (("a\0b\nc",), "a_b_c.x"),
        (("größe",), "größe.x"),
        (("n" * 500,), "n" * 150 + ".x"),
        (("ü" * 500,), "ü" * 75 + ".x"),
        ((b"\xff",), "b__xff_.x"),
        (((1, "a"),), "_1___a__.x"),
    ],
    ids=repr,
)
def test_any_key_gives_a_safe_name(steps: tuple[Any, ...], name: str) -> None:
    """Within its directory, seen by `ls`, no option, no device."""
    assert SafeNames().of_place(steps, ".x") == name


def test_no_two_names_are_one_file() -> None:
    """Where case doesn't count either, and accents are spelled in two ways."""
    made = SafeNames()
    given = [made.of_file(name) for name in ("a.csv", "A.csv", "a-2.csv", "é", "e\u0301", "a.csv", "archive.tar.gz")]
    assert given == ["a.csv", "A-2.csv", "a-2-2.csv", "é", "e_", "a-3.csv", "archive.tar.gz"]
    assert len({each.casefold() for each in given}) == len(given)
    assert made.of_file(".csv") == "csv"


def test_the_root_is_no_directory_to_write_into() -> None:
    """It is there, and has no name; what has no name at all isn't the current directory."""
    for directory in ("/", ""):
        with pytest.raises(UsageError):
            check_target(PosixFileSystem(), directory, "s3://bucket/job")
