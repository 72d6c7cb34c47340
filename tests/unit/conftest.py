"""Something else that happens right before a given line of what is under test, for reads and writes without a lock."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Container
from types import CodeType, FrameType
from typing import Any


def overtaken(
    do: Callable[[], Any], codes: Container[CodeType], line: int, act: Callable[[], Any]
) -> tuple[Any, bool]:
    """Do something, and something else in another thread right before the line-th line of some code.

    Returns:
        What the first returned, and whether there is such a line.
    """
    seen, came = 0, False

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal seen, came
        if frame.f_code not in codes:
            return None
        if event == "line":
            seen += 1
            if seen == line:
                came = True
                sys.settrace(None)
                other = threading.Thread(target=act)
                other.start()
                other.join(10)
                assert not other.is_alive(), f"a thread waits for another's line {line}"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return do(), came
    finally:
        sys.settrace(before)
