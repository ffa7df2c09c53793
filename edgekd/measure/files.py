"""A model's file as the on-device runner takes it: which runtime, what enters, and the way back from what the file answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.errors import InputError
from edgekd.lazy import load
from edgekd.measure.device import Subject
from edgekd.measure.harness import files_of

#: Kind of file → (format, the runner's runtime, the name that verify's rules give it).
KINDS = {
    ".tflite": ("tflite", "tflite", "litert_xnnpack"),
    ".onnx": ("onnx", "onnxruntime", "onnxruntime"),
    ".xml": ("openvino", "openvino", "openvino"),
}
#: The provider that is no provider of ONNX Runtime: NVIDIA's own tool, which builds an engine from the ONNX file and times it.
TRTEXEC = "trtexec"


@dataclass(frozen=True, eq=False)
class ModelFile:
    """``border`` is the job's (see the runner's ``entering``); ``leave`` turns the outputs of the file, in its order, into what a device
    would read: integers [N, …], of several outputs one after the other."""

    path: Path
    runtime: str
    rule: str
    border: dict[str, Any]
    leave: Callable[[Sequence[np.ndarray]], np.ndarray]

    @property
    def files(self) -> tuple[Path, ...]:
        return files_of(self.path)

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(path.stat().st_size for path in self.files)


def model_file(subject: Subject, folder: Path) -> ModelFile:
    """The subject's own file, or what its target's exporter writes into ``folder``; TFLite where there is neither.

    Raises InputError for a kind of file that no device's runtime takes.
    """
    path = subject.file
    if path is None:
        fmt = subject.profile.deploy.exporter if subject.profile else "tflite"
        path = folder / subject.write(fmt, subject.graph, folder).path
    if path.suffix not in KINDS:
        raise InputError(f"a {path.suffix or 'nameless'} file", where=str(path), expected=", ".join(KINDS))
    _, runtime, rule = KINDS[path.suffix]
    if runtime == "tflite" and subject.asked.provider not in ("", "CPU", "XNNPACK"):
        raise InputError(f"--provider {subject.asked.provider}", where=path.name, expected="none: LiteRT computes on the processor")
    border, leave = _tflite(path) if runtime == "tflite" else _other(path, runtime)
    if runtime == "onnxruntime" and subject.asked.provider == TRTEXEC:
        runtime = TRTEXEC  # it reads the same file, and the same rule holds: another order of rounding
    return ModelFile(path, runtime, rule, border, leave)


def _tflite(path: Path) -> tuple[dict[str, Any], Callable[[Sequence[np.ndarray]], np.ndarray]]:
    load("edgekd.runtimes.litert:open_xnnpack")(path).close()  # its offsets are sound, or InputError
    border = load("edgekd.runtimes.tflite_border:border_of")(path.read_bytes())
    side = border.input
    crossing = {"scale": side.scale, "zero": side.zero} if side.outer.kind == "f" and side.inner.kind == "i" else {}
    return {"held": str(side.outer), **crossing}, border.leave


def _other(path: Path, runtime: str) -> tuple[dict[str, Any], Callable[[Sequence[np.ndarray]], np.ndarray]]:
    runner = load(f"edgekd.runtimes.{runtime}:open_model")(path)
    border, order = runner.border, list(runner.order)
    runner.close()
    entry: dict[str, Any] = {"held": border.held}
    if border.input_scale is not None and border.held == "float32":
        entry |= {"scale": float(border.input_scale), "zero": int(border.input_zero)}
    if len(border.input_shape) == 3 and not border.channels_last:
        entry["transpose"] = [0, 3, 1, 2]
    return entry, lambda outputs: border.leave([outputs[i] for i in order])
