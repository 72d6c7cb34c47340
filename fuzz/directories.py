"""Whole directories as one input, and mutations that know what the files in them are.

An input is a run of entries: kind, length of the name, name, length of the
content, content. Anything decodes to some directory: what is cut short is
taken as far as it goes, names that would lead elsewhere are left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from fuzz import reseal
from fuzz.mutation import mutate
from journalkit.format import envelope, manifest, names, segment, table
from journalkit.format.codec import CborCodec
from journalkit.format.malformed import MalformedError, NewerFormatError
from journalkit.format.table import TableHeader, TableInfo

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
FILE, FOLDER, LINK, PIPE = range(4)
_HEAD = struct.Struct("<BBH")
_FILES_MAX = 24
_NUMBERS = (0, 1, 2, 3, 7, 255, 1 << 20, (1 << 32) - 1, 1 << 32, 10**16 - 1, 10**16, (1 << 63) - 1, 1 << 63, -1)


@dataclass(frozen=True, slots=True)
class Item:
    """One name in a directory; the content of a link is where it leads."""

    name: str
    content: bytes = b""
    kind: int = FILE


def pack(items: Iterable[Item]) -> bytes:
    """Return a directory as an input."""
    parts = []
    for item in items:
        name = item.name.encode("utf-8", "surrogateescape")[:255]
        content = item.content[:0xFFFF]
        parts += [_HEAD.pack(item.kind, len(name), len(content)), name, content]
    return b"".join(parts)


def unpack(data: bytes) -> list[Item]:
    """Return the directory that an input stands for."""
    items: dict[str, Item] = {}
    at = 0
    while at + _HEAD.size <= len(data) and len(items) < _FILES_MAX:
        kind, name_bytes, content_bytes = _HEAD.unpack_from(data, at)
        middle = at + _HEAD.size + name_bytes
        name = data[at + _HEAD.size : middle].decode("utf-8", "surrogateescape")
        at = middle + content_bytes
        last = name.rpartition("/")[2]
        if last and name in (last, f"{names.QUARANTINE}/{last}") and "\0" not in name and last not in (".", ".."):
            items.setdefault(name, Item(name, data[middle:at], kind % 4))
    return list(items.values())


@cache
def golden_directories() -> tuple[tuple[Item, ...], ...]:
    """Return every golden directory, without the lengths of prepared zeros; none where the tests aren't there."""
    found = []
    for folder in sorted(GOLDEN.glob("format-*/*")):
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        items = tuple(Item(str(path.relative_to(folder)), path.read_bytes()) for path in paths)
        if sum(len(item.content) for item in items) < 12_000:
            found.append(items)
    return tuple(found)


@cache
def golden_files() -> tuple[tuple[str, bytes], ...]:
    """Return each different file of the golden directories, with its name."""
    files = {(item.name, item.content) for items in golden_directories() for item in items}
    return tuple(sorted((name, content) for name, content in files if "/" not in name))


def plausible(data: bytes) -> tuple[TableHeader | None, TableInfo]:
    """Return a table's header, if it is one, and what a manifest would say of a table that says this of itself."""
    header = None
    with suppress(MalformedError, NewerFormatError):
        header = table.decode_header(data[: table.HEADER_BYTES])
    salt = int.from_bytes(data[12:16], "little")
    info = TableInfo(header.number % 10**16 if header is not None else 1, len(data), 0, 0, salt)
    footer_at = len(data) - table.FOOTER_BYTES
    with suppress(MalformedError, NewerFormatError):
        footer = table.decode_footer(data[max(footer_at, 0) :], salt=salt, offset_bytes=footer_at)
        info = replace(info, entry_count=footer.entry_count, footer_crc=table.footer_checksum(data))
    return header, info


# --- manifests -------------------------------------------------------------------------------------------------


def edit_manifest(data: bytes, chance: Random) -> bytes:
    """Change one thing that a manifest says; the checksums are right. What is no manifest is sealed as it is."""
    try:
        plain = CborCodec().decode(data[envelope.HEADER_BYTES :])
    except MalformedError:
        return reseal.manifest_file(data)
    if type(plain) is not dict:
        return reseal.manifest_file(data)
    _edit(plain, chance)
    return reseal.manifest_file(data[: envelope.HEADER_BYTES] + CborCodec().encode(plain))


def _edit(plain: dict[Any, Any], chance: Random) -> None:
    """Change one member, at any depth: to a number at an edge or nearby, to another type, or away."""
    place: Any = plain
    while True:
        places = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not places:
            return
        at = chance.choice(places)
        if not isinstance(place[at], dict | list) or not place[at] or chance.random() < 0.05:
            break
        place = place[at]
    old, kind = place[at], chance.randrange(12)
    if kind == 0:
        del place[at]
    elif kind == 1:
        place[at] = chance.choice((None, True, "x", b"", [], {}, 1.5, bytes(16), "store", "journal", "raw"))
    elif kind == 2 and isinstance(place, list):
        place.insert(chance.randrange(len(place) + 1), old)
    elif isinstance(old, bool):
        place[at] = not old
    elif isinstance(old, int):
        place[at] = chance.choice(_NUMBERS) if kind < 6 else old + chance.choice((-1, 1, 1, 2, 10))
    elif isinstance(old, bytes):
        place[at] = mutate(old, chance)
    elif old is None:
        place[at] = {"last_lsn": chance.randrange(9), "end_bytes": 112, "checksum": 0, "sealed": chance.random() < 0.5}
    else:
        place[at] = chance.choice(("store", "journal", "cbor", "raw", {}, None))


# --- directories -----------------------------------------------------------------------------------------------


def directory_seeds(chance: Random) -> Iterator[bytes]:
    """Every golden directory, whole, and one of odd things."""
    for items in golden_directories():
        yield pack(items)
    yield pack([])
    odd = [Item("MANIFEST", kind=FOLDER), Item("durable", b"MANIFEST", LINK), Item("LOCK", kind=PIPE)]
    yield pack(odd)
    yield pack([Item(names.segment_name(1), chance.randbytes(50)), Item("notes.txt", b"mine")])


def mutate_directory(data: bytes, chance: Random) -> bytes:
    """Change one file of a directory, or which files there are; checksums are right in most cases."""
    items = unpack(data)
    if not items or chance.random() < 0.05:
        items = list(chance.choice(golden_directories() or ((Item("MANIFEST"),),)))
    for _ in range(chance.choice((1, 1, 2, 3))):
        if chance.random() < 0.25:
            _rearrange(items, chance)
        elif items:
            at = chance.randrange(len(items))
            items[at] = _changed(items[at], chance)
    if chance.random() < 0.5:
        items = agreeing(items)
    return pack(items)


def _changed(item: Item, chance: Random) -> Item:
    name, content = item.name, item.content
    is_sealed = chance.random() < 0.8
    if name == names.MANIFEST and is_sealed:
        return replace(item, content=edit_manifest(content, chance))
    changed = mutate(content, chance)
    if is_sealed:
        changed = sealed(name, changed)
    return replace(item, content=changed)


def sealed(name: str, content: bytes) -> bytes:
    """Return a file's content with its checksums right, by what its name says it is."""
    if name == names.MANIFEST:
        return reseal.manifest_file(content)
    if name == names.DURABLE:
        return reseal.durable_slot(content)
    if names.segment_number(name) is not None:
        return reseal.segment_file(content)
    if names.table_number(name) is not None:
        return reseal.table_file(content)
    return content


def _rearrange(items: list[Item], chance: Random) -> None:
    """Remove, copy, swap, rename, cut or replace a file, or put something else than a file in its place."""
    kind = chance.randrange(8)
    if not items:
        return
    at, other = chance.randrange(len(items)), chance.randrange(len(items))
    item = items[at]
    if kind == 0:
        del items[at]
    elif kind == 1:
        items.append(replace(item, name=_other_name(item.name, chance)))
    elif kind == 2:
        items[at] = replace(item, content=items[other].content)
        items[other] = replace(items[other], content=item.content)
    elif kind == 3:
        items[at] = replace(item, name=_other_name(item.name, chance))
    elif kind == 4:
        items[at] = replace(item, content=item.content[: chance.randrange(len(item.content) + 1)])
    elif kind == 5:
        items[at] = replace(item, content=item.content + bytes(chance.randrange(400)))
    elif kind == 6:
        donors = [one for items in golden_directories() for one in items if one.name == item.name]
        items[at] = chance.choice(donors) if donors else item
    else:
        leads = chance.choice((items[other].name, "nowhere", "..", "/dev/zero", item.name))
        items[at] = Item(item.name, leads.encode("utf-8", "surrogateescape"), chance.choice((FOLDER, LINK, PIPE)))


def _other_name(name: str, chance: Random) -> str:
    number = chance.choice((0, 1, 2, 3, 4, 1 << 20, 10**16 - 1))
    return chance.choice(
        (names.segment_name(number), names.table_name(number), names.MANIFEST, names.DURABLE, names.LOCK,
         names.RESERVE, names.QUARANTINE, name + ".tmp", "MANIFEST.tmp", "notes.txt", "lost+found", "\udcff")
    )  # fmt: skip


def agreeing(items: list[Item]) -> list[Item]:
    """Let the manifest say of tables and segments what they say themselves, so that damage isn't noticed by it."""
    contents = {item.name: item.content for item in items}
    try:
        said = manifest.decode_manifest(contents.get(names.MANIFEST, b""))
    except (MalformedError, NewerFormatError):
        return items
    snapshots = tuple(
        replace(entry, tables=tuple(_agreed(info, contents) for info in entry.tables))
        for entry in said.snapshots
    )
    segments = []
    for entry in said.segments:
        header = None
        with suppress(MalformedError, NewerFormatError):
            header = segment.decode_header(contents.get(names.segment_name(entry.number), b"")[: segment.HEADER_BYTES])
        if header is not None:
            entry = replace(entry, salt=header.salt, epoch=header.epoch, first_lsn=header.first_lsn)  # noqa: PLW2901
        segments.append(entry)
    agreed = manifest.encode_manifest(replace(said, snapshots=snapshots, segments=tuple(segments)))
    return [replace(item, content=agreed) if item.name == names.MANIFEST else item for item in items]


def _agreed(info: TableInfo, contents: dict[str, bytes]) -> TableInfo:
    content = contents.get(names.table_name(info.number))
    return replace(plausible(content)[1], number=info.number) if content is not None else info
