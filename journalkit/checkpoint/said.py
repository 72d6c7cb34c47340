"""What a job says with a save: how far its inputs were read, and what else is worth knowing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from journalkit.checkpoint.checkpoint import place_of
from journalkit.errors import KeyTypeError, KeyValueError, UsageError
from journalkit.format.codec import CborCodec
from journalkit.format.head import METRICS_MAX, NAME_CHARACTERS_MAX

LATEST: Final = "latest"
"""What the newest sound checkpoint is asked for by, and therefore none is called."""


@dataclass(frozen=True, slots=True)
class Said:
    """It, checked and copied."""

    offsets: Mapping[Any, Any]
    metadata: Any
    metrics: Mapping[str, float]
    name: str
    prepared: Mapping[str, Any] = field(default_factory=dict)


def said(
    offsets: Mapping[Any, Any] | None, metadata: Any, metrics: Mapping[str, float] | None, name: str | None
) -> Said:
    """Return what is said with a save.

    Raises:
        UsageError: It can't be. It is refused now, not in a thread or when half of the state is written.
    """
    if offsets is not None and not isinstance(offsets, Mapping):
        raise KeyTypeError(f"offsets={offsets!r:.100} is no mapping")
    return Said(own(dict(offsets or {}), "offsets"), own(metadata, "metadata"), _measured(metrics), _named(name))


def own(value: Any, name: str) -> Any:
    """Return a copy to the bottom: what the job counts on with, while a thread saves, is of another moment.

    Raises:
        UsageError: It can't be stored.
    """
    codec = CborCodec()
    try:
        return codec.decode(codec.encode(value))
    except UsageError as error:
        raise type(error)(f"{name}: {error}") from None


def _measured(metrics: Mapping[str, float] | None) -> dict[str, float]:
    given: dict[Any, Any] = {} if metrics is None else dict(metrics)
    for key, value in given.items():
        if not isinstance(key, str) or isinstance(value, bool) or not isinstance(value, int | float):
            raise KeyTypeError(f"metrics={{{key!r}: {value!r:.50}}}: a number by name")
        if not _is_text(key) or len(key) > NAME_CHARACTERS_MAX:
            raise KeyValueError(f"metrics={{{key!r:.100}: ...}}: a name has at most {NAME_CHARACTERS_MAX} characters")
    if len(given) > METRICS_MAX:
        raise KeyValueError(f"{len(given)} metrics: {METRICS_MAX} are the most")
    try:
        return {key: float(value) for key, value in given.items()}
    except OverflowError:
        raise KeyValueError(f"metrics={metrics!r:.100}: a number is too large for a float") from None


def _named(name: str | None) -> str:
    if name is None:
        return ""
    if not isinstance(name, str):
        raise KeyTypeError(f"name={name!r:.100} is no str")
    is_one = 0 < len(name) <= NAME_CHARACTERS_MAX and _is_text(name)
    if not is_one or name == LATEST or place_of(name) is not None:
        raise KeyValueError(
            f"name={name!r:.100}: 1 to {NAME_CHARACTERS_MAX} characters, and neither {LATEST!r} nor an id"
        )
    return name


def _is_text(text: str) -> bool:
    """Whether it can be written down: a lone surrogate can't."""
    return text.isascii() or text.encode("utf-8", "replace").decode("utf-8") == text
