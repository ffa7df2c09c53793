"""Attached devices, on this machine: what the runner returns is what the reference says, or the row has failed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.bench import write
from edgekd.errors import DeviceError, InputError
from edgekd.export import EXPORTERS
from edgekd.lazy import load
from edgekd.measure import attached
from edgekd.measure.device import Asked, Subject
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph
from edgekd.transports import Ran, Transport
from edgekd.transports.local import LocalTransport, connect
from edgekd.transports.lock import held
from edgekd.verify.returned import judge

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
QUICK = Asked(seconds=0.2, repeats=6, invocations=2, warmup_s=0.05)


def quiet(*_: object) -> None:
    pass


@pytest.fixture
def graph() -> QuantGraph:
    return io.load(GOLDEN / "inverted_residual")


@pytest.fixture
def subject(graph: QuantGraph, tmp_path: Path) -> Subject:
    with np.load(GOLDEN / "inverted_residual" / "inputs.npz") as file:
        x = next(iter(file.values()))[:8]
    device = str(tmp_path / "device")
    return Subject(graph, None, x, np.zeros(8, np.int64), "8 samples", write, address=device, judge=judge, asked=QUICK)


@pytest.mark.parametrize("fmt", ["tflite", "onnx", "openvino"])
def test_each_kind_of_file_is_timed_and_computes_what_it_must(subject: Subject, tmp_path: Path, fmt: str) -> None:
    name = "inverted_residual_symmetric" if fmt == "onnx" else "inverted_residual"
    graph = io.load(GOLDEN / name)
    with np.load(GOLDEN / name / "inputs.npz") as samples:
        x = next(iter(samples.values()))[:8]
    (tmp_path / "out").mkdir()
    file = tmp_path / "out" / load(EXPORTERS[fmt])(graph, tmp_path / "out").path
    bench = attached.host(replace(subject, graph=graph, x=x, file=file), quiet)
    (row,) = bench.rows
    figures = row.measurement.figures
    assert not row.failed.startswith(f"{file.name} computes"), row.failed
    assert figures["latency_ms"].value > 0 and figures["latency_ms"].kind == "measured"
    # Two processes, and as many more as often as a busy machine made it do the job again.
    assert figures["cold_start_ms"].n in [2 * (1 + more) for more in range(attached.MORE + 1)]
    assert figures["top1_agreement"].value == 1 and figures["top1_agreement"].n == 8 and "accuracy" in figures
    assert figures["model_bytes"].value == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert bench.different is None and bench.notes and bench.state["before"]["cores"] >= 1 and bench.state["after"]["load"]
    assert not list((tmp_path / "device").iterdir()), "nothing is left on the device"


def test_a_model_that_computes_something_else_is_an_error(subject: Subject, graph: QuantGraph, tmp_path: Path) -> None:
    weights = next(t for t in graph.tensors.values() if t.data is not None and t.dtype == "int8" and t.data.size > 100)
    assert weights.data is not None
    changed = weights.data.copy()
    changed.reshape(-1)[:50] = 127
    other = replace(graph, tensors={**graph.tensors, weights.name: replace(weights, data=changed)})
    file = tmp_path / load(EXPORTERS["tflite"])(other, tmp_path).path
    wrong = replace(subject, file=file)
    bench = attached.host(replace(wrong, rival=subject), quiet)
    assert not bench.ok and "model.tflite computes something else than the reference: bit-equal for" in bench.rows[0].failed
    assert bench.different is None and not bench.figures, "there is nothing to compare"


def test_a_model_against_itself_has_a_ratio_and_slower_by_half_is_different(subject: Subject) -> None:
    asked = replace(QUICK, seconds=0.6, repeats=12, slow_share=0.5)
    bench = attached.host(replace(subject, asked=asked, rival=subject), quiet)
    ratio = bench.figures["latency_ratio"]
    assert bench.different is True and 1.2 < ratio.value < 1.9 and ratio.low is not None and ratio.low > 1
    assert [row.name[:3] for row in bench.rows] == ["A: ", "B: "]


def test_a_job_whose_interval_is_too_wide_is_done_again(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekd.measure.protocol.enough", lambda *_: False)
    figures = attached.host(subject, quiet).rows[0].measurement.figures
    assert figures["cold_start_ms"].n == 2 * (1 + attached.MORE)
    assert figures["bit_equal"].value == 1, "outputs are those of the first"


def test_what_the_device_lacks_is_found_before_the_run_with_what_installs_it(subject: Subject) -> None:
    class Bare(LocalTransport):
        """Has a Python without runtimes."""

        def run(self, argv: list[str], *, limit_s: float, cwd: str = "") -> Ran:  # type: ignore[override]
            if "facts" not in argv:
                return super().run(argv, limit_s=limit_s, cwd=cwd)
            return Ran(0, json.dumps({"runtimes": {"tflite": {"install": "pip install ai-edge-litert"}}}), "")

    def bare(address: str) -> Transport:
        inner = connect(address)
        return Bare(inner.folder, "a bare device")

    with pytest.raises(DeviceError) as lacking:
        attached.measure(subject, quiet, "ssh", bare)
    assert str(lacking.value).splitlines() == [
        "a bare device: it has no tflite, which runs model.tflite",
        "  expected: tflite",
        "  to mend:  pip install ai-edge-litert (there)",
    ]


def test_a_python_that_cannot_run_the_runner_is_said(subject: Subject) -> None:
    class Old(LocalTransport):
        def run(self, argv: list[str], *, limit_s: float, cwd: str = "") -> Ran:  # type: ignore[override]
            return Ran(127, "", "sh: python3: not found") if argv[0] == "python3" else super().run(argv, limit_s=limit_s, cwd=cwd)

    with pytest.raises(DeviceError, match=r"exit code 127\): sh: python3: not found"):
        attached.measure(subject, quiet, "ssh", lambda address: Old(connect(address).folder, "old"))


def test_a_file_that_does_not_load_there_names_the_device(subject: Subject, tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"TFL3" * 100)
    with pytest.raises(InputError, match="LiteRT does not load it"):
        attached.host(replace(subject, file=tmp_path / "x.tflite"), quiet)
    with pytest.raises(DeviceError, match="onnxruntime here has no ROCMExecutionProvider"):
        load(EXPORTERS["onnx"])(subject.graph, tmp_path)
        asked = replace(QUICK, provider="ROCMExecutionProvider")
        attached.host(replace(subject, file=tmp_path / "model.onnx", asked=asked), quiet)


def test_two_harnesses_on_one_device_do_not_measure_at_once(subject: Subject) -> None:
    with held(connect(subject.address)), pytest.raises(DeviceError, match="another harness measures there"):
        attached.host(subject, quiet)


def test_results_that_are_none_are_an_error(subject: Subject) -> None:
    class Garbled(LocalTransport):
        def get(self, remote: str, local: Path) -> None:
            super().get(remote, local)
            local.write_bytes(local.read_bytes()[:100])

    with pytest.raises(DeviceError, match=r"RESULT.json is not what the runner writes"):
        attached.measure(subject, quiet, "ssh", lambda address: Garbled(connect(address).folder, "garbled"))


def test_a_provider_that_a_file_s_runtime_has_not_is_refused(subject: Subject) -> None:
    with pytest.raises(InputError, match=r"model.tflite: --provider GPU\n  expected: none: LiteRT computes on the processor"):
        attached.host(replace(subject, asked=replace(QUICK, provider="GPU")), quiet)
