"""What follows training: start-up, export, verification of a test set, and the reference beside TFLite Micro. Seconds of CPU and clock.

    OMP_NUM_THREADS=1 python tools/bench_verify.py [--run DIR] [--images 10000] [--rounds 3] [--workers 0] [--kept FILE] [--json]

--run is a run folder of `edgekd build` (or any folder with ``graph/``); without it a student of that kind with random weights. Images are
Fashion-MNIST's test set where they fit it, else noise. A round verifies every runtime of this host at once, the fast ones with the profile
of each, and lets each runtime run the same images by its own API in a process of its own (bench_verify_own.py).
CPU seconds of a verification are those of all its processes, imports and loading too. With --kept a run that is repeated goes on behind
the last whole round. Exit code 1 where a demand is not met; of the two ratios the one to what the runtimes took in the verification itself
counts, for on a machine with other work a second of CPU does more or less at another time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench_statistics import median_interval, spread

from edgekd import host
from edgekd.errors import EdgekdError
from edgekd.export import EXPORTERS
from edgekd.lazy import load
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference import OTHERS, PROFILES, run
from edgekd.runtimes import OPENS, RUNTIMES
from edgekd.runtimes.tflm import open_model
from edgekd.verify.certificate import Samples, Subject, verify

HERE = Path(__file__).resolve().parent
#: Runtime → the exporter whose file it runs. TFLite Micro and LiteRT's reference kernels take some forty times what the fast ones do.
FAST = ("litert_xnnpack", "onnxruntime", "openvino")
#: Of a round's verifications: of every runtime, and of those.
KINDS = ("everything", "fast")
#: What is demanded: seconds of an export, of a fast verification, its CPU seconds to the runtimes' own, a profile's to TFLM's.
EXPORT_S, FAST_S, RATIO, SLOWER = 2.0, 60.0, 1.3, 1.0
COMMANDS = {
    "--help": ["--help"],
    "build --help": ["build", "--help"],
    "targets list": ["targets", "list"],
    "doctor": ["doctor"],
    "plan": ["plan", "models/fashion_mnist", "--target", "nucleo-l4r5zi"],
    "inspect": ["inspect", "{file}"],
}
#: Each in a process of its own: what an export costs where nothing is imported yet, and once more where all is.
EXPORT = """
import json, sys, tempfile, time
from pathlib import Path
spent = []
for _ in range(2):
    clock, cpu = time.perf_counter(), time.process_time()
    from edgekd.export import EXPORTERS
    from edgekd.lazy import load
    from edgekd.quant import io
    graph = io.load(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[2].split(","):
            load(EXPORTERS[name])(graph, Path(folder) / name)
    spent.append([time.perf_counter() - clock, time.process_time() - cpu])
print(json.dumps(spent))
"""


def child(command: Sequence[str]) -> tuple[float, float, str]:
    """Seconds by the clock and of CPU, of a process and its children, and what it printed. Exit code 1 of a command is an answer."""
    clock, cpu = time.perf_counter(), spent()
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=host.single_threaded(), cwd=HERE.parent, check=False
    )
    if done.returncode not in (0, 1) or "Traceback" in done.stderr:
        raise EdgekdError(f"{' '.join(command[:3])} failed\n  {done.stderr.strip()[-500:]}")
    return time.perf_counter() - clock, spent() - cpu, done.stdout


def spent() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(r.ru_utime + r.ru_stime for r in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def summed(values: Sequence[float]) -> dict[str, Any]:
    return {"n": len(values), "median": statistics.median(values), "low": min(values), "high": max(values)}


def starts(file: Path, repeats: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, words in COMMANDS.items():
        each = [child(["-m", "edgekd", *(word.format(file=file) for word in words)]) for _ in range(repeats)]
        found[name] = {"clock_s": summed([one[0] for one in each]), "cpu_s": summed([one[1] for one in each])}
    return found


def exports(graph: Path, repeats: int) -> dict[str, Any]:
    """Each format, and all four in one process."""
    found: dict[str, Any] = {}
    for names in (*EXPORTERS, ",".join(EXPORTERS)):
        each = [json.loads(child(["-c", EXPORT, str(graph), names])[2]) for _ in range(repeats)]
        found["all" if "," in names else names] = {
            "first": {"clock_s": summed([one[0][0] for one in each]), "cpu_s": summed([one[0][1] for one in each])},
            "again": {"clock_s": summed([one[1][0] for one in each]), "cpu_s": summed([one[1][1] for one in each])},
        }
    return found


def verified(graph: QuantGraph, subjects: Sequence[Subject], samples: Samples, workers: int) -> dict[str, Any]:
    """One verification: seconds of it all, and of what the runtimes and the reference computed in it."""
    clock, cpu = time.perf_counter(), spent()
    verdicts = verify(graph, subjects, samples, workers=workers or None)
    took = {"clock_s": time.perf_counter() - clock, "cpu_s": spent() - cpu}
    inside = {v.runtime: v.figures["runtime_cpu_s"].value for v in verdicts}
    profiles = {v.profile: v.figures["reference_cpu_s"].value for v in verdicts}
    return {**took, "runtimes": inside, "profiles": profiles, "ok": {v.runtime: v.ok for v in verdicts}}


def rounds(graph: QuantGraph, files: dict[str, Path], samples: Samples, options: argparse.Namespace) -> list[dict[str, Any]]:
    subjects = {name: Subject(name, RUNTIMES[name], files[name]) for name in files}
    found: list[dict[str, Any]] = json.loads(options.kept.read_text()) if options.kept and options.kept.is_file() else []
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        np.save(Path(folder) / "x.npy", samples.x)
        for number in range(len(found), options.rounds):
            order = list(files) if number % 2 == 0 else list(files)[::-1]
            tool, images = str(HERE / "bench_verify_own.py"), str(Path(folder) / "x.npy")
            alone = {name: json.loads(child([tool, name, str(files[name]), images])[2])["cpu_s"] for name in order}
            everything = verified(graph, list(subjects.values()), samples, options.workers)
            fast = verified(graph, [subjects[name] for name in FAST if name in subjects], samples, options.workers)
            found.append({"alone": alone, "everything": everything, "fast": fast})
            if options.kept:
                options.kept.write_text(json.dumps(found))
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    return found


def profiles(graph: QuantGraph, file: Path, x: np.ndarray, n: int) -> dict[str, Any]:
    """CPU seconds of the reference under each profile and of TFLM on the same images, in turn; ratios of one round."""
    runner = open_model(file)
    work: dict[str, Callable[[], object]] = {"TFLM itself": lambda: runner.run(x)}
    work |= {profile: lambda profile=profile: run(graph, x, profile) for profile in (*PROFILES, *OTHERS)}
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in range(-1, n):  # the first does not count
        names = list(work)
        for name in (*names[number % len(names) :], *names[: number % len(names)]):
            before = time.process_time()
            work[name]()
            if number >= 0:
                times[name].append(time.process_time() - before)
    base = times["TFLM itself"]
    ratios = {name: median_interval([a / b for a, b in zip(each, base, strict=True)]) for name, each in times.items()}
    return {name: {"cpu_s": summed(each), "ratio": ratios[name]} for name, each in times.items()}


def images(graph: QuantGraph, n: int) -> tuple[Samples, str]:
    shape = graph.tensor(graph.inputs[0]).shape[1:]
    if shape == (28, 28, 1):
        try:
            test = load("edgekd.data.fashion_mnist:load")().test
            return Samples((test.x[:n].astype(np.int16) - 128).astype(np.int8), test.y[:n]), "Fashion-MNIST's test set"
        except EdgekdError as error:
            print(error, file=sys.stderr)
    return Samples(np.random.default_rng(0).integers(-128, 128, (n, *shape)).astype(np.int8), None), "noise"


def compare(options: argparse.Namespace) -> dict[str, Any]:
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="edgekd-") as made:
        folder = options.run / "graph" if options.run else Path(made) / "graph"
        if not options.run:
            io.save(load("tests.graph_cases:inverted_residuals")(), folder)
        graph = io.load(folder)
        samples, what = images(graph, options.images)
        files = {name: Path(made) / OPENS[name] / load(EXPORTERS[OPENS[name]])(graph, Path(made) / OPENS[name]).path for name in OPENS}
        if not any(map(shutil.which, ("cc", "gcc", "clang"))):
            del files["c_host"]
        each = rounds(graph, files, samples, options)
        found = {
            "student": {"name": graph.name, "operators": len(graph.ops), "trained": bool(options.run)},
            "starts": starts(files["tflm"], options.starts),
            "exports": exports(folder, options.starts),
            "verification": {"rounds": each, **judged(each)},
            "profiles": profiles(graph, files["tflm"], samples.x[: options.sample], options.profile_rounds),
        }
    how = {"images": len(samples.x), "of": what, "workers": options.workers or host.cores(), "load": [before, os.getloadavg()[0]]}
    return {"schema_version": 1, **found, "demands": demands(found), "how": how, "environment": host.environment()}


def judged(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the rounds: the whole to what the runtimes need alone, and to what they needed in the same verification."""
    found: dict[str, Any] = {
        "alone_cpu_s": {name: spread([one["alone"][name] for one in each]) for name in each[0]["alone"]},
        "runtime_in_it_cpu_s": {name: spread([one["everything"]["runtimes"][name] for one in each]) for name in each[0]["alone"]},
        "reference_cpu_s": {
            name: spread([one["everything"]["profiles"][name] for one in each]) for name in each[0]["everything"]["profiles"]
        },
    }
    for part in KINDS:
        found[part] = {unit: spread([one[part][unit] for one in each]) for unit in ("clock_s", "cpu_s")}
        found[part]["ratio_alone"] = spread([one[part]["cpu_s"] / sum(one["alone"][n] for n in one[part]["runtimes"]) for one in each])
        found[part]["ratio_in_it"] = spread([one[part]["cpu_s"] / sum(one[part]["runtimes"].values()) for one in each])
        found[part]["ok"] = all(all(one[part]["ok"].values()) for one in each)
    return found


def demands(found: dict[str, Any]) -> list[dict[str, Any]]:
    verification = found["verification"]
    slowest = max(found["profiles"][name]["ratio"]["high"] for name in PROFILES)
    exported, fast = found["exports"]["all"]["first"]["cpu_s"]["high"], verification["fast"]["cpu_s"]["mean"]
    rows = [
        ("export of all formats, CPU s", exported, EXPORT_S),
        ("the fast runtimes and the profile of each, CPU s (a quiet core needs no longer by the clock)", fast, FAST_S),
        ("everything, CPU s to the runtimes' own in it", verification["everything"]["ratio_in_it"]["mean"], RATIO),
        ("the slowest rounding profile, CPU s to TFLM's, interval included", slowest, SLOWER),
        ("kinds of verification in which a runtime and its reference disagreed", sum(not verification[k]["ok"] for k in KINDS), 0),
    ]
    return [{"demand": name, "found": value, "at_most": most, "ok": value <= most} for name, value, most in rows]


def said(found: dict[str, Any]) -> list[str]:
    how, lines = found["how"], list[str]()
    load = " to ".join(f"{one:.1f}" for one in how["load"])
    lines.append(f"{found['student']['name']}, {how['images']} of {how['of']}, {how['workers']} workers, load {load}")
    for name, row in found["starts"].items():
        lines.append(f"  {name:16s} {_of(row['cpu_s'])} CPU s, {_of(row['clock_s'])} s")
    for name, row in found["exports"].items():
        lines.append(f"  export {name:9s} first {_of(row['first']['cpu_s'])} CPU s, again {_of(row['again']['cpu_s'])} CPU s")
    verification = found["verification"]
    for name, row in verification["alone_cpu_s"].items():
        lines.append(
            f"  {name:16s} alone {row['mean']:.2f} CPU s, in the verification {verification['runtime_in_it_cpu_s'][name]['mean']:.2f}"
        )
    for part in KINDS:
        row, alone = verification[part], verification[part]["ratio_alone"]
        lines.append(
            f"  {part:16s} {row['cpu_s']['mean']:.1f} CPU s, {row['clock_s']['mean']:.1f} s, {alone['mean']:.3f} of the runtimes alone "
            f"(sd {alone['sd'] or 0:.3f}, n = {alone['n']}), {row['ratio_in_it']['mean']:.3f} of what they took in it"
        )
    for name, row in found["profiles"].items():
        ratio = row["ratio"]
        lines.append(f"  {name:16s} {_of(row['cpu_s'])} CPU s, to TFLM {ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})")
    for row in found["demands"]:
        lines.append(f"{row['demand']}: {row['found']:.3f}, at most {row['at_most']:g}: {'met' if row['ok'] else 'NOT met'}")
    return lines


def _of(row: dict[str, Any]) -> str:
    return f"{row['median']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a run folder")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=7, help="processes of each command and export")
    parser.add_argument("--sample", type=int, default=200, help="images of a round of the profiles")
    parser.add_argument("--profile-rounds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=0, help="processes of a verification at a time; 0: one a core")
    parser.add_argument("--kept", type=Path, help="a file that keeps the rounds; of the same run, images and workers")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        found = compare(options)
    except EdgekdError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(found, indent=1) if options.json else "\n".join(said(found)))
    return 0 if all(row["ok"] for row in found["demands"]) else 1


if __name__ == "__main__":
    sys.exit(main())
