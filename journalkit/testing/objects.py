"""Object storage that loses replies, answers late, breaks off and lies: a network for tests.

`SimulatedObjects` holds the contract of `journalkit.objects.interface` until it
is asked to do otherwise. Several handles on one bucket are several programs:

    bucket = SimulatedBucket(seed=7)
    one, other = bucket.handle("one"), bucket.handle("other")
    bucket.fail("create", 2, "lost-reply")       # the second create from now on happens, and nobody is told
    ...
    print(bucket.story())

What can go wrong, by name:

    unavailable   it doesn't happen, and the caller is told so (503 after all tries)
    refused       ditto, with no hope in trying again (403)
    full          ditto (a quota)
    lost-reply    it happens; the connection broke before the reply
    lost-request  it doesn't; the connection broke before the request was read
    late          ditto, but it happens after some more operations of anybody
    conflict      a create answered 409: another request for the key was on its way. It doesn't happen
    retried       a create that happens, whose reply is lost, and which the client tries again by itself: 412
    partial       a put that breaks off after some of its parts

By chance (`rates`) each may happen at any operation, from the seed.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal, NoReturn, TypeAlias

from journalkit.errors import ArchiveUnavailableError, ClosedError, StorageError, StoreFullError, UnknownOutcomeError
from journalkit.objects.interface import (
    PAGE_MAX,
    ObjectStatus,
    Part,
    as_bytes,
    check_range,
    checked_key,
    checked_page,
)

Fault: TypeAlias = Literal[
    "unavailable", "refused", "full", "lost-reply", "lost-request", "late", "conflict", "retried", "partial"
]
OPERATIONS: Final[Mapping[str, frozenset[str]]] = {
    "get": frozenset({"unavailable", "refused"}),
    "status": frozenset({"unavailable", "refused"}),
    "list": frozenset({"unavailable", "refused"}),
    "put": frozenset({"unavailable", "refused", "full", "lost-reply", "lost-request", "partial"}),
    "create": frozenset(
        {"unavailable", "refused", "full", "lost-reply", "lost-request", "late", "conflict", "retried"}
    ),
    "delete": frozenset({"unavailable", "refused", "lost-reply", "lost-request"}),
}
"""Which faults each operation can have."""
_LATE_OPERATIONS_MAX: Final = 40


@dataclass(slots=True)
class _Planned:
    operation: str
    fault: Fault
    nth: int
    times: int | None
    key_contains: str
    seen: int = 0

    def hits(self, operation: str, key: str) -> bool:
        if operation != self.operation or self.key_contains not in key:
            return False
        self.seen += 1
        return self.seen >= self.nth and (self.times is None or self.seen < self.nth + self.times)


@dataclass(slots=True)
class _Late:
    due: int
    key: str
    data: bytes


@dataclass
class SimulatedBucket:
    """What all handles share: the objects, the faults and the history. Threads may share it.

    Attributes:
        ignores_conditions: Every create replaces what is there, as some servers do, and says that it won.
        list_lag: So many of the latest changes aren't listed yet.
        before: Called with handle, operation and key before each operation, without a lock: where a test
            lets something else happen, or another thread have its turn.
    """

    seed: int = 0
    rates: Mapping[Fault, float] = field(default_factory=dict)
    ignores_conditions: bool = False
    list_lag: int = 0
    before: Callable[[str, str, str], None] | None = None
    incomplete_uploads: int = 0

    def __post_init__(self) -> None:
        self._guard = threading.RLock()
        self._chance = Random(self.seed)
        self._objects: dict[str, bytes] = {}
        self._keys: list[str] = []
        self._listings: list[list[str]] = []
        self._plan: list[_Planned] = []
        self._late: list[_Late] = []
        self._lines: list[str] = []
        self.operation_count = 0

    def handle(self, name: str = "writer") -> SimulatedObjects:
        """Return a handle of one program's own."""
        return SimulatedObjects(self, name)

    def fail(
        self, operation: str, nth: int, fault: Fault, *, times: int | None = 1, key_contains: str = ""
    ) -> None:
        """Make the nth such operation from now on, and those after it up to `times` (None: all), go wrong."""
        if fault not in OPERATIONS[operation] or nth < 1:
            raise ValueError(f"{operation} number {nth} can't go wrong as {fault!r}")
        with self._guard:
            self._plan.append(_Planned(operation, fault, nth, times, key_contains))

    def mend(self) -> None:
        """Let nothing go wrong from now on; what is late arrives now."""
        with self._guard:
            self._plan.clear()
            self.rates = {}
            self._deliver(None)

    def contents(self) -> dict[str, bytes]:
        """Return every object: no operation, never refused."""
        with self._guard:
            return dict(self._objects)

    def history(self) -> Sequence[str]:
        """Return a line for each operation: number, who, what, on which key, and how it went."""
        with self._guard:
            return tuple(self._lines)

    def story(self, *, last: int = 40) -> str:
        """Return the end of the history as lines of text, to be printed where a test fails."""
        lines = self.history()
        return "\n".join([f"seed {self.seed}, {len(lines)} operations", *lines[-last:]])

    # -- for handles ----------------------------------------------------------------------------

    def begin(self, who: str, operation: str, key: str) -> Fault | None:
        """Count an operation, let what is late arrive, and return what goes wrong with it."""
        self.operation_count += 1
        self._deliver(self.operation_count)
        # Every plan counts, so that two faults asked for together don't shift each other.
        due: list[Fault] = [planned.fault for planned in self._plan if planned.hits(operation, key)]
        due += [
            fault
            for fault, rate in self.rates.items()
            if fault in OPERATIONS[operation] and self._chance.random() < rate
        ]
        fault = due[0] if due else None
        self._lines.append(f"{self.operation_count} {who} {operation} {key}" + (f" -> {fault}" if fault else ""))
        return fault

    def say(self, words: str) -> None:
        """Tell in the history how the operation just begun went."""
        self._lines[-1] += f" -> {words}"

    def put_late(self, key: str, data: bytes) -> None:
        """Let a create arrive after some more operations."""
        due = self.operation_count + self._chance.randint(1, _LATE_OPERATIONS_MAX)
        self._late.append(_Late(due, key, data))

    def get(self, key: str) -> bytes | None:
        """Return what is there."""
        return self._objects.get(key)

    def set(self, key: str, data: bytes) -> None:
        """Put it there."""
        if key not in self._objects:
            self._change(lambda keys: insort(keys, key))
        self._objects[key] = data

    def remove(self, key: str) -> None:
        """Take it away."""
        if self._objects.pop(key, None) is not None:
            self._change(lambda keys: keys.remove(key))

    def create(self, key: str, data: bytes) -> bool:
        """Put it there unless something is; return whether it did."""
        if key in self._objects and not self.ignores_conditions:
            return False
        self.set(key, data)
        return True

    def page(self, prefix: str, after: str, count: int) -> list[ObjectStatus]:
        """Return a page of the listing, which may lag behind."""
        lag = min(self.list_lag, len(self._listings))
        keys = self._listings[-lag] if lag else self._keys
        first = bisect_left(keys, max(prefix, after))
        found: list[ObjectStatus] = []
        for key in keys[first:]:
            if len(found) == count or not key.startswith(prefix):
                break
            if key > after:
                found.append(ObjectStatus(key, len(self._objects.get(key, b""))))
        return found

    @property
    def guard(self) -> threading.RLock:
        """What one operation holds."""
        return self._guard

    def _change(self, change: Callable[[list[str]], None]) -> None:
        if self.list_lag:
            self._listings = [*self._listings, list(self._keys)][-self.list_lag :]
        change(self._keys)

    def _deliver(self, now: int | None) -> None:
        arrived = [late for late in self._late if now is None or late.due <= now]
        self._late = [late for late in self._late if late not in arrived]
        for late in arrived:
            is_created = self.create(late.key, late.data)
            self._lines.append(f"- late create {late.key} -> {'created' if is_created else 'exists'}")


class SimulatedObjects:
    """`journalkit.objects.interface.Objects` of one program on a simulated bucket."""

    def __init__(self, bucket: SimulatedBucket, name: str) -> None:
        self.bucket = bucket
        self.where = f"simulated://{name}"
        self._name = name
        self._is_closed = False

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes | None:
        """Return an object's bytes, or a range of them, None if there is none."""
        checked_key(key)
        check_range(start, length)
        self._pause("get", key)
        with self.bucket.guard:
            self._begin("get", key)
            data = self.bucket.get(key)
            self.bucket.say("nothing" if data is None else f"{len(data)} bytes")
            return None if data is None else data[start : len(data) if length is None else start + length]

    def status(self, key: str) -> ObjectStatus | None:
        """Return the size of an object, None if there is none."""
        checked_key(key)
        self._pause("status", key)
        with self.bucket.guard:
            self._begin("status", key)
            data = self.bucket.get(key)
            return None if data is None else ObjectStatus(key, len(data))

    def list(self, prefix: str = "", *, after: str = "", limit: int = PAGE_MAX) -> Sequence[ObjectStatus]:
        """Return a page of objects, sorted by key."""
        count = checked_page(prefix, after, limit)
        self._pause("list", prefix)
        with self.bucket.guard:
            self._begin("list", prefix)
            page = self.bucket.page(prefix, after, count)
            self.bucket.say(f"{len(page)} objects")
            return page

    def put(self, key: str, parts: Iterable[Part]) -> int:
        """Make an object of these pieces, whatever was there."""
        checked_key(key)
        data = b"".join(bytes(as_bytes(part)) for part in parts)
        self._pause("put", key)
        with self.bucket.guard:
            fault = self._begin("put", key)
            if fault == "partial":
                self.bucket.incomplete_uploads += 1
            elif fault != "lost-request":
                self.bucket.set(key, data)
            if fault is not None:
                raise ArchiveUnavailableError(f"{self.where}: {key} can't be written: the connection broke")
            return len(data)

    def create(self, key: str, data: bytes) -> bool:
        """Make an object if there is none of that key; return whether these bytes are there."""
        checked_key(key)
        self._pause("create", key)
        with self.bucket.guard:
            fault = self._begin("create", key)
            if fault is None or fault == "retried":
                is_created = self.bucket.create(key, data)
                # What a back end owes: a refusal is compared with what is there.
                is_ours = is_created or self.bucket.get(key) == data
                self.bucket.say("created" if is_created else "exists")
                return is_ours
            if fault == "lost-reply":
                self.bucket.say("created" if self.bucket.create(key, data) else "exists")
            elif fault == "late":
                self.bucket.put_late(key, data)
            raise UnknownOutcomeError(f"{self.where}: whether {key} was created isn't known: {fault}")

    def delete(self, *keys: str) -> None:
        """Take objects away."""
        for key in keys:
            checked_key(key)
        self._pause("delete", " ".join(keys))
        with self.bucket.guard:
            fault = self._begin("delete", " ".join(keys))
            if fault != "lost-request":
                for key in keys:
                    self.bucket.remove(key)
            if fault is not None:
                raise ArchiveUnavailableError(f"{self.where}: objects can't be deleted: the connection broke")

    def close(self) -> None:
        """Take no more writes."""
        self._is_closed = True

    def _pause(self, operation: str, key: str) -> None:
        if self._is_closed and operation in ("put", "create", "delete"):
            raise ClosedError(f"{self.where} was closed: open it again")
        if self.bucket.before is not None:
            self.bucket.before(self._name, operation, key)

    def _begin(self, operation: str, key: str) -> Fault | None:
        """Begin an operation; raise where it doesn't happen and the caller is told so."""
        fault = self.bucket.begin(self._name, operation, key)
        if fault in ("unavailable", "refused", "full"):
            self._tell(fault, key)
        return fault

    def _tell(self, fault: str, key: str) -> NoReturn:
        if fault == "full":
            raise StoreFullError(
                f"{self.where}: no room for {key}", path=self.where, needed_bytes=1, free_bytes=0
            )
        if fault == "refused":
            raise StorageError(f"{self.where}: {key}: not allowed", path=self.where)
        raise ArchiveUnavailableError(f"{self.where}: {key}: the service can't be reached just now")
