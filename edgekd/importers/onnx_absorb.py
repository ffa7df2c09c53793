"""Real operators between Dequantize and Quantize become operators on integers.

    Given   q ── Dequantize ── Conv2D ── Quantize ── r       Result   q ── Conv2D ── r
    Given   x ── MaxPool ── Quantize ── r                    Result   x ── Quantize ── MaxPool ── r      (operators that move values)
    Given   q ── Dequantize ── Reshape ── y                  Result   q ── Reshape ── Dequantize ── y
    Given   q ── Dequantize ── Quantize ── r                 Result   q ── r, or q ── Quantize ── r where the scales differ

What has no scale on one of its sides stays real: an island between Dequantize and Quantize.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekd.errors import InputError
from edgekd.importers.onnx_draft import real_values
from edgekd.importers.onnx_elementwise import same
from edgekd.importers.onnx_fuse import CONVOLUTIONS
from edgekd.importers.onnx_integers import integer_bias, integer_constant, integer_weight
from edgekd.importers.onnx_net import Net
from edgekd.quant import ops
from edgekd.quant.graph import STORAGE, Quantization, Tensor
from edgekd.quant.ops import Op

#: Quantizing before or after them is the same, exactly.
MOVES = (ops.Reshape, ops.Transpose, ops.Concat, ops.Slice, ops.Gather, ops.Pad, ops.MaxPool2D, ops.ReduceMax, ops.ResizeNearest)
#: They compute in their input's scale.
SHARED = (ops.AveragePool2D, ops.ResizeBilinear)
#: They compute in their output's scale, exactly.
CHOOSES = (ops.Maximum, ops.Minimum)
COMPUTES = (
    *CONVOLUTIONS, ops.FullyConnected, ops.BatchMatMul, ops.Add, ops.Sub, ops.Mul, ops.SquaredDifference, ops.Mean, ops.Sum, ops.Relu,
    ops.LeakyRelu, ops.PRelu, ops.HardSwish, ops.Gelu, ops.Rsqrt, ops.Softmax, ops.Logistic, ops.Tanh, *SHARED, *CHOOSES,
)  # fmt: skip
#: Scale and zero point of the output that TFLite prescribes: int8, int16.
PRESCRIBED: dict[type[Op], tuple[tuple[float, int], tuple[float, int]]] = {
    ops.Softmax: ((1 / 256, -128), (1 / 32768, 0)), ops.Logistic: ((1 / 256, -128), (1 / 32768, 0)),
    ops.Tanh: ((1 / 128, 0), (1 / 32768, 0)),
}  # fmt: skip
ROUNDS = 16


def absorb(net: Net) -> None:
    """Rewrite ``net`` in place. Raises InputError for integers that no operator of the waist has (weights with a zero point)."""
    for _ in range(ROUNDS):
        changed = False
        for number in sorted(net.ops, reverse=True):
            if isinstance(net.ops.get(number), ops.Quantize):
                changed |= _quantize(net, number)
        for number in sorted(net.ops):
            op = net.ops.get(number)
            if isinstance(op, MOVES):
                changed |= _pull(net, number, op)
            elif isinstance(op, COMPUTES):
                changed |= _integer(net, number, op)
        net.drop_unread()
        if not changed:
            return


def _quantize(net: Net, number: int) -> bool:
    """Merge, cancel or push up a Quantize, and what that makes."""
    changed, waiting = False, [number]
    while waiting:
        number = waiting.pop()
        op = net.ops.get(number)
        if not isinstance(op, ops.Quantize):
            continue
        x, y = net.tensors[op.inputs[0]], net.tensors[op.outputs[0]]
        twins = [n for n in net.readers[x.name] if n != number and _twin(net, net.ops[n], y)]
        for twin in twins:
            net.redirect(net.remove(twin).outputs[0], y.name)
        changed |= bool(twins)
        before = net.producer(x.name)
        if isinstance(before, ops.Dequantize):
            held = net.tensors[before.inputs[0]]
            changed = True
            if held.dtype == y.dtype and same(held.quantization, y.quantization):
                net.remove(number)
                net.redirect(y.name, held.name)
            else:
                net.swap(number, replace(op, inputs=before.inputs))
        elif isinstance(before, MOVES) and net.sole_reader(x.name) is op and x.dtype == "float32":
            waiting += _push(net, number, before, y)
            changed = True
    return changed


def _twin(net: Net, op: Op, y: Tensor) -> bool:
    z = net.tensors[op.outputs[0]]
    return isinstance(op, ops.Quantize) and z.dtype == y.dtype and same(z.quantization, y.quantization)


def _push(net: Net, number: int, mover: Op, y: Tensor) -> list[int]:
    """The mover writes ``y`` itself; its real inputs are quantized first. Returns the new Quantizes."""
    at = net.maker[mover.outputs[0]]
    assert y.quantization is not None
    names, made = list(mover.inputs), []
    for i, name in enumerate(mover.inputs[:1] if isinstance(mover, ops.Gather) else mover.inputs):
        x = net.tensors[name]
        names[i] = net.tensor(f"{name}/q", y.dtype, x.shape, y.quantization)
        if x.data is None:
            made.append(net.add(ops.Quantize(net.free(f"{mover.name}/quantize"), (name,), (names[i],)), near=at))
        else:
            net.tensors[names[i]] = quantized_constant(x, names[i], y)
    net.remove(number)
    net.swap(at, replace(mover, inputs=tuple(names), outputs=(y.name,)))
    return made


def quantized_constant(x: Tensor, name: str, like: Tensor) -> Tensor:
    """The constant in the scale of ``like``, rounded half to even."""
    assert like.quantization is not None
    scale, zero = like.quantization.single
    limits = np.iinfo(STORAGE[like.dtype])
    data = np.clip(np.rint(real_values(x).astype(np.float32) / np.float32(scale)) + zero, limits.min, limits.max)
    return Tensor(name, like.dtype, x.shape, like.quantization, data.astype(STORAGE[like.dtype]))


def _held(net: Net, name: str) -> Tensor | None:
    """The integers whose real values ``name`` is: a Dequantize's input, or a constant with one scale."""
    tensor = net.tensors[name]
    if tensor.data is not None:
        return tensor if tensor.quantization is not None and tensor.quantization.axis is None else None
    before = net.producer(name)
    return net.tensors[before.inputs[0]] if isinstance(before, ops.Dequantize) else None


def _pull(net: Net, number: int, op: Op) -> bool:
    """Dequantize after the mover instead of before."""
    y = net.tensors[op.outputs[0]]
    if y.quantization is not None or y.dtype != "float32":
        return False
    held = [_held(net, name) for name in (op.inputs[:1] if isinstance(op, ops.Gather) else op.inputs)]
    first = held[0]
    if first is None or any(h is None or h.dtype != first.dtype or not same(h.quantization, first.quantization) for h in held):
        return False
    if first.dtype not in ("int8", "int16"):
        return False
    integers = net.tensor(f"{y.name}/q", first.dtype, y.shape, first.quantization)
    names = [h.name for h in held if h is not None] + list(op.inputs[len(held) :])
    net.swap(number, replace(op, inputs=tuple(names), outputs=(integers,)))
    net.add(ops.Dequantize(net.free(f"{op.name}/dequantize"), (integers,), (y.name,)), near=number)
    return True


def _integer(net: Net, number: int, op: Op) -> bool:
    """``op`` on integers, where every activation that it reads comes from a Dequantize and only a Quantize reads it."""
    y = net.tensors[op.outputs[0]]
    after = net.sole_reader(y.name)
    if y.dtype != "float32" or not isinstance(after, ops.Quantize):
        return False
    result = net.tensors[after.outputs[0]]
    assert result.quantization is not None
    weighted = isinstance(op, ops.WEIGHTED)
    names: list[str] = []
    for name in op.inputs[:1] if weighted else op.inputs:
        if net.tensors[name].data is not None and not weighted:
            constant = integer_constant(net, op, name, result)
            if constant is None:
                return False
            names.append(constant)
            continue
        held = _held(net, name)
        if held is None or held.dtype != result.dtype:
            return False
        names.append(held.name)
    if weighted and not _weights(net, op, names):
        return False
    if isinstance(op, CHOOSES):
        names = [_in_scale(net, number, op, name, result) for name in names]
    own = result.quantization
    if isinstance(op, SHARED):
        own = net.tensors[names[0]].quantization
    elif type(op) in PRESCRIBED:
        own = Quantization.per_tensor(*PRESCRIBED[type(op)][result.dtype == "int16"])
    assert own is not None
    if same(own, result.quantization):
        net.remove(net.maker[result.name])
        net.swap(number, replace(op, inputs=tuple(names), outputs=(result.name,)))
        return True
    middle = net.tensor(f"{y.name}/own", result.dtype, y.shape, own)
    net.swap(net.maker[result.name], replace(after, inputs=(middle,)))
    net.swap(number, replace(op, inputs=tuple(names), outputs=(middle,)))
    net.notes[f"{type(op).__name__} outputs are requantized from the scale that TFLite has for them: rounded twice"] = None
    return True


def _weights(net: Net, op: Op, names: list[str]) -> bool:
    """Append weight and bias as integers; False where the weight is real."""
    weight = integer_weight(net, op)
    if weight is None:
        return False
    names.append(weight)
    if len(op.inputs) > 2:
        names.append(integer_bias(net, op, net.tensors[names[0]], net.tensors[weight]))
    return True


def _in_scale(net: Net, number: int, op: Op, name: str, like: Tensor) -> str:
    x = net.tensors[name]
    if same(x.quantization, like.quantization):
        return name
    made = net.tensor(f"{name}/q", like.dtype, x.shape, like.quantization)
    if x.data is not None:
        net.tensors[made] = quantized_constant(x, made, like)
    else:
        net.add(ops.Quantize(net.free(f"{op.name}/quantize"), (name,), (made,)), near=number)
    return made


def islands(net: Net) -> None:
    """Constants of operators that stay real become real."""
    for number in list(net.ops):
        op = net.ops[number]
        y = net.tensors[op.outputs[0]]
        if y.dtype != "float32" or isinstance(op, ops.Dequantize):
            continue
        names = list(op.inputs)
        for at, name in enumerate(names):
            x = net.tensors[name]
            if x.data is None and x.dtype in ("int8", "int16"):
                raise InputError(f"reads the integers {name!r} as real values", where=f"{type(op).__name__} {op.name}")
            if x.data is not None and x.quantization is not None:
                names[at] = net.free(f"{name}/real")
                net.tensors[names[at]] = Tensor(names[at], "float32", x.shape, None, real_values(x))
        if tuple(names) != op.inputs:
            net.swap(number, replace(op, inputs=tuple(names)))
            if isinstance(op, ops.WEIGHTED):
                net.notes[f"{type(op).__name__} {op.name} stays float: nothing states a scale for its input or its output"] = None
