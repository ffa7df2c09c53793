"""Many graphs' libraries as one model of one firmware, so that a core is built for and emulated once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekd.export import c
from edgekd.mcu import cmsis, harness
from edgekd.quant.graph import STORAGE, QuantGraph

_ROOM = 1 << 21

_SOURCE = """#include "all.h"
#include <string.h>
{includes}
int8_t *all_input(void *arena) {{ return arena; }}
const int8_t *all_output(const void *arena) {{ return (const int8_t *)arena + ALL_INPUT_SIZE; }}
void all_run(void *arena)
{{
    const int8_t *x = arena;
    int8_t *y = (int8_t *)arena + ALL_INPUT_SIZE, *work = (int8_t *)arena + {before};
{calls}
}}
"""
_CALL = """    memcpy({stem}_input(work), x, {taken});
    {stem}_run(work);
    memcpy(y, {stem}_output(work), {given});
    x += {taken};
    y += {given};"""
_HEADER = """#include <stdint.h>
#define ALL_ARENA_BYTES {arena}
#define ALL_INPUTS 1
#define ALL_OUTPUTS 1
#define ALL_INPUT_SIZE {taken}
#define ALL_OUTPUT_SIZE {given}
int8_t *all_input(void *arena);
const int8_t *all_output(const void *arena);
void all_run(void *arena);
"""


def run_together(
    graphs: Sequence[QuantGraph], inputs: Sequence[np.ndarray], core: str, folder: Path, *, kernels: str = "portable", named: bool = True
) -> list[np.ndarray]:
    """Each graph's first output for its samples ``inputs`` [N, ...], all with the same N, on an emulated core.

    Exported for ``core`` if it is ``named``, else for all cores; under -Wall -Wextra -Wconversion -Werror, but for ``kernels`` that call
    CMSIS-NN, whose own files would not pass.
    """
    libraries = [c.encode(graph, kernels=kernels, core=core if named else None) for graph in graphs]
    assert len({library.stem for library in libraries}) == len(libraries), "graphs of one name"
    ends = [[_nbytes(graph, name) for name in (graph.inputs[0], graph.outputs[0])] for graph in graphs]
    taken, given = (sum(side) for side in zip(*ends, strict=True))
    before = -(-(taken + given) // 16) * 16
    folder.mkdir(parents=True, exist_ok=True)
    for library in libraries:
        (folder / f"{library.stem}.h").write_text(library.header)
        (folder / f"{library.stem}.c").write_text(library.source)
    includes = "\n".join(f'#include "{library.stem}.c"' for library in libraries)
    calls = "\n".join(_CALL.format(stem=lib.stem, taken=a, given=b) for lib, (a, b) in zip(libraries, ends, strict=True))
    (folder / "all.c").write_text(_SOURCE.format(includes=includes, calls=calls, before=before))
    arena = before + max(library.arena_bytes for library in libraries)
    (folder / "all.h").write_text(_HEADER.format(arena=arena, taken=taken, given=given))
    calls = kernels == "cmsis-nn"
    flags, sources = ((), cmsis.sources()) if calls else (("-Wconversion", "-Werror"), None)
    order = harness.Order(((folder, "all"),), core, _ROOM, _ROOM, flags=flags, sources=sources)
    request = np.concatenate([np.ascontiguousarray(x).reshape(len(x), -1).view(np.uint8) for x in inputs], axis=1)
    answered = harness.run(harness.build(order, folder / "build"), request, folder / "build", shift=None).outputs
    parts = np.split(answered, np.cumsum([b for _, b in ends])[:-1], axis=1)
    outputs = [graph.tensor(graph.outputs[0]) for graph in graphs]
    return [
        np.ascontiguousarray(part).view(STORAGE[tensor.dtype]).reshape(len(part), *tensor.shape[1:])
        for part, tensor in zip(parts, outputs, strict=True)
    ]


def _nbytes(graph: QuantGraph, name: str) -> int:
    tensor = graph.tensor(name)
    return int(np.prod(tensor.shape)) * STORAGE[tensor.dtype].itemsize
