"""An exported C library on this host: compiled by the host's own compiler, loaded, and run in this process."""

from __future__ import annotations

import ctypes
import json
import math
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.errors import InputError
from edgekd.quant.graph import STORAGE
from edgekd.quant.outputs import joined

#: Looked for in this order.
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c11", "-O2", "-shared", "-fPIC")
_TIME_LIMIT_S = 300.0
#: No microcontroller has as much memory; a header that says more is damaged.
_MOST_BYTES = 1 << 31


@dataclass(frozen=True)
class _Side:
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class _Library:
    """What NAME.h says of NAME.c."""

    stem: str
    kernels: str
    arena_bytes: int
    input: _Side
    outputs: tuple[_Side, ...]


def open_model(path: Path, *, threads: int = 1) -> CHostRunner:
    """The library NAME.c beside its NAME.h. It computes in one thread, whatever ``threads`` is.

    Raises InputError for what edgekd did not export, where this host has no C compiler, or for kernels that call CMSIS-NN.
    """
    if threads < 1:
        raise InputError(f"{threads} threads", where=str(path), expected="at least 1")
    library = _read(path)
    if (why := why_not(path)) is not None:
        raise InputError(why, where=str(path), expected="kernels of edgekd's own, and a C compiler")
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        shared = Path(folder) / "library.so"
        command = [_compiler(), *FLAGS, "-o", str(shared), str(path.resolve())]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_TIME_LIMIT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise InputError(f"{command[0]} took over {_TIME_LIMIT_S:g} s", where=str(path)) from error
        if done.returncode != 0:
            said = "\n  ".join(done.stderr.strip().splitlines()[:5])
            raise InputError(f"{command[0]} does not compile it: {said}", where=str(path), expected="a library that edgekd exported")
        try:
            handle = ctypes.CDLL(str(shared), mode=os.RTLD_LOCAL | os.RTLD_NOW)  # stays mapped when its file is gone
            return CHostRunner(handle, library, path)
        except (OSError, AttributeError) as error:
            said = str(error).rpartition("library.so: ")[2]
            raise InputError(f"it does not load: {said}", where=str(path), expected="a library that edgekd exported") from error


def why_not(path: Path) -> str | None:
    """Why this host cannot run the library at ``path`` at all; None where it can."""
    if not _compiler():
        return f"no C compiler on this host ({', '.join(COMPILERS)})"
    kernels = _read(path).kernels
    text = path.read_text(encoding="utf-8", errors="replace")
    if re.search(r'^#include "arm_', text, re.MULTILINE):
        return f"its {kernels} kernels call CMSIS-NN, which is for a microcontroller: edgekd bench --device qemu runs them"
    # A library for no core in particular asks the preprocessor first.
    if re.search(r"^#include <arm_mve", text, re.MULTILINE) and not text.startswith("#if "):
        return f"its {kernels} kernels are for a core with Helium: edgekd bench --device qemu runs them"
    return None


class CHostRunner:
    """A loaded library; one sample at a time."""

    def __init__(self, handle: ctypes.CDLL, library: _Library, path: Path) -> None:
        self._library, self._path = library, path
        self._run = getattr(handle, f"{library.stem}_run")
        self._give = getattr(handle, f"{library.stem}_input")
        self._take = [getattr(handle, f"{library.stem}_output{i or ''}") for i in range(len(library.outputs))]
        for function in (self._run, self._give, *self._take):
            function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
        self._run.restype = None
        self._memory: np.ndarray | None = np.zeros(library.arena_bytes + 16, np.uint8)

    @property
    def where(self) -> str:
        return f"C, {self._library.kernels} kernels, {_version()} -O2, 1 thread"

    def run(self, x: np.ndarray) -> np.ndarray:
        """Outputs [N, ...] for ``x`` [N, ...] in the dtype of the library's input. Raises InputError for another shape or dtype."""
        if self._memory is None:
            raise InputError("the model is closed", where=str(self._path), expected="an open one")
        entry = self._library.input
        if x.dtype != entry.dtype or x.shape[1:] != entry.shape or not len(x):
            raise InputError(
                f"input {x.dtype} {x.shape}",
                where=str(self._path),
                expected=f"{entry.dtype} (N, {', '.join(map(str, entry.shape))}), N at least 1",
            )
        arena = self._memory.ctypes.data + -self._memory.ctypes.data % 16
        results = [np.empty((len(x), *side.shape), side.dtype) for side in self._library.outputs]
        for index, sample in enumerate(np.ascontiguousarray(x)):
            ctypes.memmove(self._give(arena), sample.ctypes.data, entry.nbytes)
            self._run(arena)
            for take, result, side in zip(self._take, results, self._library.outputs, strict=True):
                ctypes.memmove(result[index : index + 1].ctypes.data, take(arena), side.nbytes)
        return joined(results)

    def close(self) -> None:
        """Free the arena (the library stays mapped until the process ends); a second call does nothing."""
        self._memory = None


def _read(path: Path) -> _Library:
    header = path.with_suffix(".h")
    if not path.is_file() or not header.is_file():
        raise InputError("no such library", where=str(path), expected=f"{path.name} and {header.name} that edgekd exported")
    text = header.read_text(encoding="utf-8", errors="replace")
    try:
        said = re.match(r"/\* edgekd (\{.*\}) \*/\n", text)
        if said is None and path.stem.endswith("_frontend"):
            raise InputError("a front-end, and no model", where=str(path), expected=f"{path.stem.removesuffix('_frontend')}.c beside it")
        stated: dict[str, Any] = json.loads(said[1])["c"] if said else {}
        arena = re.search(rf"^#define {re.escape(stated['stem'].upper())}_ARENA_BYTES (\d+)", text, re.MULTILINE)
        if arena is None or len(arena[1]) > 10 or int(arena[1]) > _MOST_BYTES:
            raise KeyError("ARENA_BYTES")
        sides = [_Side(STORAGE[side["dtype"]], tuple(side["shape"][1:])) for side in (stated["input"], *stated["outputs"])]
        return _Library(stated["stem"], stated["kernels"], int(arena[1]), sides[0], tuple(sides[1:]))
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"its header lacks {error}", where=str(header), expected="the header that edgekd wrote") from error


@cache
def _compiler() -> str:
    return next((found for name in COMPILERS if (found := shutil.which(name))), "")


@cache
def _version() -> str:
    done = subprocess.run([_compiler(), "--version"], capture_output=True, text=True, errors="replace", timeout=30, check=False)
    return done.stdout.partition("\n")[0].strip() or Path(_compiler()).name
