"""Objects through obstore: what a server's answers mean, and which place a URL names."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from journalkit.clock import SystemClock
from journalkit.errors import ArchiveUnavailableError, StorageError, UnknownOutcomeError, UsageError
from journalkit.fs.memory import MemoryFileSystem
from journalkit.objects.places import open_objects
from journalkit.objects.probe import require_several_writers
from journalkit.objects.remote import RemoteObjects


class Server(ThreadingHTTPServer):
    """As much of S3 as is asked for here; `wrong` says what goes wrong with the next creates."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.objects: dict[str, bytes] = {}
        self.wrong: list[str] = []
        self.ignores_conditions = False
        self.reads = True


class Answer(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_create = self.headers["If-None-Match"] == "*" and not self.server.ignores_conditions
        wrong = self.server.wrong.pop(0) if self.server.wrong else ""
        if wrong == "lost request":
            self.close_connection = True
            return
        if wrong.isdigit():
            self.answer(int(wrong))
            return
        if is_create and self.path in self.server.objects:
            self.answer(412)
            return
        self.server.objects[self.path] = body
        if wrong == "lost reply":
            self.close_connection = True
            return
        if wrong == "503 afterwards":
            self.answer(503)
            return
        self.answer(200, ETag='"tag"')

    def do_GET(self) -> None:
        if self.path.startswith("/bucket?"):
            keys = "".join(
                f"<Contents><Key>{key.removeprefix('/bucket/')}</Key><Size>{len(data)}</Size><ETag>t</ETag>"
                "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
                for key, data in sorted(self.server.objects.items())
            )
            self.answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{keys}</ListBucketResult>".encode())
        elif not self.server.reads:
            self.close_connection = True
        elif self.path in self.server.objects:
            date = "Mon, 23 Nov 2026 00:00:00 GMT"
            self.answer(200, self.server.objects[self.path], ETag='"tag"', Last_Modified=date)
        else:
            self.answer(404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        keys = [found.partition("<")[0] for found in body.split("<Key>")[1:]]
        for key in keys:
            self.server.objects.pop("/bucket/" + key, None)
        told = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self.answer(200, f"<DeleteResult>{told}</DeleteResult>".encode())


@pytest.fixture
def server() -> Iterator[Server]:
    """Run the server."""
    found = Server()
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


@pytest.fixture
def objects(server: Server) -> RemoteObjects:
    """Open the server's bucket, with few and quick retries."""
    pytest.importorskip("obstore")
    options = {
        "endpoint": f"http://127.0.0.1:{server.server_port}", "region": "x", "skip_signature": True,
        "client_options": {"allow_http": True, "timeout": "2s"},
        "retry_config": {
            "max_retries": 1, "retry_timeout": timedelta(seconds=2),
            "backoff": {"init_backoff": timedelta(milliseconds=5), "max_backoff": timedelta(milliseconds=9), "base": 2},
        },
    }  # fmt: skip
    found = open_objects("s3://bucket", options=options)
    assert isinstance(found, RemoteObjects)
    return found


@pytest.mark.parametrize("wrong", ["lost reply", "503 afterwards"])
def test_a_create_whose_reply_was_lost_has_won(wrong: str, server: Server, objects: RemoteObjects) -> None:
    """The library tries again and is refused by its own object: a false loss would end a writer that had won."""
    server.wrong = [wrong]
    assert objects.create("a", b"mine")
    server.wrong = [wrong]
    assert not objects.create("a", b"theirs")


@pytest.mark.parametrize("wrong", [["lost request"] * 9, ["503"] * 9, ["409"] * 9])
def test_a_create_of_which_nothing_is_seen_is_unknown(
    wrong: list[str], server: Server, objects: RemoteObjects
) -> None:
    """The request may be on its way still; the same bytes again are safe."""
    server.wrong = wrong
    with pytest.raises(UnknownOutcomeError, match="isn't known"):
        objects.create("a", b"mine")
    server.wrong = []
    assert objects.create("a", b"mine")


def test_a_create_that_can_not_be_read_back_is_unknown(server: Server, objects: RemoteObjects) -> None:
    """A refusal alone proves nothing."""
    server.objects["/bucket/a"] = b"mine"
    server.reads = False
    with pytest.raises(UnknownOutcomeError):
        objects.create("a", b"mine")
    with pytest.raises(ArchiveUnavailableError):
        objects.get("a")


def test_a_server_that_ignores_conditions_is_refused_for_several_writers(
    server: Server, objects: RemoteObjects
) -> None:
    """It would tell two writers that they won; and the probe leaves nothing there."""
    require_several_writers(objects, SystemClock())
    server.ignores_conditions = True
    with pytest.raises(UsageError, match=r"s3://bucket lets a second create replace an object \(it ignores If-None-"):
        require_several_writers(objects, SystemClock())
    assert server.objects == {}


def test_what_is_not_allowed_is_an_error_that_no_retry_helps(server: Server, objects: RemoteObjects) -> None:
    """The reader of the message has to change something, and waiting changes nothing."""
    server.wrong = ["403"] * 3
    with pytest.raises(StorageError, match="s3://bucket: a can't be written"):
        objects.put("a", (b"x",))
    with pytest.raises(StorageError, match="s3://bucket: a can't be created"):
        objects.create("a", b"x")
    server.wrong = ["503"] * 3
    with pytest.raises(ArchiveUnavailableError):
        objects.put("a", (b"x",))


def test_a_bucket_that_is_not_there_is_told_as_it_is(server: Server, objects: RemoteObjects) -> None:
    """Nothing is there, and nothing gets better by waiting."""
    server.wrong = ["404"] * 2
    for write in (lambda: objects.put("a", (b"x",)), lambda: objects.create("a", b"x")):
        with pytest.raises(StorageError, match="a can't be"):
            write()
    server.reads = False
    with pytest.raises(ArchiveUnavailableError, match="can't be looked at"):
        objects.status("a")


def test_a_missing_library_is_told_with_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who uses directories needs none; who doesn't learns what to type."""
    usual = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name.startswith("obstore"):
            raise ImportError(name)
        return usual(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"pip install 'journalkit\[object-storage\]'"):
        open_objects("s3://bucket/job")
    open_objects("/somewhere")


def test_a_path_in_a_bucket_keeps_to_itself() -> None:
    """Two jobs share a bucket."""
    pytest.importorskip("obstore")
    objects = open_objects("s3://bucket/job", options={"region": "x", "skip_signature": True})
    assert objects.where == "s3://bucket/job"


@pytest.mark.parametrize(
    ("where", "path"), [("file:///a%20b/c", "/a b/c"), ("file://localhost/a", "/a"), ("/a/", "/a"), (Path("/b"), "/b")]
)
def test_a_directory_is_a_path_or_a_url(where: Any, path: str) -> None:
    """Both are pasted into configuration."""
    assert open_objects(where, fs=MemoryFileSystem()).where == path


@pytest.mark.parametrize("where", ["", "ftp://a", "file://elsewhere/a", "file://", "a\0b", 3, b"bytes"])
def test_what_names_no_place_is_wrong_usage(where: Any) -> None:
    """A mistyped scheme must not become a directory of that name."""
    with pytest.raises(UsageError):
        open_objects(where)


def test_options_are_for_object_storage(tmp_path: Path) -> None:
    """They would be ignored, and whoever gave them believes they aren't."""
    with pytest.raises(UsageError, match="options are for object storage"):
        open_objects(tmp_path, options={"region": "x"})
    pytest.importorskip("obstore")
    with pytest.raises(UsageError):
        open_objects("s3://bucket", options={"no_such_option": "x"})


def test_a_directory_is_fixed_when_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that changes its working directory afterwards writes to the same place."""
    monkeypatch.chdir(tmp_path)
    objects = open_objects("place")
    monkeypatch.chdir("/")
    objects.put("a", (b"x",))
    assert (tmp_path / "place" / "a").read_bytes() == b"x"
