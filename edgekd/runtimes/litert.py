"""LiteRT on this host: as it comes (XNNPACK, and its optimized kernels for the rest), or with its reference kernels."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgekd.errors import InputError
from edgekd.runtimes.c_stderr import c_stderr
from edgekd.runtimes.tflite_border import TFLiteBorder, border_of

#: Samples at a time; the integers do not depend on it.
BATCH = 32


def open_xnnpack(path: Path, *, threads: int = 1) -> LiteRTRunner:
    """LiteRT's default: XNNPACK where it delegates, optimized kernels elsewhere. Raises InputError for a file that does not load."""
    return LiteRTRunner(*_load(path, threads, OpResolverType.AUTO), path, f"LiteRT {version('ai-edge-litert')}, XNNPACK, {_count(threads)}")


def open_reference(path: Path, *, threads: int = 1) -> LiteRTRunner:
    """The reference kernels, which know no threads. Raises InputError for a file that does not load."""
    return LiteRTRunner(
        *_load(path, threads, OpResolverType.BUILTIN_REF), path, f"LiteRT {version('ai-edge-litert')}, reference kernels, {_count(threads)}"
    )


def _count(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def _load(path: Path, threads: int, resolver: OpResolverType) -> tuple[Interpreter, TFLiteBorder]:
    if threads < 1:
        raise InputError(f"{threads} threads", where=str(path), expected="at least 1")
    if not path.is_file():
        raise InputError("no such file", where=str(path), expected="a .tflite file")
    content = path.read_bytes()
    with c_stderr():  # where LiteRT announces XNNPACK; what goes wrong is in the exception
        try:
            interpreter = Interpreter(model_content=content, num_threads=threads, experimental_op_resolver_type=resolver)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"LiteRT does not load it: {error}", where=str(path), expected="a TFLite file with operators that LiteRT has"
            ) from error
    counts = len(interpreter.get_input_details()), len(interpreter.get_output_details())
    if counts[0] != 1 or not counts[1]:
        raise InputError(f"{counts[0]} inputs and {counts[1]} outputs", where=str(path), expected="one input, and an output at least")
    return interpreter, border_of(content)


class LiteRTRunner:
    """A loaded model with one input, anyone's: integers go in and come out, whatever stands at its borders."""

    def __init__(self, interpreter: Interpreter, border: TFLiteBorder, path: Path, where: str) -> None:
        self._interpreter: Interpreter | None = interpreter
        self._path, self._where, self._border = path, where, border
        first: dict[str, Any] = interpreter.get_input_details()[0]
        self._input, self._outputs = first["index"], [last["index"] for last in interpreter.get_output_details()]
        self._dtype = border.input.inner
        self._batch, *shape = (int(size) for size in first["shape"])
        self._shape = tuple(shape)
        self._largest = BATCH if border.batches else self._batch

    @property
    def where(self) -> str:
        return self._where

    def run(self, x: np.ndarray) -> np.ndarray:
        """Outputs [N, ...] for ``x`` [N, ...] in the dtype of the file's kernels. Raises InputError for another shape or dtype."""
        interpreter = self._interpreter
        if interpreter is None:
            raise InputError("the model is closed", where=str(self._path), expected="an open one")
        if x.dtype != self._dtype or x.shape[1:] != self._shape or not len(x):
            raise InputError(
                f"input {x.dtype} {x.shape}",
                where=str(self._path),
                expected=f"{self._dtype} (N, {', '.join(map(str, self._shape))}), N at least 1",
            )
        batch = self._batch_for(interpreter, min(len(x), self._largest))
        parts: list[np.ndarray] = []
        for start in range(0, len(x), batch):
            part = x[start : start + batch]
            count = len(part)
            if count < batch:  # filled up rather than resized: a resize costs more than the samples
                part = np.concatenate([part, np.zeros((batch - count, *self._shape), x.dtype)])
            interpreter.set_tensor(self._input, np.ascontiguousarray(self._border.input.enter(part)))
            interpreter.invoke()
            parts.append(self._border.leave([interpreter.get_tensor(index)[:count] for index in self._outputs]))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _batch_for(self, interpreter: Interpreter, wanted: int) -> int:
        """The batch that is set now: ``wanted``, or one sample where the file fixed more than its input's shape to that."""
        for batch in dict.fromkeys((wanted, 1)):
            if batch == self._batch:
                return batch
            try:
                with c_stderr():
                    interpreter.resize_tensor_input(self._input, (batch, *self._shape))
                    interpreter.allocate_tensors()
                self._batch = batch
                details: list[dict[str, Any]] = interpreter.get_output_details()
                if batch == 1 or all(int(last["shape"][0]) == batch for last in details):
                    return batch
            except (ValueError, RuntimeError):
                self._batch = 0  # what is set now computes nothing
            self._largest = 1
        raise InputError("it takes no batch of 1", where=str(self._path), expected="one sample at a time, or any number")

    def close(self) -> None:
        """Free the interpreter; a second call does nothing."""
        self._interpreter = None
