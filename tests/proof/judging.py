"""What a store must be after its writer was cut off: `judge`, which looks, opens, opens again, and compares.

The state must be what a prefix of the commits makes: everything that was
acknowledged as durable, none twice, none without those before it. `verify`
must see that nothing promised is missing before anybody repaired anything, and
that nothing at all is wrong afterwards. The independent reader
(`second_reader.py`) is asked too, and has to find the same.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path

from lives import Model, Tally, complaints
from second_reader import READER, judge_images

import journalkit
from journalkit.cli.examination import Examination, examine
from journalkit.errors import JournalError
from journalkit.format import names
from journalkit.fs.posix import PosixFileSystem


@dataclass(frozen=True, slots=True)
class Moment:
    """What was known when the writer was cut off: whether the store was open, and what was acknowledged."""

    is_open: bool
    acknowledged: int

    @classmethod
    def of(cls, tally: Tally) -> Moment:
        """Return what is known now."""
        return cls(tally.is_open, tally.acknowledged)


@dataclass(slots=True)
class Verdict:
    """What was wrong, if anything, and what was found."""

    wrong: list[str]
    outcome: str = ""
    lsn: int = 0


def judge(path: str, model: Model, tally: Tally, moment: Moment, *, repair: bool) -> Verdict:
    """Hold a store against what its writer said, and bring the model up to it.

    `repair` opens it for writing too, and closes it; otherwise it is left as
    it is, for the next writer to recover.
    """
    if not os.path.exists(os.path.join(path, names.MANIFEST)):
        return _judge_nothing(path, model, moment)
    verdict = Verdict([])
    try:
        before = examine(PosixFileSystem(), path, deep=True)
        if before.verdict == "damaged":
            return Verdict([f"verify says damaged:\n{_shown(before)}"])
        verdict.outcome = before.verdict
        with journalkit.open(path, mode="r") as store:
            verdict.lsn = store.lsn
            verdict.wrong += _compare(store, model, tally, moment)
        verdict.wrong += second_opinion(path, model, verdict.lsn)
        if verdict.wrong:
            verdict.wrong.append(_shown(before))
        elif repair:
            verdict.wrong += _repaired(path, model, verdict.lsn)
    except JournalError as error:
        verdict.wrong.append(f"{type(error).__name__}: {error}")
    return verdict


def _judge_nothing(path: str, model: Model, moment: Moment) -> Verdict:
    """There is no store: right only if nobody was ever told that there is one."""
    if moment.is_open or any(model.counts):
        return Verdict([f"the store was open, with {sum(model.counts)} commits before, and there is no manifest"])
    if os.path.exists(path) and any(names.segment_number(name) is not None for name in os.listdir(path)):
        return Verdict(["a segment without a manifest"])
    return Verdict([], "nothing")


def _compare(store: journalkit.Store, model: Model, tally: Tally, moment: Moment) -> list[str]:
    lsn = store.lsn
    if lsn < moment.acknowledged:
        return [f"records up to LSN {moment.acknowledged} were acknowledged as durable, the last one there is {lsn}"]
    return complaints(store, model, tally.least(model.counts, lsn), tally.most(model.counts, lsn))


def second_opinion(path: str, model: Model, lsn: int, *, whole: bool = True) -> list[str]:
    """Ask the reader that shares no code with the package; return where it differs.

    Unless it must be `whole`, a file may be damaged that another one stands in for.
    """
    files = {entry.name: Path(entry).read_bytes() for entry in os.scandir(path) if entry.is_file()}
    judgement = judge_images(files)
    if judgement.state is None or (whole and judgement.verdict not in {"sound", "torn"}):
        return [f"the independent reader says {judgement.verdict}: {judgement.findings}"]
    if judgement.last_lsn != lsn:
        return [f"the independent reader ends at LSN {judgement.last_lsn}, the store at {lsn}"]
    decoded = {key: value for key, value in judgement.decoded().items() if not isinstance(key, READER.Reserved)}
    if decoded != model.state:
        return ["the independent reader finds another state"]
    return []


def _repaired(path: str, model: Model, lsn: int) -> list[str]:
    """Open it as its next owner does, close it, and look again: the same state each time."""
    with journalkit.open(path, compaction="manual") as store:
        wrong = [f"opened for writing: {text}" for text in _same(store, model, lsn)]
    after = examine(PosixFileSystem(), path, deep=True)
    if after.verdict != "sound":
        wrong.append(f"verify says {after.verdict} after recovery and a clean close:\n{_shown(after)}")
    with journalkit.open(path, mode="r") as store:
        return wrong + [f"opened again: {text}" for text in _same(store, model, lsn)]


def close_out(path: str, model: Model) -> list[str]:
    """Take a store through what its owner does on an ordinary day, and look that it is whole: the end of a proof."""
    with journalkit.open(path, compaction="manual") as store:
        wrong = _same(store, model, sum(model.counts))
        store.compact()
        store.check()
        wrong += _same(store, model, sum(model.counts))
    after = examine(PosixFileSystem(), path, deep=True)
    return wrong if after.verdict == "sound" else [*wrong, f"verify says {after.verdict}:\n{_shown(after)}"]


def _same(store: journalkit.Store, model: Model, lsn: int) -> list[str]:
    if store.lsn != lsn:
        return [f"the last record is {store.lsn}, it was {lsn}"]
    return complaints(store, model, model.counts, model.counts)


def _shown(found: Examination) -> str:
    """Return the files of a store with what is known of each, a line a file."""
    manifest, slot = found.manifest, found.slot
    promised = f"durable {manifest.durable_lsn}, slot {slot.lsn if slot is not None else 'none'}"
    lines = [f"epoch {manifest.epoch}, generation {manifest.generation}, pruned {manifest.pruned_lsn}, {promised}"]
    lines += [f"{file.name} {file.size_bytes} {file.verdict} {file.holds} {file.reason}" for file in found.files]
    return "\n".join(f"    {line}" for line in lines)


def half(chance: random.Random) -> bool:
    """Throw a coin."""
    return chance.random() < 0.5
