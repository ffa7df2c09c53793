"""The kernels for Cortex-M: as plain C on this host, and on emulated cores by the DSP extension and Helium; equal to the reference."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.export.c import encode, export
from edgekd.export.c_fast import padded_rows, plane_bytes, records, taps_of_three, tile_bytes
from edgekd.export.c_ops import calls_of
from edgekd.export.c_sets import choose
from edgekd.mcu.boards import CORES as BOARD_FLAGS
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.reference import run
from tests.c_chains import chain
from tests.c_firmware import run_together
from tests.c_host import NEEDS_GCC, STRICT, compile_all
from tests.c_layers import Layer, conv, depthwise, fully_connected, samples

SANITIZE = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all")
NEEDS_ARM = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")), reason="no arm-none-eabi-gcc or no qemu-system-arm"
)
#: Core → the first seed of its random graphs. "None": exported for no core in particular.
CORES = {"cortex-m3": 10, "cortex-m4": 200, "cortex-m7": 400, "cortex-m33": 600, "cortex-m55": 800}


def scales_at_the_edges(op: type[ops.Conv2D] | type[ops.DepthwiseConv2D], name: str, *, largest: int = 3, zero: int = 120) -> QuantGraph:
    """Multipliers from vanishing to 2^(largest − 1), biases up to the ends of 32 bits or such that halves are rounded, if x is its zero."""
    rng = np.random.default_rng(7)
    exponents = np.concatenate([np.arange(-44, largest), np.repeat(np.arange(-25, -1), 3)])
    mantissas = np.where(rng.random(len(exponents)) < 0.6, 1.0, rng.uniform(1, 2, len(exponents)))
    scale = (mantissas * 2.0**exponents).astype(np.float32)
    channels, deep = len(scale), op is ops.DepthwiseConv2D
    inputs = channels if deep else 5
    shape, axis = ((1, 3, 3, channels), 3) if deep else ((channels, 1, 1, inputs), 0)
    halves = (2 * rng.integers(-40, 40, channels) + 1) * 2.0 ** np.clip(-exponents - 1, 0, 24)
    anything = np.where(rng.random(channels) < 0.5, rng.integers(-(2**31), 2**31, channels), rng.choice([-(2**31), 2**31 - 1], channels))
    bias = np.where(rng.random(channels) < 0.6, halves, anything)
    tensors = [
        Tensor("x", "int8", (1, 3, 4, inputs), Quantization.per_tensor(1.0, 3)),
        Tensor("w", "int8", shape, Quantization.per_channel(scale, axis), rng.integers(-127, 128, shape).astype(np.int8)),
        Tensor("b", "int32", (channels,), Quantization.per_channel(scale, 0), bias.astype(np.int32)),
        Tensor("y", "int8", (1, 3, 4, channels), Quantization.per_tensor(1.0, zero)),
    ]
    layer = op("layer", ("x", "w", "b"), ("y",), padding=(1, 1, 1, 1) if deep else (0, 0, 0, 0))
    return QuantGraph(name, "channels_last", {t.name: t for t in tensors}, (layer,), ("x",), ("y",))


def edges() -> list[QuantGraph]:
    """With multipliers of 1/2 and above, and without: then kernels take a faster way."""
    return [
        scales_at_the_edges(op, f"edges_{op.__name__.lower()}_{largest + 5}_{zero + 128}", largest=largest, zero=zero)
        for op in (ops.Conv2D, ops.DepthwiseConv2D)
        for largest, zero in ((3, 120), (-2, 120), (-2, -128))
    ]


def almost_pointwise() -> list[QuantGraph]:
    """Columns of as many values as the input has channels, and as many outputs as inputs, and yet the input does not hold the columns."""
    graphs: list[QuantGraph] = []
    for i, (size, kernel, stride, padding, channels, groups) in enumerate(
        (
            ((4, 4), (1, 2), (1, 1), (0, 0, 0, 1), 8, 2),
            ((5, 3), (2, 1), (1, 1), (0, 1, 0, 0), 8, 2),
            ((4, 4), (2, 2), (1, 1), (0, 1, 0, 1), 16, 4),
            ((4, 4), (2, 2), (1, 1), (0, 1, 0, 1), 4, 4),
            ((1, 4), (1, 1), (1, 2), (0, 1, 0, 0), 4, 1),
            ((2, 2), (1, 1), (2, 2), (0, 1, 0, 1), 4, 1),
        )
    ):
        out = tuple((size[k] + sum(padding[2 * k : 2 * k + 2]) - kernel[k]) // stride[k] + 1 for k in range(2))
        shapes = ((1, *size, channels), (2 * groups, *kernel, channels // groups), (1, *out, 2 * groups))
        made = Layer(i, "int8").graph(ops.Conv2D, shapes, 0, stride=stride, padding=padding, groups=groups)
        graphs.append(replace(made, name=f"almost_pointwise_{i}"))
    return graphs


def inputs_of(graph: QuantGraph, n: int) -> np.ndarray:
    """Random ones; in the last of several x is zero, so that the sums are the biases."""
    x = samples(graph, n)
    quantization = graph.tensor(graph.inputs[0]).quantization
    assert quantization is not None
    x[-1] = quantization.single[1]
    return x


def some_graphs(first: int, count: int) -> list[QuantGraph]:
    """``count`` random convolutions and depthwise ones, a quarter as many others."""
    named = [
        replace(make(seed, "int8"), name=f"{make.__name__}_{seed}") for seed in range(first, first + count) for make in (conv, depthwise)
    ]
    few = range(first, first + count // 4)
    return [
        *named,
        *(replace(fully_connected(s, "int8"), name=f"full_{s}") for s in few),
        *(replace(chain(s), name=f"chain_{s}") for s in few),
    ]


def wanted(graph: QuantGraph, x: np.ndarray) -> np.ndarray:
    return run(graph, x, "tflm")[graph.outputs[0]]


@NEEDS_GCC
def test_as_plain_c_on_this_host(tmp_path: Path) -> None:
    graphs = [*some_graphs(1000, 24), *edges(), *almost_pointwise()]
    for compiled in compile_all(graphs, tmp_path, kernels="cmsis", core="cortex-m4", flags=SANITIZE):
        x = inputs_of(compiled.graph, 4)
        if len(compiled.graph.outputs) == 1:
            np.testing.assert_array_equal(compiled.run(x), wanted(compiled.graph, x), compiled.graph.name)


@NEEDS_ARM
@pytest.mark.parametrize("core", CORES)
def test_on_a_core(core: str, tmp_path: Path) -> None:
    graphs = [*some_graphs(CORES[core], 12), *edges(), *almost_pointwise()]
    inputs = [inputs_of(graph, 3) for graph in graphs]
    for graph, x, y in zip(graphs, inputs, run_together(graphs, inputs, core, tmp_path, kernels="cmsis"), strict=True):
        np.testing.assert_array_equal(y, wanted(graph, x), f"{graph.name} on {core}")


@NEEDS_ARM
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4", "cortex-m55"])
def test_a_library_for_no_core_in_particular(core: str, tmp_path: Path) -> None:
    graphs = some_graphs(50, 4)
    inputs = [inputs_of(graph, 2) for graph in graphs]
    for graph, x, y in zip(graphs, inputs, run_together(graphs, inputs, core, tmp_path, kernels="cmsis", named=False), strict=True):
        np.testing.assert_array_equal(y, wanted(graph, x), f"{graph.name} on {core}")


def test_a_library_for_no_core_has_the_largest_arena() -> None:
    graph = conv(1, "int8")
    cores = [encode(graph, kernels="cmsis", core=core) for core in ("cortex-m3", "cortex-m4", "cortex-m55")]
    library = encode(graph, kernels="cmsis")
    assert library.arena_bytes == max(one.arena_bytes for one in cores) > cores[0].arena_bytes
    assert "\n#elif defined(__ARM_FEATURE_DSP)\n" in library.source
    assert all(one.source in library.source for one in cores)


def test_which_kernel_a_core_gets() -> None:
    (call,) = calls_of(scales_at_the_edges(ops.DepthwiseConv2D, "d").ops[0], scales_at_the_edges(ops.DepthwiseConv2D, "d"))
    chosen = {core: choose("cmsis", call, core).function for core in ("cortex-m0", "cortex-m3", "cortex-m4", "cortex-m55")}
    assert chosen == {
        "cortex-m0": "ek_depthwise_s8",
        "cortex-m3": "ek_depthwise_s8",
        "cortex-m4": "ek_depthwise3_dsp_s8",
        "cortex-m55": "ek_depthwise_mve_s8",
    }
    assert choose("portable", call, "cortex-m4").function == "ek_depthwise_s8"
    assert choose("cmsis-nn", call, "cortex-m4").function == "ek_depthwise_nn_s8"


def test_cmsis_nn_gets_no_window_beside_the_input() -> None:
    """It would read or pad wrongly: those are for plain C. TFLite has none."""
    kinds = []
    for graph in (*almost_pointwise()[4:], scales_at_the_edges(ops.Conv2D, "c")):
        (call,) = calls_of(graph.ops[0], graph)
        kinds.append(choose("cmsis-nn", call, "cortex-m4").function)
    assert kinds == ["ek_conv_s8", "ek_conv_s8", "ek_conv_nn_s8"]


def test_weights_lie_as_the_kernels_read_them() -> None:
    graph = scales_at_the_edges(ops.Conv2D, "c")
    (call,) = calls_of(graph.ops[0], graph)
    packed = padded_rows(call)["weights"].values  # type: ignore[union-attr]
    np.testing.assert_array_equal(packed[:, :5], graph.tensor("w").data.reshape(-1, 5))  # type: ignore[union-attr]
    assert packed.shape[1] == 8 and not packed[:, 5:].any()
    assert tile_bytes(call, "cortex-m4") == 64 + 4 * 8
    deep = scales_at_the_edges(ops.DepthwiseConv2D, "d")
    (call,) = calls_of(deep.ops[0], deep)
    taps = taps_of_three(call)["weights"].values  # type: ignore[union-attr]
    np.testing.assert_array_equal(taps[:, :, :3], deep.tensor("w").data[0].transpose(2, 0, 1))  # type: ignore[index]
    assert not taps[:, :, 3].any()
    # Rows of four outputs: a block, two words and one more a line; three lines and the two around them.
    assert plane_bytes(call, "cortex-m4") == 4 * 4 * 3 * 5


def test_records() -> None:
    graph = scales_at_the_edges(ops.Conv2D, "c")
    (call,) = calls_of(graph.ops[0], graph)
    table = records(call, np.zeros(len(graph.tensor("w").data), np.int64))["multiplier"].values  # type: ignore[union-attr,arg-type]
    real = graph.tensor("w").quantization.scale.astype(np.float64)  # type: ignore[union-attr]
    np.testing.assert_array_equal(table[:, 0], graph.tensor("b").data)
    alive = real > 2.0**-31
    multiplier = (table[alive, 1].astype(np.int64) % 2**32) / 2
    np.testing.assert_allclose(multiplier * 2.0 ** (-1 - table[alive, 2] - 31.0), real[alive], rtol=1e-9)
    assert (table[real < 2.0**-33, 2] == -1).all(), "a vanished multiplier is a rare one"


@NEEDS_ARM
@pytest.mark.parametrize(
    ("core", "flags"),
    [("cortex-m4", ("-O0", "-fno-omit-frame-pointer")), ("cortex-m4", ("-Os",)), ("cortex-m55", ("-O0", "-ffreestanding"))],
)
def test_each_kernel_compiles_alone(core: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    """Under -Werror, so that nothing is left that another kernel would have used; and without the registers that optimizing frees."""
    for graph in (*edges(), replace(fully_connected(3, "int8"), name="full"), replace(conv(1, "int8"), name="conv")):
        folder = tmp_path / graph.name
        export(graph, folder, kernels="cmsis", core=core)
        (source,) = folder.glob("*.c")
        options = (*STRICT, *BOARD_FLAGS[core], *flags)
        done = subprocess.run(
            ["arm-none-eabi-gcc", *options, "-c", str(source), "-o", str(tmp_path / "x.o")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[:2000]
