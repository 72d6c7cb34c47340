"""What happens to open stores when the process forks or ends.

The one piece of state that belongs to the process and not to a store: the hooks
for fork and exit can only be asked for once, so they keep a weak set.
"""

from __future__ import annotations

import atexit
import logging
import os
import weakref
from typing import Protocol

_log = logging.getLogger("journalkit.lifecycle")


class Closable(Protocol):
    """An open handle."""

    def forbid(self) -> None:
        """Refuse every later use: this is a child process."""
        ...

    def close(self) -> None:
        """Close."""
        ...


_open: weakref.WeakValueDictionary[int, Closable] = weakref.WeakValueDictionary()
_forked_from: list[int] = []


def register(handle: Closable) -> None:
    """Look after a handle until it is closed or dropped."""
    _open[id(handle)] = handle


def unregister(handle: Closable) -> None:
    """Stop looking after it."""
    _open.pop(id(handle), None)


def was_forked() -> bool:
    """Whether this process is a fork, so that files opened before it may belong to the parent."""
    return bool(_forked_from)


def _after_in_child() -> None:
    _forked_from.append(os.getppid())
    for handle in list(_open.values()):
        handle.forbid()
    _open.clear()


def _at_exit() -> None:
    """Close what is still open. One that can't be closed properly doesn't keep the others from it."""
    for handle in list(_open.values()):
        try:
            handle.close()
        except Exception as error:  # noqa: BLE001 - whatever one of them has to say, the others are closed
            _log.warning("a store was not closed properly at exit: %s", error)


os.register_at_fork(after_in_child=_after_in_child)
atexit.register(_at_exit)
