"""docs/reference/read_store.py against the package: they have to say the same of any bytes.

The reader was written from the format's specification alone. Where the two
disagree the specification decides, and is mended if it left it open. Compared
are the golden directories, stores that hypothesis and a fixed seed make and
damage, values and keys of every type, and hostile ones.
"""

from __future__ import annotations

import ast
import importlib.util
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

import journalkit
from journalkit.errors import JournalError
from journalkit.format.codec import CborCodec
from journalkit.format.keys import decode_key, encode_key
from journalkit.format.malformed import MalformedError
from journalkit.format.values import same
from journalkit.testing import SimulatedClock, SimulatedDisk

TESTS = Path(__file__).parents[1]
PROGRAM = TESTS.parent / "docs" / "reference" / "read_store.py"


def _load(folder: str, name: str) -> ModuleType:
    sys.path.insert(0, str(TESTS / folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


both = _load("proof", "both_readers")
READER = _load("proof", "second_reader").READER
golden = _load("golden", "format_1")
RELEASED = (golden, _load("golden", "format_2"))

Files = dict[str, bytes]


# What was released


def golden_files(name: str) -> Files:
    """Return the files of a golden directory."""
    return {path.name: path.read_bytes() for path in golden_folder(name).iterdir() if path.is_file()}


def golden_folder(name: str) -> Path:
    """Return where a golden directory is."""
    [folder] = (TESTS / "golden").glob(f"format-*/{name}")
    return folder


@pytest.mark.parametrize(
    "expected", [each for form in RELEASED for each in form.GOLDEN], ids=lambda expected: expected.name
)
def test_golden_directories_are_judged_as_they_were_made(expected: Any) -> None:
    """Sound, torn and damaged ones: what opening them gives was written down beside them."""
    files = golden_files(expected.name)
    judgement = READER.judge(files)
    assert {"sound": 0, "torn": 1}.get(judgement.verdict, 2) == expected.verify
    assert both.disagreements(files, "journal" if expected.is_journal else "store") == []
    if expected.outcome is None:
        assert judgement.state is None
        assert judgement.refusal.file == expected.blames
        assert judgement.verdict == ("unsupported" if expected.error == "UnsupportedFormatError" else "damaged")
        return
    entries = {READER.Reserved("offsets", name): value for name, value in expected.offsets.items()} | expected.entries
    found = judgement.decoded()
    if expected.is_journal:
        found = {record.lsn: READER.decode_value(record.payload) for record in judgement.records}
    assert found.keys() == entries.keys()
    assert all(same(found[key], entries[key]) for key in entries)
    snapshot_lsn = judgement.snapshot_lsn
    assert (judgement.last_lsn, judgement.manifest["epoch"], snapshot_lsn) == (
        expected.lsn,
        expected.epoch,
        expected.snapshot_lsn,
    )


# Stores that are made up


class Lives:
    """A few lives of a store or journal on a disk that loses power, by a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.disk = SimulatedDisk()
        self.clock = SimulatedClock(seed=seed)
        self.kind = self.chance.choice(("store", "store", "journal"))
        self.codec: Any = self.chance.choice(("cbor", "msgpack", "raw"))

    def files(self) -> Files:
        """Live a few times, and return what the last crash left."""
        for _ in range(self.chance.randrange(1, 4)):
            try:
                with self._open() as handle:
                    for _ in range(self.chance.randrange(14)):
                        self._journal(handle) if self.kind == "journal" else self._store(handle)
                    if self.chance.random() < 0.6:
                        handle.forbid()  # killed
            except JournalError:
                break
            self.disk = self.disk.crash(self.chance.choice(("all", "none", self.chance.randrange(1 << 20))))
        names = self.disk.list(both.STORE)
        places = {name: f"{both.STORE}/{name}" for name in names if name != "quarantine"}
        return {name: self.disk.read_bytes(place) for name, place in places.items()}

    def _open(self) -> Any:
        options: dict[str, Any] = {"fs": self.disk, "clock": self.clock, "segment_bytes_max": 4096, "codec": self.codec}
        options["sync"] = self.chance.choice(("always", "never"))
        if self.kind == "journal":
            return journalkit.open_journal(both.STORE, **options)
        return journalkit.open(both.STORE, compaction="manual", keep_snapshots=self.chance.choice((1, 2, 3)), **options)

    def _value(self) -> Any:
        text = b"w" * self.chance.randrange(1500)
        return text if self.codec == "raw" else self.chance.choice((1, "x", text, [1, (2,)]))

    def _journal(self, journal: journalkit.Journal) -> None:
        match self.chance.randrange(10):
            case 0:
                journal.rotate()
            case 1:
                journal.prune(self.chance.randrange(1, journal.lsn + 2))
            case _:
                journal.append(self._value(), sync=self.chance.choice(("always", "never", None)))

    def _store(self, store: journalkit.Store) -> None:
        match self.chance.randrange(10):
            case 0:
                store.compact()
            case 1:
                store.sync()
            case 2:
                store.pop("a", None)
            case 3:
                store.update({key: self._value() for key in ("a", b"c", 7)})
            case 4:
                with store.transaction() as changes:
                    changes["t", 1] = self._value()
                    changes.offsets["in"] = self.chance.randrange(9)
            case _:
                key = self.chance.choice(("a", "b", (1, "c"), -300))
                store.put(key, self._value(), sync=self.chance.choice(("always", "never", None)))


def damaged(files: Files, chance: random.Random) -> Files:
    """Return the files with one to three things wrong."""
    files = dict(files)
    for _ in range(chance.choice((1, 1, 2, 3))):
        name, other = (chance.choice(sorted(files)) for _ in range(2))
        data = files[name]
        at, size = chance.randrange(len(data.rstrip(b"\0")) + 60), chance.choice((1, 8, 40, 64, 512))
        match chance.randrange(6):
            case 0 if at < len(data):
                files[name] = data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :]
            case 1:
                files[name] = data[:at]
            case 2:
                files[name] = data[:at] + bytes(len(data[at : at + size])) + data[at + size :]
            case 3 if len(files) > 1:
                del files[name]
            case 4:
                files[name], files[other] = files[other], data
            case 5:
                moved = data[at // 2 : at // 2 + size]
                files[name] = data[:at] + moved + data[at + len(moved) :]
    return files


@pytest.mark.parametrize("first_seed", range(0, 40, 10))
def test_stores_after_crashes_and_damage_are_judged_alike(first_seed: int) -> None:
    """What a few lives leave, and the same with a few things wrong: outcome, state, blame and verdict."""
    for seed in range(first_seed, first_seed + 10):
        lives = Lives(seed)
        files, chance = lives.files(), random.Random(seed)
        assert both.disagreements(files, lives.kind) == [], seed
        for trial in range(8):
            assert both.disagreements(damaged(files, chance), lives.kind) == [], (seed, trial)


def test_a_reader_that_knows_no_promises_disagrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary: a comparison that never fails compares nothing."""
    monkeypatch.setattr(READER.Log, "_slot", lambda _: None)
    assert "an open says 'damaged'" in both.disagreements(golden_files("damaged-seal"))[0]
    monkeypatch.setattr(READER, "_apply", lambda *_: None)
    assert "an open shows LSN 9" in both.disagreements(golden_files("store-two-snapshots"))[0]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first_seed", range(1_000, 2_000, 100))
def test_many_stores_are_judged_alike(first_seed: int) -> None:
    """More of it."""
    for seed in range(first_seed, first_seed + 100):
        lives = Lives(seed)
        files, chance = lives.files(), random.Random(seed)
        for trial in range(20):
            assert both.disagreements(damaged(files, chance), lives.kind) == [], (seed, trial)


@given(
    entries=st.dictionaries(st.text(max_size=5) | st.integers() | st.binary(max_size=5), st.binary(), max_size=9),
    removed=st.sets(st.integers(0, 8)),
    folds=st.booleans(),
)
def test_what_hypothesis_stores_is_read(entries: dict[Any, bytes], removed: set[int], folds: bool) -> None:
    """The plain case, with whatever keys come along; the reader's own checksum, too."""
    disk, clock = SimulatedDisk(), SimulatedClock(seed=1)
    with journalkit.open(both.STORE, fs=disk, clock=clock, compaction="manual", codec="raw") as store:
        store.update(entries)
        if folds:
            store.compact()
        for number, key in enumerate(list(entries)):
            if number in removed:
                del store[key], entries[key]
    files = {name: disk.read_bytes(f"{both.STORE}/{name}") for name in disk.list(both.STORE)}
    judgement = READER.judge(files)
    assert (judgement.verdict, judgement.decoded()) == ("sound", entries)


def test_a_store_of_many_blocks_and_two_levels_is_read() -> None:
    """The tables of small stores have one index block: its children are data."""
    disk, clock = SimulatedDisk(), SimulatedClock(seed=1)
    entries = {number: bytes(9000) for number in range(600)}
    with journalkit.open(both.STORE, fs=disk, clock=clock, compaction="manual") as store:
        store.update(entries)
        store.compact()
    files = {name: disk.read_bytes(f"{both.STORE}/{name}") for name in disk.list(both.STORE)}
    judgement = READER.judge(files, crc32c.crc32c)
    assert (judgement.verdict, judgement.snapshot_lsn, judgement.decoded()) == ("sound", 1, entries)


# Keys, values and checksums


def outcome(decode: Callable[[bytes], Any], data: bytes, malformed: type[Exception]) -> tuple[bool, Any]:
    """Return whether the bytes are refused, and what they are if not."""
    try:
        return False, decode(data)
    except malformed:
        return True, None


def mangled(encoded: list[bytes], pieces: list[bytes], seed: int) -> Iterator[bytes]:
    """Yield encoded things with a few bytes changed, moved in or lost."""
    chance = random.Random(seed)
    for _ in range(3000):
        data = bytearray(chance.choice(encoded))
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(4):
                case 0 if data:
                    data[min(at, len(data) - 1)] ^= 1 << chance.randrange(8)
                case 1:
                    data[at:at] = chance.choice(pieces)
                case 2:
                    data[at:at] = chance.choice(encoded)
                case 3:
                    del data[at : at + chance.randrange(3)]
        yield bytes(data)


def test_values_and_what_is_nearly_one_are_read_alike() -> None:
    """Every type, and the same with bytes changed: the same value, or refused by both."""
    encode, decode = CborCodec().encode, CborCodec().decode
    sets = [{"a": [1, {2, 3}], "b": frozenset({1, (2,)})}, {1.5: 2, True: 1, (1, frozenset()): {(3, 4)}}]
    encoded = [encode(value) for value in [*golden.VALUES.values(), *sets]]
    heads = [
        "80",
        "81",
        "a1",
        "c0",
        "c2",
        "d81e82",
        "d825",
        "d9010281",
        "d903ec",
        "da4a4b0001",
        "da4a4b0002",
        "f7",
        "9f",
    ]
    refused = 0
    for data in [*encoded, *mangled(encoded, [bytes.fromhex(head) for head in heads], 1)]:
        mine, theirs = outcome(decode, data, MalformedError), outcome(READER.decode_value, data, READER.MalformedError)
        assert mine[0] == theirs[0], data.hex()
        assert same(mine[1], theirs[1]), data.hex()
        refused += mine[0]
    assert 500 < refused < 3000


@pytest.mark.parametrize("head", ["81", "da4a4b000181", "a100", "da4a4b0002d9010281", "d9010281"])
def test_the_depth_of_values_ends_at_the_same_place(head: str) -> None:
    """One level more than allowed, for every kind of container; a fraction inside is none."""
    for levels in (63, 64, 65):
        for leaf in ("00", "80", "d81e820102"):
            data = bytes.fromhex(head) * levels + bytes.fromhex(leaf)
            mine = outcome(CborCodec().decode, data, MalformedError)
            assert mine[0] == outcome(READER.decode_value, data, READER.MalformedError)[0], (levels, leaf)


def test_keys_and_what_is_nearly_one_are_read_alike() -> None:
    """As for values. A reserved key is none of the application's."""
    encoded = [encode_key(key) for key in golden.KEYS]
    assert [READER.decode_key(data) for data in encoded] == golden.KEYS
    refused = 0
    for data in mangled(encoded, [b"\x50", b"\x00", b"\xff", b"\x30", b"\x40"], 2):
        if data[:1] and data[0] < 0x10:
            continue
        mine, theirs = (
            outcome(decode_key, data, MalformedError),
            outcome(READER.decode_key, data, READER.MalformedError),
        )
        assert mine == theirs, data.hex()
        refused += mine[0]
    assert 500 < refused < 3000
    deep = [b"\x50" * levels + bytes(levels - 1) for levels in (16, 17)]
    assert [outcome(READER.decode_key, data, READER.MalformedError)[0] for data in deep] == [False, True]
    assert [outcome(decode_key, data, MalformedError)[0] for data in deep] == [False, True]


@given(st.binary(), st.integers(0, 2**32 - 1))
def test_its_checksum_is_crc32c(data: bytes, seed: int) -> None:
    """Continued from any seed."""
    assert READER.crc32c(data, seed) == crc32c.crc32c(data, seed)


# The program


def run(*arguments: str | Path) -> tuple[int, str]:
    """Run it with nothing but the standard library in reach."""
    command = [sys.executable, "-I", "-S", str(PROGRAM), *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.stderr == ""
    return ran.returncode, ran.stdout


def test_the_program_tells_what_a_store_holds() -> None:
    """Records, state and verdict, for a person."""
    code, shown = run(golden_folder("store-two-snapshots"), "--records", "--state")
    assert code == 0
    assert "verdict:      sound" in shown
    assert "LSN 8, 2026-01-01" in shown
    assert "'n' = (1, 2)" in shown
    assert "Reserved(keyspace='offsets', name='in') = 7" in shown


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("journal-torn-tail", 1, "torn:         log-0000000000000001.jks at 199, LSN 3"),
        ("damaged-seal", 2, "damaged:      log-0000000000000003.jks at 214"),
        ("damaged-newest-table", 2, "damaged:      table-0000000001048577.jkt at 52"),
        ("newer-format", 2, "unsupported:  MANIFEST at 8"),
        ("missing-manifest", 2, "damaged:      MANIFEST at 0"),
    ],
)
def test_the_program_s_exit_code_is_its_judgement(name: str, code: int, told: str) -> None:
    """And it says which file, where and at which record."""
    found, shown = run(golden_folder(name))
    assert found == code
    assert told in shown


def test_a_directory_without_a_store_is_none(tmp_path: Path) -> None:
    """Neither sound nor damaged."""
    code, shown = run(tmp_path)
    assert (code, "verdict:      absent" in shown) == (2, True)


def test_it_imports_the_standard_library_and_nothing_else() -> None:
    """Code that is shared is wrong twice, and alike."""
    tree = ast.parse(PROGRAM.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
