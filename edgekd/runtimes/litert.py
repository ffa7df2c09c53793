"""LiteRT on this host: as it comes (XNNPACK, and its optimized kernels for the rest), or with its reference kernels."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgekd.errors import InputError
from edgekd.runtimes.c_stderr import c_stderr

#: Samples at a time; the integers do not depend on it.
BATCH = 32


def open_xnnpack(path: Path, *, threads: int = 1) -> LiteRTRunner:
    """LiteRT's default: XNNPACK where it delegates, optimized kernels elsewhere. Raises InputError for a file that does not load."""
    return LiteRTRunner(_load(path, threads, OpResolverType.AUTO), path, f"LiteRT {version('ai-edge-litert')}, XNNPACK, {_count(threads)}")


def open_reference(path: Path, *, threads: int = 1) -> LiteRTRunner:
    """The reference kernels, which know no threads. Raises InputError for a file that does not load."""
    return LiteRTRunner(
        _load(path, threads, OpResolverType.BUILTIN_REF), path, f"LiteRT {version('ai-edge-litert')}, reference kernels, {_count(threads)}"
    )


def _count(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def _load(path: Path, threads: int, resolver: OpResolverType) -> Interpreter:
    if threads < 1:
        raise InputError(f"{threads} threads", where=str(path), expected="at least 1")
    if not path.is_file():
        raise InputError("no such file", where=str(path), expected="a .tflite file")
    with c_stderr():  # where LiteRT announces XNNPACK; what goes wrong is in the exception
        try:
            interpreter = Interpreter(model_content=path.read_bytes(), num_threads=threads, experimental_op_resolver_type=resolver)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"LiteRT does not load it: {error}", where=str(path), expected="a TFLite file with operators that LiteRT has"
            ) from error
    return interpreter


class LiteRTRunner:
    """A loaded model with one input and one output."""

    def __init__(self, interpreter: Interpreter, path: Path, where: str) -> None:
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise InputError(f"{len(inputs)} inputs and {len(outputs)} outputs", where=str(path), expected="one of each")
        self._interpreter: Interpreter | None = interpreter
        self._path, self._where = path, where
        first: dict[str, Any] = inputs[0]
        self._input, self._output = first["index"], outputs[0]["index"]
        self._dtype = np.dtype(first["dtype"])
        self._batch, *shape = (int(size) for size in first["shape"])
        self._shape = tuple(shape)

    @property
    def where(self) -> str:
        return self._where

    def run(self, x: np.ndarray) -> np.ndarray:
        """Outputs [N, ...] for ``x`` [N, ...] in the file's own dtype. Raises InputError for another shape or dtype."""
        interpreter = self._interpreter
        if interpreter is None:
            raise InputError("the model is closed", where=str(self._path), expected="an open one")
        if x.dtype != self._dtype or x.shape[1:] != self._shape or not len(x):
            raise InputError(
                f"input {x.dtype} {x.shape}",
                where=str(self._path),
                expected=f"{self._dtype} (N, {', '.join(map(str, self._shape))}), N at least 1",
            )
        batch = min(len(x), BATCH)
        if batch != self._batch:
            interpreter.resize_tensor_input(self._input, (batch, *self._shape))
            interpreter.allocate_tensors()
            self._batch = batch
        parts: list[np.ndarray] = []
        for start in range(0, len(x), batch):
            part = x[start : start + batch]
            count = len(part)
            if count < batch:  # filled up rather than resized: a resize costs more than the samples
                part = np.concatenate([part, np.zeros((batch - count, *self._shape), x.dtype)])
            interpreter.set_tensor(self._input, np.ascontiguousarray(part))
            interpreter.invoke()
            parts.append(interpreter.get_tensor(self._output)[:count])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def close(self) -> None:
        """Free the interpreter; a second call does nothing."""
        self._interpreter = None
