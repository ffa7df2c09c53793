"""Compiles exported C with this host's gcc, many graphs in one shared object, and runs it through ctypes."""

from __future__ import annotations

import ctypes
import math
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgekd.export import c
from edgekd.quant.graph import STORAGE, QuantGraph
from edgekd.quant.outputs import joined

#: What every library must compile under without a word.
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror")
NEEDS_GCC = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this host")


@dataclass(frozen=True, eq=False)
class Compiled:
    """A graph's library, loaded."""

    graph: QuantGraph
    library: c.Library
    handle: ctypes.CDLL

    def run(self, x: np.ndarray) -> np.ndarray:
        """Outputs [N, ...] of samples ``x`` [N, ...]; of several outputs [N, values of all]."""
        stem, graph = self.library.stem, self.graph
        entry, exits = graph.tensor(graph.inputs[0]), [graph.tensor(name) for name in graph.outputs]
        give, run = (getattr(self.handle, f"{stem}_{name}") for name in ("input", "run"))
        takes = [getattr(self.handle, f"{stem}_output{i or ''}") for i in range(len(exits))]
        for function in (give, *takes):
            function.restype = ctypes.c_void_p
        # 64 bytes behind the arena must stay as they are.
        raw = np.full(self.library.arena_bytes + 128, 0x5A, np.uint8)
        start = -raw.ctypes.data % 16
        arena = ctypes.c_void_p(raw.ctypes.data + start)
        made: list[list[np.ndarray]] = []
        for sample in np.ascontiguousarray(x, STORAGE[entry.dtype]):
            ctypes.memmove(give(arena), sample.ctypes.data, sample.nbytes)
            run(arena)
            made.append([_read(take(arena), tensor.shape[1:], STORAGE[tensor.dtype]) for take, tensor in zip(takes, exits, strict=True)])
        end = start + self.library.arena_bytes
        assert (raw[end : end + 64] == 0x5A).all(), f"{stem} wrote behind its arena"
        return joined([np.stack(output) for output in zip(*made, strict=True)])


def _read(address: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    content = ctypes.string_at(address, math.prod(shape) * dtype.itemsize)
    return np.frombuffer(content, dtype).reshape(shape)


def compile_all(
    graphs: Sequence[QuantGraph],
    folder: Path,
    *,
    kernels: str = "portable",
    core: str | None = None,
    flags: Sequence[str] = ("-O1",),
    units: int = 1,
) -> list[Compiled]:
    """Each graph's library, all in one shared object made of ``units`` translation units. The names of the graphs differ."""
    libraries = [c.encode(graph, kernels=kernels, core=core) for graph in graphs]
    assert len({library.stem for library in libraries}) == len(libraries), "graphs of one name"
    folder.mkdir(parents=True, exist_ok=True)
    for library in libraries:
        (folder / f"{library.stem}.h").write_text(library.header)
        (folder / f"{library.stem}.c").write_text(library.source)
    sources: list[str] = []
    for unit in range(min(units, len(libraries))):
        source = folder / f"unit{unit}.c"
        source.write_text("".join(f'#include "{library.stem}.c"\n' for library in libraries[unit::units]))
        sources.append(str(source))
    shared = folder / "libraries.so"
    compile_c(sources, shared, ("-shared", "-fPIC", *flags))
    handle = ctypes.CDLL(str(shared), mode=os.RTLD_LOCAL | os.RTLD_NOW)
    return [Compiled(graph, library, handle) for graph, library in zip(graphs, libraries, strict=True)]


def compile_c(sources: Sequence[str], out: Path, flags: Sequence[str], compiler: str = "gcc") -> None:
    """Under STRICT. What the compiler says is the failure's message."""
    done = subprocess.run([compiler, *STRICT, *flags, "-o", str(out), *sources], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[:4000]


def compile_one(graph: QuantGraph, folder: Path, *, kernels: str = "portable", flags: Sequence[str] = ("-O1",)) -> Compiled:
    return compile_all([graph], folder, kernels=kernels, flags=flags)[0]


#: Runs the samples of a file, each in an arena of its own from the heap, so that AddressSanitizer sees its ends.
_DRIVER = """
#include <stdio.h>
#include <stdlib.h>
#include "{stem}.h"
int main(int argc, char **argv)
{{
    FILE *in = argc > 2 ? fopen(argv[1], "rb") : NULL, *out = argc > 2 ? fopen(argv[2], "wb") : NULL;
    if (in == NULL || out == NULL) return 2;
    for (;;) {{
        void *arena = aligned_alloc(16, {upper}_ARENA_BYTES);
        size_t got = fread({stem}_input(arena), sizeof({stem}_input_t), {upper}_INPUT_SIZE, in);
        if (got < {upper}_INPUT_SIZE) return free(arena), fclose(out);
        {stem}_run(arena);
        {writes}
        free(arena);
    }}
}}
"""


def run_sanitized(graph: QuantGraph, x: np.ndarray, folder: Path, *, kernels: str = "portable") -> np.ndarray:
    """Outputs [N, values of all] of a program under AddressSanitizer and UBSan, whose first complaint is the failure's message."""
    library = c.encode(graph, kernels=kernels)
    stem, upper = library.stem, library.stem.upper()
    (folder / f"{stem}.h").write_text(library.header)
    (folder / f"{stem}.c").write_text(library.source)
    names = [f"output{i or ''}" for i in range(len(graph.outputs))]
    write = "fwrite({stem}_{name}(arena), sizeof({stem}_{name}_t), {upper}_{big}_SIZE, out);"
    writes = "".join(write.format(stem=stem, name=name, upper=upper, big=name.upper()) for name in names)
    (folder / "driver.c").write_text(_DRIVER.format(stem=stem, upper=upper, writes=writes))
    sources = [str(folder / f"{stem}.c"), str(folder / "driver.c")]
    compile_c(sources, folder / "driver", ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"))
    (folder / "x").write_bytes(np.ascontiguousarray(x).tobytes())
    command = [str(folder / "driver"), str(folder / "x"), str(folder / "y")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    raw = np.frombuffer((folder / "y").read_bytes(), np.uint8).reshape(len(x), -1)
    parts, start = [], 0
    for name in graph.outputs:
        tensor = graph.tensor(name)
        nbytes = math.prod(tensor.shape) * STORAGE[tensor.dtype].itemsize
        parts.append(np.ascontiguousarray(raw[:, start : start + nbytes]).view(STORAGE[tensor.dtype]))
        start += nbytes
    return joined(parts)
