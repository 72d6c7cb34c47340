"""Old checkpoints stay readable: a place as the first version of the format wrote it, loaded by this version.

What is in `checkpoint-1` never changes. Running this file writes it where there is none.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from journalkit.checkpoint.loading import Manifest, read_manifest
from journalkit.checkpoint.pack import Known
from journalkit.checkpoint.saved import SavedFile
from journalkit.checkpoint.saving import SaveOptions, write_checkpoint
from journalkit.checkpoint.tree import capture
from journalkit.format.checkpoint import decode_manifest, encode_manifest
from journalkit.format.head import DIGEST_BYTES
from journalkit.format.names import checkpoint_key, pack_key
from journalkit.fs.posix import PosixFileSystem
from journalkit.objects.directory import DirectoryObjects, DirectoryReader

PLACE = Path(__file__).parent / "checkpoint-1"
JOB = bytes(range(16))
RECORD = np.dtype([("x", "<i4"), (("title", "y"), ">f8", (2,)), ("in", [("z", "?")])], align=True)


def state_of(save: int) -> dict[Any, Any]:
    """Return what was saved: the second time one byte is another."""
    rows = np.arange(20_000, dtype="<i8").reshape(20, 1000)
    rows[7] += 1
    data = bytearray(bytes(range(251)) * 600)
    data[90_000] = save
    return {
        "none": None, "int": -(1 << 70), "text": "é", ("a", 1): b"bytes", "list": [1, (2, "x"), {3}, frozenset({4})],
        "time": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "day": date(2026, 1, 2), "decimal": Decimal("-0.10"),
        "fraction": Fraction(1, 3), "uuid": UUID(int=7), "ordered": OrderedDict(b=1, a=[2.5]),
        "rows": rows, "columns": np.asfortranarray(rows), "short": np.arange(6, dtype=">f4").reshape(2, 3),
        "half": np.ones(3, "f2"), "bool": np.array(True), "complex": np.ones((2, 1), "c16"),
        "when": np.arange(3).astype("<M8[us]"), "texts": np.array(["é", "ab"]), "scalar": np.float32(1.5),
        "records": np.zeros(2, RECORD), "empty": np.zeros((3, 0, 2)), "long": bytes(range(251)) * 600, "changing": data,
        "view": memoryview(b"view"),
    }  # fmt: skip


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal and of the same types, arrays of the same elements."""
    if isinstance(left, np.ndarray | np.generic):
        return bool(type(left) is type(right) and left.dtype == right.dtype and left.tobytes() == right.tobytes())
    return type(left) is type(right) and bool(left == right)


def found(save: int) -> Manifest:
    """Return what a save left."""
    return read_manifest(DirectoryReader(str(PLACE), PosixFileSystem()), checkpoint_key(3, save))


def test_every_save_loads() -> None:
    """Equal, and of the same types; a file by its handle."""
    for save in (1, 2):
        loaded = found(save).load()
        file = loaded.pop("file")
        assert isinstance(file, SavedFile)
        assert (file.name, file.read()) == ("weights.bin", b"weights" * 20_000)
        expected = state_of(save)
        assert list(loaded) == list(expected)
        for name, value in expected.items():
            assert same(loaded[name], value), name
        assert found(save).verify() == []


def test_what_a_job_said_is_there() -> None:
    """With every save."""
    said = found(2).said
    assert (said.job, said.epoch, said.save, said.part, said.time_us) == (JOB, 3, 2, 0, 1_767_323_045_000_006)
    assert (said.offsets, said.metadata, said.metrics, said.name) == (
        {("orders", 0): 42}, {"git": "abc"}, {"loss": 0.25}, "save 2",
    )  # fmt: skip


def test_the_second_save_stands_on_the_first() -> None:
    """Its pack has what changed, compressed."""
    use = found(2).packs()
    assert list(use) == [pack_key(3, 1, 0), pack_key(3, 2, 0)]
    assert any(listed.stored for listed in found(2).said.chunked)


def test_a_manifest_is_written_as_it_was() -> None:
    """Byte for byte: readers of the first version read what this one writes."""
    for save in (1, 2):
        data = (PLACE / checkpoint_key(3, save)).read_bytes()
        assert encode_manifest(decode_manifest(data)) == data
        assert all(len(listed.digests) == len(listed) * DIGEST_BYTES for listed in found(save).said.chunked)


def make(scratch: Path) -> None:
    """Write the place."""
    (scratch / "weights.bin").write_bytes(b"weights" * 20_000)
    objects = DirectoryObjects(str(PLACE), PosixFileSystem())
    on: list[Manifest] = []
    for save, compression in ((1, "none"), (2, "zstd")):
        write_checkpoint(
            objects, job=JOB, epoch=3, save=save, captured=capture(state_of(save) | {"file": scratch / "weights.bin"}),
            time_us=1_767_323_045_000_006, offsets={("orders", 0): 42}, metadata={"git": "abc"},
            metrics={"loss": 0.25}, name=f"save {save}", known=Known.of([each.said for each in on], "sha256"),
            options=SaveOptions("sha256", compression, threads=0),
        )  # fmt: skip
        on = [found(save)]
    objects.close()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
