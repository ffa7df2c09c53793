"""edgekd inspect --target --runtime: what a model would take on a device that is not here."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgekd import inspect_model
from edgekd.cli import app
from edgekd.convert import read_model
from edgekd.errors import InputError
from edgekd.plan.latency_rows import networks, published
from edgekd.plan.latency_store import path, remember
from edgekd.plan.latency_work import work_of
from edgekd.records import Figure
from tests.verify.small import graph as small

LINE = Path(__file__).parent / "importers" / "files" / "one_dimension_int8.tflite"
DATA = Path(os.environ.get("EDGEKD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "mlperf_tiny"


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["inspect", *words])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_figure_with_its_interval_and_source() -> None:
    code, out, err = run(str(LINE), "--target", "nucleo-l4r5zi", "--runtime", "X-CUBE-AI", "--json")
    document = json.loads(out)
    figure, energy = document["figures"]["latency_ms"], document["figures"]["energy_uj"]
    assert code == 0 and (figure["kind"], figure["unit"], energy["unit"]) == ("predicted", "ms", "µJ"), err
    assert 0 < figure["low"] < figure["value"] < figure["high"] and figure["n"] == 12 and "X-CUBE-AI" in figure["where"]
    assert sum(layer["latency_ms"] for layer in document["layers"]) == pytest.approx(figure["value"])
    code, out, _ = run(str(LINE), "--target", "nucleo-l4r5zi", "--runtime", "x-cube-ai")
    said = next(line for line in out.splitlines() if line.startswith("latency_ms: "))
    assert code == 0 and "~MS" in out and f"{figure['value']:.4g} ms [" in said and "90% interval" in said and "12 of 188 rows" in said


def test_what_is_not_calibrated_is_said() -> None:
    code, out, _ = run(str(LINE), "--target", "nucleo-h7a3zi", "--json")
    document = json.loads(out)
    assert code == 0 and document["figures"] == {} and all(layer["latency_ms"] is None for layer in document["layers"])
    assert any(note.startswith("nucleo-h7a3zi: latency is not predicted: Cortex-M7 is calibrated for") for note in document["notes"])
    assert "~MS" not in run(str(LINE))[1]


def test_an_unknown_runtime_is_refused() -> None:
    code, _, err = run(str(LINE), "--target", "nucleo-l4r5zi", "--runtime", "CUBE")
    assert code == 2 and "runtime 'CUBE'" in err and "X-CUBE-AI-8.0" in err and "Traceback" not in err
    code, _, err = run(str(LINE), "--runtime", "X-CUBE-AI", "--target", "tflm")
    assert code == 2 and "runtime 'X-CUBE-AI' of no device" in err and "--target NAME" in err


def test_of_several_targets_the_first_is_plain() -> None:
    found = inspect_model.inspect(small(), ("nucleo-u575zi", "nucleo-l4r5zi", "tflm"), "Plumerai")
    assert set(found.figures) == {"latency_ms", "latency_ms_nucleo-l4r5zi"} and set(found.surveys) == {"tflm"}
    assert found.figures["latency_ms_nucleo-l4r5zi"].value > found.figures["latency_ms"].value


def test_this_machine_is_a_target() -> None:
    graph = small()
    assert "none was measured there" in inspect_model.inspect(graph, ("host",), "litert").notes[-1]
    remember(work_of(graph), Figure(0.5, "ms", "measured", "here"), "litert_xnnpack", "small")
    figure = inspect_model.inspect(graph, ("host",), "litert").figures["latency_ms"]
    assert figure.low is not None and figure.high is not None and figure.low < 0.5 < figure.high
    with pytest.raises(InputError, match=r"this machine has several runtimes(.|\n)*--runtime, one of HALE float"):
        inspect_model.inspect(graph, ("host",))


def test_a_damaged_store_does_not_stop_what_does_not_need_it() -> None:
    path().parent.mkdir(parents=True)
    path().write_text("{")
    assert "latency_ms" in inspect_model.inspect(small(), ("nucleo-l4r5zi",)).figures
    with pytest.raises(InputError, match=r"latency\.jsonl, line 1"):
        inspect_model.inspect(small(), ("pixel-8",))


def test_the_reference_models_are_what_was_counted() -> None:
    if not DATA.is_dir():
        pytest.skip(f"the MLPerf Tiny models are not at {DATA}")
    for task, name in {"ic": "pretrainedResnet_quant", "kws": "kws_ref_model", "vww": "vww_96_int8"}.items():
        graph = read_model(DATA / f"{name}.tflite")
        assert work_of(graph).ops == networks()[task].ops
        row = next(r for r in published() if (r.task, r.runtime, r.board, r.round) == (task, "X-CUBE-AI", "NUCLEO-L4R5ZI", "v1.0"))
        figure = inspect_model.inspect(replace(graph, metadata={}), ("nucleo-l4r5zi",), "X-CUBE-AI").figures["latency_ms"]
        assert figure.low is not None and figure.high is not None and figure.low < row.latency_ms < figure.high
