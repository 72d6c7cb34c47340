"""The head of a file of NumPy's own format, so that an array's bytes can follow it piece by piece.

NumPy writes one only together with a whole array, or without names that take
more than Latin-1.
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
    for version, count, encoding in ((1, 2, "latin-1"), (3, 4, "utf-8")):
        try:
            said = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        begin_bytes = len(_MAGIC) + 2 + count
        padding = -(begin_bytes + len(said) + 1) % _ALIGNMENT
        length = len(said) + padding + 1
        if count > 2 or length <= _SHORT_MAX:
            return _MAGIC + bytes((version, 0)) + length.to_bytes(count, "little") + said + b" " * padding + b"\n"
    return None
