"""Boards elsewhere than in the storage: their URLs, and an etcd that says what a sound one doesn't."""

from __future__ import annotations

import builtins
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.checkpoint import board_url
from journalkit.checkpoint.boards import open_board
from journalkit.errors import ArchiveUnavailableError, StorageError, UsageError


@contextmanager
def answering(*replies: tuple[int, bytes]) -> Iterator[tuple[int, list[tuple[str, Any]]]]:
    """Serve replies one after the other, the last one again and again; give the port, and what was asked."""
    asked: list[tuple[str, Any]] = []
    left = list(replies)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, json.loads(body)))
            status, reply = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def etcd(port: int, *, before: str = "") -> Any:
    """Return a board in an etcd of that port, behind other servers."""
    return open_board(f"etcd://{before}127.0.0.1:{port}/jobs/fraud", 5)


@pytest.mark.parametrize(
    ("url", "shown", "user", "password"),
    [
        ("etcd://one/jobs/fraud", "etcd://one:2379/jobs/fraud", "", ""),
        ("etcds://one:1,two,[::1]:3/a", "etcds://one:1,two:2379,[::1]:3/a", "", ""),
        ("etcd://me:s%40y@one/a%20b/", "etcd://one:2379/a b", "me", "s@y"),
        ("nats://token@one/bucket/key?replicas=3", "nats://one:4222/bucket/key", "token", ""),
        ("tls://one/bucket/key", "tls://one:4222/bucket/key", "", ""),
    ],
)
def test_a_url_names_servers_and_a_path_and_no_password_is_shown(
    url: str, shown: str, user: str, password: str
) -> None:
    """In messages, and in what prints it."""
    found = board_url.parse(url)
    assert found.shown == shown
    assert (found.user, found.password) == (user, password)
    assert not password or password not in repr(found)
    assert found.is_encrypted == url.startswith(("etcds", "tls"))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (7, "of type int"),
        ("redis://me:word@one/job", "is no URL of a board"),
        ("one/job", "is no URL of a board"),
        ("etcd://me:word@one", "names no job"),
        ("etcd:///job", "names no server"),
        ("etcd://one:port/job", "names no server"),
        ("etcd://one,,two/job", "names no server"),
        ("etcd://one/job?replicas=3", "nothing stands behind"),
        ("nats://one/bucket", "and no key"),
        ("nats://one/bucket/key?replicas=9", "1 to 5"),
        ("nats://one/bucket/key?replicas=x", "1 to 5"),
        ("nats://one/bucket/key?storage=memory", "1 to 5"),
    ],
)
def test_a_url_that_names_no_board_is_refused(url: Any, words: str) -> None:
    """With what is wrong, and without the password."""
    with pytest.raises(UsageError, match=words) as caught:
        open_board(url, 30)
    assert "word@" not in str(caught.value)


def test_where_a_lease_is_kept_is_nothing_without_a_lease(tmp_path: Path) -> None:
    """Who forgets to say for how long would run unprotected."""
    with pytest.raises(UsageError, match="give both"):
        journalkit.open_checkpoints(tmp_path, lease_at="etcd://one/job")


def test_servers_that_are_away_are_passed_over_and_named(tmp_path: Path) -> None:
    """The next one is asked; when none is left, the caller, and the job hasn't begun."""
    with answering((200, b'{"kvs": [{"mod_revision": "7", "value": "YQ=="}]}')) as (port, asked):
        board = etcd(port, before="127.0.0.1:1,")
        for _ in range(2):
            newest = board.newest()
            assert (newest.number, newest.data) == (7, b"a")
        board.say(b"b", after=7)
        board.close()
        compared = asked[-1][1]["compare"][0]
        assert (asked[-1][0], compared["mod_revision"], compared["target"]) == ("/v3/kv/txn", "7", "MOD")
    with pytest.raises(ArchiveUnavailableError, match=r"127\.0\.0\.1:1: .*refused.*try again"):
        etcd(1).newest()
    with pytest.raises(ArchiveUnavailableError):
        journalkit.open_checkpoints(tmp_path / "job", lease=5, lease_at="etcd://127.0.0.1:1/job")
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize(
    ("status", "reply", "error", "words"),
    [
        (503, b'{"error": "no leader", "code": 14}', ArchiveUnavailableError, "no leader.*try again"),
        (500, b"<html>", ArchiveUnavailableError, "status 500"),
        (403, b'{"message": "permission denied", "code": 7}', UsageError, "may not"),
        (400, b'{"error": "user name is empty", "code": 3}', UsageError, "user name is empty"),
        (404, b"404 page not found", UsageError, "no etcd of 3.4"),
        (200, b"hello", StorageError, "makes no sense"),
        (200, b"[]", StorageError, "makes no sense"),
        (200, b'{"kvs": [{"value": "YQ=="}]}', StorageError, "makes no sense"),
        (200, b'{"kvs": [{"mod_revision": "x"}]}', StorageError, "makes no sense"),
        (200, b'{"kvs": [{"mod_revision": 1, "value": "Y"}]}', StorageError, "makes no sense"),
        (200, b'{"kvs": 5}', StorageError, "makes no sense"),
        (200, b"[" * 100_000, StorageError, "makes no sense"),
    ],
)
def test_what_an_etcd_answers_otherwise_is_told(status: int, reply: bytes, error: type[Exception], words: str) -> None:
    """What asking again helps against, what it doesn't, and what is no etcd at all."""
    with answering((status, reply)) as (port, _), closing(etcd(port)) as board, pytest.raises(error, match=words):
        board.newest()


def test_a_certificate_that_nobody_trusts_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking the next server would be asking somebody else."""

    def request(*_: Any) -> None:
        raise ssl.SSLCertVerificationError(1, "certificate verify failed")

    monkeypatch.setattr(HTTPSConnection, "request", request)
    with pytest.raises(UsageError, match="isn't one to trust"):
        open_board("etcds://one,two/job", 5).newest()


def test_a_token_that_has_run_out_is_asked_for_anew() -> None:
    """Once; a password that isn't good any more is the caller's to know."""
    run_out = (401, b'{"error": "invalid auth token", "code": 16}')
    token, nothing = (200, b'{"token": "t"}'), (200, b"{}")
    with answering(token, nothing, run_out, token, nothing, run_out) as (port, asked):
        board = open_board(f"etcd://me:word@127.0.0.1:{port}/job", 5)
        assert board.newest() is None
        assert board.newest() is None
        with pytest.raises(UsageError, match="a user and a password"):
            board.newest()
        board.close()
    assert [path for path, _ in asked].count("/v3/auth/authenticate") == 3


def test_without_its_package_nats_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "nats":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match=r"journalkit\[nats\]"):
        open_board("nats://one/bucket/key", 5)


def test_a_nats_that_is_away_is_told() -> None:
    """And no thread stays behind."""
    with pytest.raises(ArchiveUnavailableError, match="can't be reached"):
        open_board("nats://127.0.0.1:1/bucket/key", 5)
    assert not [thread for thread in threading.enumerate() if thread.name == "journalkit-lease-nats"]
