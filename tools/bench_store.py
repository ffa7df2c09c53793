"""What the store of soft targets costs: bytes a sample, seconds a million, memory as samples grow, and how soon a second student starts.

    python tools/bench_store.py [--samples 1000000] [--starts 7] [--large] [--folder DIR] [--json]

Samples are made up, so that no dataset is needed; those of "a whole lesson" lie in a file, which is read and hashed as a recipe's is. What
is timed on fewer samples than a million says so.
Every child is a process of its own, for peaks are of a whole process. Exit code 1 where memory grows with the samples, or a second student
takes 5 s or more from the start of its process to its first batch.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()
MILLION, VIEWS, BATCH = 1_000_000, 2, 128
#: Where memory is said to be flat: growth of the peak from N to 4N and to 16N samples, in MiB.
FLAT = 8.0
#: Seconds from the start of a second student's process to its first batch.
START = 5.0
#: A second student as `edgekd build` starts it: the data read and hashed, the recipe's losses tried, the teacher opened, its answers found.
RECIPE = """schema_version = 1
name = "store"
[data]
source = "numpy"
options = { file = "data.npz" }
[teacher]
source = "bench_store:linear"
[student]
family = "inverted_residual"
options = { stem = 8, widths = [8, 12], blocks = [1, 2], strides = [1, 2], stem_stride = 2, expansion = 2, width = 1.0 }
[[losses]]
name = "soft_targets"
weight = 1.0
[views]
count = 2
shift = 1
[presets.demo]
float_epochs = 1
qat_epochs = 1
"""
#: Name: classes, largest logits that are stored (0: all), samples to time.
STORES = {"10 classes": (10, 0, 400_000), "1000 classes": (1000, 0, 40_000), "1000 classes, top_k = 16": (1000, 16, 40_000)}


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--samples", type=int, default=MILLION, help="of the store that a second student opens")
    made.add_argument("--starts", type=int, default=7)
    made.add_argument("--large", action="store_true", help="also a store of 1000 classes whole: 2 GB on the disk")
    made.add_argument("--folder", type=Path, default=None, help="where stores are made and removed; none: a temporary folder")
    made.add_argument("--json", action="store_true")
    made.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.child:
        what, folder, *numbers = options.child
        print(json.dumps(CHILDREN[what](Path(folder), *map(int, numbers))))
        return 0
    with tempfile.TemporaryDirectory(prefix="edgekd-store-", dir=options.folder) as folder:
        found = measured(Path(folder), options)
    print(json.dumps(found, indent=1) if options.json else "\n".join(said(found)))
    return 0 if found["flat"]["ok"] and all(one["ok"] for one in found["starts"].values()) else 1


def measured(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    stores = {name: child("made", folder / "s", samples, classes, top) for name, (classes, top, samples) in STORES.items()}
    shutil.rmtree(folder / "s")
    teacher = child("taught", folder / "t", 1024)
    peaks = {n: child("made", folder / "p", n, 100, 0)["peak_mib"] for n in (50_000, 200_000, 800_000)}
    shutil.rmtree(folder / "p")
    grown = max(peaks.values()) - peaks[50_000]
    starts = {}
    kinds = {"10 classes": (10, 0), "1000 classes, top_k = 16": (1000, 16), **({"1000 classes": (1000, 0)} if options.large else {})}
    for name, (classes, top) in kinds.items():
        asked = (folder / "l", options.samples, classes, top)
        child("made", *asked)
        each = [timed_child("started", *asked) for _ in range(options.starts)]
        starts[name] = _start(each, options.samples)
        shutil.rmtree(folder / "l")
    lessons = [timed_child("lesson", folder / "r", options.samples) for _ in range(1 + max(1, options.starts // 2))][1:]
    starts["a whole lesson, 28x28"] = _start(lessons, options.samples)
    flat = {"peak_mib": peaks, "grown_mib": grown, "at_most": FLAT, "ok": grown <= FLAT}
    return {"cores": os.cpu_count(), "stores": stores, "teacher": teacher, "flat": flat, "starts": starts}


def _start(each: list[dict[str, Any]], samples: int) -> dict[str, Any]:
    """Medians, and the longest."""
    most = max(one["process"] for one in each)
    median = {part: sorted(one[part] for one in each)[len(each) // 2] for part in each[0]}
    return {"samples": samples, "n": len(each), "most": most, **median, "ok": most < START}


def child(what: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", what, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def timed_child(what: str, *arguments: object) -> dict[str, Any]:
    began = time.perf_counter()
    found = child(what, *arguments)
    return {**found, "process": time.perf_counter() - began}


def stored(folder: Path, samples: int, classes: int, top: int) -> tuple[Any, Path]:
    """The store of a teacher that takes no time, made if it is not there, and its file."""
    import numpy as np

    from edgekd.teachers.soft_targets import Shown, soft_targets
    from edgekd.teachers.teacher import Teacher
    from edgekd.teachers.top_k import TopK

    answers = np.random.default_rng(0).normal(0, 3, (500, classes)).astype(np.float32)
    pixels = np.zeros((500, 8, 8, 1), np.uint8)
    view: Callable[[int, int], np.ndarray] = lambda start, stop: pixels[: stop - start]  # noqa: E731
    file = folder / f"{samples}-{classes}-{top}.npy"
    teacher = Teacher(_nothing(), (0.0,), (1.0,))
    shown = Shown((view,) * (VIEWS if top or classes < 1000 else 1), samples, classes, top)
    found = soft_targets(teacher, shown, file, lambda *_: None, run=lambda _, x, **__: answers[: len(x)])
    return (TopK(found, classes) if top else found), file


def made(folder: Path, samples: int, classes: int, top: int) -> dict[str, Any]:
    _one_thread()
    importlib.import_module("edgekd.teachers.soft_targets")  # which is not timed
    began = time.perf_counter()
    targets, file = stored(folder, samples, classes, top)
    seconds, pairs = time.perf_counter() - began, targets.shape[0] * samples
    whole = sum(path.stat().st_size for path in (file, file.with_suffix(".sha256")))
    return {
        "samples": samples, "views": targets.shape[0], "bytes_a_sample_and_view": whole / pairs,
        "seconds_a_million": seconds / pairs * MILLION, "timed_on": pairs, "peak_mib": _status("VmHWM"),
    }  # fmt: skip


def taught(folder: Path, samples: int) -> dict[str, Any]:
    """With the teacher that this repository's recipes have, on one thread."""
    _one_thread()
    import numpy as np

    from edgekd.teachers.residual_cnn import residual_cnn
    from edgekd.teachers.soft_targets import Shown, soft_targets
    from edgekd.teachers.teacher import Teacher

    teacher = Teacher(residual_cnn(channels=1, classes=10, width=16), (0.0,), (1.0,))
    x = np.zeros((samples, 28, 28, 1), np.uint8)
    began = time.perf_counter()
    soft_targets(teacher, Shown((lambda start, stop: x[start:stop],), samples, 10), folder / "t.npy", lambda *_: None)
    return {"teacher": "residual_cnn, width 16, 28x28", "seconds_a_million": (time.perf_counter() - began) / samples * MILLION,
            "timed_on": samples, "threads": 1}  # fmt: skip


def started(folder: Path, samples: int, classes: int, top: int) -> dict[str, Any]:
    """A second student's process up to its first batch, then 500 more batches."""
    _one_thread()
    import numpy as np
    import torch

    from edgekd.data.dataset import Split
    from edgekd.data.views import Views
    from edgekd.train.distill import Feed

    imported = time.perf_counter()
    targets, _ = stored(folder, samples, classes, top)
    opened = time.perf_counter()
    x = np.broadcast_to(np.zeros((1, 8, 8, 1), np.uint8), (samples, 8, 8, 1))
    views = Views(targets.shape[0], shift=1)
    feed = Feed(Split(x, np.zeros(samples, np.int64)), views, (targets,), BATCH, (8, 8))
    batches = feed.batches(torch.Generator().manual_seed(0))
    next(batches)
    first, own, mapped = time.perf_counter(), _status("RssAnon"), _status("RssFile")
    for _, _ in zip(range(500), batches, strict=False):
        pass
    a_batch = (time.perf_counter() - first) / 500
    return {
        "imports": imported - STARTED, "open": opened - imported, "first_batch": first - opened, "ms_a_batch": 1e3 * a_batch,
        "own_mib_grown": _status("RssAnon") - own, "mapped_mib_grown": _status("RssFile") - mapped, "peak_mib": _status("VmHWM"),
    }  # fmt: skip


def linear(*, channels: int, classes: int) -> Any:
    """A teacher that takes next to no time."""
    from torch import nn

    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(49 * channels, classes))


def lesson(folder: Path, samples: int) -> dict[str, Any]:
    """From a recipe to the first batch; the first time the data and the answers are made."""
    _one_thread()
    import numpy as np
    import torch

    from edgekd.data.load import load_data
    from edgekd.recipe.load import load
    from edgekd.train.lesson import open_lesson
    from edgekd.train.student import Training

    imported = time.perf_counter()
    if not folder.exists():
        folder.mkdir()
        (folder / "recipe.toml").write_text(RECIPE)
        rng = np.random.default_rng(0)
        arrays = {}
        for part, n in (("train", samples), ("validation", 1000), ("test", 1000)):
            arrays[f"x_{part}"], arrays[f"y_{part}"] = rng.integers(0, 256, (n, 28, 28), np.uint8), np.arange(n) % 10
        np.savez(folder / "data.npz", **arrays)
    began = time.perf_counter()
    loaded = load(folder)
    data = load_data(loaded.recipe.data.source, loaded.recipe.data.options, loaded.folder)
    read = time.perf_counter()
    _ = data.sha256
    hashed = time.perf_counter()
    opened = open_lesson(loaded, data, folder / "cache", lambda *_: None)
    found = time.perf_counter()
    feed = Training(opened, loaded.recipe.presets["demo"], (28, 28), 0).feed
    next(feed.batches(torch.Generator().manual_seed(0)))
    return {"imports": imported - STARTED, "read": read - began, "hash": hashed - read, "open": found - hashed,
            "first_batch": time.perf_counter() - found, "peak_mib": _status("VmHWM")}  # fmt: skip


CHILDREN: dict[str, Callable[..., dict[str, Any]]] = {"made": made, "taught": taught, "started": started, "lesson": lesson}


def said(found: dict[str, Any]) -> list[str]:
    lines = ["store                          bytes a sample and view   seconds a million, of the store alone"]
    for name, one in found["stores"].items():
        how = "extrapolated from" if one["timed_on"] < MILLION else "timed on"
        lines.append(f"{name:30} {one['bytes_a_sample_and_view']:>23.1f}   {one['seconds_a_million']:.1f} ({how} {one['timed_on']:,})")
    one = found["teacher"]
    lines.append(f"with {one['teacher']}, {one['threads']} thread: {one['seconds_a_million']:,.0f} s a million "
                 f"(extrapolated from {one['timed_on']:,})")  # fmt: skip
    peaks = ", ".join(f"{mib:.0f} MiB for {n:,}" for n, mib in found["flat"]["peak_mib"].items())
    lines.append(f"peak memory of a process that computes a store of 100 classes: {peaks} samples in {VIEWS} views")
    lines.append(f"  grows by {found['flat']['grown_mib']:.1f} MiB, at most {FLAT}: {_verdict(found['flat']['ok'])}")
    for name, one in found["starts"].items():
        lines.append(
            f"second student, {one['samples']:,} samples, {name}: {one['process']:.2f} s of a process, at most {one['most']:.2f} "
            f"(n = {one['n']}): {_verdict(one['ok'])}"
        )
        if "read" in one:
            lines.append(
                f"  imports {one['imports']:.2f} s, data read {one['read']:.2f} s, hashed {one['hash']:.2f} s, "
                f"teacher and answers {one['open']:.2f} s, first batch {one['first_batch']:.2f} s; peak {one['peak_mib']:.0f} MiB"
            )
            continue
        lines.append(
            f"  imports {one['imports']:.2f} s, open {one['open']:.2f} s, first batch {one['first_batch']:.2f} s; then "
            f"{one['ms_a_batch']:.2f} ms a batch of {BATCH}; in 500 batches {one['own_mib_grown']:.1f} MiB of its own memory, "
            f"{one['mapped_mib_grown']:.0f} MiB of the file mapped"
        )
    return lines


def _verdict(ok: bool) -> str:
    return "as asked" if ok else "NOT as asked"


def _nothing() -> Any:
    from torch import nn

    return nn.Identity()


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def _status(name: str) -> float:
    """A figure of /proc/self/status, in MiB."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    sys.exit(main())
