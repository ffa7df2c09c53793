"""TensorFlow Lite Micro on this host: the interpreter that a microcontroller runs, with its reference kernels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter as LiteRT
from ai_edge_litert.interpreter import OpResolverType
from tflite_micro.python.tflite_micro.runtime import Interpreter

from edgekd.errors import InputError
from edgekd.runtimes.c_stderr import c_stderr
from edgekd.runtimes.tflite_border import border_of

#: The arena is doubled from the first to the second until the model fits.
SMALLEST_ARENA, LARGEST_ARENA = 1 << 18, 1 << 30


@dataclass(frozen=True)
class Arena:
    """Bytes of the arena after one inference, as the interpreter itself recorded them.

    ``activations`` (head: tensors, scratch) plus ``persistent`` (tail: structures, with this host's 64-bit pointers) is ``total``.
    """

    total: int
    activations: int
    persistent: int


def open_model(path: Path, *, threads: int = 1) -> TFLMRunner:
    """TFLM computes in one thread, whatever ``threads`` is. Raises InputError for a file that it does not load."""
    if threads < 1:
        raise InputError(f"{threads} threads", where=str(path), expected="at least 1")
    return TFLMRunner(_load(path), path)


def arena_bytes(path: Path) -> Arena:
    """What the model needs of RAM under TFLM. Raises InputError for a file that it does not load."""
    interpreter = _load(path)
    with c_stderr() as heard:
        interpreter.print_allocations()
    found = dict(re.findall(r"Arena allocation (total|head|tail) (\d+) bytes", heard.text))
    if len(found) != 3:
        raise InputError(f"the interpreter reported no allocations: {heard.text[:200]!r}", where=str(path), expected="total, head and tail")
    return Arena(int(found["total"]), int(found["head"]), int(found["tail"]))


class TFLMRunner:
    """A loaded model with one input, anyone's; one sample at a time."""

    def __init__(self, interpreter: Interpreter, path: Path) -> None:
        self._interpreter: Interpreter | None = interpreter
        self._path = path
        self._border = border_of(path.read_bytes())
        self._dtype = self._border.input.inner
        self._shape = tuple(int(size) for size in interpreter.get_input_details(0)["shape"])

    @property
    def where(self) -> str:
        return f"TFLM {version('tflite-micro')}, reference kernels, 1 thread"

    def run(self, x: np.ndarray) -> np.ndarray:
        """Outputs [N, ...] for ``x`` [N, ...] in the dtype of the file's kernels. Raises InputError for another shape or dtype."""
        interpreter = self._interpreter
        if interpreter is None:
            raise InputError("the model is closed", where=str(self._path), expected="an open one")
        if x.dtype != self._dtype or x.shape[1:] != self._shape[1:] or not len(x):
            raise InputError(
                f"input {x.dtype} {x.shape}",
                where=str(self._path),
                expected=f"{self._dtype} (N, {', '.join(map(str, self._shape[1:]))}), N at least 1",
            )
        x = np.ascontiguousarray(self._border.input.enter(x))
        answers: list[list[np.ndarray]] = []
        for index in range(len(x)):
            interpreter.set_input(x[index : index + 1], 0)
            interpreter.invoke()
            answers.append([interpreter.get_output(number) for number in range(len(self._border.outputs))])
        return self._border.leave([np.concatenate(output) for output in zip(*answers, strict=True)])

    def close(self) -> None:
        """Free the interpreter and its arena; a second call does nothing."""
        self._interpreter = None


def _load(path: Path) -> Interpreter:
    if not path.is_file():
        raise InputError("no such file", where=str(path), expected="a .tflite file")
    content = path.read_bytes()
    try:
        # TFLM believes every offset and size, and dies of a wrong one; LiteRT checks them.
        LiteRT(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF).allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"LiteRT, which checks files before TFLM, does not load it: {error}", where=str(path), expected="a whole TFLite file"
        ) from error
    size = SMALLEST_ARENA
    while True:
        interpreter, failure = None, None
        with c_stderr() as heard:
            try:
                interpreter = Interpreter.from_bytes(content, arena_size=size)
                # Zeros: an index of an embedding must not be whatever the arena held.
                first = interpreter.get_input_details(0)
                interpreter.set_input(np.zeros(first["shape"], first["dtype"]), 0)
                interpreter.invoke()
            except Exception as error:  # RuntimeError from TFLM, whatever its Python wrapper stumbles over from there
                failure = error
        if interpreter is not None and failure is None:
            return interpreter
        if size >= LARGEST_ARENA or not re.search(r"resize buffer|allocat|arena|memory", heard.text, re.IGNORECASE):
            said = " ".join(heard.text.split()) or str(failure)
            raise InputError(
                f"TFLM does not load it: {said}", where=str(path), expected="a TFLite file with operators that TFLM has"
            ) from failure
        size *= 2
