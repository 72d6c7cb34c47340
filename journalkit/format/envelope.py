"""Documents: a fixed header and one CBOR body, both checksummed. And what holds the fields of a body to their types.

The store's manifest, a job's heads and pages and a checkpoint's manifest are
written this way. What the body says is each format's own; that it is whole,
of a version that is known, and nothing else behind it, is said here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Final

from journalkit.format.checksum import checksum
from journalkit.format.codec import CborCodec
from journalkit.format.layout import Field, Layout
from journalkit.format.malformed import MalformedError, NewerFormatError

HEADER = Layout(
    Field("magic", "8s", "which kind of document"),
    Field("version", "H", "format version, 1"),
    Field("reserved", "H", "zero"),
    Field("body_bytes", "I", "length of the body; nothing follows it"),
    Field("body_checksum", "I", "CRC32C of the body"),
    Field("header_checksum", "I", "CRC32C of all bytes before it"),
)
HEADER_BYTES: Final = HEADER.size
_CRC_BYTES: Final = 4
_TIME_MAX: Final = (1 << 63) - 1
_PLAIN: Final[dict[object, type]] = {"int": int, "str": str, "bytes": bytes, "bool": bool}


class Envelope:
    """One kind of document.

    Args:
        kind: What it is, for messages: "manifest".
        magic: Its first 8 bytes.
        version: The version that is written, and the only one that is read.
        of: What has that version, with its article: "a store".
    """

    __slots__ = ("_kind", "_magic", "_of", "_version")

    def __init__(self, kind: str, magic: bytes, version: int, of: str) -> None:
        self._kind = kind
        self._magic = magic
        self._version = version
        self._of = of

    def seal(self, body: bytes) -> bytes:
        """Return the document around a body."""
        head = HEADER.pack(
            magic=self._magic,
            version=self._version,
            reserved=0,
            body_bytes=len(body),
            body_checksum=checksum(body),
            header_checksum=0,
        )[:-_CRC_BYTES]
        return head + checksum(head).to_bytes(_CRC_BYTES, "little") + body

    def seal_plain(self, plain: Mapping[str, Any]) -> bytes:
        """Return the document around the CBOR of a mapping."""
        return self.seal(CborCodec().encode(plain))

    def open(self, data: bytes) -> bytes:
        """Return the body.

        Raises:
            MalformedError: It is no document of this kind, or is damaged.
            NewerFormatError: It is whole, and of a later version.
        """
        head, body = data[: HEADER_BYTES], data[HEADER_BYTES :]
        said = HEADER.unpack(head)
        if said["magic"] != self._magic:
            raise MalformedError(f"not a {self._kind}")
        if checksum(head[:-_CRC_BYTES]) != said["header_checksum"]:
            raise MalformedError(f"the {self._kind}'s header is damaged")
        if said["version"] != self._version or said["reserved"]:
            raise NewerFormatError(
                f"{self._of} of format {said['version']}.{said['reserved']}, this version reads {self._version}.0"
            )
        if said["body_bytes"] != len(body) or checksum(body) != said["body_checksum"]:
            raise MalformedError(f"the {self._kind}'s body is damaged", HEADER_BYTES)
        return body

    def open_plain(self, data: bytes, read: Callable[[Any], Any]) -> Any:
        """Return what `read` makes of the body's value. Raises as `open`, also where `read` finds no sense in it."""
        body = self.open(data)
        try:
            return read(CborCodec().decode(body))
        except MalformedError as error:
            raise MalformedError(f"the {self._kind}'s body makes no sense: {error.reason}", HEADER_BYTES) from error
        except (TypeError, KeyError, AttributeError) as error:
            reason = f"the {self._kind}'s body doesn't say what a {self._kind} must ({error!r:.200})"
            raise MalformedError(reason, HEADER_BYTES) from error


class Bounds:
    """The ranges that numbers of a format have by the names of their fields, and the lengths of its identities.

    Args:
        most: The greatest number of a field; `otherwise` of one that isn't named. None is negative, but times.
        lengths: How many bytes a field of bytes has; any number where it isn't named.
    """

    __slots__ = ("_known", "_lengths", "_most", "_otherwise")

    def __init__(self, most: Mapping[str, int], otherwise: int, lengths: Mapping[str, int]) -> None:
        self._most = most
        self._otherwise = otherwise
        self._lengths = lengths
        self._known: dict[type, tuple[tuple[str, type | None, int, int, int | None], ...]] = {}

    def check(self, part: Any) -> None:
        """Raise MalformedError unless the plain fields of a dataclass are of their types, lengths and ranges."""
        kind: Any = type(part)
        for name, wanted, least, most, length in self._known.get(kind) or self._learn(kind):
            value = getattr(part, name)
            if wanted is None:
                continue
            given = type(value)
            if given is not wanted or (wanted is int and not least <= value <= most):
                raise MalformedError(f"{name} is {value!r:.50}")
            if length is not None and len(value) != length:
                raise MalformedError(f"{name} has {len(value)} bytes")

    def _learn(self, kind: Any) -> tuple[tuple[str, type | None, int, int, int | None], ...]:
        """Keep and return name, plain type, least, greatest and length of each field."""
        self._known[kind] = tuple(
            (spec.name, _PLAIN.get(spec.type), *self._range_of(spec.name), self._lengths.get(spec.name))
            for spec in fields(kind)
        )
        return self._known[kind]

    def _range_of(self, name: str) -> tuple[int, int]:
        # Times are labels, and a clock may stand before 1970.
        return (-_TIME_MAX - 1, _TIME_MAX) if name.endswith("_us") else (0, self._most.get(name, self._otherwise))


@cache
def names_of(kind: Any) -> tuple[str, ...]:
    """Return the names of a dataclass's fields."""
    return tuple(spec.name for spec in fields(kind))


def plain_of(part: Any) -> dict[str, Any]:
    """Return a dataclass's fields by name, their values as they are."""
    kind: Any = type(part)
    return {name: getattr(part, name) for name in names_of(kind)}
