"""What a process and a child of it say to each other, whatever it is about.

    to the child     messages, each behind its length, u32
    to the parent    a line of JSON for each thing that it has to say

A line begins with `MARK`; whatever else comes through the pipe, a warning or a
traceback, isn't for us and is kept only for an error's message. Both ends are
one version of journalkit; nothing of this is ever on disk.
"""

from __future__ import annotations

import json
import signal
import struct
from collections.abc import Callable
from typing import Any, Final

from journalkit._version import __version__
from journalkit.errors import UnsupportedFormatError
from journalkit.fs.interface import Child

MARK: Final = b"journalkit: "
BEGUN: Final = "begun"
_LENGTH: Final = struct.Struct("<I")
_NOISE_BYTES_MAX: Final = 1000
_LINE_BYTES_MAX: Final = 1 << 20
"""How long a line may be that has not ended; ours are far shorter."""


def measured(data: bytes) -> bytes:
    """Return a message as it goes to a child."""
    return _LENGTH.pack(len(data)) + data


def message(read: Callable[[int], bytes]) -> bytes:
    """Return the next message, as a child reads it; `read` returns so many bytes."""
    (length,) = _LENGTH.unpack(read(_LENGTH.size))
    return read(length) if length else b""


def line(words: dict[str, Any]) -> bytes:
    """Return words as a child says them."""
    return MARK + json.dumps(words).encode() + b"\n"


def begun() -> bytes:
    """Return the line that a child says first."""
    return line({BEGUN: True})


def lines(said: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """Return what is for us in what a child said, and the rest: what isn't, and a line that has not ended."""
    words: list[dict[str, Any]] = []
    rest: list[bytes] = []
    for each in said.splitlines(keepends=True):
        if each.startswith(MARK) and each.endswith(b"\n"):
            words.append(json.loads(each.removeprefix(MARK)))
        else:
            rest.append(each)
    return words, b"".join(rest)


def require_same_version(version: object) -> None:
    """Raise UnsupportedFormatError unless the other process is of this version."""
    if version != __version__:
        raise UnsupportedFormatError(
            f"journalkit {version} was replaced by {__version__} while it runs; start the program again"
        )


class Ear:
    """What a child says: `words` that are for us, oldest first, and of the rest enough for an error's message."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._noise = b""
        self.words: list[dict[str, Any]] = []

    def listen(self, timeout_s: float) -> bool | None:
        """Note what the child says meanwhile; return whether it said anything, and None if it has ended."""
        said = self._child.receive(timeout_s)
        if said:
            words, noise = lines(self._noise + said)
            self.words += words
            end = noise.rfind(b"\n") + 1
            self._noise = noise[:end][-_NOISE_BYTES_MAX:] + noise[end:][:_LINE_BYTES_MAX]
        return None if said == b"" else said is not None

    def end(self) -> tuple[bool, str]:
        """End the child; return whether a signal did that before, and in words how it ended and what it said last."""
        status = self._child.end()
        if status is None:
            how = "can't be killed at the moment"
        elif status < 0:
            how = f"was killed by {_signal_name(-status)}"
        else:
            how = f"ended with status {status}"
        last = self._noise.decode(errors="replace").strip().rpartition("\n")[2]
        return status is not None and status < 0, f"{how} ({last})" if last else how


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
