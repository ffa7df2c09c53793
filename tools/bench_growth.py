"""How the cost of a build grows: with targets and workers (``edgekd build --jobs``), and training's memory with the samples.

    OMP_NUM_THREADS=1 python tools/bench_growth.py [--targets 1 2 4 8 12] [--jobs 1 2] [--samples 10000 60000] [--folder DIR] [--json]

Builds are real, each with a cache of its own, but short: a part of Fashion-MNIST, a student of a few thousand weights, a pass or two. Two
targets that want the same student share its trainings, as in any build: how often the teacher ran and what was trained is counted in the
cache. Samples of the second part are noise, and every size trains the same number of steps; ``--samples 1500000`` is mapped, not read.
With --folder what is measured already is not measured again. Exit code 1 where shared work was done twice, or memory grows.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from edgekd import host
from edgekd.data.fashion_mnist import load as fashion_mnist
from edgekd.errors import EdgekdError
from edgekd.records import Plan
from edgekd.runs import read

#: The first so many are the targets of a build; the cap on MACs decides the student, so that neighbours of the list share one.
TARGETS = {
    "nucleo-l4r5zi": 60_000, "pixel-8": 250_000, "orin-nano": 250_000, "intel-n100": 250_000, "rp2040": 60_000, "nrf52840dk": 60_000,
    "nucleo-h7a3zi": 120_000, "nucleo-u575zi": 120_000, "raspberry-pi-4": 500_000, "raspberry-pi-5": 500_000, "galaxy-s24": 500_000,
    "iphone-15": 250_000,
}  # fmt: skip
RECIPE = """schema_version = 1
name = "growth"
[data]
source = "numpy"
options = {{ file = "data.npz" }}
[teacher]
source = "residual_cnn"
options = {{ width = 4 }}
[student]
family = "inverted_residual"
options = {{ stem = 8, widths = [8, 12], blocks = [1, 1], strides = [2, 2], stem_stride = 2, expansion = 2 }}
[student.space]
width = [0.5, 1.0, 1.5, 2.0, 3.0]
[[losses]]
name = "soft_targets"
weight = 1.0
[views]
count = 1
[presets.demo]
float_epochs = {float_epochs}
qat_epochs = {qat_epochs}
batch = 64
"""
#: MiB by which a process may grow from the smallest dataset to the largest, beyond the images that it holds.
FLAT = 32.0
#: Bytes a sample beside its image: a label, its logits in float16, its hash, and in a pass over the data order and view.
BESIDE = 8 + 20 + 16


def recipe(folder: Path, arrays: dict[str, np.ndarray], float_epochs: float, qat_epochs: float) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    caps = "".join(f"[targets.{name}]\nmax_macs = {macs}\n" for name, macs in TARGETS.items())
    (folder / "recipe.toml").write_text(RECIPE.format(float_epochs=float_epochs, qat_epochs=qat_epochs) + caps)
    np.savez(folder / "data.npz", **arrays)  # pyright: ignore[reportArgumentType]
    return folder


def part_of_fashion_mnist(train: int, held: int) -> dict[str, np.ndarray]:
    data = fashion_mnist()
    splits = {"train": (data.train, train), "validation": (data.validation, held), "test": (data.test, held)}
    return {f"{axis}_{name}": getattr(split, axis)[:n] for name, (split, n) in splits.items() for axis in "xy"}


def noise(samples: int) -> dict[str, np.ndarray]:
    rng, arrays = np.random.default_rng(0), {}
    for name, n in (("train", samples), ("validation", 500), ("test", 500)):
        arrays[f"x_{name}"], arrays[f"y_{name}"] = rng.integers(0, 256, (n, 28, 28), np.uint8), np.arange(n) % 10
    return arrays


def built(where: Path, folder: Path, targets: Sequence[str], more: Sequence[str]) -> dict[str, Any]:
    """A build from nothing: seconds, CPU seconds of it and all its children, its own memory at most, what lies in the cache after it."""
    shutil.rmtree(folder, ignore_errors=True)
    runs, load = folder / "runs", os.getloadavg()[0]
    words = [word for target in targets for word in ("--target", target)]
    command = [sys.executable, "-m", "edgekd", "build", str(where), *words, "--runs", str(runs), *more]
    environment = {**host.single_threaded(), "XDG_CACHE_HOME": str(folder / "cache")}
    folder.mkdir(parents=True)
    began, own = time.perf_counter(), 0.0
    with open(folder / "said", "w+", encoding="utf-8") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            own = max(own, _own_mib(process.pid))
            time.sleep(0.02)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)  # it has been waited for
    clock = time.perf_counter() - began
    folders = sorted(runs.glob("*"))
    if len(folders) != len(targets) or not all((run / "records" / "measure.json").is_file() for run in folders):
        raise EdgekdError(f"the build of {', '.join(targets)} failed\n{(folder / 'said').read_text()[-1500:]}")
    counted = {what: len(list((folder / "cache" / "edgekd" / what).glob(pattern))) for what, pattern in KEPT.items()}
    students = {json.dumps(plan.spec, sort_keys=True) for run in folders if isinstance(plan := read(run, "plan").body, Plan)}
    found = {"clock_s": clock, "cpu_s": usage.ru_utime + usage.ru_stime, "own_mib": own, **counted, "students": len(students)}
    shutil.rmtree(folder)
    return {**found, "load": [load, os.getloadavg()[0]]}


#: Files of a teacher's outputs that one pass leaves: of the training images and of the test images.
OUTPUTS = 2
#: What is shared by the targets of a build, in the cache.
KEPT = {"soft_targets": "*.npy", "float": "*", "qat": "*"}


def _own_mib(pid: int) -> float:
    """Memory that is not a file's; 0 where the process has just ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    kept = folder / "growth.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}

    def once(key: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if key not in found:
            found[key] = work()
            kept.with_suffix(".new").write_text(json.dumps(found))
            kept.with_suffix(".new").replace(kept)
            print(f"{key}: {found[key]['clock_s']:.1f} s, {found[key]['cpu_s']:.1f} CPU s", file=sys.stderr, flush=True)
        return found[key]

    where, grown, memory = folder / "recipe", [], []
    if options.targets:
        recipe(where, part_of_fashion_mnist(options.images, 300), 1.0, 1.0)
    for number in range(options.repeats):
        for n in options.targets:
            for jobs in options.jobs:
                key = f"{n} targets, {jobs} workers, {options.images} images, {number}"
                one = once(key, lambda n=n, jobs=jobs: built(where, folder / "b", list(TARGETS)[:n], ["--jobs", str(jobs)]))
                grown.append({"targets": n, "workers": jobs, **one})
    for samples in options.samples:
        epochs = options.steps * 64 / samples

        def trained(samples: int = samples, epochs: float = epochs) -> dict[str, Any]:
            made = recipe(folder / "noise", noise(samples), epochs, epochs)
            try:
                return built(made, folder / "b", [next(iter(TARGETS))], ["--threads", "1"])
            finally:
                shutil.rmtree(made)

        one = once(f"{samples} samples, {options.steps} steps", trained)
        memory.append({"samples": samples, **one, "images_mib": held(samples)})
    return judged(grown, memory)


def held(samples: int) -> float:
    """MiB of images that a process holds: those of a file of a GiB or more stay in it."""
    from edgekd.data.numpy_file import MAPPED

    size = samples * 28 * 28
    return 0.0 if size >= MAPPED else size / 2**20


def judged(grown: list[dict[str, Any]], memory: list[dict[str, Any]]) -> dict[str, Any]:
    """A line through CPU seconds by targets for each number of workers, and what memory does without the images."""
    lines: dict[str, Any] = {}
    for jobs in dict.fromkeys(one["workers"] for one in grown):
        mine = [one for one in grown if one["workers"] == jobs]
        if len({one["targets"] for one in mine}) > 2:
            n, cpu = np.array([one["targets"] for one in mine]), np.array([one["cpu_s"] for one in mine])
            each, once = np.polyfit(n, cpu, 1)
            lines[str(jobs)] = {
                "once_cpu_s": once,
                "a_target_cpu_s": each,
                "off_most": float(np.abs(once + each * n - cpu).max()),
                "n": len(n),
            }
    shared = all(one["soft_targets"] == OUTPUTS and one["float"] == one["students"] for one in grown)
    for one in memory:
        one["rest_mib"] = one["own_mib"] - one["images_mib"] - one["samples"] * BESIDE / 2**20
    flat = max((one["rest_mib"] for one in memory), default=0) - (memory[0]["rest_mib"] if memory else 0)
    return {
        "schema_version": 1, "grown": grown, "lines": lines, "shared_once": shared, "memory": memory,
        "flat": {"grown_mib": flat, "at_most": FLAT, "ok": flat <= FLAT}, "environment": host.environment(),
    }  # fmt: skip


def said(found: dict[str, Any]) -> list[str]:
    lines = ["targets  workers        s    CPU s   teacher files   float trainings   quantized   load"]
    for one in found["grown"]:
        lines.append(
            f"{one['targets']:7}  {one['workers']:7}  {one['clock_s']:7.1f}  {one['cpu_s']:7.1f}   {one['soft_targets']:13}   "
            f"{one['float']:15}   {one['qat']:9}   {one['load'][0]:.1f} to {one['load'][1]:.1f}"
        )
    for jobs, line in found["lines"].items():
        lines.append(
            f"{jobs} workers: {line['once_cpu_s']:.1f} + {line['a_target_cpu_s']:.1f} CPU s a target, off by {line['off_most']:.1f} "
            f"at most (n = {line['n']})"
        )
    lines.append(f"one pass of the teacher a build, one float training a student: {'yes' if found['shared_once'] else 'NO'}")
    for one in found["memory"]:
        lines.append(
            f"{one['samples']:9,} samples: {one['own_mib']:.0f} MiB of its own at most, {one['images_mib']:.0f} of them images, "
            f"{one['rest_mib']:.0f} without what a sample takes; {one['cpu_s']:.1f} CPU s"
        )
    flat = found["flat"]
    lines.append(f"memory grows by {flat['grown_mib']:.1f} MiB beyond that, at most {FLAT:g}: {'met' if flat['ok'] else 'NOT met'}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, nargs="*", default=[1, 2, 4, 8, 12], choices=range(1, len(TARGETS) + 1))
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--images", type=int, default=1000, help="of Fashion-MNIST, to train with")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--samples", type=int, nargs="*", default=[10_000, 60_000, 240_000])
    parser.add_argument("--steps", type=int, default=60, help="of each of the two trainings with these samples")
    parser.add_argument("--folder", type=Path, help="where what was measured is kept; none: a temporary folder")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="edgekd-growth-") as made:
            folder = options.folder or Path(made)
            folder.mkdir(parents=True, exist_ok=True)
            found = compare(options, folder.resolve())
    except EdgekdError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(found, indent=1) if options.json else "\n".join(said(found)))
    return 0 if found["shared_once"] and found["flat"]["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
