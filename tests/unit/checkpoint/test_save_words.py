"""What a job and the process that saves for it say to each other, and how that finds the place."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit import errors
from journalkit.checkpoint import save_child, save_words
from journalkit.checkpoint.address import Address, address_of, portable
from journalkit.checkpoint.save_words import Order, Service, Shared
from journalkit.checkpoint.saving import SaveOptions
from journalkit.clock import SystemClock
from journalkit.errors import CheckpointAbortedError, JournalError, UnsupportedFormatError, UsageError
from journalkit.format.checkpoint import CheckpointManifest
from journalkit.fs.shared import SharedMemory
from journalkit.objects.places import open_objects
from journalkit.objects.tiered import TieredObjects
from journalkit.runtime import talk
from journalkit.testing import SimulatedDisk

SAID = CheckpointManifest(
    b"j" * 16, 3, 4, 0, 5, "sha256", b"", (), (), {("a", 1): {2}}, [None, 1.5], {"loss": 0.5}, "x", {"sink": [b"y"]}
)


@pytest.mark.parametrize("order", [
    Order(SAID, b"tree", (), None),
    Order(SAID, 1, (Shared(0, 5, True), Shared(1 << 40, 1 << 33, False)), (1, 2, b"d" * 32)),
])  # fmt: skip
def test_an_order_is_heard_as_it_was_told(order: Order) -> None:
    """With all that the manifest says, and where what lies."""
    assert save_words.order_in(save_words.ordered(order)) == order


def test_a_service_is_heard_as_it_was_told() -> None:
    """Options of object storage have many types."""
    options = {
        "client_options": {"timeout": timedelta(days=1, seconds=3, microseconds=5), "allow_http": True},
        "list": ["a", (1, 2.5, None), b"x"],
    }
    service = Service(Address("s3://a/b?c", options, "/copies"), SaveOptions("blake3", "zstd", 2), 7)
    assert save_words.heard(save_words.told(service)) == service


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files were replaced while the program runs."""
    with monkeypatch.context() as patched:
        patched.setattr(save_words, "__version__", "older")
        said = save_words.told(Service(Address("/place"), SaveOptions(), 7))
    with pytest.raises(UnsupportedFormatError, match="was replaced by"):
        save_words.heard(said)


ERRORS: list[Exception] = [
    errors.KeyValueError("wrong"), errors.ClosedError("closed"), errors.ArchiveUnavailableError("can't be reached"),
    errors.CorruptionError("damaged", path="/a/b", offset_bytes=3), errors.StorageError("failed", path="/a"),
    errors.StorageError("é", cause=OSError(28, "No space", "/c")), errors.UnknownOutcomeError("nobody knows"),
    errors.StoreFullError("full", path="/a", needed_bytes=5, free_bytes=1), errors.UnsupportedFormatError("upgrade"),
    errors.RecordTooLargeError("long", size_bytes=5, limit_bytes=3), errors.StoreNotFoundError("none", path="/x"),
]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_childs_errors_are_raised_as_they_came(error: Any) -> None:
    """Of the same class, with the same words and attributes."""
    found: Any = save_words.error_in(talk.lines(save_words.failed(error))[0][0]["failed"])
    assert type(found) is type(error)
    assert (str(found), found.args, vars(found)) == (str(error), error.args, vars(error))
    if isinstance(error, OSError):
        assert (found.errno, found.strerror, found.filename) == (error.errno, error.strerror, error.filename)


def test_an_error_of_a_class_within_is_raised_as_the_one_outside() -> None:
    """What only one module knows is told as what the contract has."""

    class InnerError(errors.StorageError):
        pass

    found = save_words.error_in(talk.lines(save_words.failed(InnerError("inner")))[0][0]["failed"])
    assert (type(found), str(found)) == (errors.StorageError, "inner")


@pytest.mark.parametrize("error", [MemoryError("no more"), RuntimeError(object()), OSError(5, "of the system")])
def test_any_other_error_is_told_as_what_it_is(error: Exception) -> None:
    """Whatever it was, there is no checkpoint, and the next save may do better."""
    found = save_words.error_in(talk.lines(save_words.failed(error))[0][0]["failed"])
    assert type(found) is CheckpointAbortedError
    assert type(error).__name__ in str(found)


def test_a_long_line_in_pieces_is_heard_and_noise_is_not() -> None:
    """A message may be long, and a warning comes between two lines."""

    class Speaker:
        said = b"a warning\n" + b"n" * 3000 + b"\n" + save_words.failed(UsageError("x" * 5000)) + b"last words"

        def receive(self, _timeout_s: float) -> bytes | None:
            data, self.said = self.said[:700], self.said[700:]
            return data

        def end(self) -> int:
            return 0

    ear = talk.Ear(Speaker())  # type: ignore[arg-type]
    while ear.listen(0) is not None:
        pass
    assert len(ear.words) == 1
    assert str(save_words.error_in(ear.words[0]["failed"])) == "x" * 5000
    assert ear.end() == (False, "ended with status 0 (last words)")


def test_an_option_that_cant_be_carried_over_is_named() -> None:
    """However deep it lies."""
    with pytest.raises(UsageError, match=r"options\['a'\]\[1\] is a builtins.object, which no other process"):
        portable({"a": [5, object()]}, "options")


# -- addresses ----------------------------------------------------------------------------------------


def test_an_address_leads_to_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a process is, and where a link led when it was opened; the copies too."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    for where in ("link/job", Path("link/job"), f"file://{tmp_path}/link/job"):
        objects = open_objects(where)
        address = address_of(where, objects, local="copies")
        monkeypatch.chdir("/")
        found = address.open(SystemClock())
        assert isinstance(found, TieredObjects)
        assert found.where == objects.where == str(tmp_path / "real" / "job")
        found.put("packs/1/1", (b"data",))
        assert objects.get("packs/1/1") == b"data"
        assert [str(place) for place in tmp_path.glob("copies/*/packs/1/1")]
        found.close()
        objects.close()
        monkeypatch.chdir(tmp_path)


def test_an_address_of_object_storage_has_its_options() -> None:
    """What the handle tells of itself has no secrets in it, and doesn't lead there."""
    pytest.importorskip("obstore")
    options = {"endpoint": "http://localhost:1", "access_key_id": "a", "secret_access_key": "b", "region": "c"}
    options["client_options"] = {"allow_http": True}  # type: ignore[assignment]
    objects = open_objects("s3://bucket/job?x=1", options=options)
    address = address_of("s3://bucket/job?x=1", objects, options=options)
    assert address == Address("s3://bucket/job?x=1", options)
    assert address.open(SystemClock()).where == objects.where


def test_places_that_no_other_process_sees_are_refused_when_they_are_opened(tmp_path: Path) -> None:
    """Not by the first save, hours later, and before the job is taken over."""
    cases: list[tuple[Any, dict[str, Any], str]] = [
        ("memory://", {}, "in this process's memory"),
        ("/job", {"fs": SimulatedDisk()}, "on a file system of this process"),
        ("s3://b", {"options": {"region": "x", "credential_provider": print}}, r"options\['credential_provider'\]"),
        (tmp_path, {"local": "s3://bucket"}, "no directory of this machine"),
    ]  # fmt: skip
    for where, options, words in cases:
        if str(where).startswith(("s3:", "memory:")):
            pytest.importorskip("obstore")
        with pytest.raises(UsageError, match=words):
            journalkit.open_checkpoints(where, saving="process", **options)
    with pytest.raises(UsageError, match="saving='fork' is none of thread, process"):
        journalkit.open_checkpoints(tmp_path, saving="fork")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_child_opens_what_it_is_told(tmp_path: Path) -> None:
    """In the process that was started for it."""
    memory = SharedMemory()
    service = Service(Address(str(tmp_path / "job")), SaveOptions(), os.dup(memory.fileno()))
    scribe = save_child.scribe_for(service)
    order = Order(SAID, b"\xf6", (), (1, 1, b"d" * 32))
    answer = talk.lines(scribe.answer(save_words.ordered(order), lambda _: None))[0][0]
    scribe.close()
    memory.abandon()
    assert save_words.DONE in answer
    assert (tmp_path / "job" / "checkpoints").is_dir() or list((tmp_path / "job").iterdir())


def test_a_reader_needs_no_process(tmp_path: Path) -> None:
    """Nothing is saved by it."""
    with journalkit.open_checkpoints(tmp_path / "job") as job:
        job.save({"a": 1})
    with journalkit.open_checkpoints(tmp_path / "job", mode="r", saving="process") as reader:
        assert reader._outside is None


def test_what_isnt_ours_is_no_error_of_ours() -> None:
    """A name is looked up among the classes of errors only."""
    for name in ("errno", "annotations", "salvage_step", "DamagedCheckpointWarning", "nothing of that name"):
        words = {"kind": name, "said": [], "attributes": {}, "text": "odd"}
        assert type(save_words.error_in(words)) is CheckpointAbortedError
    assert issubclass(CheckpointAbortedError, JournalError)
