"""One student of two tasks, taught by two teachers, through whole builds: one file, two outputs, each proven and measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edgekd import pipeline, runs
from edgekd.export.tflite import encode
from edgekd.jobs import Request, load_jobs, plan_job
from edgekd.lazy import load
from edgekd.quant import io
from edgekd.quant.capture import capture
from edgekd.quant.freeze import freeze
from edgekd.quant.passes.heads import split_heads
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme
from edgekd.runtimes import RUNTIMES
from edgekd.students.family import open_family
from tests.small_builds import edgekd, two_tasks
from tests.verify.small import corrupt

SCHEDULE = {"float_epochs = 3.5": "float_epochs = 6"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def build(where: Path, root: Path, *targets: str) -> list[Path]:
    request = Request(str(where), targets, threads=1)
    return pipeline.build(request, root, lambda *_: None, resume=False, announce=lambda run: None)


def check_figures(run: Path) -> None:
    """Both tasks are in every verdict and measurement, each against its own teacher."""
    for verdict in runs.read(run, "verify").body:
        assert verdict.ok, verdict.reason
        for name in ("accuracy", "reference_accuracy", "top1_agreement"):
            assert verdict.figures[name] == verdict.figures[f"{name}_shape"]
            assert verdict.figures[f"{name}_light"].n == 96
        assert verdict.figures["accuracy_shape"].value > 0.85 and verdict.figures["accuracy_light"].value > 0.95
    figures = runs.read(run, "measure").body[0].figures
    for name in ("accuracy", "teacher_accuracy"):
        assert figures[name].value == figures[f"{name}_shape"].value and f"{name}_light" in figures
    assert figures["accuracy_light"].value > 0.95 > figures["teacher_accuracy_light"].value


@pytest.mark.slow
def test_two_teachers_two_tasks_one_student_on_every_kind_of_target(tmp_path: Path) -> None:
    """One float training, and one quantized a scheme."""
    targets = ("nucleo-l4r5zi", "pixel-8", "orin-nano", "intel-n100")
    built = build(two_tasks(tmp_path / "recipe", SCHEDULE), tmp_path / "runs", *targets)
    for run in built:
        check_figures(run)
        graph = io.load(run / "graph")
        assert graph.outputs == ("shape", "light")
        assert graph.metadata["tasks"] == {"shape": ["across", "down", "middle", "border"], "light": ["dark", "bright"]}
        assert "labels" not in graph.metadata
        scales = [graph.tensor(name).quantization.single[0] for name in graph.outputs]  # type: ignore[union-attr]
        assert scales[0] != scales[1]
        path = next(p for p in (run / "export").iterdir() if p.suffix in (".tflite", ".onnx", ".xml"))
        exporter = f"edgekd.export.{ {'.tflite': 'tflite', '.onnx': 'onnx', '.xml': 'openvino'}[path.suffix] }"
        metadata = load(f"{exporter}:read_metadata")(path)
        assert metadata["tasks"] == graph.metadata["tasks"]
        if path.suffix != ".tflite":
            assert [output["name"] for output in metadata["outputs"]] == ["shape", "light"]
            assert [output["scale"] for output in metadata["outputs"]] == scales
        assert edgekd("verify", run, "--threads", "1")[0] == 0
        code, out, _ = edgekd("report", run)
        assert code == 0 and "shape:" in out and "light:" in out
        code, out, _ = edgekd("report", run, "--json")
        assert set(json.loads(out)[0]["records"]["measure"]["figures"]) >= {"accuracy", "accuracy_shape", "teacher_accuracy_light"}
    code, out, _ = edgekd("verify", built[0], "--layers", "--threads", "1", "--json")
    assert code == 0 and '"light"' in out and '"shape"' in out


@pytest.mark.slow
def test_a_corrupted_scale_in_the_second_head_of_a_finished_run_is_found(tmp_path: Path) -> None:
    (run,) = build(two_tasks(tmp_path / "recipe", SCHEDULE), tmp_path / "runs", "nucleo-l4r5zi")
    check_figures(run)
    plan, artifact = runs.read(run, "plan").body, runs.read(run, "export").body[0]
    assert plan.figures["model_bytes"].value == pytest.approx(artifact.figures["model_bytes"].value, rel=0.02)
    assert plan.figures["peak_ram_bytes"].value == pytest.approx(
        runs.read(run, "measure").body[0].figures["peak_ram_bytes"].value, rel=0.05
    )
    assert edgekd("verify", run, "--threads", "1")[0] == 0
    graph = io.load(run / "graph")
    load("edgekd.export.tflite:export")(corrupt(graph, "light", 1.02), run / "export")
    code, out, err = edgekd("verify", run, "--threads", "1")
    assert code == 1 and "light (FullyConnected, tensor light)" in out, out + err


@pytest.mark.slow
def test_probabilities_of_each_task(tmp_path: Path) -> None:
    where = two_tasks(tmp_path / "recipe", {**SCHEDULE, 'family = "inverted_residual"': 'family = "inverted_residual"\nsoftmax = true'})
    (run,) = build(where, tmp_path / "runs", "nucleo-l4r5zi")
    check_figures(run)
    graph = io.load(run / "graph")
    assert graph.outputs == ("shape", "light") and graph.metadata["output"] == {"value": "probabilities"}
    path = run / runs.read(run, "export").body[0].path
    x = np.zeros((2, 12, 12, 1), np.int8)
    y = load(RUNTIMES["tflm"])(path).run(x).astype(int) + 128
    assert np.abs(y[:, :4].sum(1) - 256).max() <= 4 and np.abs(y[:, 4:].sum(1) - 256).max() <= 4


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_head_of_its_own_costs_in_a_sketch_what_it_costs_in_a_file(symmetric: bool) -> None:
    family, scheme = open_family("inverted_residual"), Scheme(symmetric_activations=symmetric)
    options = {"stem": 8, "widths": [8, 12], "blocks": [1, 2], "strides": [1, 2], "stem_stride": 2, "expansion": 2, "width": 1.0}
    spec = next(iter(family.candidates(options, {}, (12, 12, 1), 6)))
    assert family.sketch is not None
    bytes_of: dict[str, list[int]] = {"frozen": [], "sketch": []}
    for sizes in ({"": 6}, {"shape": 4, "light": 2}):
        torch.manual_seed(0)
        module = QatModule(split_heads(capture(family.build(spec), (1, 12, 12)), sizes), scheme)
        module.calibrate([torch.rand(16, 1, 12, 12) - 0.5])
        bytes_of["frozen"].append(len(encode(freeze(module))))
        bytes_of["sketch"].append(len(encode(split_heads(family.sketch(spec, scheme), sizes, alike=False))))
    one, two = zip(*bytes_of.values(), strict=True)
    assert two[0] - one[0] == pytest.approx(two[1] - one[1], abs=16) and two[0] > one[0]  # 16: what buffers are aligned to


def test_a_plan_counts_both_heads(tmp_path: Path) -> None:
    (job,) = load_jobs(Request(str(two_tasks(tmp_path / "recipe")), ("nucleo-l4r5zi",)))
    assert job.data.sizes == {"shape": 4, "light": 2}
    plan = plan_job(job)
    assert plan.figures["model_bytes"].kind == "counted"
    assert plan.spec["classes"] == 6
