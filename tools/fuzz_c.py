"""Random graphs as C on this host, or on an emulated core, against the reference and TFLM.

    OMP_NUM_THREADS=1 python tools/fuzz_c.py [--graphs 5000] [--first 0] [--samples 8] [--kernels portable] [--tflm 10] [--core cortex-m4]

Layers with weights of every kind (int8, 16x8, 4-bit), chains and networks with branches: shapes, strides, paddings and scales at the edges,
channels 1 and odd. They are compiled --batch at a time under -Wall -Wextra -Wconversion -Werror with UBSan, and every output must be what
the reference foretells; of every --tflm-th graph also what TFLM answers (0: none), where TFLM has its operators. With --core they run under
QEMU, --batch in one firmware; without it --kernels cmsis are those for the DSP extension as plain C. Prints each graph that differs, and
exits with 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from edgekd.errors import InputError
from edgekd.export import tflite
from edgekd.quant.graph import QuantGraph
from edgekd.quant.outputs import joined
from edgekd.quant.reference import run
from edgekd.runtimes import lacks_tflm, tflm
from tests.c_chains import graphs
from tests.c_firmware import run_together
from tests.c_host import compile_all
from tests.c_layers import samples

SANITIZE = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all")
#: Set of kernels → whose kernels of it a host can compile; for no core in particular a host would get the portable ones.
ON_HOST = {"cmsis": "cortex-m4"}


@dataclass(frozen=True)
class Asked:
    """What each batch is tried on."""

    kernels: str
    core: str | None
    tflm: int
    samples: int


def answers(batch: Sequence[QuantGraph], inputs: Sequence[np.ndarray], asked: Asked, folder: Path) -> list[np.ndarray]:
    """Of each graph's C, [N, values]."""
    if asked.core is None:
        compiled = compile_all(batch, folder, kernels=asked.kernels, core=ON_HOST.get(asked.kernels), flags=SANITIZE)
        return [one.run(x).reshape(len(x), -1) for one, x in zip(compiled, inputs, strict=True)]
    return [y.reshape(len(y), -1) for y in run_together(batch, inputs, asked.core, folder, kernels=asked.kernels)]


def real(graph: QuantGraph, x: np.ndarray, folder: Path) -> np.ndarray | None:
    """What TFLM answers; None where it lacks an operator, or TFLite cannot state the graph."""
    if lacks_tflm.survey(graph).lacks:
        return None
    try:
        runner = tflm.open_model(folder / tflite.export(graph, folder).path)
    except InputError:
        return None
    return runner.run(x).reshape(len(x), -1)


def try_batch(batch: Sequence[QuantGraph], asked: Asked, folder: Path, at: int) -> tuple[list[str], int]:
    """What differs, and how many graphs TFLM ran."""
    inputs = [samples(graph, asked.samples) for graph in batch]
    said, ran = [], 0
    for number, (graph, x, y) in enumerate(zip(batch, inputs, answers(batch, inputs, asked, folder), strict=True)):
        outputs = run(graph, x, "tflm")
        # A core answers with the first output only.
        wanted = joined([outputs[name] for name in (graph.outputs[:1] if asked.core else graph.outputs)]).reshape(len(x), -1)
        if not np.array_equal(wanted, y):
            said.append(f"{graph.name}: {(wanted != y).sum()} of {y.size} outputs are not the reference's")
        if asked.core is None and asked.tflm and (at + number) % asked.tflm == 0:
            micro = real(graph, x, folder)
            ran += micro is not None
            if micro is not None and not np.array_equal(micro, y):
                said.append(f"{graph.name}: {(micro != y).sum()} of {y.size} outputs are not TFLM's")
    return said, ran


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--kernels", default="portable")
    parser.add_argument("--tflm", type=int, default=10)
    parser.add_argument("--core")
    given = parser.parse_args()
    asked = Asked(given.kernels, given.core, given.tflm, given.samples)
    began, bad, compared, done = time.perf_counter(), 0, 0, 0
    source = graphs(given.first, given.graphs)
    while batch := list(islice(source, given.batch)):
        with tempfile.TemporaryDirectory(prefix="edgekd-fuzz-") as folder:
            said, ran = try_batch(batch, asked, Path(folder), done)
        done, bad, compared = done + len(batch), bad + len(said), compared + ran
        print("\n".join([*said, f"{done} of {given.graphs} graphs, {time.perf_counter() - began:.0f} s"]), flush=True)
    where = f"on {asked.core}" if asked.core else "on this host"
    print(f"{done} graphs {where}, {asked.samples} samples each: {bad} differ; {compared} of them also compared with TFLM")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
