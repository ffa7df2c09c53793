"""Runs a QuantGraph: compiled once into a list of functions, then chunk by chunk."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.reference import binary, convolve, elementwise, floats, matmul, move, pool, reduce, resize, transpose_conv, unary
from edgekd.quant.reference.memory import Memory
from edgekd.quant.reference.profiles import PROFILES, quantization

#: Samples of a chunk are so many that the largest activation holds about this many values (and at least one, at most ``batch``).
CACHED = 1 << 18

Compute = Callable[..., np.ndarray]
#: Operator → a function (op, graph, profile) that returns its function (memory, *inputs) → output.
COMPILE: dict[type[ops.Op], Callable[..., Compute]] = {
    ops.Conv2D: convolve.convolution,
    ops.DepthwiseConv2D: convolve.depthwise,
    ops.FullyConnected: convolve.fully_connected,
    ops.Add: elementwise.add,
    ops.AveragePool2D: pool.average_pool,
    ops.MaxPool2D: pool.max_pool,
    ops.Mean: pool.mean,
    ops.Reshape: elementwise.reshape,
    ops.Concat: elementwise.concat,
    ops.Pad: elementwise.pad,
    ops.Relu: elementwise.relu,
    ops.Softmax: elementwise.softmax,
    ops.Logistic: elementwise.logistic,
    **binary.COMPILE,
    **unary.COMPILE,
    **move.COMPILE,
    **reduce.COMPILE,
    **resize.COMPILE,
    **matmul.COMPILE,
    **transpose_conv.COMPILE,
}


@dataclass(frozen=True, eq=False)
class Step:
    """One operator, compiled. ``last`` are the tensors that nothing reads after it."""

    op: ops.Op
    compute: Compute
    last: tuple[str, ...]


def run(graph: QuantGraph, x: np.ndarray, profile: str, *, keep: Collection[str] = (), batch: int = 64) -> dict[str, np.ndarray]:
    """Outputs of ``graph`` (channels last), and the tensors named in ``keep``, for ``x`` [N, ...].

    ``profile`` is one of PROFILES for an int8 graph (``x`` int8; int8 comes back), "float" for a float32 or float16 graph
    (``x`` float32; float16 constants are widened, everything is computed in float32). At most ``batch`` samples are computed at a
    time, fewer where that keeps activations in the cache. Results do not depend on it, nor (for integers) on how many threads BLAS
    uses, which is the caller's decision (OMP_NUM_THREADS).

    Raises InputError: unknown profile, layout, shape, dtype or name; an operator whose inputs do not share the scale that they must share.
    """
    whole = profile != "float"
    _check(graph, x, profile, keep)
    wanted = tuple(dict.fromkeys((*graph.outputs, *keep)))
    steps = compile_graph(graph, profile, wanted)
    largest = max(math.prod(t.shape) for t in graph.tensors.values() if not t.is_constant)
    size = max(1, min(batch, CACHED // largest))
    results = {name: np.empty((len(x), *graph.tensor(name).shape[1:]), np.int8 if whole else np.float32) for name in wanted}
    memory = Memory()
    constants = {t.name: _centred(graph, t.name, np.asarray(t.data), whole) for t in _constants(graph)}
    for start in range(0, len(x), size):
        part = slice(start, min(start + size, len(x)))
        values = {name: np.broadcast_to(value, (part.stop - start, *value.shape[1:])) for name, value in constants.items()}
        values[graph.inputs[0]] = _centred(graph, graph.inputs[0], x[part], whole)
        for name in wanted:
            if name in values:
                _store(graph, name, values[name], results[name][part], whole)
        for step in steps:
            _execute(step, graph, memory, values)
            name = step.op.outputs[0]
            if name in results:
                _store(graph, name, values[name], results[name][part], whole)
            for name in step.last:
                _release(memory, values, name)
    return results


def compile_graph(graph: QuantGraph, profile: str, wanted: Collection[str]) -> tuple[Step, ...]:
    """Every operator with its function, and where each tensor is read for the last time."""
    readers: dict[str, int] = {}
    for index, op in enumerate(graph.ops):
        for name in (*op.inputs, *op.outputs):
            readers[name] = index
    steps = []
    for index, op in enumerate(graph.ops):
        build = COMPILE if profile != "float" else floats.COMPILE
        if type(op) not in build:
            raise InputError(
                f"{type(op).__name__} is unknown to the reference", where=f"operator {op.name}", expected="one of its operators"
            )
        last = tuple(name for name in {*op.inputs, *op.outputs} if readers[name] == index and not graph.tensor(name).is_constant)
        steps.append(Step(op, build[type(op)](op, graph, profile), last))
    return tuple(steps)


def _execute(step: Step, graph: QuantGraph, memory: Memory, values: dict[str, np.ndarray]) -> None:
    weighted = isinstance(step.op, ops.WEIGHTED)
    names = step.op.inputs[:1] if weighted else step.op.inputs
    values[step.op.outputs[0]] = step.compute(memory, *(values[name] for name in names))


def _release(memory: Memory, values: dict[str, np.ndarray], name: str) -> None:
    """Give the buffer back unless another name still stands for the same values (a reshape)."""
    array = values.pop(name)
    if not any(np.may_share_memory(array, other) for other in values.values()):
        memory.give(array)


def _constants(graph: QuantGraph) -> list[Tensor]:
    """Constants that are read as activations (an addend, say), not as weights."""
    read = {name for op in graph.ops if not isinstance(op, ops.WEIGHTED) for name in op.inputs}
    return [t for t in graph.tensors.values() if t.is_constant and t.name in read]


def _centred(graph: QuantGraph, name: str, x: np.ndarray, whole: bool) -> np.ndarray:
    values = x.astype(np.float32)
    if whole:
        values -= quantization(graph, name)[1]
    return values


def _store(graph: QuantGraph, name: str, values: np.ndarray, out: np.ndarray, whole: bool) -> None:
    np.copyto(out, values + quantization(graph, name)[1] if whole else values, casting="unsafe")


def _check(graph: QuantGraph, x: np.ndarray, profile: str, keep: Collection[str]) -> None:
    where = f"reference of {graph.name}"
    if profile not in (*PROFILES, "float"):
        raise InputError(f"profile {profile!r}", where=where, expected=", ".join((*PROFILES, "float")))
    if graph.layout != "channels_last":
        raise InputError(f"layout {graph.layout}", where=where, expected="channels_last", mend="run the pass to_channels_last first")
    if len(graph.inputs) != 1:
        raise InputError(f"{len(graph.inputs)} inputs", where=where, expected="one")
    entry = graph.tensor(graph.inputs[0])
    dtype = np.dtype(np.float32 if profile == "float" else np.int8)
    if (entry.dtype == "int8") != (profile != "float"):
        raise InputError(f"profile {profile!r} for {entry.dtype} activations", where=where, expected="float for float, another for int8")
    if x.dtype != dtype or x.shape[1:] != entry.shape[1:]:
        raise InputError(f"input {x.dtype} {x.shape}", where=where, expected=f"{dtype} (N, {', '.join(map(str, entry.shape[1:]))})")
    for name in keep:
        if name not in graph.tensors or graph.tensor(name).is_constant:
            raise InputError(f"{name!r} is not an activation of the graph", where=where, expected="names of activations")
    for op in graph.ops if profile != "float" else ():
        if isinstance(op, ops.SHARES_SCALE):
            scales = {quantization(graph, name) for name in (*op.inputs, *op.outputs)}
            if len(scales) > 1:
                raise InputError(f"scales and zero points {sorted(scales)}", where=f"{type(op).__name__} {op.name}", expected="one for all")
