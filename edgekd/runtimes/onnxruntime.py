"""onnxruntime on this host's CPU. The integers depend on its kernels, so ``where`` says which version and options computed them."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as native  # pyright: ignore[reportAttributeAccessIssue]

from edgekd.errors import InputError
from edgekd.runtimes.border import Border, in_batches
from edgekd.runtimes.onnx_border import border_of

#: Keeps int8 activations int8 on x86. Without it they are rewritten to uint8 first, and convolutions beside residual tensors stay float.
INT8_OPTION = "session.qdqisint8allowed"
INTEGER_KERNELS_WHERE = f"onnxruntime {ort.__version__}, CPUExecutionProvider, {INT8_OPTION}=1"
KEY = "edgekd"
BATCH = 32
#: What a session raises while it loads a file; they have no common base.
LOADING_ERRORS = (
    UnicodeDecodeError,  # names that are no text
    native.Fail,
    native.InvalidArgument,
    native.InvalidGraph,
    native.InvalidProtobuf,
    native.NotImplemented,
    native.NoSuchFile,
    native.RuntimeException,
    RuntimeError,
)


class OnnxRuntimeRunner:
    """Final. A session with one thread count; see ``edgekd.runtimes.Runner``."""

    def __init__(self, session: ort.InferenceSession, border: Border, threads: int, where: str = "model") -> None:
        self._session, self._border, self._threads = session, border, threads
        names = [output.name for output in session.get_outputs()]
        self.order = border.order([[name] for name in names], where)
        self._outputs = [names[i] for i in self.order]

    @property
    def where(self) -> str:
        return f"{INTEGER_KERNELS_WHERE}, {self._threads} thread{'s' if self._threads > 1 else ''}"

    @property
    def border(self) -> Border:
        """The file's; ``order`` says which of its outputs each of the border's exits is."""
        return self._border

    def run(self, x: np.ndarray) -> np.ndarray:
        # A file may have a fixed batch.
        batch = self._session.get_inputs()[0].shape[0]
        return in_batches(x, batch if isinstance(batch, int) and batch > 0 else BATCH, self._run)

    def close(self) -> None:
        """Sessions free themselves when nothing refers to them any more."""
        del self._session

    def _run(self, x: np.ndarray) -> np.ndarray:
        name = self._session.get_inputs()[0].name
        return self._border.leave([np.asarray(y) for y in self._session.run(self._outputs, {name: self._border.enter(x)})])


def open_model(path: Path, *, threads: int = 1) -> OnnxRuntimeRunner:
    """Load an ONNX file, edgekd's or another's (see ``onnx_border``). Raises InputError where onnxruntime cannot load it."""
    session = _session(path, _options(threads))
    try:
        text = session.get_modelmeta().custom_metadata_map.get(KEY)
    except UnicodeDecodeError as error:
        raise InputError(f"its metadata is no text ({error})", where=str(path), expected="a whole ONNX file") from error
    if text is None:
        return OnnxRuntimeRunner(session, border_of(path), threads, str(path))
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"its metadata is not JSON ({error})", where=str(path), mend="export it again") from error
    return OnnxRuntimeRunner(session, Border.from_metadata(metadata, str(path)), threads, str(path))


def integer_kernels(path: Path) -> dict[str, int]:
    """How onnxruntime, on this host, runs the file: integer_ and float_ convolutions and matmuls, counted in the graph it optimized."""
    options = _options(1)
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(optimized)
        # It warns that the optimized graph is for this machine only, which is what is asked here.
        options.log_severity_level = 3
        _session(path, options)
        kinds = Counter(node.op_type for node in onnx.load(optimized).graph.node)
    return {
        "integer_convolutions": kinds["QLinearConv"] + kinds["ConvInteger"],
        "float_convolutions": kinds["Conv"] + kinds["FusedConv"] + kinds["NhwcFusedConv"],
        "integer_matmuls": kinds["QGemm"] + kinds["QLinearMatMul"] + kinds["MatMulInteger"] + kinds["MatMulIntegerToFloat"],
        "float_matmuls": kinds["Gemm"] + kinds["FusedGemm"] + kinds["MatMul"] + kinds["FusedMatMul"],
    }


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.add_session_config_entry(INT8_OPTION, "1")
    # Threads that spin while they wait steal the cores of whatever else runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _session(path: Path, options: ort.SessionOptions) -> Any:
    if not path.is_file():
        raise InputError("there is no such file", where=str(path), expected="an ONNX file")
    try:
        # Else it prints on standard output, and tries the same again.
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except LOADING_ERRORS as error:
        raise InputError(f"onnxruntime cannot load it: {error}", where=str(path), expected="an ONNX file") from error
