"""State that is divided among workers, and goes to another number of them: by key groups, by parts of arrays."""

from __future__ import annotations

import itertools
import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import journalkit
from journalkit import Keyed, Shard, key_group, key_groups_of
from journalkit.checkpoint.loading import Manifest
from journalkit.checkpoint.merging import merged
from journalkit.checkpoint.pack import Known
from journalkit.checkpoint.saving import write_manifest, write_part
from journalkit.checkpoint.tree import capture
from journalkit.errors import CheckpointAbortedError, CorruptionError, KeyTypeError, KeyValueError
from journalkit.format.checkpoint import CheckpointManifest, decode_manifest
from journalkit.format.nodes import GroupsNode
from journalkit.fs.memory import MemoryFileSystem
from journalkit.objects.directory import DirectoryObjects
from tests.unit.workers.conftest import Job

KEYS: list[Any] = [f"user-{number}" for number in range(2000)] + [(7, "b"), b"bytes", 12]
ROWS, COLUMNS = 1001, 30
GROUPS = [46, 82, 11, 41, 91, 106, 23, 48, 120]


def rows_of(rank: int, size: int) -> slice:
    """Return the even part of the rows."""
    return slice(rank * ROWS // size, (rank + 1) * ROWS // size)


def table() -> np.ndarray[Any, Any]:
    """Return the array that is divided."""
    return np.random.default_rng(3).random((ROWS, COLUMNS))


def divided(rank: int, size: int) -> dict[str, Any]:
    """Return a worker's part of the state."""
    rows = rows_of(rank, size)
    mine = key_groups_of(rank, size)
    return {
        "counts": Keyed({key: {"of": repr(key)} for key in KEYS if key_group(key) in mine}),
        "model": {"w": Shard(table()[rows], (ROWS, COLUMNS), (rows.start, 0))},
        "settings": {"rate": 0.1, "layers": [1, (2, 3)], "names": {"a", "b"}, "table": np.arange(50_000)},
    }


def check(state: Any, rank: int, size: int) -> None:
    """See that a worker has what it would have had from the beginning."""
    wanted = divided(rank, size)
    assert dict(state["counts"]) == dict(wanted["counts"])
    assert type(state["counts"]) is Keyed
    found, part = state["model"]["w"], wanted["model"]["w"]
    assert (found.shape, found.offset) == (part.shape, part.offset)
    assert np.array_equal(found.array, part.array)
    settings = state["settings"]
    assert np.array_equal(settings.pop("table"), wanted["settings"].pop("table"))
    assert settings == wanted["settings"]


@pytest.mark.parametrize("size", [1, 3, 4, 8])
@pytest.mark.parametrize("lazy", [False, True])
def test_saved_with_4_workers_and_loaded_with_any(job: Job, size: int, lazy: bool) -> None:
    """Identical states; and what those save goes back to four."""
    saved = job.run(4, lambda worker: worker.save(divided(worker.rank, 4)).id)
    assert saved == ["1.1"] * 4

    def load(worker: journalkit.Worker) -> Any:
        state, _ = worker.load_latest(lazy=lazy) or (None, None)
        assert state is not None
        again = worker.save(state).id
        if lazy:
            state["settings"]["table"] = state["settings"]["table"].read()
        check(state, worker.rank, size)
        return again

    assert job.run(size, load) == ["2.1"] * size
    assert job.run(4, lambda worker: check((worker.load_latest() or (None,))[0], worker.rank, 4)) == [None] * 4
    with job.checkpoints() as checkpoints:
        assert [each.verify() for each in checkpoints] == [[], []]
        check(checkpoints.get("1.1").load(), 0, 1)


def test_what_one_process_saved_is_divided_too(job: Job) -> None:
    """A job that grew out of one process."""
    with journalkit.open_checkpoints(job.where) as checkpoints:
        checkpoints.save(divided(0, 1))
    assert job.run(3, lambda worker: check((worker.load_latest() or (None,))[0], worker.rank, 3)) == [None] * 3


def test_a_copy_in_another_place_is_as_divided(job: Job, tmp_path: Any) -> None:
    """Parts go along."""
    job.run(4, lambda worker: worker.save(divided(worker.rank, 4)).id)
    there = Job(tmp_path / "there")
    with job.checkpoints() as checkpoints, journalkit.open_checkpoints(there.where) as copies:
        copies.copy_from(checkpoints.get("latest"), name="moved")
    assert there.run(4, lambda worker: check((worker.load_latest() or (None,))[0], worker.rank, 4)) == [None] * 4
    assert there.run(2, lambda worker: check((worker.load_latest() or (None,))[0], worker.rank, 2)) == [None] * 2


def test_a_worker_asks_for_the_region_that_it_wants(job: Job) -> None:
    """Columns where rows were saved, overlapping if it likes; with as many workers as before, too."""

    def save(worker: journalkit.Worker) -> None:
        worker.save(divided(worker.rank, 4) | {"mine": worker.rank} if worker.size == 4 else {})

    job.run(4, save)
    for size in (4, 2):
        region = (slice(10, 900), slice(5, 7))

        def load(worker: journalkit.Worker, region: Any = region) -> Any:
            if worker.size != 4:
                with pytest.raises((KeyValueError, CheckpointAbortedError), match="isn't the same with all workers"):
                    worker.load_latest(regions={("model", "w"): region})
                return None
            state, _ = worker.load_latest(regions={("model", "w"): region}) or (None, None)
            assert state is not None
            assert state["mine"] == worker.rank
            assert np.array_equal(state["model"]["w"].array, table()[region])
            assert state["model"]["w"].offset == (10, 5)
            return None

        assert job.run(size, load) == [None] * size


@pytest.mark.parametrize(
    "regions",
    [{("model", "w"): [slice(1)]}, {("model", "w"): (slice(0, 9, 2),)}, {("settings",): ()}, {("no",): ()},
     {("model", "w"): (slice(1), slice(1), slice(1))}, {("model", "w"): (3,)}],
)  # fmt: skip
def test_a_region_that_is_none_is_refused(job: Job, regions: Any) -> None:
    """By its place in the state."""
    job.run(2, lambda worker: worker.save(divided(worker.rank, 2)).id)
    with job.checkpoints() as checkpoints, pytest.raises((KeyValueError, KeyTypeError), match="state"):
        checkpoints.get("latest").manifest.load(worker=(0, 2), regions=regions)


@pytest.mark.parametrize(
    ("mine", "words"),
    [
        (lambda rank: rank, "state['x'] isn't the same"),
        (lambda rank: [1] * rank, "state['x'] isn't the same"),
        (lambda rank: {rank: 1}, "state['x'] has keys that aren't the same"),
        (lambda rank: 1 if rank else "1", "state['x'] isn't the same"),
        (lambda rank: np.arange(20_000) + rank, "state['x'] isn't the same"),
        (lambda rank: np.arange(10) + rank, "state['x'] isn't the same"),
        (lambda rank: Keyed(groups=8 + rank), "another number of key groups"),
        (lambda rank: Shard(np.zeros(2 + rank), (9,), (rank,)), "lacks elements that no worker saved: [4:9]"),
        (lambda rank: Shard(np.zeros(2), (4 + rank,), (2 * rank,)), "part of another array"),
        (lambda rank: Shard(np.zeros(2, "f4" if rank else "f8"), (4,), (2 * rank,)), "part of another array"),
    ],
)
def test_what_cannot_be_divided_is_said_with_its_place(job: Job, mine: Any, words: str) -> None:
    """Rather than one worker's taken for all."""
    assert job.run(2, lambda worker: worker.save({"x": mine(worker.rank)}).id) == ["1.1"] * 2
    with job.checkpoints() as checkpoints:
        with pytest.raises(KeyValueError) as caught:
            checkpoints.get("latest").load()
        for rank in range(2):
            checkpoints.get("latest").manifest.load(worker=(rank, 2))
    assert words in str(caught.value)


def test_a_key_of_another_worker_is_refused(job: Job) -> None:
    """It would be there twice, or be lost."""

    def live(worker: journalkit.Worker) -> None:
        with pytest.raises((KeyValueError, CheckpointAbortedError), match="belongs to another worker"):
            worker.save({"counts": Keyed(dict.fromkeys(KEYS))})

    assert job.run(2, live) == [None, None]


def test_every_key_has_a_group_and_every_group_a_worker() -> None:
    """One each, for any number of workers; and about as many keys in one as in another."""
    for size in (1, 2, 3, 7, 128, 200):
        found = [key_groups_of(rank, size) for rank in range(size)]
        assert list(itertools.chain.from_iterable(found)) == list(range(128))
        assert max(map(len, found)) - min(map(len, found)) <= 1
    for keys in ([f"user-{number}" for number in range(64_000)], range(64_000), [(1, n) for n in range(64_000)]):
        counts = Counter(key_group(key, 64) for key in keys)
        assert len(counts) == 64
        assert max(counts.values()) < 1300


def test_groups_stay_what_they_are() -> None:
    """A state that was saved would be divided otherwise."""
    keys: list[Any] = ["", "a", "user-1", b"a", 0, -1, 1 << 40, ("a", 1), ()]
    assert [key_group(key) for key in keys] == GROUPS
    with pytest.raises(KeyTypeError):
        key_group(1.5)  # type: ignore[arg-type]
    for groups in (0, True, 1 << 30, "8"):
        with pytest.raises((KeyValueError, KeyTypeError)):
            key_group("a", groups)  # type: ignore[arg-type]


def test_a_keyed_dict_is_a_dict() -> None:
    """And is told apart from one."""
    keyed = Keyed({"a": 1}, groups=4)
    keyed["b"] = 2
    assert keyed == {"a": 1, "b": 2}
    assert repr(keyed) == "Keyed({'a': 1, 'b': 2}, groups=4)"
    again = pickle.loads(pickle.dumps(keyed))
    assert (again, again.groups, type(again)) == (keyed, 4, Keyed)
    for wrong in (Shard, lambda *given: Shard(np.zeros((2, 2)), *given)):
        with pytest.raises((KeyValueError, TypeError)):
            wrong((3, 3), (2, 2))
    assert repr(Shard(np.zeros(2), (4,), (1,))) == "<Shard of (2,) at (1,) of (4,)>"


@given(data=st.data())
def test_any_region_of_any_division_is_that_of_the_array(data: st.DataObject) -> None:
    """Boxes of all kinds, overlapping or not, in up to three dimensions."""
    shape = tuple(data.draw(st.lists(st.integers(0, 5), min_size=0, max_size=3), "shape"))
    whole = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    cuts = [sorted({0, size, *data.draw(st.lists(st.integers(0, size), max_size=2))}) for size in shape]
    boxes = list(itertools.product(*(list(itertools.pairwise(each)) or [(0, 0)] for each in cuts)))
    boxes += data.draw(st.lists(st.sampled_from(boxes), max_size=2))
    parts = [
        Shard(whole[tuple(slice(*each) for each in box)], shape, [begin for begin, _ in box])
        for box in data.draw(st.permutations(boxes))
    ]
    region = tuple(slice(*sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size))))) for size in shape)
    manifest = together([{"x": part} for part in parts])
    size = len(parts) + data.draw(st.integers(0, 1))
    found = manifest.load(worker=(0, size), regions={("x",): region})["x"]
    assert np.array_equal(found.array, whole[region])
    assert found.shape == shape


def together(states: list[Any]) -> Manifest:
    """Return the manifest that workers' states make, without a run."""
    objects = DirectoryObjects("/job", MemoryFileSystem())
    parts = [
        write_part(
            objects, CheckpointManifest(bytes(16), 1, 1, rank, 0, "sha256", b""), capture(state), Known("sha256")
        )
        for rank, state in enumerate(states)
    ]
    written = write_manifest(objects, merged(parts))
    return Manifest(objects, written.manifest_key, decode_manifest(objects.get(written.manifest_key) or b""))


def test_a_group_whose_bytes_make_no_sense_is_damage() -> None:
    """Not a state with something else in it."""
    manifest = together([{"x": Keyed({"a": 1})}])
    tree = manifest._tree(manifest._parts()[0])
    assert type(tree["x"]) is GroupsNode
    for wrong in (b"\x01", b"\x81\x01", b"\x81\x82\x80\x01", b"\xff"):
        node = next(iter(tree["x"].values()))
        spoiled = GroupsNode(128, {0: type(node)("bytes", wrong)})
        with pytest.raises(CorruptionError, match="makes no sense"):
            manifest._value(("x",), spoiled, {})
