"""Run folders with every record that a page can show, made in a moment: the graph is a golden one, all figures are invented."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from edgekd import runs
from edgekd.profile.load import load as load_profile
from edgekd.quant import io as graph_io
from edgekd.quant.graph import QuantGraph
from edgekd.records import (
    Artifact,
    Bin,
    BudgetUse,
    Checkpoint,
    ComparedTensor,
    Examination,
    Examined,
    Example,
    Figure,
    Measurement,
    Plan,
    Record,
    Verdict,
)

GOLDEN = Path(__file__).parent / "golden"
LABELS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
ENVIRONMENT = {"cpu": "a processor", "python": "3.11", "created": "2026-11-22T07:21:21+00:00"}
#: What no plan can count stands only in the configuration.
LIMITS = {"latency_ms": {"limit": 500.0, "unit": "ms", "source": "profile"}}
HOST = "host: a processor, a runtime 1.0, 1 thread"


def share(value: float, n: int = 1000, where: str = HOST) -> Figure:
    return Figure(value, "share", "measured", where, n=n, low=max(0.0, value - 0.01), high=min(1.0, value + 0.01))


def write(run: Path, stage: str, body: object, *, seconds: float = 12.5, files: Sequence[str] = (), **figures: Figure) -> None:
    config = {"preset": "demo", "seed": 0, "recipe_folder": "models/clothes", "schedule": {"batch": 64}, "budgets": LIMITS}
    runs.write(run, Record(stage, {}, config, ENVIRONMENT, body, seconds, figures=figures), files=files)


def run(
    root: Path, target: str = "nucleo-l4r5zi", *, seed: int = 0, ok: bool = True, examine: bool = True, labels: Sequence[str] = LABELS
) -> Path:
    """A finished run of "clothes" for ``target``; the seed varies its figures."""
    profile = load_profile(target)
    made = runs.create(root, "clothes", target, {"seed": seed, "profile": profile.model_dump(mode="json")})
    graph = graph_io.load(GOLDEN / "inverted_residual")
    rng = np.random.default_rng(seed)
    accuracy, size = 0.905 + 0.01 * seed + rng.uniform(0, 0.004), 60_000 + 45_000 * seed
    budgets = (
        BudgetUse("model_bytes", size + 200, size * 1.1, "B", f"recipe, targets.{target}"),
        BudgetUse("max_macs", 4.3e6, 4.5e6, "MAC", f"profile {target}"),
        BudgetUse("accuracy_drop_pp", 0, 4 if ok else 0.5, "pp", "command line"),
    )
    counted = {"macs": Figure(4.3e6, "MAC", "counted", "the graph"), "parameters": Figure(44_554, "", "counted", "the graph")}
    write(made, "plan", Plan(target, "inverted_residual", {"width": 8}, counted, budgets, 192, ("latency is not predicted",)))
    for stage, passes in (("float", 5), ("qat", 2)):
        (made / f"{stage}.safetensors").write_bytes(stage.encode())
        history = tuple(
            {"phase": stage, "loss": 4 / (n + 1) + rng.uniform(0, 0.1), "validation": 0.93 - 0.1 / (n + 1), "seconds": 38.0}
            for n in range(passes)
        )
        sha256 = runs.sha256_file(made / f"{stage}.safetensors")
        write(made, stage, Checkpoint(f"{stage}.safetensors", sha256, history, {"validation_accuracy": share(0.92, 500)}))
    graph_io.save(graph, made / "graph")
    files = ("graph/graph.json", "graph/weights.safetensors")
    write(made, "freeze", Artifact("quantgraph", files[0], runs.sha256_file(made / files[0]), {}, files))
    write(made, "baseline", Measurement("ptq.tflite", target, {"accuracy": share(accuracy - 0.015)}))
    runtimes = ("tflm", "litert_ref") if ok else ("tflm", "litert_xnnpack")
    verdicts = []
    for at, name in enumerate(runtimes):
        equal = ok or at == 0
        reason = "bit-equal for 100% of 1000 samples" if equal else "one of 1000 samples differs"
        histogram = {"0": 10_000} if equal else {"0": 9_990, "1": 6, "-1": 4}
        agreed = {"bit_equal": share(1.0), "accuracy": share(accuracy), "top1_agreement": share(1.0)}
        verdicts.append(Verdict("m.tflite", name, name, equal, reason, histogram, agreed, None if equal else "relu_3 (Conv2D)"))
    write(made, "verify", verdicts)
    latency = 3.0 / (seed + 1)
    costs = {
        "accuracy": share(accuracy),
        "teacher_accuracy": share(0.945),
        "model_bytes": Figure(size, "B", "counted", "file"),
        "peak_ram_bytes": Figure(48_000, "B", "emulated", "arena"),
        "latency_ms": Figure(latency, "ms", "measured", HOST, n=50, low=latency * 0.97, high=latency * 1.04),
    }
    write(made, "measure", [Measurement("m.tflite", target, costs, ("latency: none was dropped",))])
    if examine:
        add_examination(made, graph, labels, seed=seed, runtimes=runtimes if ok else runtimes[::-1], equal=ok)
    return made


def add_examination(
    made: Path, graph: QuantGraph, labels: Sequence[str], *, seed: int, runtimes: Sequence[str], equal: bool = True
) -> None:
    """The record "examine" with its picture."""
    rng = np.random.default_rng(seed + 100)
    n, size = 100, len(labels)
    student, teacher = (_confusion(rng, size, n, right) for right in (0.9, 0.94))
    examples = tuple(
        Example(int(rng.integers(10_000)), at % size, (at + 1) % size, at % size, float(rng.uniform(0.5, 1)), float(rng.uniform(0.5, 1)))
        for at in range(12)
    )
    pixels = np.concatenate([rng.integers(0, 255, (28, 28)) * (np.hypot(*np.mgrid[-14:14, -14:14]) < 4 + at) for at in range(12)], 1)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    (made / "examine").mkdir(exist_ok=True)
    (made / "examine" / "examples.png").write_bytes(file.getvalue())
    recall = min(row[at] / sum(row) for at, row in enumerate(student))
    figures = {
        "accuracy": share(sum(row[at] for at, row in enumerate(student)) / (n * size), n * size),
        "worst_class_accuracy": share(recall, n),
        "calibration_error": Figure(0.021, "share", "measured", HOST, n=n * size),
        "teacher_agreement": share(0.93, n * size),
    }
    task = Examined("class", tuple(labels), student, _bins(rng, 0.0), figures, teacher, _bins(rng, 0.04), examples)
    tensors = tuple(
        ComparedTensor(
            op.outputs[0], type(op).__name__, name, 64_000, 0 if equal or at or n < 3 else 3 * n, 0.0 if equal or at or n < 3 else 1.0
        )
        for at, name in enumerate(runtimes)
        for n, op in enumerate(graph.ops)
    )
    sha256 = runs.sha256_file(made / "examine" / "examples.png")
    body = Examination("the reference, tflm", n * size, (task,), figures, tensors, "examine/examples.png", sha256)
    write(made, "examine", body)


def _confusion(rng: np.random.Generator, size: int, n: int, right: float) -> tuple[tuple[int, ...], ...]:
    rows = []
    for at in range(size):
        shares = rng.dirichlet(np.full(size, 0.3)) * (1 - min(0.99, right + rng.uniform(-0.08, 0.06)))
        shares[at] += 1 - shares.sum()
        rows.append(tuple(int(v) for v in rng.multinomial(n, shares)))
    return tuple(rows)


def _bins(rng: np.random.Generator, shift: float) -> tuple[Bin, ...]:
    found = []
    for at in range(10):
        n = int(10 + at**3)
        confidence = (at + 0.5) / 10
        correct = int(min(n, max(0, n * (confidence + shift + rng.uniform(-0.06, 0.03)))))
        found.append(Bin(at / 10, (at + 1) / 10, n, correct, confidence))
    return tuple(found)
