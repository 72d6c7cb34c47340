"""Fixed layouts as tables: the table is the code and the documentation.

A header is written once, as a row of fields. The struct that packs it, its
size, and the table in the format's documentation all come from that row, so
they cannot tell different stories.

Little-endian, no padding. What the values mean is the business of the module
that owns the table; checksums too.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from journalkit.format.malformed import MalformedError


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name, its struct code for one value ("Q", "16s") and what it means."""

    name: str
    code: str
    meaning: str

    def __post_init__(self) -> None:
        if len(struct.unpack("<" + self.code, bytes(self.size))) != 1:
            raise ValueError(f"a field holds one value, {self.name!r} is {self.code!r}")

    @property
    def size(self) -> int:
        """Bytes that the field takes."""
        return struct.calcsize("<" + self.code)


class Layout:
    """A fixed run of fields.

    `struct` is there for hot paths, which pack and unpack by position; `pack`
    and `unpack` go by name.
    """

    __slots__ = ("fields", "names", "size", "struct")

    def __init__(self, *fields: Field) -> None:
        self.fields = fields
        self.names = tuple(field.name for field in fields)
        if len(set(self.names)) != len(fields):
            raise ValueError(f"a field is named twice in {self.names}")
        self.struct = struct.Struct("<" + "".join(field.code for field in fields))
        self.size = self.struct.size

    def offset_of(self, name: str) -> int:
        """Return the offset in bytes at which a field begins; KeyError if there is none of that name."""
        offset_bytes = 0
        for field in self.fields:
            if field.name == name:
                return offset_bytes
            offset_bytes += field.size
        raise KeyError(name)

    def pack(self, **values: Any) -> bytes:
        """Return the fields as bytes. Every field has to be given, by name, and no other."""
        if len(values) != len(self.names):
            raise TypeError(f"fields are {self.names}, given were {tuple(values)}")
        try:
            return self.struct.pack(*[values[name] for name in self.names])
        except KeyError as missing:
            raise TypeError(f"field {missing} is not given") from None

    def unpack(self, data: bytes | bytearray | memoryview) -> dict[str, Any]:
        """Return the fields by name, from bytes of exactly this layout's size."""
        if len(data) != self.size:
            raise MalformedError(f"{len(data)} bytes where {self.size} belong", min(len(data), self.size))
        return dict(zip(self.names, self.struct.unpack(data), strict=True))

    def markdown(self) -> str:
        """Return the table that the documentation shows."""
        rows = ["| offset | bytes | field | meaning |", "|---|---|---|---|"]
        for field in self.fields:
            rows.append(f"| {self.offset_of(field.name)} | {field.size} | `{field.name}` | {field.meaning} |")
        return "\n".join(rows) + "\n"
