"""The independent reader as the second oracle of `oracle.judged`: a store's files against the history.

    oracle.judged(fs, path, history, second_oracle=second_oracle.complaints)

Its verdicts are told in the words of `journalkit verify`, which the oracle speaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from history import History, State, short
from oracle import EXTRA
from second_reader import READER, judge_images

VERDICTS: Final = {"sound": "sound", "torn": "torn tail", "damaged": "damaged"}


def complaints(files: Mapping[str, bytes], history: History, allowed: tuple[str, ...]) -> list[str]:
    """Return what the reader finds wrong: with the store, or with what it opens to."""
    judgement = judge_images({name: data for name, data in files.items() if "/" not in name})
    if judgement.verdict == "absent":
        return ["there is no store"] if history.exists else []
    told = "; ".join(f"{found.file} at {found.offset}: {found.reason}" for found in judgement.findings)
    if judgement.state is None or VERDICTS.get(judgement.verdict) not in allowed:
        return [f"it is {judgement.verdict}: {told}"]
    lsn, found = judgement.last_lsn, _state(judgement, history.kind)
    # What the oracle commits behind a recovered store is no part of the history.
    extra = lsn if history.kind == "journal" else EXTRA
    if found.entries.get(extra) == (EXTRA if history.kind == "journal" else lsn - 1):
        del found.entries[extra]
        lsn -= 1
    if not history.acknowledged <= lsn <= history.submitted:
        return [f"it ends at LSN {lsn}; {history.acknowledged} were acknowledged, {history.submitted} submitted"]
    expected = history.state(lsn)
    if history.kind == "journal":
        first = min(found.entries, default=lsn + 1)
        if first > history.pruned_at_most + 1:
            return [f"it begins at LSN {first}; at most {history.pruned_at_most} may be pruned"]
        expected = State({at: value for at, value in expected.entries.items() if at >= first}, {})
    if found != expected:
        return [f"at LSN {lsn} it holds {short(found)}, and the fold of the commits is {short(expected)}"]
    return []


def _state(judgement: Any, kind: str) -> State:
    if kind == "journal":
        return State({record.lsn: READER.decode_value(record.payload) for record in judgement.records}, {})
    decoded = judgement.decoded()
    offsets = {key.name: value for key, value in decoded.items() if isinstance(key, READER.Reserved)}
    return State({key: value for key, value in decoded.items() if not isinstance(key, READER.Reserved)}, offsets)
