"""The format's reference in bytes: its tables and its worked example come from the code.

    python tests/repo/test_format_reference.py

writes both into docs/reference/format.md again, after a change of the format
that was meant. The example's program stands in the document itself and is run
from there, on a file system in memory and with a clock that repeats.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from journalkit.format import batch, block, checkpoint, envelope, frame, head, index, segment, table
from journalkit.format.codec import CborCodec
from journalkit.format.layout import Layout

FORMAT = Path(__file__).parents[2] / "docs" / "reference" / "format.md"
CHECKPOINTS = FORMAT.with_name("checkpoint-format.md")
PROGRAM = re.compile(r"<!-- the example's program -->\n```python\n(.*?)```\n", re.DOTALL)
TABLE = re.compile(r"(<!-- layout: (\S+) -->\n+)((?:\|[^\n]*\n)*)")
EXAMPLE = re.compile(r"(<!-- example: (\S+) -->\n```text\n)(.*?)(```\n)", re.DOTALL)
BYTES_A_LINE = 16

OPAQUE = re.compile("magic|salt|.*checksum")
"""Fields whose value as a decimal number tells nobody anything."""

Span = tuple[int, str]
"""How many bytes, and what they are."""


def fields(layout: Layout, data: bytes, at: int) -> Iterator[Span]:
    """Yield the fields of a layout, with their values where a person can read them."""
    values = layout.unpack(data[at : at + layout.size])
    for field in layout.fields:
        value = values[field.name]
        shown = f" = {value}" if isinstance(value, int) and not OPAQUE.fullmatch(field.name) else ""
        yield field.size, field.name + shown


def entry(data: bytes, at: int) -> list[Span]:
    """Return one entry of a batch."""
    key_bytes, value_bytes = batch.ENTRY.unpack_from(data, at)
    spans = [(2, f"key bytes = {key_bytes}")]
    if value_bytes == batch.TOMBSTONE:
        return [*spans, (4, "value bytes: a deletion"), (key_bytes, "key")]
    return [*spans, (4, f"value bytes = {value_bytes}"), (key_bytes, "key"), (value_bytes, "value")]


def log_spans(data: bytes) -> Iterator[Span]:
    """Yield what a segment's bytes are."""
    yield from fields(segment.HEADER, data, 0)
    at = segment.HEADER_BYTES
    while at < len(data):
        header = frame.HEADER.unpack(data[at : at + frame.HEADER_BYTES])
        yield 0, f"frame: {frame.Kind(header['kind']).name.lower()}"
        yield from fields(frame.HEADER, data, at)
        at += frame.HEADER_BYTES
        end = at + header["payload_bytes"]
        if header["kind"] == frame.Kind.SEAL:
            first_lsn, last_lsn = segment.decode_seal(data[at:end])
            yield from ((8, f"first_lsn = {first_lsn}"), (8, f"last_lsn = {last_lsn}"))
            at = end
        while at < end:
            spans = entry(data, at)
            yield from spans
            at += sum(count for count, _ in spans)


def table_spans(data: bytes) -> Iterator[Span]:
    """Yield what the bytes of a table with one data block are."""
    yield from fields(table.HEADER, data, 0)
    footer_at = len(data) - table.FOOTER_BYTES
    footer = table.FOOTER.unpack(data[footer_at:])
    at = table.HEADER_BYTES
    (start,) = struct.unpack_from("<I", data, at)
    count, _ = block.block_shape(data[at:])
    yield 0, "data block"
    yield 4, f"start of the entries = {start}"
    rows = [struct.unpack_from("<HI", data, at + 4 + 6 * n) for n in range(count)]
    for key_bytes, end in rows:
        yield 2, "key bytes: a deletion" if key_bytes == block.TOMBSTONE else f"key bytes = {key_bytes}"
        yield 4, f"end = {end}"
    yield count, "fingerprints"
    for key_bytes, end in rows:
        middle = min(start + key_bytes, end)
        yield from ((count, name) for count, name in ((middle - start, "key"), (end - middle, "value")) if count)
        start = end
    yield 4, "checksum"
    yield 0, "filter page"
    yield from ((4, f"entries = {count}"), (count, "highest bytes"), (count, "next lower bytes"), (4, "checksum"))
    at = footer["root_offset"]
    yield 0, "root index block"
    yield from ((4, "entries = 1"), (1, "level = 0"))
    yield from fields(index.INDEX_ENTRY, data, at + 5)
    first_bytes, last_bytes = struct.unpack_from("<HH", data, at + 5)
    yield from ((first_bytes, "first key"), (last_bytes, "last key"), (4, "checksum"))
    yield 0, "footer"
    yield from fields(table.FOOTER, data, footer_at)


def manifest_spans(data: bytes) -> Iterator[Span]:
    """Yield what a manifest's bytes are; the body is one run of CBOR."""
    yield from fields(envelope.HEADER, data, 0)
    yield 0, "body: CBOR, a map of"
    for name, value in CborCodec().decode(data[envelope.HEADER_BYTES :]).items():
        yield 0, f"  {name}: {value.hex() if isinstance(value, bytes) else value!r}"
    yield len(data) - envelope.HEADER_BYTES, ""


def durable_spans(data: bytes) -> Iterator[Span]:
    """Yield what the durable slot's bytes are."""
    yield from fields(segment.DURABLE, data, 0)


def dump(data: bytes, spans: Iterator[Span]) -> str:
    """Return bytes with their meaning beside them; a span of no bytes is a heading."""
    lines = [f"{len(data)} bytes"]
    at = 0
    for count, meaning in spans:
        if not count:
            lines.append(f"      {meaning}")
        for start in range(at, at + count, BYTES_A_LINE):
            part = data[start : min(start + BYTES_A_LINE, at + count)].hex(" ")
            lines.append(f"{start:04x}  {part:<48} {meaning if start == at else ''}".rstrip())
        at += count
    assert at == len(data), "every byte has a meaning"
    return "\n".join(lines) + "\n"


def spans_of(name: str) -> Callable[[bytes], Iterator[Span]]:
    """Return what explains a file of this name."""
    by_start = {"MANIFEST": manifest_spans, "log": log_spans, "table": table_spans, "durable": durable_spans}
    return by_start[name.partition("-")[0]]


def example_files(text: str) -> dict[str, bytes]:
    """Run the document's program and return the files that it leaves, by name."""
    [program] = PROGRAM.findall(text)
    names: dict[str, Any] = {}
    exec(program, names)
    fs = names["fs"]
    found = {}
    for name in fs.list("/example"):
        file = fs.open_read(f"/example/{name}")
        found[name] = file.pread(file.size(), 0)
        file.close()
    return found


def refreshed(text: str) -> str:
    """Return the document with its tables and its example as the code gives them."""
    files = example_files(text)

    def example(match: re.Match[str]) -> str:
        data = files[match[2]]
        return match[1] + dump(data, spans_of(match[2])(data)) + match[4]

    return EXAMPLE.sub(example, with_tables(text))


def with_tables(text: str) -> str:
    """Return the document with its tables as the code gives them."""

    def layout(match: re.Match[str]) -> str:
        module, name = match[2].split(":")
        made: Layout = getattr(importlib.import_module(module), name)
        return match[1] + made.markdown()

    return TABLE.sub(layout, text)


def test_the_format_reference_is_what_the_code_writes() -> None:
    """An example that has drifted misleads who writes a second reader; refresh it by running this file."""
    text = FORMAT.read_text(encoding="utf-8")
    assert refreshed(text) == text


def test_the_reference_of_checkpoints_is_what_the_code_writes() -> None:
    """Its table of the header, and every field by its name."""
    text = CHECKPOINTS.read_text(encoding="utf-8")
    assert with_tables(text) == text
    parts = (
        head.Head, head.Page, head.CheckpointEntry, head.PageEntry, head.TrashEntry,
        checkpoint.CheckpointManifest, checkpoint.ChunkList,
    )  # fmt: skip
    named = {field.name for part in parts for field in dataclasses.fields(part)}
    assert {name for name in named if f"`{name}`" not in text} == set()


def test_the_example_shows_every_file_but_the_incidental_ones() -> None:
    """LOCK names a process, and the reserve is zeros; all else is shown."""
    text = FORMAT.read_text(encoding="utf-8")
    assert {match[1] for match in EXAMPLE.findall(text)} == set(example_files(text)) - {"LOCK", "reserve"}


if __name__ == "__main__":
    FORMAT.write_text(refreshed(FORMAT.read_text(encoding="utf-8")), encoding="utf-8")
    CHECKPOINTS.write_text(with_tables(CHECKPOINTS.read_text(encoding="utf-8")), encoding="utf-8")
