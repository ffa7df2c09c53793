"""Runs a QuantGraph: compiled once into a list of functions, then chunk by chunk."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import STORAGE, QuantGraph, Tensor
from edgekd.quant.reference import (
    binary,
    convolve,
    elementwise,
    floats,
    int16,
    matmul,
    move,
    onnxruntime,
    openvino,
    pool,
    reduce,
    resize,
    transpose_conv,
    unary,
)
from edgekd.quant.reference.memory import Memory
from edgekd.quant.reference.profiles import OTHERS, PROFILES, UNSUPPORTED, is_float, is_int16, is_quantized, quantization, quantization_of

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
#: Profile of a runtime of another format → what its operators are, of those that it computes otherwise; its keys are OTHERS.
OWN = {"onnxruntime": onnxruntime.COMPILE, "openvino": openvino.COMPILE}


@dataclass(frozen=True, eq=False)
class Step:
    """One operator, compiled. ``last`` are the tensors that nothing reads after it."""

    op: ops.Op
    compute: Compute
    last: tuple[str, ...]


def run(
    graph: QuantGraph,
    x: np.ndarray,
    profile: str,
    *,
    keep: Collection[str] = (),
    batch: int = 64,
    compiled: dict[str, tuple[Step, ...]] | None = None,
) -> dict[str, np.ndarray]:
    """Outputs of ``graph`` (channels last), and the tensors named in ``keep``, for ``x`` [N, ...].

    ``profile`` is one of PROFILES for a graph with quantized activations, "float" for one without; each operator is computed by the dtype
    of its tensors, so a quantized graph may hold float operators, and either may read int32 indices. ``x`` and what comes back have the
    dtypes of their tensors, float16 as float32 (float16 constants are widened, everything is computed in float32). At most ``batch``
    samples are computed at a time, fewer where that keeps activations in the cache. Results do not depend on it, nor (for integers) on
    how many threads BLAS uses, which is the caller's decision (OMP_NUM_THREADS). ``compiled`` belongs to the caller and to this graph:
    what was compiled for a profile is put there, and taken from there the next time.

    Raises InputError: unknown profile, layout, shape, dtype or name; an operator whose inputs do not share the scale that they must share.
    """
    _check(graph, x, profile, keep)
    wanted = tuple(dict.fromkeys((*graph.outputs, *keep)))
    return _computed(graph, {graph.inputs[0]: x}, profile, wanted, batch, {} if compiled is None else compiled)


def go_on(
    graph: QuantGraph, given: Mapping[str, np.ndarray], profile: str, compiled: dict[str, tuple[Step, ...]], *, batch: int = 64
) -> dict[str, np.ndarray]:
    """Outputs of ``graph``, what is left of one of which ``run`` computed the beginning: its inputs, several perhaps, are ``given`` as
    ``run`` gave them back. ``compiled`` and ``batch`` as there."""
    return _computed(graph, given, profile, tuple(dict.fromkeys(graph.outputs)), batch, compiled)


def _computed(
    graph: QuantGraph,
    given: Mapping[str, np.ndarray],
    profile: str,
    wanted: Collection[str],
    batch: int,
    compiled: dict[str, tuple[Step, ...]],
) -> dict[str, np.ndarray]:
    if profile not in compiled:
        compiled[profile] = compile_graph(graph, profile)
    largest = max(math.prod(t.shape) for t in graph.tensors.values() if not t.is_constant)
    size, count = max(1, min(batch, CACHED // largest)), len(given[graph.inputs[0]])
    results = {name: np.empty((count, *graph.tensor(name).shape[1:]), outside(graph.tensor(name))) for name in wanted}
    memory = Memory()
    constants = {t.name: enter(t, np.asarray(t.data)) for t in constants_of(graph)}
    for start in range(0, count, size):
        part = slice(start, min(start + size, count))
        values = dict(constants)
        for name, x in given.items():
            values[name] = enter(graph.tensor(name), x[part])
        for name in wanted:
            if name in values:
                leave(graph.tensor(name), values[name], results[name][part])
        for step in compiled[profile]:
            execute(step, memory, values)
            name = step.op.outputs[0]
            if name in results:
                leave(graph.tensor(name), values[name], results[name][part])
            for name in step.last:
                _release(memory, values, name)
    return results


def compile_graph(graph: QuantGraph, profile: str) -> tuple[Step, ...]:
    """Every operator with its function, and where each tensor is read for the last time."""
    readers: dict[str, int] = {}
    for index, op in enumerate(graph.ops):
        for name in (*op.inputs, *op.outputs):
            readers[name] = index
    steps = []
    for index, op in enumerate(graph.ops):
        build = _table(op, graph, profile)
        if type(op) not in build:
            kind = "of int16 " if is_int16(op, graph) else ""
            raise InputError(
                f"{type(op).__name__} {kind}is unknown to the reference", where=f"operator {op.name}", expected="one of its operators"
            )
        if type(op) in UNSUPPORTED.get(profile, ()):
            raise InputError(
                f"{profile} has no {type(op).__name__}", where=f"operator {op.name}", expected="an operator that the runtime has"
            )
        last = tuple(name for name in {*op.inputs, *op.outputs} if readers[name] == index and not graph.tensor(name).is_constant)
        steps.append(Step(op, build[type(op)](op, graph, profile), last))
    return tuple(steps)


def _table(op: ops.Op, graph: QuantGraph, profile: str) -> dict[type[ops.Op], Callable[..., Compute]]:
    """What the operators are that compute with the dtypes of ``op``."""
    if is_float(op, graph):
        return floats.COMPILE
    if profile in OWN:
        return {**COMPILE, **OWN[profile]}
    return int16.COMPILE if is_int16(op, graph) else COMPILE


def execute(step: Step, memory: Memory, values: dict[str, np.ndarray]) -> None:
    weighted = isinstance(step.op, ops.WEIGHTED)
    names = step.op.inputs[:1] if weighted else step.op.inputs
    values[step.op.outputs[0]] = step.compute(memory, *(values[name] for name in names))


def _release(memory: Memory, values: dict[str, np.ndarray], name: str) -> None:
    """Give the buffer back unless another name still stands for the same values (a reshape)."""
    array = values.pop(name)
    if not any(np.may_share_memory(array, other) for other in values.values()):
        memory.give(array)


def constants_of(graph: QuantGraph) -> list[Tensor]:
    """Constants that are read as activations (an addend, a table of embeddings), not as weights. They keep their shape."""
    read = {name for op in graph.ops for name in (op.inputs[:1] if isinstance(op, ops.WEIGHTED) else op.inputs)}
    return [t for t in graph.tensors.values() if t.is_constant and t.name in (read | {*graph.outputs})]


def outside(tensor: Tensor) -> np.dtype:
    """The dtype in which values of ``tensor`` come and go."""
    return np.dtype(np.float32) if tensor.dtype == "float16" else STORAGE[tensor.dtype]


def enter(tensor: Tensor, x: np.ndarray) -> np.ndarray:
    """As operators compute: quantized values centred float32, floats float32, indices as they are."""
    if tensor.dtype in ("int32", "int64"):
        return x
    values = x.astype(np.float32)
    if is_quantized(tensor):
        values -= quantization_of(tensor)[1]
    return values


def leave(tensor: Tensor, values: np.ndarray, out: np.ndarray) -> None:
    np.copyto(out, values + quantization_of(tensor)[1] if is_quantized(tensor) else values, casting="unsafe")


def _check(graph: QuantGraph, x: np.ndarray, profile: str, keep: Collection[str]) -> None:
    where = f"reference of {graph.name}"
    if profile not in (*PROFILES, *OTHERS, "float"):
        raise InputError(f"profile {profile!r}", where=where, expected=", ".join((*PROFILES, *OTHERS, "float")))
    if graph.layout != "channels_last":
        raise InputError(f"layout {graph.layout}", where=where, expected="channels_last", mend="run the pass to_channels_last first")
    if len(graph.inputs) != 1:
        raise InputError(f"{len(graph.inputs)} inputs", where=where, expected="one")
    integers = sorted({t.dtype for t in graph.tensors.values() if not t.is_constant and is_quantized(t)})
    if bool(integers) != (profile != "float"):
        raise InputError(
            f"profile {profile!r} for {' and '.join(integers) or 'float'} activations",
            where=where,
            expected="float for a graph without quantized activations, another for one with them",
        )
    entry = graph.tensor(graph.inputs[0])
    dtype = outside(entry)
    if x.dtype != dtype or x.shape[1:] != entry.shape[1:] or x.ndim != len(entry.shape):
        raise InputError(f"input {x.dtype} {x.shape}", where=where, expected=f"{dtype} (N, {', '.join(map(str, entry.shape[1:]))})")
    for name in keep:
        if name not in graph.tensors or graph.tensor(name).is_constant:
            raise InputError(f"{name!r} is not an activation of the graph", where=where, expected="names of activations")
    for op in graph.ops:
        if isinstance(op, ops.SHARES_SCALE):
            names = [name for name in (*op.inputs, *op.outputs) if is_quantized(graph.tensor(name))]
            scales = {quantization(graph, name) for name in names}
            if len(scales) > 1:
                raise InputError(f"scales and zero points {sorted(scales)}", where=f"{type(op).__name__} {op.name}", expected="one for all")
