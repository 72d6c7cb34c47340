"""The head of a file of NumPy's own format, so that an array's bytes can follow it piece by piece.

NumPy writes one only together with a whole array.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from journalkit.checkpoint.arrays import dtype_of
from journalkit.format.malformed import MalformedError
from journalkit.format.nodes import ArrayNode

_MAGIC: Final = b"\x93NUMPY"
_ALIGNMENT: Final = 64
_SHORT_MAX: Final = 0xFFFF


def npy_header(node: ArrayNode) -> bytes | None:
    """Return what an array's bytes come behind, None if NumPy has no such kind of number.

    Raises:
        UsageError: NumPy isn't installed.
    """
    try:
        dtype = dtype_of(node.kind)
    except MalformedError:
        return None
    descr: Any = import_module("numpy.lib.format").dtype_to_descr(dtype)
    text = repr({"descr": descr, "fortran_order": node.by_columns, "shape": node.shape})
    # Version 3 is for names beyond ASCII and for long descriptions, and takes a NumPy of 2019.
    version, count = (1, 2) if text.isascii() and len(text) < _SHORT_MAX - _ALIGNMENT else (3, 4)
    said = text.encode("utf-8")
    padding = -(len(_MAGIC) + 2 + count + len(said) + 1) % _ALIGNMENT
    length = len(said) + padding + 1
    return _MAGIC + bytes((version, 0)) + length.to_bytes(count, "little") + said + b" " * padding + b"\n"
