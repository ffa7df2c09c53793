"""OpenVINO on this host's CPU, with the float32 precision hint: by default it computes in bf16 where the CPU has it, with other results.

The integers also depend on the instruction set, so ``where`` names the one that the kernels were chosen for.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import openvino as ov

from edgekd import host
from edgekd.errors import InputError
from edgekd.runtimes.border import Border, in_batches
from edgekd.runtimes.openvino_border import border_of

KEY = "edgekd"
BATCH = 128
INTEGER = ("i8", "u8")
#: What the names of the kernels say of the instruction set, the widest first.
KERNELS = ("amx", "avx512", "avx2", "sse41", "sve", "asimd", "neon")
#: CPU flags that decide the integers. Without one that ends in vnni (or amx_int8, asimddp) int8 products are summed in saturating 16 bits,
#: and the results of a network with large weights are far off.
FLAGS = ("amx_int8", "avx512_vnni", "avx_vnni", "avx2", "asimddp")


class OpenVinoRunner:
    """Final. A compiled model with one thread count; see ``edgekd.runtimes.Runner``."""

    def __init__(self, model: ov.CompiledModel, border: Border, threads: int, where: str = "model") -> None:
        self._model, self._border, self._threads = model, border, threads
        self.order = border.order([list(output.get_names()) for output in model.outputs], where)
        self._request = model.create_infer_request()
        kernels = " ".join(_info(node, "primitiveType") for node in model.get_runtime_model().get_ordered_ops())
        self._used = [name for name in KERNELS if re.search(rf"_{name}(_|\s|$)", kernels)]

    @property
    def where(self) -> str:
        return f"{where(self._threads)}, kernels {'+'.join(self._used) or 'generic'}"

    @property
    def border(self) -> Border:
        """The file's; ``order`` says which of its outputs each of the border's exits is."""
        return self._border

    def run(self, x: np.ndarray) -> np.ndarray:
        # A file may have a fixed batch.
        batch = self._model.input(0).get_partial_shape()[0]
        return in_batches(x, BATCH if batch.is_dynamic else batch.get_length(), self._run)

    def close(self) -> None:
        """Models free themselves when nothing refers to them any more."""
        del self._request, self._model

    def _run(self, x: np.ndarray) -> np.ndarray:
        # The request owns its output buffers and writes over them the next time: copy.
        found = self._request.infer([self._border.enter(x)])
        return self._border.leave([np.array(found[i]) for i in self.order])


def open_model(path: Path, *, threads: int = 1) -> OpenVinoRunner:
    """Load an IR (.xml with its .bin), edgekd's or another's (see ``openvino_border``).

    Raises InputError where it is not one, or where its weights are not those that edgekd wrote with it.
    """
    metadata = _metadata(path)
    weights = path.with_suffix(".bin")
    if metadata and weights.is_file() and metadata.get("weights_sha256") != hashlib.sha256(weights.read_bytes()).hexdigest():
        raise InputError("these are not the weights that belong to it", where=str(weights), expected="the .bin written with this .xml")
    model = read_model(path)
    border = Border.from_metadata(metadata, str(path)) if metadata else border_of(model, str(path))
    return OpenVinoRunner(_compile(model, path, threads), border, threads, str(path))


def read_metadata(path: Path) -> dict[str, Any]:
    """The JSON document under ``edgekd`` in the rt_info of ``path`` (.xml). Raises InputError where it cannot be read."""
    metadata = _metadata(path)
    if metadata is None:
        raise InputError(f"no metadata under {KEY!r}", where=str(path), expected="a file that edgekd exported")
    return metadata


def _metadata(path: Path) -> dict[str, Any] | None:
    """None where the file has none."""
    if not path.is_file():
        raise InputError("there is no such file", where=str(path), expected="an OpenVINO IR (.xml)")
    try:
        entry = ElementTree.parse(path).getroot().find(f"rt_info/{KEY}")
        metadata = None if entry is None else json.loads(entry.attrib["value"])
    except (ElementTree.ParseError, KeyError, ValueError, RecursionError) as error:
        raise InputError(f"not an OpenVINO IR ({error})", where=str(path), expected="an OpenVINO IR (.xml)") from error
    return metadata if isinstance(metadata, dict) else None


def integer_kernels(path: Path) -> dict[str, int]:
    """How OpenVINO, on this host, runs the file: integer_ and float_ convolutions and matmuls of the compiled model."""
    counts = dict.fromkeys((f"{kind}_{what}" for what in ("convolutions", "matmuls") for kind in ("integer", "float")), 0)
    for node in _compile(read_model(path), path, 1).get_runtime_model().get_ordered_ops():
        what = {"Convolution": "convolutions", "FullyConnected": "matmuls", "MatMul": "matmuls"}.get(_info(node, "layerType"))
        if what:
            counts[f"{'integer' if _info(node, 'runtimePrecision') in INTEGER else 'float'}_{what}"] += 1
    return counts


def where(threads: int) -> str:
    """Version, device, hints and instruction set, as figures and runners state them."""
    cap = os.environ.get("ONEDNN_MAX_CPU_ISA")
    flags = host.flags()
    limit = f" ({'+'.join(f for f in FLAGS if f in flags) or platform.machine()}{f', ONEDNN_MAX_CPU_ISA={cap}' if cap else ''})"
    version = ov.get_version().split("-")[0]
    return f"openvino {version}, CPU{limit}, INFERENCE_PRECISION_HINT=f32, {threads} thread{'s' if threads > 1 else ''}"


def read_model(path: Path) -> ov.Model:
    """An IR (.xml, with its .bin), edgekd's or another's. Raises InputError where it is not one."""
    if not path.is_file():
        raise InputError("there is no such file", where=str(path), expected="an OpenVINO IR (.xml)")
    if not path.with_suffix(".bin").is_file():
        raise InputError("its weights are missing", where=str(path.with_suffix(".bin")), expected="the .bin beside the .xml")
    try:
        return ov.Core().read_model(path)
    except RuntimeError as error:
        raise InputError(f"OpenVINO cannot read it: {_last_line(error)}", where=str(path), expected="an OpenVINO IR (.xml)") from error


def _compile(model: ov.Model, path: Path, threads: int) -> ov.CompiledModel:
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
    try:
        return ov.Core().compile_model(model, "CPU", config)
    except RuntimeError as error:
        raise InputError(f"OpenVINO cannot compile it: {_last_line(error)}", where=str(path)) from error


def _last_line(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _info(node: Any, key: str) -> str:
    info = node.get_rt_info()
    return info[key].astype(str) if key in info else ""
