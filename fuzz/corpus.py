"""The stored inputs: what seeds alone don't reach, and every input that once found something.

`fuzz/corpus/TARGET/` holds small files. Those of findings are kept by a name
that says what went wrong; a plain test replays all of them.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"


def stored_files(target: str) -> list[Path]:
    """Return the files of a target, in order."""
    folder = FOLDER / target
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def stored(target: str) -> list[bytes]:
    """Return the inputs of a target."""
    return [path.read_bytes() for path in stored_files(target)]
