"""Stands in for NVIDIA's trtexec, which needs a GPU: takes its options, writes its files in its formats, computes by ONNX Runtime.

Formats of TensorRT 8.6: samples/common/sampleReporting.cpp (--exportTimes, --exportProfile, --exportOutput), the engine inspector with
detailed verbosity (--exportLayerInfo), and lines of its log. An "engine" here is the ONNX file itself. What it cannot show: how a GPU
rounds, how long it takes, and options that only the real one refuses.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

KNOWN = {
    "--onnx", "--int8", "--fp16", "--saveEngine", "--loadEngine", "--skipInference", "--profilingVerbosity", "--duration", "--warmUp",
    "--iterations", "--loadInputs", "--exportTimes", "--exportOutput", "--exportLayerInfo", "--exportProfile", "--dumpProfile",
    "--separateProfileRun",
}  # fmt: skip


def main(argv: list[str]) -> int:
    options = {key: value for key, _, value in (one.partition("=") for one in argv)}
    print(f"&&&& RUNNING TensorRT.trtexec [TensorRT v8602] # trtexec {' '.join(argv)}")
    if unknown := sorted(set(options) - known()):
        print(f"[11/22/2026-12:00:00] [E] Unknown option: {unknown[0]} {options[unknown[0]]}")
        return 1
    print("[11/22/2026-12:00:00] [I] === Device Information ===\n[11/22/2026-12:00:00] [I] Selected Device: Orin")
    if "--onnx" in options:
        try:
            onnx.checker.check_model(options["--onnx"])
        except Exception as error:
            print(f"[11/22/2026-12:00:00] [E] [TRT] ModelImporter.cpp:771: {str(error).splitlines()[0]}")
            print(f"&&&& FAILED TensorRT.trtexec [TensorRT v8602] # trtexec {' '.join(argv)}")
            return 1
        shutil.copyfile(options["--onnx"], options["--saveEngine"])
    if not {"--skipInference", "--buildOnly"} & set(options):
        infer(options)
    print(f"&&&& PASSED TensorRT.trtexec [TensorRT v8602] # trtexec {' '.join(argv)}")
    return 0


def known() -> set[str]:
    """As of TensorRT 8.6; with STAND_IN_IS 8 as up to 8.5, with 11 as from 11 on: samples/common/sampleOptions.cpp of these."""
    version = os.environ.get("STAND_IN_IS", "")
    return {"8": KNOWN - {"--skipInference"} | {"--buildOnly"}, "11": KNOWN - {"--int8", "--fp16"}}.get(version, KNOWN)


def infer(options: dict[str, str]) -> None:
    model = options["--loadEngine"]
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(Path(model).read_bytes(), settings, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    shape = [size if isinstance(size, int) else 1 for size in entry.shape]
    dtype = {"tensor(float)": "float32", "tensor(int8)": "int8", "tensor(uint8)": "uint8"}[entry.type]
    x = np.zeros(shape, dtype)
    if "--loadInputs" in options:
        name, _, file = options["--loadInputs"].partition(":")
        assert name == entry.name, f"Input name {name} is none of the engine's"
        x = np.fromfile(file, dtype).reshape(shape)
    print(f"[11/22/2026-12:00:00] [I] Input binding for {entry.name} with dimensions {'x'.join(map(str, shape))} is created.")
    outputs = dict(zip([one.name for one in session.get_outputs()], session.run(None, {entry.name: x}), strict=True))
    for name, y in outputs.items():
        print(f"[11/22/2026-12:00:00] [I] Output binding for {name} with dimensions {'x'.join(map(str, y.shape))} is created.")
    if "--exportTimes" in options:
        write(options["--exportTimes"], timed(session, {entry.name: x}, float(options["--duration"]), float(options["--warmUp"])))
    if "--exportOutput" in options:
        parts = [
            {"name": name, "dimensions": "x".join(map(str, y.shape)), "values": [float(f"{v:.6g}") for v in y.ravel()]}
            for name, y in outputs.items()
        ]
        write(options["--exportOutput"], parts[::-1])  # an unordered map in the original
    if "--exportLayerInfo" in options:
        layers(model, options, [entry.name, *outputs])


def timed(session: Any, feed: dict[str, np.ndarray], seconds: float, warm_ms: float) -> list[dict[str, float]]:
    """With those of the warm-up, as up to TensorRT 8.5."""
    found, began, now = [], time.perf_counter(), 0.0
    while now < warm_ms + 1e3 * seconds:
        start = 1e3 * (time.perf_counter() - began)
        session.run(None, feed)
        now = 1e3 * (time.perf_counter() - began)
        h2d, d2h = 0.01, 0.005
        found.append(
            {"startEnqMs": start, "endEnqMs": start + 0.02, "startH2dMs": start, "endH2dMs": start + h2d, "startComputeMs": start + h2d,
             "endComputeMs": now, "startD2hMs": now, "endD2hMs": now + d2h, "h2dMs": h2d, "computeMs": now - start - h2d, "d2hMs": d2h,
             "latencyMs": now - start + d2h}
        )  # fmt: skip
    return found


def layers(model: str, options: dict[str, str], bindings: list[str]) -> None:
    """Convolutions and products in int8, what stands between them in floats; milliseconds are invented."""
    listed: list[dict[str, Any]] = []
    for node in onnx.load(model).graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        integer = node.op_type in ("Conv", "MatMul", "Gemm", "Add")
        kind = "Thirty-two wide channel vectorized row major Int8 format" if integer else "Row major linear FP32"
        sides = [
            {"Name": name, "Location": "Device", "Dimensions": [1], "Format/Datatype": kind} for name in (node.input[0], node.output[0])
        ]
        listed.append({"Name": node.name or node.output[0], "LayerType": "CaskConvolution" if integer else "PointWise",
                       "Inputs": sides[:1], "Outputs": sides[1:], "TacticName": "sm80_xmma", "StreamId": 0, "Metadata": ""})  # fmt: skip
    if "--profilingVerbosity" in options and options["--profilingVerbosity"] == "detailed":
        write(options["--exportLayerInfo"], {"Layers": listed, "Bindings": bindings})
    else:
        write(options["--exportLayerInfo"], {"Layers": [one["Name"] for one in listed], "Bindings": bindings})
    share = [{"name": one["Name"], "timeMs": 1.0, "averageMs": 0.01, "medianMs": 0.01, "percentage": 100 / len(listed)} for one in listed]
    write(options["--exportProfile"], [{"count": 100}, *share])


def write(path: str, document: Any) -> None:
    Path(path).write_text(json.dumps(document))


if __name__ == "__main__":
    if os.environ.get("STAND_IN_HANGS"):
        time.sleep(600)
    sys.exit(main(sys.argv[1:]))
