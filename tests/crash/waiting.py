"""Waiting for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def wait_for(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait until something is so, not for ever, and return it."""
    deadline_s = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline_s
        time.sleep(0.002)
    return found


def is_itself(process: int) -> bool:
    """Whether a child is a program of its own already: until then it is a copy of its parent, open files and all."""
    return b"import_module" in Path(f"/proc/{process}/cmdline").read_bytes()
