"""What the workers of a run tell each other in a round, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from journalkit.checkpoint.catalogue import Place
from journalkit.checkpoint.checkpoint import Checkpoint
from journalkit.checkpoint.documents import decoded
from journalkit.checkpoint.saving import encoded
from journalkit.errors import CheckpointAbortedError, CorruptionError, FencedError, JournalError, UnknownOutcomeError
from journalkit.format.checkpoint import CheckpointManifest, decode_manifest
from journalkit.format.envelope import names_of
from journalkit.format.head import CheckpointEntry, check_entry
from journalkit.format.malformed import MalformedError
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
    return {"manifest": encoded(part), "step": step, "base": list(base) if base is not None else None}


def refuse_failed(reports: Sequence[Words]) -> None:
    """Raise CheckpointAbortedError if a rank says that it failed, FencedError if it saw a newer run."""
    for rank, words in enumerate(reports):
        if "failed" in words and "fenced" in words:
            raise FencedError(str(words["fenced"]))
        if "failed" in words:
            raise CheckpointAbortedError(f"rank {rank} couldn't do its part: {words['failed']}")


def check_parts(reports: Sequence[Words]) -> None:
    """Raise CheckpointAbortedError unless all have written their parts, of the same step."""
    refuse_failed(reports)
    for rank, words in enumerate(reports):
        if not _is_part(words):
            raise CheckpointAbortedError(
                f"rank {rank} isn't saving, and rank 0 is: all workers make the same calls in the same order"
            )
        if not same(words["step"], reports[0]["step"]):
            raise CheckpointAbortedError(
                f"rank {rank} is at step {words['step']!r:.50}, rank 0 at {reports[0]['step']!r:.50}"
            )


def part_in(words: Words, model: CheckpointManifest, rank: int) -> CheckpointManifest:
    """Return the manifest of a rank's part, of the same save as another. Raises CorruptionError; as `check_parts`."""
    part = decoded(decode_manifest, words["manifest"], path=f"rank {rank}", next_step="start the run again")
    if (part.job, part.epoch, part.save, part.part) != (model.job, model.epoch, model.save, rank):
        raise CheckpointAbortedError(f"rank {rank} has made another save: all workers make as many calls")
    return part


def bases_in(reports: Sequence[Words]) -> frozenset[Place]:
    """Return the checkpoints that parts stand on."""
    return frozenset((words["base"][0], words["base"][1]) for words in reports if words["base"] is not None)


def _is_part(words: Words) -> bool:
    base = words.get("base", 0)
    is_base = base is None or (type(base) is list and [type(each) for each in base] == [int, int])
    return type(words.get("manifest")) is bytes and "step" in words and is_base


def entry_in(words: Words) -> CheckpointEntry:
    """Return the checkpoint that a verdict says was published. Raises CorruptionError: It says none."""
    said = words.get("published")
    if type(said) is list and len(said) == len(names_of(CheckpointEntry)):
        entry = CheckpointEntry(*said)
        with suppress(MalformedError):
            check_entry(entry)
            return entry
    raise CorruptionError("it doesn't say what was published", path="rank 0", next_step="start the run again")


def candidate_in(words: Words) -> str | None:
    """Return which checkpoint a verdict says to load, "" for none; None if all have. Raises CorruptionError."""
    candidate = words.get("candidate")
    if "done" not in words and type(candidate) is not str:
        raise CorruptionError("it doesn't say what to load", path="rank 0", next_step="start the run again")
    return None if "done" in words else candidate


def has_outputs_in(words: Words) -> bool:
    """Whether a verdict says that there are outputs, which all recover together."""
    return words.get("outputs") is True


def all_done(reports: Sequence[Words], what: str) -> Words:
    """Return that all workers have done that with their outputs. Raises CheckpointAbortedError."""
    refuse_failed(reports)
    for rank, words in enumerate(reports):
        if words.get("outputs") != what:
            raise CheckpointAbortedError(
                f"rank {rank} doesn't recover outputs, and rank 0 does: all workers make the same calls in the same "
                "order"
            )
    return {"done": True}


def next_candidate(reports: Sequence[Words], sound: Iterator[Checkpoint], current: str | None, where: str) -> Words:
    """Return which checkpoint all load next, or that all have loaded the current one; None is the beginning."""
    refuse_failed(reports)
    for rank, words in enumerate(reports):
        if words.get("loading", 0) != current:
            raise CheckpointAbortedError(
                f"rank {rank} isn't loading what rank 0 loads: all workers make the same calls in the same order"
            )
    damaged = [f"rank {rank}: {words['damaged']}" for rank, words in enumerate(reports) if "damaged" in words]
    are_outputs = any(words.get("outputs") is True for words in reports)
    if current is not None and not damaged:
        return {"done": True, "outputs": are_outputs}
    candidate = next(sound, None)
    if candidate is None and damaged:
        reason = f"there is no checkpoint that all workers can load ({damaged[0]})"
        raise CorruptionError(reason, path=where, next_step="look with `journalkit checkpoints verify`")
    return {"candidate": candidate.id if candidate is not None else "", "outputs": are_outputs}
