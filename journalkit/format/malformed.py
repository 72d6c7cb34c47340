"""The one error of this layer: bytes that are not what the format says.

It carries no verdict. Whether malformed bytes are a torn tail, corruption or a
foreign file is decided by whoever knows where they came from.
"""

from __future__ import annotations


class MalformedError(ValueError):
    """Bytes don't follow the format; `reason` says how, `offset_bytes` where in the input."""

    def __init__(self, reason: str, offset_bytes: int = 0) -> None:
        super().__init__(f"{reason} (at byte {offset_bytes})")
        self.reason = reason
        self.offset_bytes = offset_bytes


class NewerFormatError(ValueError):
    """Whole and checked, but of a version or with a feature that this code doesn't know. `remedy` says what to do."""

    remedy = "upgrade journalkit"


class MissingLibraryError(NewerFormatError):
    """Known, but a library that it takes isn't installed."""

    remedy = "pip install 'journalkit[zstd]'"
