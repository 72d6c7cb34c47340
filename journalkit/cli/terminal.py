"""Text for people, and the two streams it goes to.

Results go to standard output, everything else to standard error, so that a
pipe gets results alone. What comes out of a store is never sent to a terminal
as it is: control characters in it could do more than be read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TextIO

from journalkit.cli.jsonform import tamed

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB")
_NEXT_UNIT_AT: Final = 1023.95
"""What would be printed as 1024.0."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def say(text: str = "") -> None:
    """Write one line of result."""
    _write(sys.stdout, text)


def say_json(document: Any) -> None:
    """Write one JSON document on one line of standard output."""
    say(json_text(document))


def tell(text: str) -> None:
    """Write one line about the result, to standard error; control characters are shown, not sent."""
    _write(sys.stderr, visible(text))


def json_text(document: Any) -> str:
    """Return a document on one line, in plain ASCII where standard output can't show more."""
    return tamed(json.dumps(document, ensure_ascii=not _says_unicode(sys.stdout), allow_nan=False))


def visible(text: str) -> str:
    """Return the text with what can't be seen spelled out: one line, and nothing that a terminal obeys."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def shortened(text: str, width: int) -> str:
    """Return the text visible, cut to `width` characters."""
    shown = visible(text[: width + 1])
    return shown if len(shown) <= width else shown[: max(width - 1, 0)] + "…"


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at the stream."""
    return not stream.closed and stream.isatty()


def size(count_bytes: int) -> str:
    """Return bytes as a person reads them: `812 B`, `4.2 MiB`."""
    if count_bytes < 1024:
        return f"{count_bytes} B"
    amount, units = count_bytes / 1024, iter(_UNITS)
    unit = next(units)
    while amount >= _NEXT_UNIT_AT and unit != _UNITS[-1]:
        amount, unit = amount / 1024, next(units)
    return f"{amount:.1f} {unit}"


def count(number: int, word: str = "") -> str:
    """Return a number with its thousands apart, and a word in the right number behind it."""
    return f"{number:,} {plural(number, word)}" if word else f"{number:,}"


def plural(number: int, word: str) -> str:
    """Return the word as it stands behind that number."""
    if number == 1:
        return word
    return word[:-1] + "ies" if word.endswith("y") and not word.endswith("ey") else word + "s"


def when(time_us: int, *, fine: bool = False) -> str:
    """Return microseconds since 1970 as UTC, to the second, or to the microsecond; a label far out as a number."""
    try:
        moment = _EPOCH + timedelta(microseconds=time_us)
    except OverflowError:
        return f"{time_us} µs"
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds" if fine else "seconds") + "Z"


def span(first: int, last: int) -> str:
    """Return an inclusive range of LSNs."""
    return f"LSN {first}" if first == last else f"LSN {first} to {last}"


def time_json(time_us: int) -> str | int:
    """Return a record's time for JSON: ISO 8601 in UTC, or the number if no calendar has it."""
    try:
        return (_EPOCH + timedelta(microseconds=time_us)).isoformat(timespec="microseconds")
    except OverflowError:
        return time_us


@contextmanager
def progress(label: str, total: int | None = None, *, is_bytes: bool = False) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how far something slow is; hand out the function that is told of each step.

    A spinner where no total is known; of bytes, how many a second too, and how
    long it will take. On standard error, gone when it ends, and nothing at all
    where nobody looks.
    """
    if not is_terminal(sys.stderr):
        yield _advance_unseen
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
    if total is not None:
        columns += [BarColumn(), TaskProgressColumn()]
    if is_bytes:
        columns += [TransferSpeedColumn(), TimeRemainingColumn()]
    columns.append(TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(visible(label), total=total)
        yield lambda amount: shown.advance(task, amount)


def _advance_unseen(_amount: int) -> None:
    """Nobody looks."""


def _says_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "") == "utf8"


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
