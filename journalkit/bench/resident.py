"""A process by itself that holds a million keys, and says how much memory that took.

    python -m journalkit.bench.resident KIND PATH COUNT

KIND is `dict`, `reading` (a store that is there is opened and every key read, in
no order) or `writing` (a new store is written, key by key, and folded). It
prints by how many bytes the process grew, which leaves out what the
interpreter and the imports take.
"""

from __future__ import annotations

import gc
import os
import random
import resource
import sys
from typing import Final

import journalkit
from journalkit.bench import data

_STATM: Final = "/proc/self/statm"


def resident_bytes() -> int:
    """Return the memory of this process that is resident now; where the system doesn't say, its peak."""
    if os.path.exists(_STATM):
        with open(_STATM, encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def grown_bytes(kind: str, path: str, count: int) -> int:
    """Hold the keys in that way; return how much memory it took."""
    numbers = list(range(count))
    random.Random(data.SEED).shuffle(numbers)
    gc.collect()
    before_bytes = resident_bytes()
    if kind == "dict":
        held = {data.key(number): data.value(number) for number in numbers}
        gc.collect()
        return resident_bytes() - before_bytes if len(held) == count else 0
    with journalkit.open(path, sync="never") as store:
        if kind == "reading":
            for number in numbers:
                if store[data.key(number)] != data.value(number):
                    return 0
        else:
            for number in numbers:
                store.put(data.key(number), data.value(number))
            store.compact()
        gc.collect()
        return resident_bytes() - before_bytes


if __name__ == "__main__":
    print(grown_bytes(sys.argv[1], sys.argv[2], int(sys.argv[3])))
