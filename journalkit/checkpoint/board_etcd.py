"""A board in etcd: one key, changed only at the revision that somebody has read.

By etcd's JSON gateway, which every server from 3.4 on has, and Python's own
HTTP. A request that one server doesn't answer goes to the next: what is said
twice is said once, since the second names a revision that is gone.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from journalkit.checkpoint.board import Said
from journalkit.checkpoint.board_url import BoardUrl
from journalkit.errors import ArchiveUnavailableError, StorageError, UsageError

_REPLY_BYTES_MAX: Final = 1 << 20
_UNAUTHENTICATED: Final = 16
_REFUSED: Final = {
    3: "it takes no such request",  # as it says of users and roles that don't fit
    7: "this user may not",
    9: "it isn't set up for that",
    _UNAUTHENTICATED: "it asks for a user and a password that it knows",
}
"""By the code of gRPC: what asking again doesn't help against. Whatever else it answers, it may."""


class EtcdBoard:
    """One key of an etcd. Connections are made when they are needed, one server after the other."""

    def __init__(self, url: BoardUrl, timeout_s: float) -> None:
        self.where = url.shown
        self._key = base64.b64encode(url.path.encode()).decode()
        self._user, self._password = url.user, url.password
        self._token = ""
        self._servers = list(url.servers)
        self._is_encrypted = url.is_encrypted
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def newest(self) -> Said | None:
        """Return the key's value and its revision, as the majority of the servers has it."""
        found = self._ask("kv/range", {"key": self._key}).get("kvs", [])
        try:
            for entry in found:
                return Said(int(entry["mod_revision"]), base64.b64decode(entry.get("value", "")), self.where)
        except (TypeError, LookupError, ValueError, AttributeError) as error:
            raise self._nonsense(error) from error
        return None

    def say(self, data: bytes, *, after: int) -> None:
        """Put the key, if its revision is that one still; 0: if it isn't there."""
        is_unchanged = {"key": self._key, "target": "MOD", "result": "EQUAL", "mod_revision": str(after)}
        put = {"request_put": {"key": self._key, "value": base64.b64encode(data).decode()}}
        self._ask("kv/txn", {"compare": [is_unchanged], "success": [put]})

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _ask(self, what: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request to the server that answered last, or to the next that does, and return its reply."""
        if self._user and not self._token:
            self._authenticate()
        status, reply = self._send(what, request)
        if self._user and reply.get("code") == _UNAUTHENTICATED:  # the token was good for some minutes
            self._authenticate()
            status, reply = self._send(what, request)
        return self._checked(status, reply)

    def _authenticate(self) -> None:
        self._token = ""
        reply = self._checked(*self._send("auth/authenticate", {"name": self._user, "password": self._password}))
        self._token = str(reply.get("token", ""))

    def _checked(self, status: int, reply: dict[str, Any]) -> dict[str, Any]:
        if status == HTTPStatus.OK:
            return reply
        said = str(reply.get("error") or reply.get("message") or f"status {status}")[:200]
        refusal = _REFUSED.get(reply.get("code", 0))
        if refusal is not None:
            raise UsageError(f"{self.where}: {refusal} ({said})")
        if status == HTTPStatus.NOT_FOUND:
            raise UsageError(f"{self.where}: no etcd of 3.4 or later answers there ({said})")
        raise ArchiveUnavailableError(f"{self.where}: etcd can't answer just now ({said}): try again")

    def _send(self, what: str, request: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        body = json.dumps(request)
        headers = {"Content-Type": "application/json"} | ({"Authorization": self._token} if self._token else {})
        failures: list[str] = []
        # Once more than there are servers: a connection that was kept may have been closed by the other side.
        for _ in range(len(self._servers) + 1):
            host, port = self._servers[0]
            try:
                connection = self._connected()
                connection.request("POST", f"/v3/{what}", body, headers)
                response = connection.getresponse()
                reply = response.read(_REPLY_BYTES_MAX)
            except ssl.SSLCertVerificationError as error:
                self.close()
                raise UsageError(
                    f"{self.where}: its certificate isn't one to trust ({error})"
                ) from error
            except (OSError, http.client.HTTPException) as error:
                self.close()
                self._servers.append(self._servers.pop(0))
                failures.append(f"{host}:{port}: {str(error) or type(error).__name__}")
                continue
            return response.status, self._decoded(reply, response.status)
        shown = "; ".join(dict.fromkeys(failures))
        raise ArchiveUnavailableError(f"{self.where}: no etcd can be reached ({shown}): try again")

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            host, port = self._servers[0]
            if self._is_encrypted:
                context = ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=context)
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        return self._connection

    def _decoded(self, reply: bytes, status: int) -> dict[str, Any]:
        found: Any = None
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(reply)
        if isinstance(found, dict):
            return found
        if status == HTTPStatus.OK:
            raise self._nonsense(reply[:50])
        return {}

    def _nonsense(self, found: object) -> StorageError:
        cause = found if isinstance(found, OSError) else OSError(f"no etcd says {found!r:.100}")
        return StorageError(f"{self.where}: what answers there makes no sense ({found!r:.100})", cause=cause)
