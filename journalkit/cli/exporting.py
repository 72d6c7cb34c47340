"""A checkpoint's state as ordinary files: for who has neither the job's classes nor journalkit.

    DIRECTORY/state.json     all that is short, in the lossless form of JSON; references to the rest
    DIRECTORY/files/...      each array (.npy), and what is long: checked by digest, chunk by chunk

What JSON has no word for, besides the forms of `jsonform`:

    {"$file": {"path": "files/...", "is": "array", ...}}     array, scalar, tensor, bytes, bytearray, memoryview, file;
                                                             store: its directory, for `journalkit.open`
    {"$ordered": [[key, value], ...]}                        an OrderedDict
    {"$keyed": {"groups": 128, "entries": [[key, value], ...]}}
    {"$shard": {"shape": [...], "offset": [...], "array": {...}}}

All is written into a directory beside, made durable, and only then gets the
name: whoever finds the directory finds all of it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from journalkit.checkpoint import arrays
from journalkit.checkpoint.checkpoint import Checkpoint, telling
from journalkit.checkpoint.differing import element_name
from journalkit.checkpoint.keyed import entries_of
from journalkit.checkpoint.loading import Manifest
from journalkit.checkpoint.reading import STEP
from journalkit.checkpoint.tree import Steps, place
from journalkit.cli import jsonform
from journalkit.cli.checkpoint_words import summary
from journalkit.cli.npy import npy_header
from journalkit.cli.safe_names import SafeNames
from journalkit.clock import SystemClock
from journalkit.errors import CorruptionError, JournalError, StorageError, UsageError
from journalkit.format.malformed import MalformedError
from journalkit.format.nodes import (
    ArrayNode,
    BytesNode,
    Chunked,
    Content,
    FileNode,
    GroupsNode,
    ShardNode,
    StoreNode,
    TensorNode,
    content_of,
)
from journalkit.format.values import SCALARS
from journalkit.fs.atomic import place_file, write_all
from journalkit.fs.full import is_full, store_full
from journalkit.fs.interface import FileSystem, ReadableFileSystem
from journalkit.recovery.restoring import write_store
from journalkit.runtime.place import caller

STATE: Final = "state.json"
_FILES: Final = "files"
_MARK: Final = "$"
_NONCE_BYTES: Final = 8

Advance = Callable[[int], None]


@dataclass(slots=True)
class Exported:
    """What was written."""

    files: int = 0
    size_bytes: int = 0


def check_target(fs: ReadableFileSystem, directory: str, source: str) -> str:
    """Return the whole path of a directory that may be written into: a new or an empty one.

    Raises:
        UsageError: It is none.
    """
    if not directory:
        raise UsageError("an empty name is no directory: name one that isn't there yet")
    target = os.path.realpath(directory)
    if os.path.isdir(source) and os.path.commonpath([os.path.realpath(source), target]) == os.path.realpath(source):
        raise UsageError(f"{directory} is inside {source}, which is only read; name another directory")
    status = fs.status(target)
    if status is not None and not status.is_directory:
        raise UsageError(f"{directory} is a file; name a directory that isn't there yet")
    if status is not None and fs.list(target):
        raise UsageError(f"{directory} is not empty; name a directory that isn't there yet")
    parent = os.path.dirname(target)
    if fs.status(parent) is None or target == parent:
        raise UsageError(f"{directory} lies in no directory that is there: make {parent} first")
    return target


def export(fs: FileSystem, checkpoint: Checkpoint, target: str, advance: Advance) -> Exported:
    """Write a checkpoint's state into a directory that isn't there yet, or is empty, whole or not at all.

    What several workers gave is written by rank, as each gave it.

    Durability:
        The directory survives a power cut once this returns. A process that is killed leaves one beside it, whose
        name begins with a dot and ends in `.part`, and may be removed.

    Raises:
        StoreFullError: No room. Nothing is left.
        StorageError: It can't be written. Nothing is left.
        CorruptionError, CheckpointNotFoundError, UsageError, ...: As `Checkpoint.load`. Nothing is left.
    """
    parent, name = os.path.split(target)
    temporary = os.path.join(parent, f".{name}.{os.urandom(_NONCE_BYTES).hex()}.part")
    done = Exported()
    try:
        with telling(checkpoint):
            fs.make_directory(temporary)
            fs.make_directory(os.path.join(temporary, _FILES))
            _Export(fs, temporary, checkpoint, advance, done).write()
            for directory in (os.path.join(temporary, _FILES), temporary):
                fs.sync_directory(directory)
            place_file(fs, temporary, target)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if not isinstance(error, OSError) or isinstance(error, JournalError):
            raise
        if is_full(error):
            raise store_full(fs, parent, checkpoint.size_bytes, error) from error
        raise StorageError(f"{target} can't be written: {error.strerror}", cause=error, path=target) from error
    return done


class _Export:
    """One checkpoint, on its way into a directory."""

    def __init__(
        self, fs: FileSystem, directory: str, checkpoint: Checkpoint, advance: Advance, done: Exported
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._checkpoint = checkpoint
        self._manifest: Manifest = checkpoint.manifest
        self._advance = advance
        self._done = done
        self._names = SafeNames()

    def write(self) -> None:
        """Write all of it, the document that names the rest last."""
        checkpoint = self._checkpoint
        trees = self._manifest.trees()
        ranked = [(f"rank {rank}",) if len(trees) > 1 else () for rank in range(len(trees))]
        states = [self._document(tree, steps) for tree, steps in zip(trees, ranked, strict=True)]
        told = summary(checkpoint) | {
            "offsets": jsonform.to_json(dict(checkpoint.offsets)),
            "metadata": jsonform.to_json(checkpoint.metadata),
            "workers": checkpoint.workers,
        }
        told |= {"state": states[0]} if len(states) == 1 else {"states": states}
        text = jsonform.tamed(json.dumps(told, ensure_ascii=False, allow_nan=False, indent=1))
        self._file(STATE, [memoryview(text.encode("utf-8") + b"\n")])

    def _document(self, value: Any, steps: Steps) -> Any:
        """Return what stands for a part of the state, once what it refers to is written."""
        kind = type(value)
        if kind is dict:
            if all(type(key) is str and not key.startswith(_MARK) for key in value):
                return {key: self._document(each, (*steps, key)) for key, each in value.items()}
            return {"$dict": self._pairs(value, steps)}
        if kind is OrderedDict:
            return {"$ordered": self._pairs(value, steps)}
        if kind is list or kind is tuple:
            items = [self._document(each, (*steps, at)) for at, each in enumerate(value)]
            return items if kind is list else {"$tuple": items}
        if kind is GroupsNode:
            return {"$keyed": {"groups": value.groups, "entries": self._entries(value, steps)}}
        if kind is ShardNode:
            array = self._document(value.array, steps)
            return {"$shard": {"shape": list(value.shape), "offset": list(value.offset), "array": array}}
        if kind in (ArrayNode, TensorNode):
            return self._array(value, steps)
        if kind is FileNode:
            parts = self._pieces(value.content)
            return self._reference(self._names.of_file(value.name), parts, {"is": "file", "name": value.name})
        if kind is StoreNode:
            return self._store(value, steps)
        if kind is BytesNode:
            parts = self._pieces(value.content)
            return self._reference(self._names.of_place(steps, ".bin"), parts, {"is": value.kind})
        if kind in SCALARS or kind in (set, frozenset):
            return jsonform.to_json(value)
        raise UsageError(f"{place(steps)} is of a kind that isn't written into files: load it in a program")

    def _pairs(self, value: dict[Any, Any], steps: Steps) -> list[list[Any]]:
        return [[jsonform.to_json(key), self._document(each, (*steps, key))] for key, each in value.items()]

    def _entries(self, groups: GroupsNode, steps: Steps) -> list[list[Any]]:
        entries: list[list[Any]] = []
        for group, node in groups.items():
            try:
                found = entries_of(b"".join(self._pieces(node.content)))
            except MalformedError as error:
                raise self._senseless((*steps, group), error) from error
            entries += [[jsonform.to_json(key), jsonform.to_json(each)] for key, each in found]
        return entries

    def _array(self, node: ArrayNode | TensorNode, steps: Steps) -> Any:
        array = node.array if isinstance(node, TensorNode) else node
        content = content_of(node)
        size_bytes = self._manifest.reader.length(content.index) if isinstance(content, Chunked) else len(content)
        try:
            arrays.check_size(node, size_bytes)
        except MalformedError as error:
            raise self._senseless(steps, error) from error
        words: dict[str, Any] = {"is": "scalar" if array.is_scalar else "array"}
        if isinstance(node, TensorNode):
            words = {
                "is": "tensor",
                "requires_grad": node.requires_grad,
                "is_parameter": node.is_parameter,
                "device": node.device,
            }
        words |= {"kind": element_name(array.kind), "shape": list(array.shape)}
        header = npy_header(array)
        if header is None:  # a kind of number that NumPy lacks: its bytes, row by row
            return self._reference(self._names.of_place(steps, ".bin"), self._pieces(content), words)
        return self._reference(self._names.of_place(steps, ".npy"), self._behind(header, content), words)

    def _store(self, node: StoreNode, steps: Steps) -> Any:
        """Make a store's directory of it."""
        path = f"{_FILES}/{self._names.of_place(steps, '')}"
        directory = os.path.join(self._directory, path)
        size_bytes = sum(self._manifest.reader.length(table.content.index) for table in node.tables)
        # Written by nobody but this, whatever the file system's locks are worth; who opens it is asked then.
        trusted = self._fs.filesystem_type(self._directory)
        write_store(
            self._fs,
            directory,
            node,
            lambda table: self._pieces(table.content),
            SystemClock(),
            size_bytes=size_bytes,
            opened_at=caller(),
            trust_filesystem=trusted,
        )
        self._done.files += len(node.tables) + 1
        self._done.size_bytes += size_bytes
        return {"$file": {"path": path, "is": "store", "lsn": node.lsn, "size_bytes": size_bytes}}

    def _behind(self, header: bytes, content: Content) -> Iterable[memoryview]:
        yield memoryview(header)
        yield from self._pieces(content)

    def _pieces(self, content: Content) -> Generator[memoryview, None, None]:
        if isinstance(content, Chunked):
            for piece in self._manifest.reader.pieces(content.index):
                yield piece
                self._advance(len(piece))
        else:
            yield memoryview(content)

    def _reference(self, name: str, parts: Iterable[memoryview], words: dict[str, Any]) -> Any:
        size_bytes = self._file(f"{_FILES}/{name}", parts)
        return {"$file": {"path": f"{_FILES}/{name}", **words, "size_bytes": size_bytes}}

    def _file(self, name: str, parts: Iterable[memoryview]) -> int:
        """Write a file, and return how long it is."""
        at = 0
        with closing(self._fs.create(os.path.join(self._directory, name))) as file:
            for part in parts:
                if len(part):
                    write_all(file, part, at)
                at += len(part)
            file.sync()
        self._done.files += 1
        self._done.size_bytes += at
        return at

    def _senseless(self, steps: Steps, error: MalformedError) -> CorruptionError:
        path = f"checkpoint {self._checkpoint.id}"
        return CorruptionError(f"{place(steps)} makes no sense: {error.reason}", path=path, next_step=STEP)
