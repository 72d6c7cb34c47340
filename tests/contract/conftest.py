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
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

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
    """Return the first of some ports that nobody listens on; 10000 above each one is free too, for SeaweedFS."""
    for first in range(20000 + os.getpid() % 2000 * 10, 50000, 10):
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


@contextmanager
def serving(command: list[str], port: int, directory: Path) -> Iterator[str]:
    """Run a server until it isn't needed; give its endpoint with a bucket in it."""
    endpoint = f"http://127.0.0.1:{port}"
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                make = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
                urllib.request.urlopen(make, timeout=5).close()
                break
            except OSError as error:
                if time.monotonic() > deadline or server.poll() is not None:
                    said = (directory / "log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{command[0]} doesn't serve: {error}\n{said}") from error
                time.sleep(0.1)
        yield endpoint
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@contextmanager
def moto(directory: Path) -> Iterator[str | None]:
    """Give the endpoint of moto's server, None where it isn't installed."""
    path = program("moto_server")
    if path is None:
        yield None
        return
    port = free_port()
    with serving([path, "-H", "127.0.0.1", "-p", str(port)], port, directory) as endpoint:
        yield endpoint


@contextmanager
def seaweedfs(directory: Path) -> Iterator[str | None]:
    """Give the S3 endpoint of a SeaweedFS, None where it isn't installed."""
    path = program("weed")
    if path is None:
        yield None
        return
    port = free_port()
    data = directory / "data"
    data.mkdir()
    roles = ("s3", "master", "volume", "filer", "admin", "webdav")
    ports = [f"-{role}.port={number}" for number, role in enumerate(roles, port)]
    command = [path, "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", *ports]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    with serving(command, port, directory) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Give a function that starts a server and returns the bucket's URL options' endpoint, or skips."""
    with ExitStack() as stack:
        started: dict[str, str | None] = {}

        def endpoint(name: str) -> str:
            if name not in started:
                serve = {"moto": moto, "seaweedfs": seaweedfs}[name]
                started[name] = stack.enter_context(serve(tmp_path_factory.mktemp(name)))
            found = started[name]
            if found is None:
                pytest.skip(f"{name} isn't installed: pip install 'journalkit[servers]'")
            return found

        yield endpoint


@pytest.fixture
def remote(servers: Callable[[str], str]) -> Callable[..., Objects]:
    """Give a function that opens objects on a server of that name, below a path of the bucket if one is named."""
    pytest.importorskip("obstore", reason="obstore isn't installed: pip install 'journalkit[object-storage]'")

    def opened(name: str, path: str = "") -> Objects:
        return open_objects(f"s3://{BUCKET}/{path}".rstrip("/"), options={**OPTIONS, "endpoint": servers(name)})

    return opened
