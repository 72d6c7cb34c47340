"""A board in NATS JetStream: one key of a bucket, changed only at the revision that somebody has read.

What speaks NATS in Python is asynchronous, so its loop runs in a thread of its
own for as long as the board is open. It reconnects by itself. Reads go to the
leader of the bucket's stream: a replica may be behind.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, Final, TypeVar

from journalkit.checkpoint.board import Said
from journalkit.checkpoint.board_url import BoardUrl
from journalkit.errors import ArchiveUnavailableError, JournalError, UsageError

_Result = TypeVar("_Result")

_REPLICAS_MAX: Final = 5
_JOIN_S: Final = 1.0


class NatsBoard:
    """One key of a bucket, which is made if it isn't there: `nats://host/bucket/key`, `?replicas=3` in a cluster."""

    def __init__(self, url: BoardUrl, timeout_s: float) -> None:
        """Connect.

        Raises:
            UsageError: The URL can't be, the server has no JetStream or lets nobody in, or nats-py isn't installed.
            ArchiveUnavailableError: No server can be reached.
        """
        try:
            import nats
            import nats.js.errors
            from nats.js.api import KeyValueConfig
        except ImportError:
            raise UsageError(
                f"{url.shown} takes a package that isn't installed: pip install 'journalkit[nats]'"
            ) from None
        self.where = url.shown
        bucket, _, self._key = url.path.partition("/")
        if not self._key:
            raise UsageError(f"{url.shown} names a bucket and no key: nats://host/bucket/job")
        self._timeout_s = timeout_s
        self._nats = nats
        self._client: Any = None
        # What the client met on its way; what it raises in the end says less.
        self._met: Exception | None = None
        self._bucket: Any = None
        self._config = KeyValueConfig(bucket=bucket, history=1, replicas=_replicas(url))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="journalkit-lease-nats", daemon=True)
        self._thread.start()
        try:
            self._wait(lambda: self._connect(url))
        except BaseException:
            self.close()
            raise

    def newest(self) -> Said | None:
        """Return the key's value and its revision."""
        entry = self._wait(self._read)
        return None if entry is None else Said(entry.revision, entry.value or b"", self.where)

    def say(self, data: bytes, *, after: int) -> None:
        """Update the key, if its revision is that one still; 0: create it."""
        self._wait(lambda: self._write(data, after))

    def close(self) -> None:
        """Close the connection, and end the thread."""
        if self._loop.is_closed():
            return
        client, self._client = self._client, None
        try:
            if client is not None:
                asyncio.run_coroutine_threadsafe(client.close(), self._loop).result(self._timeout_s)
        except (OSError, self._nats.errors.Error, TimeoutError, CancelledError):
            pass  # the other side isn't there, and is told nothing
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_JOIN_S)
            if not self._thread.is_alive():
                self._loop.close()

    async def _connect(self, url: BoardUrl) -> None:
        scheme = "tls" if url.is_encrypted else "nats"
        login = {"user": url.user, "password": url.password} if url.password else {"token": url.user or None}
        self._client = await self._nats.connect(
            servers=[f"{scheme}://{_bracketed(host)}:{port}" for host, port in url.servers],
            connect_timeout=self._timeout_s,
            # As often as there are servers at first; whenever a connection is lost later, for as long as it takes.
            max_reconnect_attempts=1,
            reconnect_time_wait=self._timeout_s / 10,
            error_cb=self._note,
            **login,
        )
        self._client.options["max_reconnect_attempts"] = -1
        stream = self._client.jetstream(timeout=self._timeout_s)
        try:
            self._bucket = await stream.key_value(self._config.bucket)
        except self._nats.js.errors.BucketNotFoundError:
            self._bucket = await stream.create_key_value(self._config)

    async def _note(self, error: Exception) -> None:
        self._met = error

    async def _read(self) -> Any:
        try:
            return await self._bucket.get(self._key)
        except self._nats.js.errors.KeyNotFoundError:
            return None

    async def _write(self, data: bytes, after: int) -> None:
        try:
            if after:
                await self._bucket.update(self._key, data, last=after)
            else:
                await self._bucket.create(self._key, data)
        except self._nats.js.errors.KeyWrongLastSequenceError:
            return

    def _wait(self, work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        """Have the loop do something, and return what came of it."""
        self._met = None
        doing = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work(), 3 * self._timeout_s), self._loop)
        try:
            return doing.result()
        except (OSError, self._nats.errors.Error, TimeoutError) as error:
            raise self._told(error) from error
        except BaseException:
            doing.cancel()  # Ctrl-C
            raise

    def _told(self, error: Exception) -> JournalError:
        """Return what a caller is told of an error of the client."""
        errors, js = self._nats.errors, self._nats.js.errors
        if isinstance(error, js.InvalidKeyError | js.InvalidBucketNameError):
            return UsageError(f"{self.where}: NATS takes no such name: letters, digits, `-`, `_`; `/` in keys")
        for met in (error, self._met):
            # What the server says in its own words has no class of its own.
            if isinstance(met, errors.InvalidUserCredentialsError) or "authorization" in str(met).lower():
                return UsageError(f"{self.where}: NATS lets nobody in so ({met}): give user:password@ or token@")
        if isinstance(error, js.ServiceUnavailableError | errors.NoRespondersError | js.NoStreamResponseError):
            reason = "NATS answers, and JetStream doesn't: start the server with -js, or wait for its leader"
        elif isinstance(error, js.APIError):
            reason = f"JetStream says: {error.description}: try again"
        else:
            reason = f"NATS can't be reached ({str(self._met or error) or type(error).__name__}): try again"
        return ArchiveUnavailableError(f"{self.where}: {reason}")


def _replicas(url: BoardUrl) -> int:
    unknown = [name for name, _ in url.options if name != "replicas"]
    said = dict(url.options).get("replicas", "1")
    if unknown or not said.isdecimal() or not 1 <= int(said) <= _REPLICAS_MAX:
        raise UsageError(f"{url.shown}: behind the ? stands replicas, 1 to {_REPLICAS_MAX}, or nothing")
    return int(said)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
