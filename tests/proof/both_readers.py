"""The package and the independent reader, asked about the same bytes: do they agree?

`disagreements` opens a copy of the files for reading, asks `verify`, and asks
the second reader. They have to say the same of whether an open may serve, of
the state and the LSN that it then shows, of the file that is to blame where it
may not, and of the verdict on the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from second_reader import READER, judge_images

import journalkit
from journalkit.cli import examination
from journalkit.errors import CorruptionError, StoreNotFoundError, UnsupportedFormatError
from journalkit.format.values import same
from journalkit.fs.memory import MemoryFileSystem
from journalkit.testing import SimulatedClock

Files: TypeAlias = Mapping[str, bytes]
Kind: TypeAlias = Literal["store", "journal"]

STORE: Final = "/store"
VERDICTS: Final = {"sound": "sound", "torn": "torn tail"}
"""The words of `verify` for the reader's; what can't be opened or is spared is damaged, for both."""

# What looks damaged is looked at again after a while, for the sake of a writer beside; there is none here.
examination._LOOK_AGAIN_S = 0.0  # type: ignore[misc]


@dataclass(slots=True)
class Sight:
    """What somebody sees: the state (of a journal: its records), or an error's class and the file it is about."""

    error: str = ""
    file: str = ""
    lsn: int = 0
    state: dict[Any, Any] = field(default_factory=dict)


def lay_out(files: Files) -> MemoryFileSystem:
    """Return a file system that holds these files in one directory; a name may lead into a directory of its own."""
    fs = MemoryFileSystem()
    fs.make_directory(STORE)
    for name, data in files.items():
        folder = name.rpartition("/")[0]
        if folder and fs.status(f"{STORE}/{folder}") is None:
            fs.make_directory(f"{STORE}/{folder}")
        fs.create(f"{STORE}/{name}").pwrite(data, 0)
    return fs


def opened(files: Files, kind: Kind = "store") -> Sight:
    """Return what opening for reading shows."""
    fs, clock = lay_out(files), SimulatedClock(seed=1)
    try:
        if kind == "journal":
            with journalkit.open_journal(STORE, mode="r", fs=fs, clock=clock) as journal:
                return Sight(lsn=journal.lsn, state={record.lsn: record.value for record in journal.read()})
        with journalkit.open(STORE, mode="r", fs=fs, clock=clock) as store:
            offsets = {READER.Reserved("offsets", name): value for name, value in store.offsets.items()}
            return Sight(lsn=store.lsn, state=dict(store.items()) | offsets)
    except CorruptionError as error:
        return Sight("damaged", error.path.rpartition("/")[2])
    except UnsupportedFormatError:
        return Sight("unsupported")
    except StoreNotFoundError:
        return Sight("absent")


def verified(files: Files) -> tuple[str, set[str]]:
    """Return the verdict of `verify`, and the files that it doesn't call sound."""
    try:
        found = examination.examine(lay_out(files), STORE, deep=True)
    except CorruptionError as error:
        return "damaged", {error.path.rpartition("/")[2]}
    except UnsupportedFormatError:
        return "unsupported", set()
    except StoreNotFoundError:
        return "absent", set()
    return found.verdict, {file.name for file in found.files if file.verdict != "sound"}


def read(files: Files) -> tuple[Sight, str, set[str]]:
    """Return what the independent reader sees, its verdict in the words of `verify`, and the files it complains of."""
    judgement = judge_images(files)
    complained = judgement.files("torn", "damaged", "unsupported")
    verdict = VERDICTS.get(judgement.verdict, judgement.verdict)
    if judgement.state is None:
        refusal = judgement.refusal
        return (Sight(refusal.kind, refusal.file) if refusal else Sight("absent")), verdict, complained
    if judgement.manifest["kind"] == "journal":
        state = {record.lsn: judgement.decode(record.payload) for record in judgement.records}
    else:
        state = judgement.decoded()
    return Sight(lsn=judgement.last_lsn, state=state), verdict, complained


def disagreements(files: Files, kind: Kind = "store") -> list[str]:
    """Return in what the two differ. Where several files are damaged, each may begin with another of them."""
    mine, (theirs, verdict, complained), (said, named) = opened(files, kind), read(files), verified(files)
    told = []
    if mine.error != theirs.error:
        told.append(f"an open says {mine.error or 'sound'!r} of {mine.file}, the reader {theirs.error!r} {theirs.file}")
    elif mine.error == "damaged" and theirs.file not in {mine.file} | named:
        told.append(f"an open names {mine.file}, the reader {theirs.file}")
    elif (mine.lsn, mine.state.keys()) != (theirs.lsn, theirs.state.keys()) or not all(
        same(value, theirs.state[key]) for key, value in mine.state.items()
    ):
        told.append(f"an open shows LSN {mine.lsn} and {mine.state}, the reader {theirs.lsn} and {theirs.state}")
    if said != verdict:
        told.append(f"verify says {said!r} of {sorted(named)}, the reader {verdict!r} of {sorted(complained)}")
    return told
