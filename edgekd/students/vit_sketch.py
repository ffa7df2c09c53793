"""The graph of a vit spec, drawn without torch, operator by operator as capture and freeze will leave it."""

from __future__ import annotations

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.scheme import Scheme
from edgekd.students.sketch import Sketch
from edgekd.students.vit import Spec


def sketch(spec: Spec, scheme: Scheme) -> QuantGraph:
    """The channels-last graph that the trained student will have: its operators, shapes and bytes, with arbitrary weights."""
    drawing = Sketch(scheme, (spec.height, spec.width, spec.channels))
    x = drawing.conv("patches", drawing.input, spec.dim, kernel=spec.patch, stride=spec.patch)
    x = _reshape(drawing, "tokens", x, (1, spec.tokens, spec.dim))
    if spec.pool == "token":
        shape = (1, spec.tokens + 1, spec.dim)
        x = drawing.step(ops.Pad("token", (x,), ("token",), ((0, 0), (1, 0), (0, 0))), shape)
    x = drawing.add("positions", x, drawing.constant("positions.table", drawing.shape(x)))
    for n in range(spec.depth):
        x = drawing.add(f"block{n}.mixed", x, _attention(drawing, f"block{n}", x, spec))
        x = drawing.add(f"block{n}.add", x, _mlp(drawing, f"block{n}", x, spec))
    if spec.pool == "token":
        size = (1, 1, spec.dim)
        x = drawing.step(ops.Slice("first", (x,), ("first",), (0, 0, 0), size, (1, 1, 1)), size)
        x = _reshape(drawing, "pool", x, (1, spec.dim))
    else:
        x = drawing.step(ops.Mean("pool", (x,), ("pool",), axes=(1,)), (1, spec.dim))
    return drawing.finish("vit", drawing.linear("classifier", _norm(drawing, "norm", x, spec), spec.classes))


def _attention(drawing: Sketch, block: str, x: str, spec: Spec) -> str:
    normed = _norm(drawing, f"{block}.norm", x, spec)
    parts = [drawing.linear(f"{block}.{part}", normed, spec.dim) for part in ("query", "key", "value")]
    tokens, split = drawing.shape(x)[1], spec.heads > 1
    if split:
        parts = [_reshape(drawing, f"{part}.heads", part, (1, tokens, spec.heads, spec.dim // spec.heads)) for part in parts]
        parts[:2] = (_swap(drawing, part) for part in parts[:2])
    lead = (1, spec.heads) if split else (1,)
    scores, weights, mixed = (f"{block}.{part}" for part in ("scores", "weights", "values"))
    drawing.step(ops.BatchMatMul(scores, (parts[0], parts[1]), (scores,), adjoint_b=True), (*lead, tokens, tokens))
    drawing.step(ops.Softmax(weights, (scores,), (weights,)), (*lead, tokens, tokens))
    value = _swap(drawing, parts[2]) if split else parts[2]
    drawing.step(ops.BatchMatMul(mixed, (weights, value), (mixed,)), (*lead, tokens, spec.dim // spec.heads))
    if split:
        mixed = _reshape(drawing, f"{block}.joined", _swap(drawing, mixed), drawing.shape(x))
    return drawing.linear(f"{block}.out", mixed, spec.dim)


def _mlp(drawing: Sketch, block: str, x: str, spec: Spec) -> str:
    x = _norm(drawing, f"{block}.mlp.norm", x, spec)
    y = drawing.linear(f"{block}.inner", x, spec.hidden, activation="relu" if spec.activation == "relu" else "none")
    if spec.activation == "gelu":
        y = drawing.step(ops.Gelu(f"{block}.gelu", (y,), (f"{block}.gelu",)), drawing.shape(y))
    return drawing.linear(f"{block}.outer", y, spec.dim)


def _norm(drawing: Sketch, name: str, x: str, spec: Spec) -> str:
    """A layer norm over the last axis; a batch norm is in the weights beside it."""
    if spec.norm == "batch":
        return x
    shape = drawing.shape(x)
    small, one, row = (*shape[:-1], 1), (1,) * len(shape), (*(1 for _ in shape[:-1]), shape[-1])
    last = (len(shape) - 1,)
    mean, square, variance, inverse, centred, normal, scaled = (
        f"{name}.{part}" for part in ("mean", "square", "variance", "inverse", "centred", "normal", "scaled")
    )
    drawing.step(ops.Mean(mean, (x,), (mean,), last, keepdims=True), small)
    drawing.step(ops.SquaredDifference(square, (x, mean), (square,)), shape)
    drawing.step(ops.Mean(variance, (square,), (variance,), last, keepdims=True), small)
    positive = drawing.add(f"{name}.positive", variance, drawing.constant(f"{name}.eps", one))
    drawing.step(ops.Rsqrt(inverse, (positive,), (inverse,)), small)
    drawing.step(ops.Sub(centred, (x, mean), (centred,)), shape)
    drawing.step(ops.Mul(normal, (centred, inverse), (normal,)), shape)
    drawing.step(ops.Mul(scaled, (normal, drawing.constant(f"{name}.gamma", row)), (scaled,)), shape)
    return drawing.add(f"{name}.out", scaled, drawing.constant(f"{name}.beta", row))


def _reshape(drawing: Sketch, name: str, x: str, shape: tuple[int, ...]) -> str:
    return drawing.step(ops.Reshape(name, (x,), (name,), shape), shape)


def _swap(drawing: Sketch, x: str) -> str:
    """[1, a, b, c] as [1, b, a, c]."""
    one, a, b, c = drawing.shape(x)
    return drawing.step(ops.Transpose(f"{x}.swapped", (x,), (f"{x}.swapped",), (0, 2, 1, 3)), (one, b, a, c))
