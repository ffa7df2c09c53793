from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import EdgekdError, InputError
from edgekd.export import onnx, tflite
from edgekd.measure.harness import Task, measure
from edgekd.measure.memory import resident_growth
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.ops import FullyConnected
from edgekd.records import Figure
from edgekd.runtimes import RUNTIMES


def graph(features: int = 256) -> QuantGraph:
    rng = np.random.default_rng(0)
    tensors = (
        Tensor("x", "int8", (1, features), Quantization.per_tensor(1 / 128)),
        Tensor("w", "int8", (4, features), Quantization.per_tensor(0.01), rng.integers(-127, 128, (4, features)).astype(np.int8)),
        Tensor("b", "int32", (4,), Quantization.per_tensor(0.01 / 128), np.zeros(4, np.int32)),
        Tensor("y", "int8", (1, 4), Quantization.per_tensor(0.2)),
    )
    return QuantGraph("g", "channels_last", {t.name: t for t in tensors}, (FullyConnected("fc", ("x", "w", "b"), ("y",)),), ("x",), ("y",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measure")
    tflite.export(graph(), folder)
    onnx.export(graph(), folder)
    return folder


X = np.zeros((1, 256), np.int8)


def test_tflm_stands_in_for_a_microcontroller(folder: Path) -> None:
    task = Task("nucleo", "tflm", RUNTIMES["tflm"], folder / "model.tflite", X, emulated=True)
    found = measure(task, time_limit_s=1, accuracies={"accuracy": Figure(0.9, "share", "measured", "host", 100, 0.8, 0.95)})
    assert {name: figure.kind for name, figure in found.figures.items()} == {
        "latency_ms": "measured",
        "latency_p90_ms": "measured",
        "host_ruler_us": "measured",
        "model_bytes": "counted",
        "peak_ram_bytes": "emulated",
        "accuracy": "emulated",
    }
    assert found.figures["model_bytes"].value == (folder / "model.tflite").stat().st_size
    assert 256 < found.figures["peak_ram_bytes"].value < 16384
    assert found.figures["latency_ms"].where.startswith("host: ")
    assert "TFLM" in found.figures["latency_ms"].where
    assert "latency: of this host, which is no nucleo" in found.notes


def test_other_runtimes_grow_the_process(folder: Path) -> None:
    found = measure(Task("pi", "onnxruntime", RUNTIMES["onnxruntime"], folder / "model.onnx", X), time_limit_s=1)
    ram = found.figures["peak_ram_bytes"]
    assert (ram.kind, ram.n) == ("measured", 3)
    assert ram.value > 100_000
    assert ram.low is not None
    assert ram.high is not None
    assert ram.low <= ram.value <= ram.high
    assert ram.high - ram.low < 0.05 * ram.value  # the processes are laid out alike
    latency = found.figures["latency_ms"]
    assert latency.n is not None and latency.low is not None and latency.high is not None
    assert latency.n >= 6 and latency.low <= 0.97 * latency.value and latency.high >= 1.03 * latency.value
    assert latency.where == found.figures["latency_p90_ms"].where and latency.where.endswith("1 thread")
    assert any("where another session's is expected" in note for note in found.notes)


def test_the_process_that_fails_is_named(folder: Path) -> None:
    (folder / "broken.onnx").write_bytes(b"no")
    with pytest.raises(EdgekdError, match=r"open_model ended with 2 on .*broken\.onnx"):
        resident_growth(RUNTIMES["onnxruntime"], folder / "broken.onnx", (256,), "int8")
    with pytest.raises(EdgekdError, match=r"took over 0\.001 s to open and run nothing"):
        resident_growth(RUNTIMES["onnxruntime"], folder / "model.onnx", (256,), "int8", time_limit_s=0.001)
    with pytest.raises(InputError, match="there is no such file"):
        measure(Task("pi", "onnxruntime", RUNTIMES["onnxruntime"], folder / "gone.onnx", X))


def test_a_process_that_dies_is_named(folder: Path) -> None:
    (folder / "broken.onnx").write_bytes(b"no")
    with pytest.raises(EdgekdError, match=r"onnxruntime:open_model ended with 2 on .*broken\.onnx"):
        measure(Task("pi", "onnxruntime", RUNTIMES["onnxruntime"], folder / "broken.onnx", X))
