"""A user's own file that kills the runtime: verify says so, and still judges the runtimes that live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from typer.testing import CliRunner

from edgekd.cli import app
from edgekd.export.tflite import export
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.ops import BatchMatMul


def deadly(folder: Path) -> Path:
    """A product with a constant whose scales make a multiplier of 500: ai-edge-litert 2.3 dies of it in XNNPACK; the exporter refuses."""
    constant = np.random.default_rng(0).integers(-127, 127, (1, 8, 8)).astype(np.int8)
    tensors = {
        "x": Tensor("x", "int8", (1, 4, 8), Quantization.per_tensor(1.0, 0)),
        "w": Tensor("w", "int8", (1, 8, 8), Quantization.per_tensor(1.0, 0), constant),
        "y": Tensor("y", "int8", (1, 4, 8), Quantization.per_tensor(0.01, 0)),
    }
    graph = QuantGraph("product", "channels_last", tensors, (BatchMatMul("product", ("x", "w"), ("y",)),), ("x",), ("y",), {})
    model: Any = schema.ModelT.InitFromPackedBuf((folder / export(graph, folder).path).read_bytes(), 0)
    model.subgraphs[0].tensors[model.subgraphs[0].outputs[0]].quantization.scale = [0.002]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    (folder / "deadly.tflite").write_bytes(bytes(builder.Output()))
    return folder / "deadly.tflite"


def test_a_runtime_that_dies_is_said_and_the_others_are_judged(tmp_path: Path) -> None:
    path = deadly(tmp_path)
    done = CliRunner().invoke(app, ["verify", str(path), "--threads", "1"])
    assert isinstance(done.exception, SystemExit) and done.exit_code == 1, "a crash is no agreement"
    assert [line.split()[1:3] for line in done.stdout.splitlines()[1:3]] == [["tflm", "ok"], ["litert_ref", "ok"]]
    assert f"deadly.tflite in litert_xnnpack: not run: litert_xnnpack-0 died of SIGSEGV on {path}" in done.stdout
