"""Instructions, code and scratch of C libraries by kernel set and core, counted under QEMU, beside CMSIS-NN called by hand.

    python tools/bench_c.py kws_ref_model.tflite pretrainedResnet_quant.tflite --cores cortex-m4,cortex-m55 [--cmsis-nn DIR] [--json]

"cmsis-nn" is a plain sequence of arm_convolve_wrapper_s8, arm_depthwise_conv_wrapper_s8, arm_fully_connected_s8 and arm_avgpool_s8 for the
same layers in the same arena; what CMSIS-NN 4.0.0 as packaged lacks (add, softmax) is the portable kernel in every set. "code" is what the
library and the functions that it calls take of program memory without weights and other constants, "constants" what else but weights.
A MAC is a product of an activation with a weight, padding included; the bound is what the core's widest multiplication does: 2 a
instruction with the DSP extension, 16 with Helium, 1 else. Every output is compared with the reference.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edgekd.errors import EdgekdError
from edgekd.export import c
from edgekd.export.c_sets import SETS
from edgekd.importers.tflite import read
from edgekd.mcu import cmsis, harness
from edgekd.mcu.boards import plain_core
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.outputs import joined
from edgekd.quant.reference import run

#: MACs of the widest multiplication.
WIDEST = {"cortex-m4": 2, "cortex-m4f": 2, "cortex-m7": 2, "cortex-m33": 2, "cortex-m55": 16}
_ROOM = 1 << 22


@dataclass(frozen=True)
class Row:
    """Bytes and instructions of one model on one core with one kernel set."""

    model: str
    core: str
    kernels: str
    flags: str
    macs: int
    instructions: int
    code_bytes: int
    constant_bytes: int
    weight_bytes: int
    arena_bytes: int
    scratch_bytes: int
    stack_bytes: int
    bit_equal: bool

    @property
    def a_mac(self) -> float:
        return self.instructions / self.macs

    @property
    def of_bound(self) -> float:
        """Instructions over those that the multiplications alone would take."""
        return self.a_mac * WIDEST.get(self.core, 1)


def macs(graph: QuantGraph) -> int:
    total = 0
    for op in graph.ops:
        if isinstance(op, (ops.Conv2D, ops.DepthwiseConv2D, ops.FullyConnected)):
            weight, out = graph.tensor(op.inputs[1]).shape, graph.tensor(op.outputs[0]).shape
            taps = weight[1] * weight[2] if isinstance(op, ops.DepthwiseConv2D) else int(np.prod(weight[1:]))
            total += int(np.prod(out)) * taps
    return total


def measure(graph: QuantGraph, core: str, kernels: str, folder: Path, flags: tuple[str, ...], where: Path | None, layers: bool) -> Row:
    """Build, run two random samples, compare. Raises EdgekdError where that does not work."""
    library = c.encode(graph, kernels=kernels, core=plain_core(core))
    folder.mkdir(parents=True)
    for suffix, text in (("h", library.header), ("c", library.source)):
        (folder / f"{library.stem}.{suffix}").write_text(text)
    sources = cmsis.sources(where) if kernels == "cmsis-nn" else None
    order = harness.Order(((folder, library.stem),), core, _ROOM, _ROOM, sources=sources, flags=flags)
    firmware = harness.build(order, folder / "build")
    x = np.random.default_rng(0).integers(-128, 128, (2, *graph.tensor(graph.inputs[0]).shape[1:])).astype(np.int8)
    ran = harness.run(firmware, x.reshape(2, -1).view(np.uint8), folder / "build")
    outputs = run(graph, x, "tflm")
    wanted = joined([outputs[name] for name in graph.outputs])
    flash = firmware.flash()
    if layers:
        show_layers(order, folder / "layers", x)
    activations = c.encode(graph).arena_bytes
    return Row(
        graph.name, core, kernels, " ".join(flags) or "-O2", macs(graph), int(ran.instructions.max()), flash["code"], flash["constants"],
        flash["weights"], library.arena_bytes, library.arena_bytes - activations, ran.stack_bytes,
        np.array_equal(ran.outputs.view(np.int8).reshape(wanted.shape), wanted),
    )  # fmt: skip


def show_layers(order: harness.Order, folder: Path, x: np.ndarray) -> None:
    firmware = harness.build(harness.replace(order, layers=True, flags=(*order.flags, "-DEK_LAYER_NAMES")), folder)
    ran = harness.run(firmware, x[:1].reshape(1, -1).view(np.uint8), folder)
    for name, count in zip(firmware.names[0], ran.layers.tolist(), strict=True):
        print(f"    {count:>10,}  {name[:90]}", file=sys.stderr)


def table(rows: list[Row]) -> str:
    head = (
        f"{'model':24} {'core':11} {'kernels':9} {'instructions':>12} {'a MAC':>6} {'x bound':>7} {'code B':>7} {'const B':>7} "
        f"{'weights B':>9} {'arena B':>8} {'scratch':>7} {'stack':>5} equal"
    )
    lines = [
        f"{r.model[:24]:24} {r.core:11} {r.kernels:9} {r.instructions:>12,} {r.a_mac:>6.3f} {r.of_bound:>7.2f} {r.code_bytes:>7,} "
        f"{r.constant_bytes:>7,} {r.weight_bytes:>9,} {r.arena_bytes:>8,} {r.scratch_bytes:>7,} {r.stack_bytes:>5} "
        f"{'yes' if r.bit_equal else 'NO'}"
        for r in rows
    ]
    return "\n".join([head, *lines])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--cores", default="cortex-m3,cortex-m4,cortex-m7,cortex-m33,cortex-m55")
    parser.add_argument("--kernels", default=",".join(SETS))
    parser.add_argument("--cmsis-nn", type=Path, default=None)
    parser.add_argument("--flags", default="", help="of GCC, e.g. -O3; default -O2")
    parser.add_argument("--layers", action="store_true", help="instructions layer by layer as well, on stderr")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows: list[Row] = []
    try:
        with tempfile.TemporaryDirectory() as place:
            for path in args.models:
                graph = read(path)
                for core in args.cores.split(","):
                    for kernels in args.kernels.split(","):
                        folder = Path(place) / path.stem / core / kernels
                        rows.append(measure(graph, core, kernels, folder, tuple(args.flags.split()), args.cmsis_nn, args.layers))
    except EdgekdError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps([asdict(row) for row in rows], indent=1) if args.json else table(rows))
    return 0 if all(row.bit_equal for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
