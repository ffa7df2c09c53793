"""How long, and in how much memory, a large QDQ model converts: ONNX in, TFLite out.

    python tools/bench_convert.py [--millions 25] [--float-weights]

Makes a network of 3x3 convolutions with that many weights (random, per-channel), as onnxruntime's quantizer writes it, then converts it in
a process of its own and prints seconds and the peak of its resident memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def make(path: Path, millions: float, *, float_weights: bool = False) -> None:
    """A QDQ model of about ``millions`` million weights: layers of 512 channels on a 14x14 image."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng, channels = np.random.default_rng(0), 512 if millions > 4 else 64
    nodes, constants = (
        [],
        [numpy_helper.from_array(np.array(1 / 32, np.float32), "s"), numpy_helper.from_array(np.array(128, np.uint8), "z")],
    )

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=f"{output}_node", **attributes))
        return output

    def qdq(x: str) -> str:
        return node("DequantizeLinear", [node("QuantizeLinear", [x, "s", "z"], f"{x}_q"), "s", "z"], f"{x}_dq")

    x, inputs, count = qdq("x"), 16, 0
    while count < millions * 1e6:
        k = len(nodes)
        data = rng.integers(-127, 128, (channels, inputs, 3, 3), np.int8)
        scale, zero = (
            constant(f"ws{k}", rng.uniform(1e-4, 2e-4, channels).astype(np.float32)),
            constant(f"wz{k}", np.zeros(channels, np.int8)),
        )
        name = constant(f"w{k}", data if not float_weights else data.astype(np.float32) * np.float32(1.5e-4))
        if float_weights:
            name = node("QuantizeLinear", [name, scale, zero], f"w{k}_q", axis=0)
        weight = node("DequantizeLinear", [name, scale, zero], f"w{k}_dq", axis=0)
        bias = constant(f"b{k}", rng.normal(0, 1, channels).astype(np.float32))
        x = qdq(node("Relu", [node("Conv", [x, weight, bias], f"c{k}", pads=[1, 1, 1, 1])], f"r{k}"))
        count, inputs = count + data.size, channels
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", c, 14, 14]) for n, c in (("x", 16), (x, channels))]
    graph = helper.make_graph(nodes, "large", values[:1], values[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def convert(path: Path, out: Path) -> tuple[float, float, int]:
    """(seconds to import, seconds to export, peak resident bytes) of this process."""
    from edgekd.export.tflite import export
    from edgekd.importers.onnx import read

    start = time.perf_counter()
    graph = read(path)
    middle = time.perf_counter()
    export(graph, out)
    return middle - start, time.perf_counter() - middle, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--millions", type=float, default=25)
    parser.add_argument("--float-weights", action="store_true", help="weights float32 in the file, quantized by a node")
    parser.add_argument("--convert", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.convert:
        read_s, write_s, peak = convert(given.convert, given.convert.parent)
        print(f"import {read_s:.1f} s, TFLite {write_s:.1f} s, peak {peak / 2**20:.0f} MiB")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.onnx"
        make(path, given.millions, float_weights=given.float_weights)
        print(f"{path.stat().st_size / 2**20:.0f} MiB")
        subprocess.run([sys.executable, __file__, "--convert", str(path)], check=True)


if __name__ == "__main__":
    main()
