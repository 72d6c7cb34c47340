"""The lane: the compiled way of a put that is alone, where there is one.

It does what `Store.put` does below its guards, in one call without a step of
Python: `journalkit/native/lane.c` says how, and when it leaves a record to the others.
"""

from __future__ import annotations

from _thread import LockType
from collections.abc import Callable
from typing import cast

from journalkit.clock import Clock, SystemClock
from journalkit.compiled import speed
from journalkit.format.codec import Codec
from journalkit.log.gate import Gate
from journalkit.log.log import Log
from journalkit.store.layers import Layers
from journalkit.types import Key, Lsn, Value

PutAlone = Callable[[Key, Value], "Lsn | None"]


def lane_of(log: Log, gate: Gate, layers: Layers, codec: Codec, clock: Clock, *, durable: bool) -> PutAlone | None:
    """Return what puts a record that is alone, and returns None, with nothing done, if it isn't such a one.

    `durable` says whether it waits for an fsync.

    None if there is no such way: without the extension, and for clocks and locks that aren't the system's.
    """
    leadership, lock, hot = log._leadership, layers._lock, layers.hot
    if speed is None or type(clock) is not SystemClock or {type(leadership), type(lock)} != {LockType}:
        return None
    writer = log._writer
    slot = writer._durable if durable else None
    dicts = hot.str_keys, hot.byte_keys, hot.int_keys
    given = log, writer, writer.segments, layers, log._queue, leadership, lock, *dicts, codec, slot, gate.turn
    lane = speed.Lane(*given)
    return cast("PutAlone", lane.put)
