"""Whether a foreign quantized TFLite file comes through the waist with the same integers, and what that costs. MLPerf Tiny's three models.

    OMP_NUM_THREADS=1 python tools/bench_waist.py [MODEL.tflite…] [--random 1000] [--realistic 400] [--parts equal,realistic,cost] [--json]

    equal      reference against TFLM, LiteRT's reference kernels and XNNPACK, and the re-exported TFLite file against the original, on
               random inputs: bit for bit; CPU seconds of each, and of the reference over the runtimes'
    realistic  ONNX in onnxruntime and IR in OpenVINO against the original file in XNNPACK and in TFLM, and against the reference under the
               profile onnxruntime, on inputs as in waist_inputs.py: top-1, bits, differences in LSB
    cost       wall and CPU seconds of converting to three formats in a process of its own, imports apart (median of --repeats)

Models are looked for in $EDGEKD_DATA/mlperf_tiny, else in ../shared/data; recordings beside them. CPU seconds are this process's, of all
its threads; a runtime's are without loading the file, the reference's with compiling the graph.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from edgekd import convert
from edgekd.export import EXPORTERS
from edgekd.importers import IMPORTERS
from edgekd.lazy import load
from edgekd.quant import compare
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference import run
from edgekd.runtimes import RUNTIMES
from edgekd.verify.foretell import foretell, group

DATA = Path(os.environ.get("EDGEKD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
NAMES = ("kws_ref_model", "pretrainedResnet_quant", "vww_96_int8")
#: Runtime of TFLite files → the reference's profile.
PROFILES = {"tflm": "tflm", "litert_ref": "litert_ref", "litert_xnnpack": "xnnpack"}
FORMATS = ("tflite", "onnx", "openvino")
#: LSB of a probability: a tenth of the whole.
CLEAR = 26


@dataclass(frozen=True)
class Compared:
    """Integers of ``what`` against those of ``to``: whole samples and single outputs that are equal, top-1, LSB → number of outputs.

    ``clear`` samples have a lead of at least CLEAR over the second class in ``to``; of those, ``clear_equal`` agree in top-1.
    """

    what: str
    to: str
    n: int
    samples_equal: int
    outputs_equal: int
    outputs: int
    top1_equal: int
    clear: int
    clear_equal: int
    histogram: dict[int, int]


@dataclass(frozen=True)
class Cost:
    """Seconds of converting in a process of its own. ``stages`` has (wall, CPU) of each import and call; ``whole`` of the process."""

    whole: tuple[float, float]
    stages: dict[str, tuple[float, float]]


def compared(what: str, to: str, a: np.ndarray, b: np.ndarray) -> Compared:
    equality = compare.bit_equal(a, b)
    outputs, samples = equality.outputs, equality.samples
    same, clear = compare.top1(a) == compare.top1(b), lead(b) >= CLEAR
    agree, sure, both = (int(which.sum()) for which in (same, clear, same & clear))
    return Compared(what, to, len(a), samples.count, outputs.count, outputs.n, agree, sure, both, compare.histogram(a, b))


def lead(outputs: np.ndarray) -> np.ndarray:
    """The largest output of each sample less the second, int64 [N]."""
    flat = np.sort(outputs.reshape(len(outputs), -1).astype(np.int64), axis=1)
    return flat[:, -1] - flat[:, -2]


def cpu_of(compute: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    start = time.process_time()
    result = compute()
    return result, time.process_time() - start


def answers(path: Path, runtime: str, x: np.ndarray) -> tuple[np.ndarray, float]:
    """What ``runtime`` answers, and its CPU seconds without loading."""
    runner = load(RUNTIMES[runtime])(path, threads=1)
    try:
        runner.run(x[:1])
        return cpu_of(lambda: runner.run(x))
    finally:
        runner.close()


def equal(path: Path, graph: QuantGraph, n: int, out: Path) -> tuple[list[Compared], dict[str, float]]:
    """The reference, and the re-exported file, against the original in each runtime of TFLite files; CPU seconds."""
    x = convert.random_inputs(graph, n)
    again = out / load(EXPORTERS["tflite"])(graph, out).path
    rows, cpu, theirs = [], {}, {}
    for runtime, profile in PROFILES.items():
        theirs[runtime], cpu[runtime] = answers(path, runtime, x)
        mine, cpu[f"reference {profile}"] = cpu_of(lambda profile=profile: run(graph, x, profile)[graph.outputs[0]])
        rows.append(compared(f"reference {profile}", f"original in {runtime}", mine, theirs[runtime]))
        rows.append(compared("re-exported TFLite", f"original in {runtime}", answers(again, runtime, x)[0], theirs[runtime]))
    shared = [cpu_of(lambda names=names: foretell(graph, x, names))[1] for names in group(tuple(PROFILES.values()), graph)]
    cpu["reference, all three"] = sum(shared)
    return rows, cpu


def realistic(path: Path, graph: QuantGraph, x: np.ndarray, out: Path) -> tuple[list[Compared], dict[str, float]]:
    """The ONNX file and the IR against the original in two runtimes, and against the reference's profile onnxruntime; CPU seconds."""
    original = {runtime: answers(path, runtime, x)[0] for runtime in ("litert_xnnpack", "tflm")}
    foretold, seconds = cpu_of(lambda: run(graph, x, "onnxruntime")[graph.outputs[0]])
    rows, cpu = [], {"reference onnxruntime": seconds}
    for name, runtime in (("onnx", "onnxruntime"), ("openvino", "openvino")):
        y, cpu[runtime] = answers(out / load(EXPORTERS[name])(graph, out).path, runtime, x)
        y = y.reshape(foretold.shape)
        rows += [compared(f"{name} in {runtime}", f"original in {other}", y, theirs) for other, theirs in original.items()]
        rows.append(compared(f"{name} in {runtime}", "reference onnxruntime", y, foretold))
    rows.append(compared("original in tflm", "original in litert_xnnpack", original["tflm"], original["litert_xnnpack"]))
    return rows, cpu


def classes(outputs: np.ndarray) -> tuple[dict[int, int], int]:
    """(top-1 class → samples, samples whose two largest outputs are the same integer)."""
    found, counts = np.unique(compare.top1(outputs), return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True)), int((lead(outputs) == 0).sum())


def samples_for(graph: QuantGraph, n: int) -> np.ndarray:
    from waist_inputs import realistic as make

    tensor = graph.tensor(graph.inputs[0])
    assert tensor.quantization is not None
    return make(tensor.shape[1:], *tensor.quantization.single, n, DATA / "fsdd" / "recordings.zip")


def cost(path: Path, repeats: int) -> list[Cost]:
    """Converting ``path`` to FORMATS, each time in a new process."""
    found = []
    for _ in range(repeats):
        order = [sys.executable, str(Path(__file__).resolve()), "--convert", str(path)]
        start, before = time.perf_counter(), os.times()
        said = subprocess.run(order, check=True, capture_output=True, text=True, timeout=600).stdout
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        found.append(Cost((time.perf_counter() - start, used), json.loads(said.splitlines()[-1])))
    return found


def convert_here(path: Path) -> dict[str, tuple[float, float]]:
    """In the child: seconds of each stage. Start-up and the tool's own imports are only in the whole."""
    stages: dict[str, tuple[float, float]] = {}

    def clocked(name: str, do: Callable[[], object]) -> object:
        start = time.perf_counter(), time.process_time()
        result = do()
        stages[name] = (time.perf_counter() - start[0], time.process_time() - start[1])
        return result

    read = clocked("import importer", lambda: load(IMPORTERS[path.suffix]))
    graph = clocked("read", lambda: read(path))  # type: ignore[operator]
    with tempfile.TemporaryDirectory() as folder:
        for name in FORMATS:
            export = clocked(f"import {name}", lambda name=name: load(EXPORTERS[name]))
            clocked(f"write {name}", lambda export=export: export(graph, Path(folder)))  # type: ignore[operator]
    return stages


def show(rows: list[Compared], cpu: dict[str, float]) -> None:
    for row in rows:
        exact = "bit-equal" if row.outputs_equal == row.outputs else f"{row.outputs_equal}/{row.outputs} outputs"
        print(
            f"  {row.what:<28} {row.to:<28} n={row.n}: {exact}, {row.samples_equal} samples, top-1 {row.top1_equal / row.n:.2%},"
            f" of clear ones {row.clear_equal}/{row.clear}, LSB {row.histogram}"
        )
    print("  CPU s: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in cpu.items()))


def median(values: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(v[0] for v in values), statistics.median(v[1] for v in values)


def measure(path: Path, given: argparse.Namespace) -> dict[str, object]:
    """All parts asked for of one model, printed as they come unless JSON is wanted."""
    graph, parts, quiet = load(IMPORTERS[path.suffix])(path), given.parts.split(","), given.json
    found: dict[str, object] = {"model": path.name}
    if not quiet:
        print(path.name)
    with tempfile.TemporaryDirectory() as folder:
        if "equal" in parts:
            rows, cpu = equal(path, graph, given.random, Path(folder))
            ratio = cpu["reference, all three"] / sum(cpu[runtime] for runtime in PROFILES)
            found |= {"random": [asdict(row) for row in rows], "random_cpu_s": cpu, "reference_over_runtimes": ratio}
            if not quiet:
                show(rows, cpu)
                print(f"  reference over runtimes, all three profiles: {ratio:.2f} of CPU")
        if "realistic" in parts:
            x = samples_for(graph, given.realistic)
            rows, cpu = realistic(path, graph, x, Path(folder))
            kinds, ties = classes(run(graph, x, "xnnpack")[graph.outputs[0]])
            found |= {"realistic": [asdict(row) for row in rows], "realistic_cpu_s": cpu, "top1_classes": kinds, "top1_ties": ties}
            if not quiet:
                print(f"  realistic: top-1 classes {kinds}, {ties} of {len(x)} tied at the top")
                show(rows, cpu)
    if "cost" in parts:
        costs = cost(path, given.repeats)
        found["cost"] = [asdict(one) for one in costs]
        if not quiet:
            stages = {name: median([c.stages[name] for c in costs]) for name in costs[0].stages}
            print("  converting: wall {:.1f} s, CPU {:.1f} s (n={})".format(*median([c.whole for c in costs]), len(costs)))
            print("  " + ", ".join(f"{name} {wall:.2f}/{cpu:.2f}" for name, (wall, cpu) in stages.items()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", type=Path, default=[DATA / "mlperf_tiny" / f"{name}.tflite" for name in NAMES])
    parser.add_argument("--random", type=int, default=1000)
    parser.add_argument("--realistic", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--parts", default="equal,realistic,cost")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--convert", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.convert:
        print(json.dumps(convert_here(given.convert)))
        return
    results = [measure(path, given) for path in given.models]
    if given.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
