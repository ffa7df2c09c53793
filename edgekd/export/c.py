"""QuantGraph → a C library: NAME.h and NAME.c, no interpreter, no heap, no libm, one arena that the caller gives.

C11, reentrant; everything but the functions of NAME.h is static, so several models live in one firmware.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.errors import InputError
from edgekd.export import c_files, c_frontend
from edgekd.export.c_base import C_TYPES, Array
from edgekd.export.c_plan import Layer, Plan, plan
from edgekd.export.c_sets import AT_COMPILE_TIME
from edgekd.export.c_text import Arrays, comment, identifier, initializer, literal, string, wrapped
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.records import Artifact, Figure
from edgekd.runs import atomic_write

#: One of these stands in the first bytes of each file that edgekd wrote.
_MARKS, _HEAD = (b"ritten by edgekd", b"/* edgekd {"), 1024
_ARENA = "activations and scratch"


@dataclass(frozen=True)
class Library:
    """The two files, as text. ``stem`` prefixes their names and all public ones; ``arena_bytes`` are activations and scratch,
    ``arena_bound`` what no placement goes below, ``constant_bytes`` weights, biases, multipliers and tables."""

    stem: str
    header: str
    source: str
    arena_bytes: int
    arena_bound: int
    constant_bytes: int
    input_room: tuple[tuple[int, int], tuple[int, int]]


def export(graph: QuantGraph, out: Path, *, kernels: str = "portable", core: str | None = None) -> Artifact:
    """Write NAME.h and NAME.c into ``out``, atomically, and NAME_frontend.h and .c where the graph says what its input is made of.

    The artifact is NAME.c. Raises InputError as encode does, for a front-end that is not known, and where a file lies that is
    not of edgekd.
    """
    library = encode(graph, kernels=kernels, core=core)
    front_end = c_frontend.sources(graph, library.stem, library.input_room)
    texts = {f"{library.stem}.c": library.source, f"{library.stem}.h": library.header, **front_end}
    names = tuple(texts)
    for name in names:
        _may_be_written(out / name)
    for name, content in texts.items():
        atomic_write(out / name, content.encode())
    where = f"{kernels} kernels{f' for {core}' if core else ''}"
    figures = {
        "model_bytes": Figure(library.constant_bytes, "B", "counted", f"constants of the library, {where}"),
        "peak_ram_bytes": Figure(library.arena_bytes, "B", "counted", f"arena: activations and scratch, {where}; no stack"),
    }
    notes = (f"an arena of {library.arena_bytes} B, of which no placement of these buffers needs less than {library.arena_bound} B",)
    return Artifact("c", names[0], hashlib.sha256(library.source.encode()).hexdigest(), figures, names, notes)


def _may_be_written(path: Path) -> None:
    """Raises InputError where a file lies that edgekd did not write: a graph may be called as somebody's main.c is."""
    if path.is_file() and not any(mark in path.read_bytes()[:_HEAD] for mark in _MARKS):
        raise InputError(
            "would be overwritten, and edgekd did not write it",
            where=str(path),
            expected="a folder for what is exported",
            mend="another --out",
        )


def encode(graph: QuantGraph, *, kernels: str = "portable", core: str | None = None) -> Library:
    """The library's text; the same graph gives the same bytes.

    ``graph`` is channels last, with one input. ``kernels`` is a set of c_sets.SETS; ``core`` ("cortex-m4") decides which kernels of it, and
    what scratch they need. Without a core, a set that differs from core to core (c_sets.AT_COMPILE_TIME) is written for each, between #if
    and #endif, and the arena is the largest. Raises InputError for an operator, dtype or scale that no kernel has.
    """
    choices = AT_COMPILE_TIME.get(kernels) if core is None else None
    if choices is None:
        return _encode(graph, kernels, core)
    libraries = [_encode(graph, kernels, choice) for _, choice in choices]
    texts = [library.source for library in libraries]
    if len(set(texts)) == 1:
        return libraries[0]
    largest = max(libraries, key=lambda library: library.arena_bytes)
    source = "".join(f"#{condition}\n{text}" for (condition, _), text in zip(choices, texts, strict=True)) + "#endif\n"
    first, last = min(library.input_room[0][1] for library in libraries), max(library.input_room[1][0] for library in libraries)
    room = ((0, first), (last, max(largest.arena_bytes - last, 0)))
    constants = max(library.constant_bytes for library in libraries)
    each = ", ".join(f"{core} {library.arena_bytes}" for (_, core), library in zip(choices, libraries, strict=True))
    header = largest.header.replace(f" /* {_ARENA} */", f" /* {_ARENA}, the most of: {each} */", 1)
    return replace(largest, header=header, source=source, constant_bytes=constants, input_room=room)


def _encode(graph: QuantGraph, kernels: str, core: str | None) -> Library:
    placed = plan(graph, kernels, core)
    stem = identifier(graph.name)
    arrays = Arrays(stem)
    source = _source(placed, stem, arrays, kernels)
    header = _header(placed, stem, kernels)
    total = placed.placement.total_bytes
    first = placed.offset(graph.inputs[0]) or 0
    last = first + graph.tensor(graph.inputs[0]).nbytes
    return Library(stem, header, source, total, placed.placement.bound, arrays.nbytes, ((0, first), (last, total - last)))


def _sides(graph: QuantGraph, names: Sequence[str], what: str) -> list[tuple[str, Tensor]]:
    """Each border tensor with the end of its names: output, output1, …"""
    sides: list[tuple[str, Tensor]] = []
    for i, name in enumerate(names):
        tensor = graph.tensor(name)
        if tensor.dtype not in C_TYPES:
            raise InputError(f"{name!r} is {tensor.dtype}", where=f"graph {graph.name}", expected=" or ".join(C_TYPES))
        sides.append((f"{what}{i or ''}", tensor))
    return sides


def _stated(tensor: Tensor) -> dict[str, Any]:
    scale, zero = tensor.quantization.single if tensor.quantization is not None else (None, None)
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape), "scale": scale, "zero_point": zero}


def _header(placed: Plan, stem: str, kernels: str) -> str:
    graph, upper = placed.graph, stem.upper()
    inputs, outputs = _sides(graph, graph.inputs, "input"), _sides(graph, graph.outputs, "output")
    document = {
        **graph.metadata,
        "c": {"stem": stem, "kernels": kernels, "input": _stated(inputs[0][1]), "outputs": [_stated(tensor) for _, tensor in outputs]},
    }
    lines = [
        f"/* edgekd {comment(document)} */",
        f"#ifndef {upper}_H",
        f"#define {upper}_H",
        "",
        "#include <stdint.h>",
        "",
        f"#define {upper}_ARENA_BYTES {placed.placement.total_bytes} /* {_ARENA} */",
        f"#define {upper}_INPUTS {len(inputs)}",
        f"#define {upper}_OUTPUTS {len(outputs)}",
        f"#define {upper}_LAYERS {len(placed.layers)}",
        f'#define {upper}_GRAPH_SHA256 "{io.fingerprint(graph)}"',
        f'#define {upper}_KERNELS "{kernels}"',
    ]
    for name, tensor in (*inputs, *outputs):
        lines.append(f"#define {upper}_{name.upper()}_SIZE {math.prod(tensor.shape)} /* {' x '.join(map(str, tensor.shape))} */")
        if tensor.quantization is not None:
            scale, zero = tensor.quantization.single
            lines.append(f"#define {upper}_{name.upper()}_SCALE {literal(float(scale))}")
            lines.append(f"#define {upper}_{name.upper()}_ZERO ({literal(zero)})")
    lines += ["", *(f"typedef {C_TYPES[tensor.dtype]} {stem}_{name}_t;" for name, tensor in (*inputs, *outputs))]
    lines += ["", "#ifdef __cplusplus", 'extern "C" {', "#endif"]
    labels = _labels(graph)
    if labels:
        lines += ["", f"#define {upper}_LABELS {len(labels)}", f"extern const char *const {stem}_labels[{upper}_LABELS];"]
    lines += [
        "",
        f"/* The arena is {upper}_ARENA_BYTES bytes, aligned to 16. Nothing is kept in it between runs: the input, channels last, is",
        " * written anew before each, because a run may overwrite it. */",
        f"{stem}_input_t *{stem}_input(void *arena);",
        f"void {stem}_run(void *arena);",
        *(f"const {stem}_{name}_t *{stem}_{name}(const void *arena);" for name, _ in outputs),
        "",
        f"#ifdef {upper}_STATIC_ARENA",
        f"extern int8_t {stem}_arena[{upper}_ARENA_BYTES];",
        "#endif",
        "#ifdef EK_LAYER_NAMES",
        f"extern const char *const {stem}_layer_names[{upper}_LAYERS + 1];",
        "#endif",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def _labels(graph: QuantGraph) -> list[str]:
    labels = graph.metadata.get("labels")
    return [str(label) for label in labels] if isinstance(labels, (list, tuple)) else []


def _source(placed: Plan, stem: str, arrays: Arrays, kernels: str) -> str:
    graph, upper = placed.graph, stem.upper()
    used = [kernel.file for layer in placed.layers for _, kernel in layer.calls]
    structs: list[str] = []
    body: list[str] = []
    pointers = _Pointers(placed, arrays)
    for at, layer in enumerate(placed.layers):
        body.append(f"    EK_LAYER({at}); /* {type(layer.op).__name__} {comment(layer.op.outputs[0])} */")
        _layer(layer, at, stem, arrays, pointers, structs, body)
    if placed.layers:
        body.append(f"    EK_LAYER({len(placed.layers) - 1});")
    reads = [
        f"const {stem}_{name}_t *{stem}_{name}(const void *arena)\n{{\n    return {pointers.outside(tensor, constant=True)};\n}}\n"
        for name, tensor in _sides(graph, graph.outputs, "output")
    ]
    entry = graph.tensor(graph.inputs[0])
    labels = _labels(graph)
    names = [string(f"{type(layer.op).__name__} {layer.op.name}") for layer in placed.layers]
    unused = "" if any("(a + " in line for line in body) else "    (void)a;\n"
    parts = [
        f"/* Written by edgekd from graph {io.fingerprint(graph)}, {kernels} kernels. What it is: see {stem}.h. */",
        f'#include "{stem}.h"\n',
        *(c_files.text(name) for name in (c_files.TYPES, *c_files.needed(used))),
        *(f"EK_APART({name});" for name in sorted({kernel.function for layer in placed.layers for _, kernel in layer.calls})),
        arrays.text(),
        *structs,
        f"#ifdef {upper}_STATIC_ARENA\n_Alignas(16) int8_t {stem}_arena[{upper}_ARENA_BYTES];\n#endif",
        f"#ifdef EK_LAYER_NAMES\nconst char *const {stem}_layer_names[{upper}_LAYERS + 1] = {{\n{wrapped([*names, 'NULL'])}\n}};\n#endif",
        f"const char *const {stem}_labels[{upper}_LABELS] = {{\n{wrapped(map(string, labels))}\n}};" if labels else "",
        f"{stem}_input_t *{stem}_input(void *arena)\n{{\n    return {pointers.outside(entry, constant=False)};\n}}\n",
        f"void {stem}_run(void *arena)\n{{\n    int8_t *const a = (int8_t *)arena;\n{unused}" + "\n".join(body) + "\n}\n",
        *reads,
    ]
    return "\n".join(part for part in parts if part)


def _layer(layer: Layer, at: int, stem: str, arrays: Arrays, pointers: _Pointers, structs: list[str], body: list[str]) -> None:
    """Append the layer's parameters and its calls."""
    for number, (call, kernel) in enumerate(layer.calls):
        name = f"{stem}_p{at}" + (f"_{number}" if len(layer.calls) > 1 else "")
        fields = {**call.fields, **kernel.pack(call)}
        structs.append(f"static const {call.struct} {name} = {initializer(fields, arrays)};")
        scratch = pointers.scratch(layer) if layer.scratch_bytes else "NULL"
        arguments = [
            f"ek_parameters(&{name})",
            *(pointers.within(n, constant=True) for n in call.inputs),
            pointers.within(call.output),
            scratch,
        ]
        body.append(f"    {kernel.function}({', '.join(arguments)});")


class _Pointers:
    """Final. Tensors as expressions of C: where in the arena ``a`` they lie, or which constant they are."""

    def __init__(self, placed: Plan, arrays: Arrays) -> None:
        self._placed, self._arrays = placed, arrays

    def within(self, name: str, *, constant: bool = False) -> str:
        """In NAME_run, where ``a`` is an int8_t pointer."""
        tensor = self._placed.graph.tensor(name)
        at = self._placed.offset(name)
        if at is None:
            return self._constant(name)
        kind = C_TYPES[tensor.dtype]
        return f"(a + {at})" if kind == "int8_t" else f"({'const ' if constant else ''}{kind} *)(void *)(a + {at})"

    def outside(self, tensor: Tensor, *, constant: bool) -> str:
        """In the functions that give a pointer to who fills the input or reads an output."""
        at = self._placed.offset(tensor.name)
        if at is None:
            return self._constant(tensor.name)
        qualifier = "const " if constant else ""
        return f"({qualifier}{C_TYPES[tensor.dtype]} *)({qualifier}void *)(({qualifier}int8_t *)arena + {at})"

    def scratch(self, layer: Layer) -> str:
        return f"(a + {self._placed.placement.offsets[layer.scratch_name]})"

    def _constant(self, name: str) -> str:
        tensor = self._placed.graph.tensor(self._placed.roots[name])
        assert tensor.data is not None
        return self._arrays.name(Array(np.asarray(tensor.data)))
