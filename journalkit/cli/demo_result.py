"""The demo's end: what is in the store against what was counted without it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import journalkit
from journalkit.cli.demo_input import Input, plain_count
from journalkit.cli.demo_lives import HITS
from journalkit.cli.demo_run import Course

FOLDS_MIN: Final = 3
_EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that the closing page and the exit code are made of.

    `wrong` are some of the words whose count differs: (word, in the store, counted plainly).
    """

    text: Input
    course: Course
    seed: int
    records: int
    files_counted: int
    bytes_counted: int
    words: int
    different: int
    frequent: tuple[tuple[str, int], ...]
    wrong: tuple[tuple[str, int, int], ...]
    wrong_count: int
    store_bytes: int
    snapshots_kept: int

    @property
    def folds(self) -> int:
        """Folds that were published; only the compactor's thread makes any."""
        return len(self.course.snapshots)

    @property
    def counts_agree(self) -> bool:
        """Whether each word's count is the plain one."""
        return not self.wrong_count

    @property
    def passed(self) -> bool:
        """Whether the demo showed what it is for."""
        enough = self.folds >= FOLDS_MIN and self.course.hits("fold") > 0
        return self.counts_agree and not self.course.lost and enough

    def as_json(self) -> dict[str, Any]:
        """Return what a program reads."""
        kills = self.course.kills
        return {
            "passed": self.passed,
            "counts_agree": self.counts_agree,
            "wrong_words": self.wrong_count,
            "acknowledged_lost": self.course.lost,
            "background_folds": self.folds,
            "kills": len(kills),
            "kills_by_hit": {hit: self.course.hits(hit) for hit in HITS},
            "kills_at_random": sum(kill.aim == "random" for kill in kills),
            "recovery_seconds_max": max((kill.recovery_s for kill in kills), default=0.0),
            "records": self.records,
            "records_replayed": sum(kill.records_replayed for kill in kills),
            "bytes_cut": sum(kill.bytes_cut for kill in kills),
            "input": self.text.name,
            "files": self.files_counted,
            "files_given": len(self.text.files),
            "bytes": self.bytes_counted,
            "words": self.words,
            "different_words": self.different,
            "store_bytes": self.store_bytes,
            "seconds": round(self.course.seconds, 3),
            "seed": self.seed,
        }


def judge(store_path: str, text: Input, course: Course, seed: int, advance: Callable[[int], None]) -> Result:
    """Count plainly what the worker counted, and compare with what its store holds.

    Raises:
        JournalError: The store can't be opened, or is damaged.
    """
    files = text.files[: course.position[0]]
    plain = plain_count(files, advance)
    with journalkit.open(store_path, mode="r") as store:
        store.check()
        kept = Counter({str(word): count for word, count in store.items()})
        records, statistics = store.lsn, store.statistics()
    differing = sorted(word for word in plain.keys() | kept.keys() if plain[word] != kept[word])
    return Result(
        text=text,
        course=course,
        seed=seed,
        records=records,
        files_counted=len(files),
        bytes_counted=sum(text.sizes_bytes[: len(files)]),
        words=plain.total(),
        different=len(plain),
        frequent=tuple(plain.most_common(_EXAMPLES)),
        wrong=tuple((word, kept[word], plain[word]) for word in differing[:_EXAMPLES]),
        wrong_count=len(differing),
        store_bytes=sum(entry.stat().st_size for entry in os.scandir(store_path) if entry.is_file()),
        snapshots_kept=statistics.snapshots,
    )
