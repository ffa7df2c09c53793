"""CPU seconds of the NumPy reference under each profile, and of the runtimes that it foretells, on the same graph and images.

    OMP_NUM_THREADS=1 python tools/bench_reference.py [--graph DIR] [--images 200] [--repeats 5] [--json]

Without --graph (a folder written by edgekd.quant.io.save) it builds a student of the kind that edgekd plans, with random weights. Every
figure is the median over the repeats with smallest and largest, in CPU seconds of this process (all threads); compiling the graph or
loading the file is left out of the runtimes' figures and inside the reference's. ``ratio`` compares to the runtime of that profile.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from edgekd.export.tflite import export
from edgekd.quant import io, ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference import PROFILES, run
from edgekd.runtimes import litert, tflm
from tests.graph_cases import inverted_residuals

RUNTIMES = {"tflm": tflm.open_model, "litert_ref": litert.open_reference, "xnnpack": litert.open_xnnpack}


def macs(graph: QuantGraph) -> int:
    """Multiply-accumulates of convolutions and fully connected layers, for one sample."""
    total = 0
    for op in graph.ops:
        if isinstance(op, (ops.Conv2D, ops.DepthwiseConv2D, ops.FullyConnected)):
            total += math.prod(graph.tensor(op.outputs[0]).shape[:-1]) * math.prod(graph.tensor(op.inputs[1]).shape)
    return total


def cpu_seconds(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Median, smallest and largest; one run before them does not count."""
    work()
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return {"value": statistics.median(spent), "low": min(spent), "high": max(spent)}


def measure(graph: QuantGraph, images: np.ndarray, repeats: int) -> list[dict[str, Any]]:
    """One row a profile: the reference's and the runtime's seconds, and how many outputs differ."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        export(graph, Path(folder))
        for profile in PROFILES:
            runner = RUNTIMES[profile](Path(folder) / "model.tflite")
            found, foretold = runner.run(images), run(graph, images, profile)[graph.outputs[0]]
            reference = cpu_seconds(lambda profile=profile: run(graph, images, profile), repeats)
            runtime = cpu_seconds(lambda runner=runner: runner.run(images), repeats)
            rows.append(
                {
                    "profile": profile,
                    "reference": reference,
                    "runtime": runtime,
                    "where": runner.where,
                    "ratio": reference["value"] / runtime["value"],
                    "outputs_that_differ": int((found.reshape(foretold.shape) != foretold).sum()),
                }
            )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--graph", type=Path, help="a folder with a QuantGraph")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    graph = io.load(options.graph) if options.graph else inverted_residuals()
    shape = (options.images, *graph.tensor(graph.inputs[0]).shape[1:])
    images = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    rows, work = measure(graph, images, options.repeats), macs(graph)
    if options.json:
        threads = os.environ.get("OMP_NUM_THREADS")
        print(
            json.dumps(
                {"macs": work, "images": options.images, "n": options.repeats, "blas_threads": threads, "unit": "CPU s", "rows": rows}
            )
        )
        return 0
    print(f"{work / 1e6:.2f} M MAC, {options.images} images, median of {options.repeats} [smallest, largest], CPU seconds")
    for row in rows:
        cells = []
        for name in ("reference", "runtime"):
            spent = row[name]
            per_mac = spent["value"] / work / options.images * 1e9
            cells.append(f"{name} {spent['value']:.3f} [{spent['low']:.3f}, {spent['high']:.3f}] = {per_mac:.3f} ns/MAC")
        print(f"{row['profile']:11s} {'   '.join(cells)}   ratio {row['ratio']:.3f}   {row['outputs_that_differ']} outputs differ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
