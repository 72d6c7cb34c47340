"""What the workers of a run tell each other in a round, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from journalkit.checkpoint.catalogue import Place
from journalkit.checkpoint.checkpoint import Checkpoint
from journalkit.errors import CheckpointAbortedError, CorruptionError, FencedError, JournalError, UnknownOutcomeError
from journalkit.format.checkpoint import CheckpointManifest, decode_manifest, encode_manifest
from journalkit.format.values import same

Words: TypeAlias = Mapping[str, Any]
"""What a rank says, or rank 0 decides, by name."""

_SHOWN_CHARACTERS: Final = 300


def heard(verdict: Words) -> Words:
    """Return what rank 0 decided, or raise what it met."""
    for word, kind in _ENDS.items():
        if word in verdict:
            raise kind(str(verdict[word]))
    return verdict


_ENDS: Final[dict[str, type[JournalError]]] = {
    "aborted": CheckpointAbortedError,
    "fenced": FencedError,
    "unknown": UnknownOutcomeError,
}


def told(error: BaseException, *, is_written: bool) -> dict[str, str]:
    """Return what the others are told of an error of rank 0: given up only where nothing was published for certain.

    Once all is written that is so for our own errors alone: any other may have come behind the publishing.
    """
    if isinstance(error, FencedError):
        return {"fenced": short(error)}
    is_known = isinstance(error, JournalError) or (isinstance(error, Exception) and not is_written)
    if isinstance(error, UnknownOutcomeError) or not is_known:
        return {"unknown": f"rank 0: {short(error)}"}
    return {"aborted": short(error) if isinstance(error, CheckpointAbortedError) else f"rank 0: {short(error)}"}


def short(error: BaseException) -> str:
    """Return an error's words, not too many."""
    return (str(error) or type(error).__name__)[:_SHOWN_CHARACTERS]


def part_report(part: CheckpointManifest, step: Any, base: Place | None) -> dict[str, Any]:
    """Return what a rank says that has written its part: at which step, on top of which checkpoint."""
    return {"manifest": encode_manifest(part), "step": step, "base": list(base) if base is not None else None}


def refuse_failed(reports: Sequence[Words]) -> None:
    """Raise CheckpointAbortedError if a rank says that it failed."""
    for rank, words in enumerate(reports):
        if "failed" in words:
            raise CheckpointAbortedError(f"rank {rank} couldn't do its part: {words['failed']}")


def check_parts(reports: Sequence[Words]) -> None:
    """Raise CheckpointAbortedError unless all have written their parts, of the same step."""
    refuse_failed(reports)
    for rank, words in enumerate(reports):
        if "manifest" not in words:
            raise CheckpointAbortedError(
                f"rank {rank} isn't saving, and rank 0 is: all workers make the same calls in the same order"
            )
        if not same(words["step"], reports[0]["step"]):
            raise CheckpointAbortedError(
                f"rank {rank} is at step {words['step']!r:.50}, rank 0 at {reports[0]['step']!r:.50}"
            )


def part_in(words: Words, model: CheckpointManifest, rank: int) -> CheckpointManifest:
    """Return the manifest of a rank's part, of the same save as another."""
    part = decode_manifest(words["manifest"])
    if (part.job, part.epoch, part.save, part.part) != (model.job, model.epoch, model.save, rank):
        raise CheckpointAbortedError(f"rank {rank} has made another save: all workers make as many calls")
    return part


def place_in(base: Any) -> Place:
    """Return the checkpoint that a part stands on."""
    return int(base[0]), int(base[1])


def next_candidate(reports: Sequence[Words], sound: Iterator[Checkpoint], where: str) -> dict[str, Any]:
    """Return which checkpoint all load next, or that all have loaded it."""
    refuse_failed(reports)
    if any("manifest" in words for words in reports):
        raise CheckpointAbortedError("some workers save and others load: all make the same calls in the same order")
    if all("loaded" in words for words in reports):
        return {"done": True}
    candidate = next(sound, None)
    damaged = [f"rank {rank}: {words['damaged']}" for rank, words in enumerate(reports) if "damaged" in words]
    if candidate is None and damaged:
        reason = f"there is no checkpoint that all workers can load ({damaged[0]})"
        raise CorruptionError(reason, path=where, next_step="look with `journalkit checkpoints verify`")
    return {"candidate": candidate.id if candidate is not None else ""}
