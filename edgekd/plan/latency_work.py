"""The work that a graph is, operator by operator: what times and energies are predicted from."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal, get_args

from edgekd.errors import InputError
from edgekd.quant import size
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import (
    AveragePool2D,
    BatchMatMul,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Gather,
    MaxPool2D,
    Mean,
    Op,
    Pad,
    ReduceMax,
    Reshape,
    Slice,
    Sum,
    Transpose,
    TransposeConv2D,
)

Kind = Literal["convolution", "stem", "depthwise", "fully_connected", "pool", "elementwise", "copy", "none"]
#: Beyond any network, and exact as a float.
MOST = 1 << 53
#: A convolution of fewer input channels than one 32-bit load holds is a stem: its columns are short and lie unaligned.
STEM_CHANNELS = 4
#: Operators that only move values. A reshape moves nothing.
_COPIES = (Concat, Gather, Pad, Slice, Transpose)
_WINDOWS = (AveragePool2D, MaxPool2D, Mean, Sum, ReduceMax)


@dataclass(frozen=True)
class OpWork:
    """One operator on one sample.

    ``macs``: multiply-accumulates; ``outputs``: values written; ``column``: values copied into im2col columns, 0 for a pointwise
    convolution of stride 1; ``window``: values that pooling and reductions read. Bytes are those of constants, of activations read and of
    activations written.
    """

    name: str
    kind: Kind
    macs: int
    outputs: int
    column: int
    window: int
    weight_bytes: int
    input_bytes: int
    output_bytes: int

    def __post_init__(self) -> None:
        counts = (self.macs, self.outputs, self.column, self.window, self.weight_bytes, self.input_bytes, self.output_bytes)
        if self.kind not in get_args(Kind) or any(isinstance(n, bool) or not isinstance(n, int) or not 0 <= n < MOST for n in counts):
            raise ValueError(f"{self.kind!r} of {counts}")


@dataclass(frozen=True)
class Work:
    """A whole network, in the order in which it runs. ``numeric`` is int16 where a weighted operator reads that, else the type of what
    the first one reads."""

    name: str
    ops: tuple[OpWork, ...]
    numeric: str = "int8"

    @property
    def macs(self) -> int:
        return sum(op.macs for op in self.ops)

    @property
    def calls(self) -> int:
        """Operators that compute or move something."""
        return sum(op.kind != "none" for op in self.ops)


def work_of(graph: QuantGraph) -> Work:
    """The work of one sample; ``graph`` in either layout. Raises InputError for one whose shapes cannot be."""
    try:
        ops = tuple(_work(graph, op, cost) for op, cost in zip(graph.ops, size.count(graph), strict=True))
    except (ValueError, IndexError) as error:
        raise InputError(f"shapes that do not fit one another ({error})", where=f"graph {graph.name}", expected="a whole graph") from error
    read = [graph.tensor(op.inputs[0]).dtype for op, done in zip(graph.ops, ops, strict=True) if done.macs]
    return Work(graph.name, ops, "int16" if "int16" in read else (read or [graph.tensor(graph.inputs[0]).dtype])[0])


def _work(graph: QuantGraph, op: Op, cost: size.OpCost) -> OpWork:
    reads = [graph.tensor(name) for name in op.inputs if not graph.tensor(name).is_constant]
    outputs = sum(prod(graph.tensor(name).shape) for name in op.outputs)
    kind = _kind(graph, op)
    window = prod(reads[0].shape) if kind == "pool" and isinstance(op, Mean | Sum | ReduceMax) else 0
    if isinstance(op, AveragePool2D | MaxPool2D):
        window = outputs * prod(op.kernel)
    return OpWork(
        op.name, kind, cost.macs, outputs, _column(graph, op), window, cost.weight_bytes, sum(t.nbytes for t in reads), cost.output_bytes
    )


def _kind(graph: QuantGraph, op: Op) -> Kind:
    if isinstance(op, Conv2D):
        # Grouped down to one channel a group it is a depthwise convolution, whatever it is called.
        channels = _kernel(graph, op)[2]
        if op.groups > 1 and channels == 1:
            return "depthwise"
        return "stem" if channels < STEM_CHANNELS else "convolution"
    if isinstance(op, TransposeConv2D):
        return "convolution"
    if isinstance(op, DepthwiseConv2D):
        return "depthwise"
    if isinstance(op, FullyConnected | BatchMatMul):
        return "fully_connected"
    if isinstance(op, _WINDOWS):
        return "pool"
    if isinstance(op, _COPIES):
        return "copy"
    return "none" if isinstance(op, Reshape) else "elementwise"


def _column(graph: QuantGraph, op: Op) -> int:
    """Values of all im2col columns: each output position's window, once for all output channels."""
    if not isinstance(op, Conv2D):
        return 0
    height, width, channels = _kernel(graph, op)
    if height * width == 1 and op.stride == (1, 1):
        return 0
    out = graph.tensor(op.outputs[0]).shape
    rows, columns = out[1:3] if graph.layout == "channels_last" else out[2:4]
    return rows * columns * height * width * channels * op.groups


def _kernel(graph: QuantGraph, op: Conv2D) -> tuple[int, int, int]:
    """Height, width, and input channels of a group."""
    shape = graph.tensor(op.inputs[1]).shape
    return (shape[1], shape[2], shape[3]) if graph.layout == "channels_last" else (shape[2], shape[3], shape[1])
