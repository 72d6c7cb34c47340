"""The forecast of what recovery does with each file, where no store of a test has come to be so."""

from __future__ import annotations

from journalkit.format import names
from journalkit.format.manifest import Manifest, SnapshotEntry
from journalkit.format.table import TableInfo
from journalkit.recovery.forecast import Fate, foresee
from journalkit.recovery.plan import Plan
from journalkit.recovery.strays import Strays


def test_what_is_not_there_has_no_fate_and_names_in_the_quarantine_are_not_taken_twice() -> None:
    """A missing table isn't moved, the quarantine keeps what it has, a number that is taken is passed over."""
    tables = tuple(TableInfo(number, 1, 1, 1, 1) for number in (7, 8))
    manifest = Manifest(
        store=b"s" * 16,
        kind="store",
        codec="cbor",
        created_us=0,
        generation=1,
        epoch=1,
        writer=b"w" * 16,
        segments=(),
        snapshots=(SnapshotEntry(9, 0, tables),),
        pruned_lsn=0,
        durable_lsn=0,
        next_segment=4,
        next_table=9,
    )
    plan = Plan((), 0, 0, 0, 0, 1, (), (), (2, 3), (), False)
    there, blank, taken = names.table_name(8), names.segment_name(3), names.segment_name(4)
    fates = foresee(
        manifest,
        plan,
        Strays(aside=[taken]),
        dropped=manifest.snapshots,
        rebuild=False,
        present=[there, blank, taken],
        quarantined=[there, f"{there}-2"],
    )
    assert fates == [
        Fate(names.MANIFEST, "replace", "generation 2, epoch 2"),
        Fate(blank, "remove", "holds no record"),
        Fate(there, "set aside", "of a snapshot that is given up", kept_as=f"{there}-3"),
        Fate(taken, "set aside", "not part of the log", kept_as=taken),
        Fate(names.segment_name(5), "create", "new records go there"),
    ]
