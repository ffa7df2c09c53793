"""Constant folding: ONNX operators on NumPy arrays, for chains that compute shapes, axes and tables (Shape → Gather → Concat → Reshape).

Semantics: the ONNX operators (2026). Nothing larger than LARGEST values is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from edgekd.importers.onnx_file import TYPES, Node

#: Values of a folded constant, at most: tables of positions and masks are far smaller, weights are not folded but viewed.
LARGEST = 1 << 27
Arrays = list[np.ndarray | None]


def fold(node: Node, inputs: Arrays, opset: int) -> list[np.ndarray] | None:
    """What ``node`` computes of constant ``inputs`` (None where one is left out); None where it cannot be. May raise NumPy's errors."""
    if node.kind in _ELEMENTWISE:
        arrays = [x for x in inputs if x is not None]
        _bounded(node, np.broadcast_shapes(*(x.shape for x in arrays)))
        with np.errstate(all="ignore"):
            return [np.asarray(_ELEMENTWISE[node.kind](*arrays))]
    if node.kind not in _OTHERS:
        return None
    result = _OTHERS[node.kind](node, inputs, opset)
    return result if isinstance(result, list) else [np.asarray(result)]


def _bounded(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    if any(d < 0 for d in shape) or math.prod(shape) > LARGEST:
        raise node.refuse(f"makes a constant of shape {list(shape)}", f"at most {LARGEST} values")
    return shape


def ints(array: np.ndarray) -> list[int]:
    return [int(v) for v in np.asarray(array).reshape(-1)]


def axes_of(node: Node, inputs: Arrays, rank: int) -> list[int] | None:
    """The axes of a reduction, squeeze or unsqueeze, an attribute or the second input, as non-negative numbers; None where not given."""
    found = inputs[1] if len(inputs) > 1 else None
    given = ints(found) if found is not None else node.attributes.get("axes")
    if given is None:
        return None
    axes = [a + rank if a < 0 else a for a in given]
    if any(not 0 <= a < rank for a in axes) or len(set(axes)) != len(axes):
        raise node.refuse(f"axes {list(given)}", f"axes of rank {rank}, each once")
    return axes


def target_shape(node: Node, wanted: list[int], old: tuple[int, ...]) -> tuple[int, ...]:
    """Reshape's rule: 0 copies a size, one −1 is inferred."""
    if node.attributes.get("allowzero", 0) == 0:
        wanted = [old[i] if d == 0 and i < len(old) else d for i, d in enumerate(wanted)]
    known = math.prod(d for d in wanted if d != -1)
    if wanted.count(-1) > 1 or any(d < -1 for d in wanted) or len(wanted) > 8:
        raise node.refuse(f"to shape {wanted}", "at most one −1")
    if -1 in wanted:
        wanted = [math.prod(old) // known if d == -1 and known else d for d in wanted]
    if math.prod(wanted) != math.prod(old):
        raise node.refuse(f"{list(old)} to {wanted}", "as many values")
    return tuple(wanted)


def slices(node: Node, inputs: Arrays, shape: tuple[int, ...]) -> list[slice[Any, Any, Any]]:
    """Slice's rule for every axis of ``shape``; steps may be negative."""
    if len(inputs) > 1:
        begin, end = ints(_need(node, inputs, 1)), ints(_need(node, inputs, 2))
        axes = ints(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else list(range(len(begin)))
        step = ints(inputs[4]) if len(inputs) > 4 and inputs[4] is not None else [1] * len(begin)
    else:
        begin, end = list(node.attributes["starts"]), list(node.attributes["ends"])
        axes, step = list(node.attributes.get("axes", range(len(begin)))), [1] * len(begin)
    found: list[slice[Any, Any, Any]] = [slice(0, d, 1) for d in shape]
    for b, e, a, s in zip(begin, end, axes, step, strict=True):
        if s == 0 or not -len(shape) <= a < len(shape):
            raise node.refuse(f"step {s} along axis {a}", "a step that is not 0, and an axis of the input")
        found[a] = slice(b, None if s < 0 and e < -shape[a] else e, s)
    return found


def _need(node: Node, inputs: Arrays, at: int) -> np.ndarray:
    found = inputs[at] if at < len(inputs) else None
    if found is None:
        raise node.refuse(f"input {at} is missing", "a constant")
    return found


def _cast(node: Node, inputs: Arrays, opset: int) -> np.ndarray:
    element = node.attributes.get("to", 0)
    if element not in TYPES:
        raise node.refuse(f"a cast to element type {element}", "numbers of 8 to 64 bits")
    dtype = np.dtype("<f4") if element == TensorProto.BFLOAT16 else np.dtype(TYPES[element][0])
    with np.errstate(all="ignore"):
        return _need(node, inputs, 0).astype(dtype)


def _concat(node: Node, inputs: Arrays, opset: int) -> np.ndarray:
    arrays = [x for x in inputs if x is not None]
    _bounded(node, (sum(x.size for x in arrays),))
    return np.concatenate(arrays, axis=node.attributes.get("axis", 1))


def _gather(node: Node, inputs: Arrays, opset: int) -> np.ndarray:
    data, index = _need(node, inputs, 0), _need(node, inputs, 1)
    _bounded(node, (data.size // max(data.shape[node.attributes.get("axis", 0)], 1), index.size))
    return np.take(data, index.astype(np.int64), axis=node.attributes.get("axis", 0))


def _expand(node: Node, inputs: Arrays, opset: int) -> np.ndarray:
    x = _need(node, inputs, 0)
    return np.broadcast_to(x, _bounded(node, np.broadcast_shapes(x.shape, _bounded(node, tuple(ints(_need(node, inputs, 1)))))))


def _constant_of_shape(node: Node, inputs: Arrays, opset: int) -> np.ndarray:
    value = node.attributes.get("value", np.zeros(1, np.float32))
    return np.full(_bounded(node, tuple(ints(_need(node, inputs, 0)))), value.reshape(-1)[0], value.dtype)


def _range(node: Node, inputs: Arrays, opset: int) -> np.ndarray:
    start, limit, delta = (_need(node, inputs, i).reshape(-1)[0] for i in range(3))
    _bounded(node, (max(0, math.ceil((float(limit) - float(start)) / float(delta))),))
    return np.arange(start, limit, delta)


def _reshape(node: Node, inputs: Arrays, opset: int) -> np.ndarray:
    x = _need(node, inputs, 0)
    return x.reshape(target_shape(node, ints(_need(node, inputs, 1)), x.shape))


def _squeeze(node: Node, inputs: Arrays, opset: int) -> np.ndarray:
    x = _need(node, inputs, 0)
    axes = axes_of(node, inputs, x.ndim)
    return np.squeeze(x) if axes is None else np.squeeze(x, tuple(axes))


def _unsqueeze(node: Node, inputs: Arrays, opset: int) -> np.ndarray:
    x = _need(node, inputs, 0)
    found = inputs[1] if len(inputs) > 1 else None
    count = len(ints(found)) if found is not None else len(node.attributes.get("axes", ()))
    return np.expand_dims(x, tuple(axes_of(node, inputs, x.ndim + count) or ()))


def _split(node: Node, inputs: Arrays, opset: int) -> list[np.ndarray]:
    x = _need(node, inputs, 0)
    axis = node.attributes.get("axis", 0)
    sizes = split_sizes(node, inputs, x.shape[axis])
    return np.split(x, np.cumsum(sizes)[:-1], axis)


def split_sizes(node: Node, inputs: Arrays, extent: int) -> list[int]:
    """Sizes of Split's outputs: given, or equal (the last one smaller)."""
    found = inputs[1] if len(inputs) > 1 else None
    given = ints(found) if found is not None else node.attributes.get("split")
    if given is None:
        each = -(-extent // len(node.outputs))
        given = [each] * (extent // each) + ([extent % each] if extent % each else [])
    if sum(given) != extent or min(given) < 0 or len(given) != len(node.outputs):
        raise node.refuse(f"splits {extent} into {list(given)}", f"{len(node.outputs)} sizes that add up")
    return list(given)


def _constant(node: Node, inputs: Arrays, opset: int) -> np.ndarray:
    a = node.attributes
    if "value" in a:
        return a["value"]
    for key, dtype in (("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64), ("value_ints", np.int64)):
        if key in a:
            return np.array(a[key], dtype)
    raise node.refuse("no number", "a tensor or numbers")


def _reduce(function: Callable[..., Any]) -> Callable[..., Any]:
    def compute(node: Node, inputs: Arrays, opset: int) -> np.ndarray:
        x = _need(node, inputs, 0)
        axes = axes_of(node, inputs, x.ndim)
        return function(x, axis=None if axes is None else tuple(axes), keepdims=bool(node.attributes.get("keepdims", 1)))

    return compute


def _transpose(node: Node, inputs: Arrays, opset: int) -> np.ndarray:
    return _need(node, inputs, 0).transpose(node.attributes.get("perm"))


def _quantize(node: Node, inputs: Arrays, opset: int) -> np.ndarray:
    """Weights that a file holds in float and quantizes itself: scale per tensor or along one axis."""
    x, scale = _need(node, inputs, 0), _need(node, inputs, 1)
    zero = inputs[2] if len(inputs) > 2 and inputs[2] is not None else np.zeros(scale.shape, np.uint8)
    if scale.size > 1:
        shape = [1] * x.ndim
        shape[node.attributes.get("axis", 1)] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    limits = np.iinfo(zero.dtype)
    result = x / scale
    np.rint(result, out=result)
    result += zero
    return np.clip(result, limits.min, limits.max, out=result).astype(zero.dtype)


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Integers are divided towards zero, as in C."""
    if a.dtype.kind == "f":
        return a / b
    if (b == 0).any():
        raise ValueError("division by zero")
    return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)


_ELEMENTWISE: Mapping[str, Callable[..., Any]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": _divide, "Max": lambda *x: np.stack(np.broadcast_arrays(*x)).max(0),
    "Min": lambda *x: np.stack(np.broadcast_arrays(*x)).min(0), "Neg": np.negative, "Sqrt": np.sqrt, "Exp": np.exp, "Log": np.log,
    "Reciprocal": lambda x: (1 / x).astype(x.dtype), "Floor": np.floor, "Ceil": np.ceil, "Abs": np.abs, "Not": np.logical_not,
    "Sin": np.sin, "Cos": np.cos, "Pow": lambda a, b: np.power(a, b).astype(a.dtype), "Identity": lambda x: x, "Equal": np.equal,
    "Less": np.less, "Greater": np.greater, "LessOrEqual": np.less_equal, "GreaterOrEqual": np.greater_equal, "And": np.logical_and,
    "Or": np.logical_or, "Where": np.where, "Relu": lambda x: np.maximum(x, 0), "Round": np.rint, "Sign": np.sign,
    "Mod": lambda a, b: np.mod(a, b) if (np.asarray(b) != 0).all() else a,
}  # fmt: skip
_OTHERS: Mapping[str, Callable[..., Any]] = {
    "Cast": _cast, "Concat": _concat, "Gather": _gather, "Expand": _expand, "ConstantOfShape": _constant_of_shape, "Range": _range,
    "Reshape": _reshape, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Split": _split, "Constant": _constant, "Transpose": _transpose,
    "QuantizeLinear": _quantize, "Shape": lambda node, x, opset: np.array(_need(node, x, 0).shape, np.int64),
    "Slice": lambda node, x, opset: _need(node, x, 0)[tuple(slices(node, x, _need(node, x, 0).shape))],
    "Size": lambda node, x, opset: np.array(_need(node, x, 0).size, np.int64),
    "ReduceProd": _reduce(np.prod), "ReduceSum": _reduce(np.sum), "ReduceMax": _reduce(np.max), "ReduceMin": _reduce(np.min),
    "Flatten": lambda node, x, opset: _flatten(_need(node, x, 0), node.attributes.get("axis", 1)),
}  # fmt: skip


def _flatten(x: np.ndarray, axis: int) -> np.ndarray:
    return x.reshape(math.prod(x.shape[:axis]), -1)
