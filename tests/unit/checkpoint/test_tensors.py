"""Tensors of PyTorch in a state: `pip install torch` to run these."""

from __future__ import annotations

from typing import Any

import pytest

from journalkit.checkpoint import arrays
from journalkit.checkpoint.loading import read_manifest
from journalkit.checkpoint.pack import Known
from journalkit.checkpoint.saved import SavedArray
from journalkit.checkpoint.saving import write_checkpoint
from journalkit.checkpoint.tree import capture
from journalkit.errors import CorruptionError, UsageError
from journalkit.format.malformed import MalformedError
from journalkit.format.nodes import ArrayNode, TensorNode
from journalkit.testing import SimulatedBucket

torch: Any = pytest.importorskip("torch")

TYPES = [getattr(torch, name) for name in (*arrays._TORCH_KINDS, *arrays._TORCH_ALONE) if hasattr(torch, name)]


def same(left: Any, right: Any) -> bool:
    """Whether two tensors are of the same type, shape, elements, and learn alike."""
    return bool(
        type(left) is type(right)
        and (left.dtype, left.shape, left.requires_grad) == (right.dtype, right.shape, right.requires_grad)
        and torch.equal(left.detach().reshape(-1).view(torch.uint8), right.detach().reshape(-1).view(torch.uint8))
    )


def bits(count: int, dtype: Any) -> Any:
    """Return a tensor of so many elements, of chance."""
    whole = torch.randint(0, 2 if dtype is torch.bool else 256, (count * dtype.itemsize,), dtype=torch.uint8)
    return whole.view(dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_tensors_of_every_type_come_back(saves: Any, dtype: Any) -> None:
    """Long and short, of any shape and any strides, in memory and by handles."""
    objects = SimulatedBucket().handle()
    long = bits(120_000, dtype).reshape(300, 400)
    state = {"long": long, "turned": long.T, "part": long[::3, 5:], "short": bits(6, dtype).reshape(2, 1, 3)}
    state |= {"one": bits(1, dtype).reshape(()), "none": bits(0, dtype).reshape(3, 0)}
    manifest = saves.opened(objects, saves.save(objects, state))
    loaded, lazy = manifest.load(), manifest.load(lazy=True)
    for name, tensor in state.items():
        expected = tensor.contiguous()
        assert same(loaded[name], expected)
        assert loaded[name].is_contiguous()
        handle = lazy[name]
        if isinstance(handle, SavedArray):
            assert same(handle.read(), expected)
            assert same(handle[5:7], expected[5:7])
            assert same(handle[-1], expected[-1])
    loaded["short"].view(torch.uint8).fill_(0)  # it is the caller's own


def test_a_model_and_its_optimizer_come_back(saves: Any) -> None:
    """As their own state_dict gives them."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(300, 200), torch.nn.BatchNorm1d(200), torch.nn.Linear(200, 3))
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(3):
        model(torch.randn(9, 300)).sum().backward()
        optimizer.step()
    objects = SimulatedBucket().handle()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "chance": torch.get_rng_state()}
    loaded = saves.opened(objects, saves.save(objects, state)).load()
    other = torch.nn.Sequential(torch.nn.Linear(300, 200), torch.nn.BatchNorm1d(200), torch.nn.Linear(200, 3))
    other.load_state_dict(loaded["model"])
    again = torch.optim.AdamW(other.parameters())
    again.load_state_dict(loaded["optimizer"])
    torch.set_rng_state(loaded["chance"])
    given = torch.randn(9, 300)
    assert torch.equal(model.eval()(given), other.eval()(given))
    assert again.state_dict()["state"].keys() == optimizer.state_dict()["state"].keys()


def test_parameters_learn_and_tied_ones_are_one(saves: Any) -> None:
    """What a tensor says of itself comes with it; the same memory is written and read once."""
    objects = SimulatedBucket().handle()
    tied = torch.nn.Parameter(torch.randn(200, 200))
    fixed = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    state = {"a": tied, "b": tied, "c": torch.zeros(3, requires_grad=True), "d": fixed}
    written = saves.save(objects, state)
    loaded = saves.opened(objects, written).load()
    assert all(same(loaded[name], state[name]) for name in state)
    assert written.bytes_written < 1.2 * tied.nbytes
    assert loaded["a"].data_ptr() == loaded["b"].data_ptr()


def test_a_tensor_changed_after_capture_is_saved_as_it_was(saves: Any) -> None:
    """The optimizer goes on while it is written."""
    objects = SimulatedBucket().handle()
    tensor = torch.randn(100, 300)
    before = tensor.clone()
    captured = capture({"w": tensor})
    tensor.zero_()
    written = write_checkpoint(
        objects, job=saves.JOB, epoch=1, save=1, captured=captured, time_us=5, known=Known("sha256")
    )
    assert same(read_manifest(objects, written.manifest_key).load()["w"], before)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.eye(3).to_sparse(), "isn't dense"), (torch.empty(3, device="meta"), "isn't dense"),
        (torch.nn.parameter.UninitializedParameter(), "save its tensors"),
    ],
)  # fmt: skip
def test_what_is_no_plain_tensor_is_refused(tensor: Any, words: str) -> None:
    """By its place."""
    with pytest.raises(UsageError, match=rf"state\['x'\].*{words}"):
        capture({"x": tensor})


def test_conjugates_and_negatives_are_saved_as_they_look(saves: Any) -> None:
    """A view that computes what it shows has nothing of it in its memory."""
    objects = SimulatedBucket().handle()
    tensor = torch.randn(20, 500, dtype=torch.complex64)
    state = {"conjugate": tensor.conj(), "imaginary": tensor.conj().imag}
    loaded = saves.opened(objects, saves.save(objects, state)).load()
    assert torch.equal(loaded["conjugate"], tensor.conj().resolve_conj())
    assert torch.equal(loaded["imaginary"], -tensor.imag)


def test_tensors_are_mapped_from_a_directory(saves: Any, tmp_path: Any) -> None:
    """Read when they are looked at."""
    from journalkit.objects.places import open_objects

    objects = open_objects(tmp_path)
    state = {"w": torch.randn(300, 400), "half": torch.randn(300, 400).bfloat16()}
    loaded = saves.opened(objects, saves.save(objects, state)).load(mapped=True)
    assert all(same(loaded[name], state[name]) for name in state)


@pytest.mark.parametrize("kind", ["V8", ">f4", "no_type", "<M8[s]", (("x", "<f4"),)])
def test_a_kind_that_no_tensor_has_is_damage(saves: Any, kind: Any) -> None:
    """Whoever wrote it wasn't us."""
    node = TensorNode(ArrayNode(kind, (1,), False, bytes(4)), False, False, "cpu")
    with pytest.raises(MalformedError):
        arrays.check_size(node, 4)
    assert CorruptionError
