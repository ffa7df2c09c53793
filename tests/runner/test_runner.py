"""The on-device runner by itself, as a device runs it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.bench import write
from edgekd.export import onnx
from edgekd.export.tflite import export
from edgekd.measure.attached import RUNNER
from edgekd.measure.device import Subject
from edgekd.measure.files import model_file
from edgekd.quant import io
from tests.runner.loaded import load_runner

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "inverted_residual"
SHORT = {"seconds": 0.12, "repeats": 6, "invocations": 2, "warmup_s": 0.05}


def call(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(RUNNER), *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    export(io.load(GOLDEN), tmp_path)
    with np.load(GOLDEN / "inputs.npz") as file:
        np.save(tmp_path / "x.npy", next(iter(file.values()))[:5])
    return tmp_path


def border(file: Path) -> dict[str, Any]:
    subject = Subject(io.load(GOLDEN.parent / "inverted_residual_symmetric"), None, np.zeros(0), None, "", write, file=file)
    return model_file(subject, file.parent).border


def done(folder: Path, *models: dict[str, Any], **protocol: Any) -> dict[str, Any]:
    entries = [{"name": f"model {i}", "file": "model.tflite", "runtime": "tflite", **model} for i, model in enumerate(models)]
    job = {"schema": 1, "models": entries, "inputs": "x.npy", "protocol": {**SHORT, **protocol}, "outputs": True}
    (folder / "JOB.json").write_text(json.dumps(job))
    ran = call("run", "JOB.json", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert all("progress" in json.loads(line) for line in ran.stdout.splitlines())
    return json.loads((folder / "RESULT.json").read_text())


def test_python_3_7_can_read_it_and_only_the_standard_library_is_imported_at_its_top() -> None:
    tree = ast.parse(RUNNER.read_text(encoding="utf-8"), feature_version=(3, 7))
    for node in tree.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        assert all(name.partition(".")[0] in sys.stdlib_module_names for name in names), names


def test_facts_say_what_there_is_and_what_installs_the_rest() -> None:
    facts = json.loads(call("facts", "--json").stdout)
    assert facts["runtimes"]["tflite"]["module"] == "ai_edge_litert" and facts["runtimes"]["onnxruntime"]["version"]
    assert "install" in facts["runtimes"]["trtexec"] or facts["runtimes"]["trtexec"]["path"]
    assert facts["cores"] >= 1 and facts["memory"]["MemTotal"] > 0 and facts["os"] and facts["python"]


def test_models_take_turns_in_fresh_processes_and_every_time_is_there(folder: Path) -> None:
    result = done(folder, {}, {"options": {"slow_share": 1.0}})
    a, b = result["models"]
    assert a["error"] is None and len(a["cold_start_s"]) == 2 and min(a["cold_start_s"]) > 0
    assert [block["invocation"] for block in a["blocks"]] == [0, 0, 0, 1, 1, 1]
    assert 0 < len(a["blocks"][0]["seconds"]) <= 400 and len(a["blocks"][0]["ruler"]) == len(a["blocks"][0]["seconds"])
    starts = sorted((block["t"], block["model"]) for one in (a, b) for block in one["blocks"])
    assert all({starts[i][1], starts[i + 1][1]} == {"model 0", "model 1"} for i in range(0, 12, 2)), "each round has a block of both"
    medians = [np.median([np.median(block["seconds"]) for block in one["blocks"]]) for one in (a, b)]
    assert medians[1] > 1.5 * medians[0], "the planted slowdown is in the times"
    assert a["peak_rss_bytes"] > a["base_rss_bytes"] > 0 and len(a["file_sha256"]) == 64
    assert np.load(folder / a["outputs"][0]).shape[0] == 5
    assert result["clock"]["after"]["monotonic"] > result["clock"]["before"]["monotonic"]


def test_sustained_blocks_follow_without_a_pause(folder: Path) -> None:
    (one,) = done(folder, {}, sustained_s=1.2)["models"]
    sustained = [block for block in one["blocks"] if block["phase"] == "sustained"]
    assert len(sustained) == 2 and all(block["wall_s"] >= 1 for block in sustained)
    assert all(len(block["seconds"]) <= 25 and not block["ruler"] for block in sustained), "hours of them go into a device's memory"


def test_one_model_that_fails_does_not_stop_the_other(folder: Path) -> None:
    (folder / "broken.tflite").write_bytes((folder / "model.tflite").read_bytes()[:3000])
    result = done(folder, {"file": "broken.tflite"}, {}, {"file": "missing.tflite"}, {"runtime": "abacus"})
    errors = [one["error"] for one in result["models"]]
    assert errors[0] and errors[1] is None and len(result["models"][1]["blocks"]) == 6
    assert errors[2] == "there is no file missing.tflite" and "no runtime 'abacus'" in errors[3]


def test_a_process_that_dies_or_hangs_is_an_error_of_its_model(folder: Path) -> None:
    np.save(folder / "wrong.npy", np.zeros((5, 3), np.int8))
    assert "ValueError" in done(folder, {"inputs": "wrong.npy"})["models"][0]["error"]
    assert done(folder, {}, limit_s=0.01)["models"][0]["error"] == "took over 0.01 s and was ended"


def test_onnxruntime_does_not_fall_back_in_silence(folder: Path) -> None:
    (error,) = (
        one["error"] for one in done(folder, {"runtime": "onnxruntime", "options": {"provider": "CUDAExecutionProvider"}})["models"]
    )
    assert "onnxruntime here has no CUDAExecutionProvider, only " in error


def test_a_provider_that_runs_nothing_is_an_error_though_onnxruntime_takes_it(folder: Path) -> None:
    symmetric = GOLDEN.parent / "inverted_residual_symmetric"
    onnx.export(io.load(symmetric), folder)
    with np.load(symmetric / "inputs.npz") as file:
        np.save(folder / "x.npy", next(iter(file.values()))[:3])
    asked = {"runtime": "onnxruntime", "file": "model.onnx", "border": border(folder / "model.onnx")}
    cpu, azure = done(folder, asked, {**asked, "options": {"provider": "AzureExecutionProvider"}})["models"]
    assert cpu["error"] is None and cpu["provider"] == "CPUExecutionProvider"
    assert azure["error"] == "AzureExecutionProvider runs nothing of this model, CPUExecutionProvider all"


def test_tensorrts_provider_builds_once_in_int8_and_leaves_the_rest_to_cuda() -> None:
    runner = load_runner()
    available = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    (name, options), rest = runner.providers_of("TensorrtExecutionProvider", available, "/folder")
    assert (name, rest) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert options["trt_int8_enable"] == options["trt_engine_cache_enable"] == "True" and options["trt_engine_cache_path"] == "/folder"
    assert runner.providers_of("CUDAExecutionProvider", available, "/folder") == ["CUDAExecutionProvider"]


def test_a_provider_that_builds_an_engine_builds_it_before_any_start_is_timed(folder: Path) -> None:
    """No GPU is at hand: tflite stands in for it, by the provider's name alone."""
    runner = load_runner()
    options = {"provider": runner.TENSORRT}
    model = {"name": "a", "file": "model.tflite", "runtime": "tflite", "options": options}
    run = runner.Run({"models": [model], "inputs": "x.npy", "protocol": SHORT}, str(folder))
    started, starts = run.started, list[int]()
    run.started = lambda i, model: (starts.append(i), started(i, model))[1]
    run.all()
    assert run.results[0]["error"] is None and len(run.results[0]["cold_start_s"]) == 2 and len(starts) == 3


def test_who_ran_how_much_is_said() -> None:
    runner = load_runner()
    model = runner.Model("", "CUDAExecutionProvider", 1, lambda x: None, None, None, lambda: counts)
    counts = {"CUDAExecutionProvider": 12, "CPUExecutionProvider": 2}
    assert model.ran_on(0) == {"provider": "CUDAExecutionProvider (12 of 14 nodes; the rest on CPUExecutionProvider)"}
    counts = {"CUDAExecutionProvider": 14}
    assert model.ran_on(0) == {"provider": "CUDAExecutionProvider"}


def test_peak_memory_is_the_models_and_not_that_of_all_samples(folder: Path) -> None:
    x = np.load(folder / "x.npy")
    np.save(folder / "many.npy", np.zeros((24_000_000 // x[0].size, *x.shape[1:]), np.int8))
    few, many = done(folder, {}, {"inputs": "many.npy"}, invocations=1)["models"]
    assert many["outputs"]
    assert many["peak_rss_bytes"] < few["peak_rss_bytes"] + 10_000_000, "the samples have 24 MB"


def test_energy_is_that_of_the_inferences_which_count(folder: Path) -> None:
    (folder / "meter").write_text("#!/bin/sh\nread up rest < /proc/uptime; echo $up\n")  # a watt, so to speak
    (folder / "meter").chmod(0o755)
    protocol = {**SHORT, "seconds": 2, "invocations": 1}
    job = {"schema": 1, "models": [{"name": "a", "file": "model.tflite", "runtime": "tflite"}], "inputs": "x.npy", "protocol": protocol}
    (folder / "JOB.json").write_text(json.dumps({**job, "meter": [str(folder / "meter")]}))
    assert call("run", "JOB.json", cwd=folder).returncode == 0
    blocks = json.loads((folder / "RESULT.json").read_text())["models"][0]["blocks"]
    joules, seconds = sum(block["joules"]["meter"] for block in blocks), sum(block["wall_s"] for block in blocks)
    assert abs(joules / seconds - 1) < 0.06, "a tenth of each block is not counted"


def test_a_wall_clock_that_jumps_spoils_no_start(folder: Path) -> None:
    """Starts are of the monotonic clock, which all processes of a device share."""
    source = RUNNER.read_text(encoding="utf-8")
    assert source.count("time.time()") == 1, "the wall clock is only told, to be compared"


def test_a_meter_prints_joules_and_nothing_else_will_do(folder: Path) -> None:
    (folder / "meter").write_text('#!/bin/sh\necho "$(cut -d" " -f1 /proc/uptime)"\n')
    (folder / "meter").chmod(0o755)
    job = {"schema": 1, "models": [{"name": "a", "file": "model.tflite", "runtime": "tflite"}], "inputs": "x.npy", "protocol": SHORT}
    (folder / "JOB.json").write_text(json.dumps({**job, "meter": [str(folder / "meter")]}))
    assert call("run", "JOB.json", cwd=folder).returncode == 0
    blocks = json.loads((folder / "RESULT.json").read_text())["models"][0]["blocks"]
    assert all("meter" in block["joules"] for block in blocks), "a watt, so to speak"
    for said in ("warm", "nan", "1e999"):
        (folder / "JOB.json").write_text(json.dumps({**job, "meter": ["echo", said]}))
        ran = call("run", "JOB.json", cwd=folder)
        assert ran.returncode == 2 and f"the meter echo {said} printed {said}, no number of joules" in ran.stderr


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 9}', '{"schema": 1, "models": 3}', '{"schema": 1}'])
def test_a_job_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "JOB.json").write_text(text)
    ran = call("run", "JOB.json", cwd=tmp_path)
    assert ran.returncode == 2 and len(ran.stderr.splitlines()) == 1 and "JOB.json" in ran.stderr, ran.stderr
    assert not (tmp_path / "RESULT.json").exists()
