"""What a store was doing when an operation began, told from names of files and the order of operations alone."""

from __future__ import annotations

import re
from typing import Final

from journalkit.format import names
from journalkit.log.segment import SEAL_BYTES

PHASES: Final = ("open", "append", "prepare", "rotate", "fold", "publish", "prune", "recover", "cut", "close", "end")
_RANGE: Final = re.compile(r" (\d+)\+(\d+)$")
_MANIFEST_TEMPORARY: Final = names.temporary_name(names.MANIFEST)


class Phases:
    """Follows the operations of one run. `doing` is what the workload is at; within it the operations tell more."""

    def __init__(self) -> None:
        self._doing = ""
        self._rotating = False
        self._step = ""
        self._renamed = False

    def at(self, doing: str, operation: str, path: str, detail: str) -> str:
        """Return the phase that an operation about to begin belongs to."""
        name = path.rpartition("/")[2]
        if doing != self._doing:
            self._doing, self._step, self._rotating = doing, doing, False
        self._follow_rotation(operation, name, detail)
        if doing == "recover" and names.QUARANTINE in path:
            return "cut"
        if doing == "fold":
            return self._fold(operation, name)
        if doing == "append":
            return "rotate" if self._rotating else doing
        return doing

    def _fold(self, operation: str, name: str) -> str:
        if operation == "create" and name.startswith("table-"):
            self._step = "table"
        elif operation == "create" and name == _MANIFEST_TEMPORARY and self._step == "table":
            self._step, self._renamed = "publish", False
        elif self._step == "publish" and self._renamed:
            self._step = "published" if operation == "sync_directory" else "prune"
        elif self._step == "published":
            self._step = "prune"
        self._renamed = self._renamed or (operation == "rename" and name == _MANIFEST_TEMPORARY)
        return {"published": "publish", "table": "fold"}.get(self._step, "rotate" if self._rotating else self._step)

    def _follow_rotation(self, operation: str, name: str, detail: str) -> None:
        """A rotation begins with a new segment, a seal or a header, and ends behind the slot's promise of it."""
        if name == names.DURABLE and operation == "pwrite":
            self._rotating = False
        found = _RANGE.match(detail)
        if names.segment_number(name) is not None:
            offset_bytes, count_bytes = (int(found[1]), int(found[2])) if found else (1, 0)
            is_header_or_seal = operation == "pwrite" and (offset_bytes == 0 or count_bytes == SEAL_BYTES)
            if operation == "create" or is_header_or_seal:
                self._rotating = True
            elif operation == "pwrite":
                self._rotating = False
