"""The forecast: what recovery would do with each file. Pure; `recovery.apply` and `recovery.writer` do it.

A dry run prints this. A test holds it against what a recovery then does, so
whoever changes the one has to change the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from journalkit.format import names
from journalkit.format.manifest import Manifest, SnapshotEntry
from journalkit.recovery import apply
from journalkit.recovery.plan import Cut, Plan
from journalkit.recovery.strays import Strays

Action: TypeAlias = Literal["keep", "cut", "set aside", "remove", "fold", "leave", "create", "replace"]


@dataclass(frozen=True, slots=True)
class Fate:
    """One thing that is done with a file; a file that is cut may have a second fate.

    "cut": what is behind `offset_bytes` is copied to `kept_as` (of very much
    the beginning), and no longer part of the log. "set aside": the file is
    moved there. "fold": what it holds goes into a new snapshot, and it is pruned.
    """

    file: str
    action: Action
    reason: str = ""
    offset_bytes: int | None = None
    count_bytes: int = 0
    kept_as: str = ""


def foresee(
    manifest: Manifest,
    plan: Plan,
    strays: Strays,
    *,
    dropped: Sequence[SnapshotEntry],
    rebuild: bool,
    present: Collection[str],
    quarantined: Collection[str],
) -> list[Fate]:
    """Return what is done with each file, the store's own first.

    Args:
        manifest: The manifest.
        plan: What recovery would do with the log.
        strays: The files that the manifest doesn't name.
        dropped: Snapshots that are damaged and not to be named again.
        rebuild: Whether a fold follows, that keeps one new snapshot.
        present: The names in the directory.
        quarantined: The names in the quarantine.
    """
    fates = [Fate(names.MANIFEST, "replace", f"generation {manifest.generation + 1}, epoch {plan.epoch + 1}")]
    fates += _log(plan, present, quarantined, rebuild=rebuild)
    fates += _tables(manifest, plan, dropped, present, quarantined, rebuild=rebuild)
    swept, aside = apply.sort_strays(strays, damaged=bool(plan.damage))
    fates += [Fate(name, "remove", "left over") for name in swept]
    fates += [_aside(name, "not part of the log", quarantined) for name in aside]
    fates += [Fate(name, "leave", "not journalkit's") for name in strays.unknown]
    fates.append(Fate(_next_segment(manifest, set(present) - set(swept)), "create", "new records go there"))
    return fates


def _log(plan: Plan, present: Collection[str], quarantined: Collection[str], *, rebuild: bool) -> Iterator[Fate]:
    kept: Action = "fold" if rebuild else "keep"
    cut_short = {cut.segment for cut in plan.cuts}
    for cut in plan.cuts:
        kept_as = names.quarantine_name(cut.segment, cut.offset_bytes, plan.epoch + 1)
        yield Fate(names.segment_name(cut.segment), "cut", cut.reason, cut.offset_bytes, cut.count_bytes, kept_as)
    for entry in plan.segments:
        if rebuild or entry.number not in cut_short:
            yield Fate(names.segment_name(entry.number), kept)
    for given_up in plan.given_up:
        yield _aside(names.segment_name(given_up.segment), given_up.reason, quarantined, given_up)
    for number in plan.blank:
        if names.segment_name(number) in present:
            yield Fate(names.segment_name(number), "remove", "holds no record")


def _tables(
    manifest: Manifest,
    plan: Plan,
    dropped: Sequence[SnapshotEntry],
    present: Collection[str],
    quarantined: Collection[str],
    *,
    rebuild: bool,
) -> Iterator[Fate]:
    named_again = {
        info.number
        for entry in manifest.snapshots
        if entry not in dropped and entry.lsn >= plan.pruned_lsn
        for info in entry.tables
    }
    for number in dict.fromkeys(info.number for entry in manifest.snapshots for info in entry.tables):
        name = names.table_name(number)
        if name not in present:
            continue
        if number in named_again:
            yield Fate(name, "fold" if rebuild else "keep")
        else:
            yield _aside(name, "of a snapshot that is given up", quarantined)


def _aside(name: str, reason: str, quarantined: Collection[str], cut: Cut | None = None) -> Fate:
    kept_as, count = name, 1
    while kept_as in quarantined:
        count += 1
        kept_as = f"{name}-{count}"
    return Fate(name, "set aside", reason, count_bytes=cut.count_bytes if cut is not None else 0, kept_as=kept_as)


def _next_segment(manifest: Manifest, taken: Collection[str]) -> str:
    number = manifest.next_segment
    while names.segment_name(number) in taken:
        number += 1
    return names.segment_name(number)
