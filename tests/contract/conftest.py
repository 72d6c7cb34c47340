"""Messages of the contract's checks show values; and real servers for the contract of objects.

Each server is started once a session, on ports of its own, and ended by its process id.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import pytest

from journalkit.objects.interface import Objects
from journalkit.objects.places import open_objects

pytest.register_assert_rewrite(
    "journalkit.testing.contract", "journalkit.testing.contract_links", "journalkit.testing.contract_objects"
)

BUCKET = "journalkit"
OPTIONS: dict[str, Any] = {
    "region": "us-east-1",
    "access_key_id": "any",
    "secret_access_key": "any",
    "virtual_hosted_style_request": False,
    "client_options": {"allow_http": True},
}
"""What the servers take; they ask nobody who they are."""


_PORTS = 6


def free_port() -> int:
    """Return the first of some ports that nobody listens on; 10000 above each one is free too, for SeaweedFS.

    All of them below those that the system gives to whoever connects somewhere, which come and go.
    """
    begin = 10000 + os.getpid() % 1000 * 10
    for first in (*range(begin, 22000, 10), *range(10000, begin, 10)):
        with ExitStack() as stack:
            try:
                for port in range(first, first + _PORTS):
                    for number in (port, port + 10000):
                        stack.enter_context(socket.socket()).bind(("127.0.0.1", number))
            except OSError:
                continue
            return first
    raise RuntimeError("no port is free")


def program(name: str) -> str | None:
    """Return where a program of this environment is."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


class Server:
    """A server of that name, from `with` to its end; it can be killed in between, and started again where it was."""

    def __init__(self, name: str, directory: Path) -> None:
        self._directory = directory
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self._command = {"moto": moto, "seaweedfs": seaweedfs}[name](port, directory)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it serves a bucket."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, cwd=self._directory, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                make = urllib.request.Request(f"{self.endpoint}/{BUCKET}", method="PUT")
                urllib.request.urlopen(make, timeout=5).close()
                return
            except urllib.error.HTTPError as error:
                if error.code == HTTPStatus.CONFLICT:  # it was there before
                    return
                self._refuse_to_wait(error, deadline)
            except OSError as error:
                self._refuse_to_wait(error, deadline)
            time.sleep(0.1)

    def kill(self) -> None:
        """End it without warning."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _refuse_to_wait(self, error: OSError, deadline: float) -> None:
        if time.monotonic() > deadline or self._process is None or self._process.poll() is not None:
            said = (self._directory / "log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self._command[0]} doesn't serve: {error}\n{said}") from error

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def moto(port: int, _directory: Path) -> list[str]:
    """Return what starts moto's server."""
    return [found("moto_server"), "-H", "127.0.0.1", "-p", str(port)]


def seaweedfs(port: int, directory: Path) -> list[str]:
    """Return what starts a SeaweedFS that speaks S3."""
    data = directory / "data"
    data.mkdir(exist_ok=True)
    roles = ("s3", "master", "volume", "filer", "admin", "webdav")
    ports = [f"-{role}.port={number}" for number, role in enumerate(roles, port)]
    command = [found("weed"), "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    return [*command, "-master.telemetry=false", *ports, "-s3.port.iceberg=0", "-s3.port.lance=0"]


def found(name: str) -> str:
    """Return where a program is. Raises NotInstalledError."""
    path = program(name)
    if path is None:
        raise NotInstalledError(f"{name} isn't installed: pip install 'journalkit[servers]'")
    return path


class NotInstalledError(Exception):
    """A server's program isn't here."""


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Give a function that starts a server and returns the bucket's URL options' endpoint, or skips."""
    with ExitStack() as stack:
        started: dict[str, str] = {}

        def endpoint(name: str) -> str:
            if name not in started:
                try:
                    started[name] = stack.enter_context(Server(name, tmp_path_factory.mktemp(name))).endpoint
                except NotInstalledError as error:
                    pytest.skip(str(error))
            return started[name]

        yield endpoint


@pytest.fixture
def remote(servers: Callable[[str], str]) -> Callable[..., Objects]:
    """Give a function that opens objects on a server of that name, below a path of the bucket if one is named."""
    pytest.importorskip("obstore", reason="obstore isn't installed: pip install 'journalkit[object-storage]'")

    def opened(name: str, path: str = "") -> Objects:
        return open_objects(f"s3://{BUCKET}/{path}".rstrip("/"), options={**OPTIONS, "endpoint": servers(name)})

    return opened
