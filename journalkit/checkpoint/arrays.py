"""Arrays and tensors as nodes and bytes, and back.

NumPy and PyTorch are asked only once the application has imported them: an
object of theirs can't be in a state before that. Reading imports what the
state had.

No copy is made of what lies in one piece. Elements keep their byte order.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from math import prod
from types import ModuleType
from typing import Any, Final

from journalkit.errors import UsageError
from journalkit.format.malformed import MalformedError
from journalkit.format.nodes import ArrayNode, TensorNode

Source = tuple[Any, memoryview]
"""What holds the bytes in memory, and the bytes."""

_TORCH_KINDS: Final = (
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64",
    "complex64", "complex128",
)  # fmt: skip
"""What both libraries have, by the name that both have for it."""
_TORCH_ALONE: Final = (
    "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu",
)  # fmt: skip


class RefusedError(ValueError):
    """What isn't preserved, and what to do instead; who raises it on knows where in the state it is."""


def is_array(value: object) -> bool:
    """Whether the value is one of NumPy's: an array, or a scalar."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray | numpy.generic)


def is_tensor(value: object) -> bool:
    """Whether the value is a tensor of PyTorch's."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def array_source(value: Any) -> tuple[Callable[[Any], ArrayNode], Source]:
    """Return what makes the node of an array, given its content, and its bytes.

    Raises:
        RefusedError: It holds Python objects, or is of a class of its own.
    """
    numpy = sys.modules["numpy"]
    is_scalar = isinstance(value, numpy.generic)
    if not is_scalar and type(value) is not numpy.ndarray:
        raise RefusedError(f"is a {_name_of(value)}: save numpy.asarray() of it")
    array = numpy.asarray(value)
    kind = _kind_of(array.dtype)
    by_columns = bool(array.flags.f_contiguous and not array.flags.c_contiguous)
    if not (array.flags.c_contiguous or by_columns):
        array = numpy.ascontiguousarray(array)
    shape = tuple(int(size) for size in array.shape)
    flat = (array.T if by_columns else array).reshape(-1)
    view = memoryview(flat.view(numpy.uint8)) if flat.nbytes else memoryview(b"")
    return lambda content: ArrayNode(kind, shape, by_columns, content, is_scalar=is_scalar), (flat, view)


def tensor_source(value: Any) -> tuple[Callable[[Any], TensorNode], Source]:
    """Return what makes the node of a tensor, given its content, and its bytes, fetched from where it is.

    Raises:
        RefusedError: It isn't dense, has no data, or is of a class of its own.
    """
    torch, numpy = sys.modules["torch"], _numpy()
    is_parameter = type(value) is torch.nn.Parameter
    if not is_parameter and type(value) is not torch.Tensor:
        raise RefusedError(f"is a {_name_of(value)}: save its tensors")
    name = str(value.dtype).removeprefix("torch.")
    device = str(value.device)
    if value.layout is not torch.strided or value.is_quantized or value.is_nested or device == "meta":
        raise RefusedError(f"is a tensor that isn't dense ({value.layout}, on {device}): save what it is made of")
    if name not in _TORCH_KINDS and name not in _TORCH_ALONE:
        raise RefusedError(f"is a tensor of {name}, which isn't known: save a view of another type")
    kind = numpy.dtype(name).str if name in _TORCH_KINDS else name
    dense = value.detach().resolve_conj().resolve_neg().to("cpu").contiguous()
    shape = tuple(int(size) for size in dense.shape)
    flat = dense.reshape(-1).view(torch.uint8)
    requires_grad = bool(value.requires_grad)

    def node(content: Any) -> TensorNode:
        return TensorNode(ArrayNode(kind, shape, False, content), requires_grad, is_parameter, device)

    return node, (flat, memoryview(flat.numpy()) if flat.numel() else memoryview(b""))


def item_bytes(node: ArrayNode | TensorNode) -> int:
    """Return how many bytes an element has.

    Raises:
        MalformedError: There is no such kind of element.
        UsageError: It takes a library that isn't installed.
    """
    if isinstance(node, TensorNode):
        return int(_torch_type(node.array.kind).itemsize)
    return int(dtype_of(node.kind).itemsize)


def check_size(node: ArrayNode | TensorNode, size_bytes: int) -> None:
    """Raise MalformedError unless an array has that many bytes. Raises as `item_bytes`."""
    array = node.array if isinstance(node, TensorNode) else node
    if prod(array.shape) * item_bytes(node) != size_bytes:
        raise MalformedError(f"an array of {array.shape} has {size_bytes} bytes")


def array_of(node: ArrayNode, data: Any) -> Any:
    """Return the array that bytes stand for, without a copy; of bytes that can't be changed, one that can't be."""
    numpy = _numpy()
    dtype = dtype_of(node.kind)
    if not dtype.itemsize or not prod(node.shape):
        array = numpy.zeros(node.shape, dtype, order="F" if node.by_columns else "C")
    else:
        flat = numpy.frombuffer(data, numpy.uint8).view(dtype)
        array = flat.reshape(node.shape, order="F" if node.by_columns else "C")
    return array[()] if node.is_scalar else array


def tensor_of(node: TensorNode, data: Any) -> Any:
    """Return the tensor that bytes stand for, on the CPU, without a copy: of bytes that can be changed."""
    torch = _torch()
    dtype = _torch_type(node.array.kind)
    if prod(node.array.shape):
        tensor = torch.frombuffer(data, dtype=torch.uint8).view(dtype).reshape(node.array.shape)
    else:
        tensor = torch.empty(node.array.shape, dtype=dtype)
    if node.is_parameter:
        return torch.nn.Parameter(tensor, requires_grad=node.requires_grad)
    return tensor.requires_grad_(node.requires_grad)


def dtype_of(kind: Any) -> Any:
    """Return NumPy's type of element. Raises as `item_bytes`."""
    try:
        dtype = _dtype(kind)
    except (TypeError, ValueError, SyntaxError, OverflowError) as error:
        raise MalformedError(f"no kind of element: {str(error)[:200]}") from None
    if dtype.hasobject or dtype.subdtype is not None:
        raise MalformedError("no kind of element that is written")
    return dtype


def empty(size_bytes: int) -> memoryview:
    """Return memory to fill: whatever is in it, where NumPy is there, else zeros."""
    numpy = sys.modules.get("numpy")
    return memoryview(bytearray(size_bytes) if numpy is None else numpy.empty(size_bytes, numpy.uint8))


def fill(target: memoryview, source: memoryview) -> None:
    """Copy bytes, without holding the interpreter where NumPy is there."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not len(source):
        target[:] = source
    else:
        numpy.copyto(numpy.frombuffer(target, numpy.uint8), numpy.frombuffer(source, numpy.uint8))


def _kind_of(dtype: Any) -> Any:
    if dtype.hasobject:
        raise RefusedError("holds Python objects: save them as a list, or convert the array")
    try:
        kind = dtype.str if dtype.names is None else _frozen(dtype.descr)
        is_same = _dtype(kind) == dtype and not dtype.metadata
    except (TypeError, ValueError):
        kind, is_same = "", False
    if not is_same:
        raise RefusedError(f"has elements of {dtype!r:.100}, which wouldn't come back as they are: convert it")
    return kind


def _frozen(descr: Any) -> Any:
    if isinstance(descr, str):
        return descr
    return tuple((field[0], _frozen(field[1]), *(tuple(shape) for shape in field[2:])) for field in descr)


def _dtype(kind: Any) -> Any:
    """Return NumPy's type of element; in a record, what has no name is padding."""
    numpy = _numpy()
    if type(kind) is str:
        return numpy.dtype(kind)
    spec: dict[str, list[Any]] = {"names": [], "titles": [], "formats": [], "offsets": []}
    size_bytes = 0
    for called, inner, *shape in kind:
        dtype = numpy.dtype((_dtype(inner), *shape)) if shape else _dtype(inner)
        title, name = (None, called) if type(called) is str else called
        if name:
            for values, value in zip(spec.values(), (name, title, dtype, size_bytes), strict=True):
                values.append(value)
        size_bytes += dtype.itemsize
    titles = spec.pop("titles")
    return numpy.dtype({**spec, "itemsize": size_bytes, **({"titles": titles} if any(titles) else {})})


def _torch_type(kind: Any) -> Any:
    torch = _torch()
    if type(kind) is str and kind in _TORCH_ALONE and hasattr(torch, kind):
        return getattr(torch, kind)
    dtype = dtype_of(kind)
    if dtype.name not in _TORCH_KINDS or not dtype.isnative or not hasattr(torch, dtype.name):
        raise MalformedError("no kind of element that a tensor has")
    return getattr(torch, dtype.name)


def _name_of(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _numpy() -> ModuleType:
    return _library("numpy", "arrays")


def _torch() -> ModuleType:
    return _library("torch", "tensors")


def _library(name: str, what: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(f"the state has {what}, which takes {name}: install it, or load other paths") from error
