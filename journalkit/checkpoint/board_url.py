"""Where a lease is said, as `lease_at` gives it: which board, on which servers, under which name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from journalkit.errors import KeyTypeError, KeyValueError

SCHEMES: Final = {"etcd": (2379, False), "etcds": (2379, True), "nats": (4222, False), "tls": (4222, True)}
"""The usual port of each, and whether what is said is encrypted. `tls` is what NATS calls itself then."""


@dataclass(frozen=True, slots=True)
class BoardUrl:
    """`scheme://[user:password@]host[:port][,host[:port]...]/path[?option=value]`, taken apart.

    `shown` is what messages show: the password isn't in it.
    """

    scheme: str
    servers: tuple[tuple[str, int], ...]
    path: str
    user: str = ""
    password: str = field(default="", repr=False)
    options: tuple[tuple[str, str], ...] = ()

    @property
    def is_encrypted(self) -> bool:
        """Whether it goes over TLS."""
        return SCHEMES[self.scheme][1]

    @property
    def shown(self) -> str:
        """The URL without user and password."""
        servers = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.servers)
        return f"{self.scheme}://{servers}/{self.path}"


def parse(url: str) -> BoardUrl:
    """Take a URL apart.

    Raises:
        UsageError: It is none, and why.
    """
    if not isinstance(url, str):
        raise KeyTypeError(f"lease_at is of type {type(url).__name__}: say a URL, etcd:// or nats://")
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise KeyValueError(f"lease_at={_hidden(url)!r} is no URL of a board: {'://, '.join(SCHEMES)}://")
    split = urlsplit(f"//{rest}")
    users, _, servers = split.netloc.rpartition("@")
    user, _, password = users.partition(":")
    path = unquote(split.path).strip("/")
    if not path:
        raise KeyValueError(f"lease_at={_hidden(url)!r} names no job: {scheme}://host/job")
    try:
        found = tuple(_server(each, SCHEMES[scheme][0]) for each in servers.split(","))
    except ValueError as error:
        raise KeyValueError(f"lease_at={_hidden(url)!r} names no server: {error}") from None
    return BoardUrl(scheme, found, path, unquote(user), unquote(password), tuple(parse_qsl(split.query)))


def _server(text: str, port: int) -> tuple[str, int]:
    split = urlsplit(f"//{text}")
    if not split.hostname:
        raise ValueError(f"{text!r} is no host")
    return split.hostname, split.port if split.port is not None else port


def _hidden(url: str) -> str:
    """Return a URL without what may be a password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
