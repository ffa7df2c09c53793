"""CPU seconds that runtimes need by themselves: their own API on images that are ready, without anything of edgekd around the calls.

The child process of bench_verify.py: ``bench_verify_own.py RUNTIME FILE IMAGES.npy`` prints {"cpu_s", "n"}. Batches, threads and options
are those of edgekd's runners; loading, and turning int8 into what the file's input holds, is done before the clock starts.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.lazy import load
from edgekd.runtimes import RUNTIMES


def tflm(path: Path, x: np.ndarray) -> Callable[[], None]:
    from tflite_micro.python.tflite_micro.runtime import Interpreter

    from edgekd.runtimes.tflm import SMALLEST_ARENA

    interpreter: Any = Interpreter.from_bytes(path.read_bytes(), arena_size=4 * SMALLEST_ARENA)
    x = _entered(path, x)

    def work() -> None:
        for index in range(len(x)):
            interpreter.set_input(x[index : index + 1], 0)
            interpreter.invoke()
            interpreter.get_output(0)

    return work


def litert_xnnpack(path: Path, x: np.ndarray) -> Callable[[], None]:
    return _litert(path, x, "AUTO")


def litert_ref(path: Path, x: np.ndarray) -> Callable[[], None]:
    return _litert(path, x, "BUILTIN_REF")


def _litert(path: Path, x: np.ndarray, resolver: str) -> Callable[[], None]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from edgekd.runtimes.litert import BATCH

    interpreter = Interpreter(model_path=str(path), num_threads=1, experimental_op_resolver_type=OpResolverType[resolver])
    first, last = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    size, x = min(BATCH, len(x)), _entered(path, x)
    interpreter.resize_tensor_input(first, (size, *x.shape[1:]))
    interpreter.allocate_tensors()
    parts = [x[min(start, len(x) - size) :][:size] for start in range(0, len(x), size)]

    def work() -> None:
        for part in parts:
            interpreter.set_tensor(first, part)
            interpreter.invoke()
            interpreter.get_tensor(last)

    return work


def _entered(path: Path, x: np.ndarray) -> np.ndarray:
    from edgekd.runtimes.tflite_border import border_of

    return np.ascontiguousarray(border_of(path.read_bytes()).input.enter(x))


def onnxruntime(path: Path, x: np.ndarray) -> Callable[[], None]:
    import onnxruntime as ort

    from edgekd.runtimes.onnxruntime import BATCH, INT8_OPTION, open_model

    options: Any = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.add_session_config_entry(INT8_OPTION, "1")
    session: Any = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = _batches(open_model(path).border.enter(x), BATCH)

    def work() -> None:
        for part in parts:
            session.run(None, {name: part})

    return work


def openvino(path: Path, x: np.ndarray) -> Callable[[], None]:
    import openvino as ov

    from edgekd.runtimes.openvino import BATCH, open_model

    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
    request: Any = ov.Core().compile_model(str(path), "CPU", config).create_infer_request()
    parts = _batches(open_model(path).border.enter(x), BATCH)

    def work() -> None:
        for part in parts:
            request.infer([part])

    return work


def c_host(path: Path, x: np.ndarray) -> Callable[[], None]:
    """The library has no other API than the calls that the runner makes."""
    runner = load(RUNTIMES["c_host"])(path)
    return lambda: runner.run(x)


def _batches(x: np.ndarray, size: int) -> list[np.ndarray]:
    return [x[start : start + size] for start in range(0, len(x), size)]


OWN: dict[str, Callable[[Path, np.ndarray], Callable[[], None]]] = {
    "tflm": tflm,
    "c_host": c_host,
    "litert_ref": litert_ref,
    "litert_xnnpack": litert_xnnpack,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
}


def main(runtime: str, file: str, images: str) -> None:
    x = np.load(images)
    OWN[runtime](Path(file), x[: min(128, len(x))])()  # what the first calls set up is not the images'
    work = OWN[runtime](Path(file), x)
    before = time.process_time()
    work()
    print(json.dumps({"cpu_s": time.process_time() - before, "n": len(x)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
