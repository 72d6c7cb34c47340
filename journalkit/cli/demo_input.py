"""The demo's input: real text that every machine has, and how its words are counted without journalkit.

The count here is the judge: one pass over whole files into a `Counter`, with
no store, no resumption and no kill. It shares the definition of a word with
the worker and nothing else.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from journalkit.errors import UsageError

TEXT_BYTES_MIN: Final = 20_000
"""Less is counted before anything can be killed."""

TEXT_BYTES_MAX: Final = 64_000_000
_LOOK_BYTES: Final = 8192
_SKIPPED: Final = frozenset({"__pycache__", "site-packages", "dist-packages", "test", "tests", "idle_test"})
_WORD: Final = re.compile(r"\w{1,60}")


@dataclass(frozen=True, slots=True)
class Input:
    """Files to be counted, in this order."""

    name: str
    files: tuple[str, ...]
    sizes_bytes: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(self.sizes_bytes)

    def save(self, path: str) -> None:
        """Write it down for the worker."""
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump(asdict(self), file)


def load_input(path: str) -> Input:
    """Return what `Input.save` wrote."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        fields = json.load(file)
    return Input(fields["name"], tuple(fields["files"]), tuple(fields["sizes_bytes"]))


def words_of(data: bytes) -> list[str]:
    """Return the words of some whole lines."""
    return _WORD.findall(data.decode("utf-8", "replace").lower())


def plain_count(files: Sequence[str], advance: Callable[[int], None]) -> Counter[str]:
    """Count the words of whole files in one pass. `advance` is told the bytes of each."""
    counts: Counter[str] = Counter()
    for path in files:
        with open(path, "rb") as file:
            data = file.read()
        counts.update(words_of(data))
        advance(len(data))
    return counts


def standard_library() -> Input:
    """Return the sources of the running Python's standard library, without its tests.

    Raises:
        UsageError: There are none, as where the library is an archive.
    """
    folder = sysconfig.get_path("stdlib")
    name = f"the standard library of Python {platform.python_version()}"
    return _checked(name, (path for path in _walk(folder) if path.endswith(".py")), folder)


def folder_input(folder: str) -> Input:
    """Return the text files in a folder and below it: those without a zero byte near their beginning.

    Raises:
        UsageError: It is no folder, or holds too little text.
    """
    if not os.path.isdir(folder):
        raise UsageError(f"{folder} is no folder; name one with text files in it")
    place = os.path.abspath(folder)
    return _checked(place, (path for path in _walk(place) if _is_text(path)), folder)


def _checked(name: str, paths: Iterator[str], folder: str) -> Input:
    files, sizes, total = [], [], 0
    for path in paths:
        size = os.path.getsize(path)
        if total + size <= TEXT_BYTES_MAX:
            files.append(path)
            sizes.append(size)
            total += size
    if total < TEXT_BYTES_MIN:
        raise UsageError(
            f"{folder} holds {total:,} bytes of text, and the demo needs {TEXT_BYTES_MIN:,} to be killed in; "
            "name a folder with more by --folder"
        )
    return Input(name, tuple(files), tuple(sizes))


def _walk(folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(place, name)
            if not name.startswith(".") and os.path.isfile(path) and not os.path.islink(path):
                yield path


def _is_text(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return b"\0" not in file.read(_LOOK_BYTES)
    except OSError:
        return False
