"""One small graph an operator, seeded, with scales that fit: what the ONNX exporter writes and the importer reads again."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor

IMAGE, ROWS = (1, 6, 5, 8), (1, 6, 8)


def per_tensor(dtype: str, limit: float, low: float | None = None) -> Quantization:
    """For values in ±limit, or in [low, limit] where int8 is asymmetric."""
    if dtype == "int16":
        return Quantization.per_tensor(limit / 32767)
    bottom = -limit if low is None else low
    scale = (limit - bottom) / 255
    return Quantization.per_tensor(scale, round(-128 - bottom / scale))


class Case:
    """Tensors by name; ``op`` appends an operator whose output is the last one's."""

    def __init__(self, shape: tuple[int, ...], dtype: str = "int8", *, limit: float = 1.0) -> None:
        self.rng, self.dtype = np.random.default_rng(7), dtype
        self.tensors = {"x": self._activation("x", shape, limit)}
        self.ops: list[ops.Op] = []
        self.last = "x"

    def _activation(self, name: str, shape: tuple[int, ...], limit: float, low: float | None = None, dtype: str = "") -> Tensor:
        dtype = dtype or self.dtype
        return Tensor(name, dtype, shape, per_tensor(dtype, limit, low) if dtype.startswith("int") else None)  # type: ignore[arg-type]

    def constant(self, name: str, shape: tuple[int, ...], *, limit: float = 1.0, low: float | None = None) -> str:
        real = self.rng.uniform(-limit if low is None else low, limit, shape).astype(np.float32)
        if self.dtype == "float32":
            self.tensors[name] = Tensor(name, "float32", shape, None, real)
        else:
            q = per_tensor(self.dtype, limit, low)
            info = np.iinfo(self.dtype)
            data = np.clip(np.rint(real / q.scale) + q.zero_point, info.min, info.max).astype(self.dtype)
            self.tensors[name] = Tensor(name, self.dtype, shape, q, data)  # type: ignore[arg-type]
        return name

    def weights(self, shape: tuple[int, ...], axis: int, dtype: str = "int8") -> list[str]:
        out = shape[axis]
        if self.dtype == "float32":
            for name, size in (("w", shape), ("b", (out,))):
                self.tensors[name] = Tensor(name, "float32", size, None, self.rng.normal(0, 0.3, size).astype(np.float32))
            return ["w", "b"]
        top = 7 if dtype == "int4" else 127
        scale = Quantization.per_channel(np.exp(self.rng.normal(-1, 0.3, out)).astype(np.float32) / top, axis)
        self.tensors["w"] = Tensor("w", dtype, shape, scale, self.rng.integers(-top, top + 1, shape).astype(np.int8))  # type: ignore[arg-type]
        x = self.tensors[self.last].quantization
        assert x is not None
        product = Quantization(x.scale * scale.scale, np.zeros(out, np.int32), 0)
        wide = "int64" if self.dtype == "int16" else "int32"
        bias = np.rint(self.rng.normal(0, 0.2, out) / product.scale).astype(wide)
        self.tensors["b"] = Tensor("b", wide, (out,), product, bias)  # type: ignore[arg-type]
        return ["w", "b"]

    def op(
        self, kind: type[ops.Op], shape: tuple[int, ...], /, *more: str, limit: float = 1.0, low: float | None = None, **options: Any
    ) -> Case:
        inputs = options.pop("inputs", (self.last, *more))
        like, dtype, fixed = options.pop("like", False), options.pop("dtype", ""), options.pop("fixed", None)
        name = f"{kind.__name__.lower()}{len(self.ops)}"
        made = self._activation(name, shape, limit, low, dtype)
        if like or fixed:
            q = fixed or self.tensors[self.last].quantization
            made = Tensor(name, made.dtype, shape, q if made.quantization is not None else None)
        self.tensors[name] = made
        self.ops.append(kind(name, tuple(inputs), (name,), **options))
        self.last = name
        return self

    def graph(self) -> QuantGraph:
        return QuantGraph("case", "channels_last", self.tensors, tuple(self.ops), ("x",), (self.last,))

    def samples(self, n: int) -> np.ndarray:
        x = self.tensors["x"]
        if x.quantization is None:
            return self.rng.uniform(-1, 1, (n, *x.shape[1:])).astype(np.float32)
        info = np.iinfo(x.dtype)
        return self.rng.integers(info.min, info.max + 1, (n, *x.shape[1:])).astype(x.dtype)


TABLE = Quantization.per_tensor(1 / 256, -128)


# size: one table of every operator.
def cases(dtype: str = "int8") -> dict[str, Case]:
    """Every operator once or more, in ``dtype`` (int8, int16 or float32)."""
    wide = dtype == "int16"
    probability = Quantization.per_tensor(1 / 32768) if wide else TABLE
    tanh = Quantization.per_tensor(1 / 32768 if wide else 1 / 128)
    made: dict[str, Case] = {}

    def start(name: str, shape: tuple[int, ...] = IMAGE, limit: float = 1.0) -> Case:
        made[name] = Case(shape, dtype, limit=limit)
        return made[name]

    def layer(
        name: str,
        kind: type[ops.Op],
        weight: tuple[int, ...],
        axis: int,
        shape: tuple[int, ...],
        x: tuple[int, ...] = IMAGE,
        **options: Any,
    ) -> None:
        c = start(name, x)
        c.op(kind, shape, *c.weights(weight, axis), limit=2.0, **options)

    layer("conv", ops.Conv2D, (4, 3, 3, 8), 0, (1, 3, 3, 4), stride=(2, 2), padding=(1, 1, 1, 1), activation="relu6")
    layer("grouped", ops.Conv2D, (6, 3, 2, 4), 0, (1, 6, 4, 6), padding=(1, 1, 0, 0), groups=2, activation="relu")
    layer("dilated", ops.Conv2D, (4, 3, 3, 8), 0, (1, 6, 5, 4), padding=(2, 2, 2, 2), dilation=(2, 2))
    layer("depthwise", ops.DepthwiseConv2D, (1, 3, 3, 16), 3, (1, 6, 5, 16), padding=(1, 1, 1, 1), multiplier=2)
    layer("transpose_conv", ops.TransposeConv2D, (4, 3, 3, 8), 0, (1, 12, 10, 4), stride=(2, 2), padding=(1, 0, 1, 0))
    layer("vector", ops.FullyConnected, (5, 8), 0, (1, 5), (1, 8))
    layer("rows", ops.FullyConnected, (5, 8), 0, (1, 6, 5), ROWS)
    for name, kind in (("add", ops.Add), ("sub", ops.Sub), ("mul", ops.Mul), ("squared", ops.SquaredDifference)):
        c = start(name)
        c.op(kind, IMAGE, c.constant("c", (1, 1, 1, 8), low=-0.5), limit=2.0)
        c.op(kind, IMAGE, inputs=("x", c.last), limit=3.0)
    made["add"].op(ops.Add, IMAGE, "x", limit=2.0, activation="relu")
    for name, kind in (("maximum", ops.Maximum), ("minimum", ops.Minimum)):
        c = start(name)
        c.op(kind, IMAGE, c.constant("c", (1, 1, 1, 8)), like=True)
    start("relu").op(ops.Relu, IMAGE, limit=0.8, low=0.0 if not wide else None)
    start("leaky").op(ops.LeakyRelu, IMAGE, alpha=0.1, low=-0.2 if not wide else None)
    c = start("prelu")
    c.op(ops.PRelu, IMAGE, c.constant("a", (1, 1, 1, 8), limit=0.3))
    start("hard_swish", limit=4.0).op(ops.HardSwish, IMAGE, limit=4.0, low=-0.4 if not wide else None)
    start("gelu", limit=3.0).op(ops.Gelu, IMAGE, limit=3.0)
    start("gelu_tanh", limit=3.0).op(ops.Gelu, IMAGE, limit=3.0, approximate=True)
    start("logistic", limit=6.0).op(ops.Logistic, IMAGE, fixed=probability)
    start("tanh", limit=3.0).op(ops.Tanh, IMAGE, fixed=tanh)
    start("softmax", ROWS, 4.0).op(ops.Softmax, ROWS, fixed=probability)
    start("max_pool").op(ops.MaxPool2D, (1, 3, 3, 8), like=True, kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    start("average_pool").op(ops.AveragePool2D, (1, 3, 2, 8), like=True, kernel=(2, 2), stride=(2, 2))
    start("mean").op(ops.Mean, (1, 8), axes=(1, 2), limit=0.5)
    start("mean_rows", ROWS).op(ops.Mean, (1, 6, 1), axes=(2,), keepdims=True, limit=0.5)
    start("sum", ROWS).op(ops.Sum, (1, 8), axes=(1,), limit=4.0)
    start("reduce_max").op(ops.ReduceMax, (1, 8), axes=(1, 2), like=True)
    for name, options in (("nearest", {}), ("nearest_half", {"half_pixel_centers": True}), ("nearest_corners", {"align_corners": True})):
        start(name).op(ops.ResizeNearest, (1, 9, 11, 8), like=True, size=(9, 11), **options)
        start(name.replace("nearest", "bilinear")).op(ops.ResizeBilinear, (1, 12, 10, 8), like=True, size=(12, 10), **options)
    start("reshape", ROWS).op(ops.Reshape, (1, 48), like=True, shape=(1, 48))
    start("transpose", ROWS).op(ops.Transpose, (1, 8, 6), like=True, order=(0, 2, 1))
    start("slice").op(ops.Slice, (1, 3, 2, 4), like=True, begin=(0, 1, 1, 4), size=(1, 3, 2, 4), step=(1, 2, 2, 1))
    start("pad").op(ops.Pad, (1, 9, 5, 8), like=True, amounts=((0, 0), (1, 2), (0, 0), (0, 0)))
    c = start("concat")
    c.op(ops.Concat, (1, 6, 5, 16), "x", like=True, axis=3)
    c = start("batch_matmul", ROWS)
    c.op(ops.BatchMatMul, (1, 6, 6), "x", limit=4.0, adjoint_b=True)
    c.op(ops.BatchMatMul, (1, 6, 8), "x", limit=6.0)
    return made
