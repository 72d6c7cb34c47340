"""What happens to open stores when the process forks or ends.

The one piece of state that belongs to the process and not to a store: the hooks
for fork and exit can only be asked for once, so they keep a weak set.
"""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol


class Closable(Protocol):
    """An open handle."""

    def forbid(self) -> None:
        """Refuse every later use: this is a child process."""
        ...

    def close(self) -> None:
        """Close."""
        ...


_open: weakref.WeakValueDictionary[int, Closable] = weakref.WeakValueDictionary()


def register(handle: Closable) -> None:
    """Look after a handle until it is closed or dropped."""
    _open[id(handle)] = handle


def unregister(handle: Closable) -> None:
    """Stop looking after it."""
    _open.pop(id(handle), None)


def _after_in_child() -> None:
    for handle in list(_open.values()):
        handle.forbid()
    _open.clear()


def _at_exit() -> None:
    for handle in list(_open.values()):
        handle.close()


os.register_at_fork(after_in_child=_after_in_child)
atexit.register(_at_exit)
