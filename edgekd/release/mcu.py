"""The bundle for firmware: one folder that is a CMake project, a Zephyr module, an Arduino library and a PlatformIO library at once.

    <artifact>/src/          the sources of all of them; Arduino compiles every .c below it, so the verified library lies in NAME.inc, which
                             NAME_model.c includes: its weights are static, and are summed up on the device; it holds the kernels of all
                             cores between #if and #endif, and the expected sum is chosen by the same #if
    <artifact>/test/         test program with the release's vectors, for CMake
    <artifact>/examples/     an Arduino sketch

Sources: Zephyr, "Modules (External projects)" (3.x); Arduino, "Library specification" (of arduino-cli 0.3x); PlatformIO, "library.json"
(6.x). CRC-32: ISO 3309 and zlib.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.errors import InputError
from edgekd.release.contract import CONTRACT, checked, document, encoded, one_line, said, samples, write
from edgekd.release.facts import Facts, Head, Model, Vectors
from edgekd.release.template import c, render

#: A test program holds vectors up to this size, and one at least: as text they are four times as long.
VECTOR_BYTES = 32 * 1024
#: What check, accessor and their texts add to a firmware: Cortex-M4, GCC 12, -Os, all functions called; labels come on top.
ACCESSOR_BYTES = 1250
_ARRAY = re.compile(
    r"^static const _Alignas\(\d+\) (u?int\d+_t|float) (\w+)\[(\d+)\] EK_WEIGHTS = \{\n(.*?)\n\};", re.MULTILINE | re.DOTALL
)
_LOWEST = re.compile(r"\((-\d+) - 1\)")
_ASKS = re.compile(r"#[ \t]*((if|elif|else|endif).*)")
#: What a condition of the library asks for, in words.
_KERNELS = {"__ARM_FEATURE_MVE": "Helium", "__ARM_FEATURE_DSP": "DSP extension"}


@dataclass(frozen=True, eq=False)
class Array:
    """A constant of the library, as it lies in memory."""

    name: str
    content: bytes


@dataclass(frozen=True, eq=False)
class Branch:
    """What the preprocessor leaves of a library on some cores. ``condition`` is the directive before it, without its #: "" where the
    library is the same on all cores."""

    condition: str
    arrays: tuple[Array, ...]

    @property
    def kernels(self) -> str:
        """In words."""
        return next((said for name, said in _KERNELS.items() if name in self.condition), "plain C")

    @property
    def constant_bytes(self) -> int:
        return sum(len(array.content) for array in self.arrays)


def pack(facts: Facts, out: Path) -> tuple[str, ...]:
    """Write the bundle into ``out``/<artifact>; what was written, relative to ``out``. Raises InputError where there is no C library (float
    models have none), where it has changed, or where it is not one whose weights can be read."""
    if "c" not in facts.models:
        raise InputError(
            f"{facts.graph.name} is not there as a C library", where="--format mcu", expected="a quantized model: kernels compute integers"
        )
    model = facts.models["c"]
    source = checked(model, ("int8", "int16"))
    texts = {name: (model.folder / name).read_bytes() for name in model.files[1:]}
    made = said_of(facts, model, branches_of(source.decode(), model), texts)
    stem, vectors = made["stem"], facts.vectors_for("mcu")
    shown = _shown(vectors, model)
    made |= {"vectors": shown, "exact": vectors.exact}
    tested = {"count": len(shown), "exact": vectors.exact, "file": f"test/{stem}_test.c", "layout": "arrays of C"}
    example = f"examples/{facts.type_name}/{facts.type_name}.ino"
    rendered = {
        f"src/{stem}_model.h": "model.h",
        f"src/{stem}_model.c": "model.c",
        f"test/{stem}_test.c": "test.c",
        "CMakeLists.txt": "CMakeLists.txt",
        "zephyr/module.yml": "module.yml",
        "zephyr/CMakeLists.txt": "zephyr.txt",
        "zephyr/Kconfig": "Kconfig",
        example: "sketch.ino",
        "README.md": "README.md",
    }
    files = {f"src/{name}": content for name, content in texts.items()}
    files |= {path: render(f"mcu/{template}", **made).encode() for path, template in rendered.items()}
    files[f"src/{stem}.inc"] = source
    files[CONTRACT] = encoded(document(facts, model, f"src/{stem}.inc", tested))
    files["library.properties"] = properties(facts, stem).encode()
    files["library.json"] = (json.dumps(library(facts, stem, example), indent=2, ensure_ascii=False) + "\n").encode()
    return write({f"{facts.artifact}/{path}": content for path, content in files.items()}, out)


def said_of(facts: Facts, model: Model, branches: Sequence[Branch], texts: dict[str, bytes]) -> dict[str, Any]:
    """Values of the templates: ``sums`` are (directive, CRC-32), one without a directive where it is the same on all cores; ``shared``
    names of arrays that all branches begin with, ``others`` (directive, names) of those that follow, none where none do."""
    stem = Path(model.files[0]).stem
    made = said(facts, model)
    arenas = arenas_of(texts.get(f"{stem}.h", b""), len(branches), stem)
    frontend = f"{stem}_frontend.c" in texts
    sums = [(branch.condition, f"0x{checksum(branch.arrays, model.heads):08X}u") for branch in branches]
    names = [tuple(array.name for array in branch.arrays) for branch in branches]
    same = len(list(takewhile(lambda row: len(set(row)) == 1, zip(*names, strict=False))))
    return {
        **made,
        "stem": stem,
        "upper": stem.upper(),
        "id": f"0x{identity(facts, model, texts):08X}u",
        "sums": sums if len({crc for _, crc in sums}) > 1 else [("", sums[0][1])],
        "shared": names[0][:same],
        "others": [(branch.condition, rest[same:]) for branch, rest in zip(branches, names, strict=True)] if len(set(names)) > 1 else [],
        "branches": list(zip(branches, arenas, strict=True)),
        "arena_bytes": max(arenas),
        "accessor_bytes": ACCESSOR_BYTES,
        "plain_version": facts.version.partition("-")[0],
        "frontend": frontend,
        "sources": (f"{stem}_model.c", *((f"{stem}_frontend.c",) if frontend else ())),
        "headers": (f"{stem}.h", f"{stem}_model.h", *((f"{stem}_frontend.h",) if frontend else ())),
    }


def arenas_of(header: bytes, count: int, stem: str) -> list[int]:
    """Bytes of the arena that each of ``count`` branches uses; the macro is the most of them. Raises InputError where it is not."""
    stated = re.search(rb"_ARENA_BYTES (\d+) /\*(.*)\*/", header)
    each = [int(number) for number in re.findall(rb"cortex-\w+ (\d+)", stated[2])] if stated and count > 1 else []
    if stated is None or (count > 1 and (len(each) != count or max(each) != int(stated[1]))):
        raise InputError("does not state its arena", where=f"{stem}.h", expected="a library that edgekd exported")
    return each or [int(stated[1])]


def branches_of(source: str, model: Model) -> tuple[Branch, ...]:
    """The constant arrays of a library, by what the preprocessor asks first. Raises InputError unless they are all that it counted, which
    is the most of any branch."""
    branches = tuple(Branch(condition, arrays_of(text, model)) for condition, text in _split(source, model))
    total, counted = max(branch.constant_bytes for branch in branches), model.figures["model_bytes"].value
    if total != counted:
        raise _not_read(f"{total} bytes of constants were read in it, of {counted:g}", model)
    return branches


def _split(source: str, model: Model) -> list[tuple[str, str]]:
    """(directive, text) of a library that is #if … #elif … #else … #endif as a whole; else all of it, without a directive."""
    if not source.startswith("#if "):
        return [("", source)]
    depth, found = 0, list[tuple[str, list[str]]]()
    for line in source.splitlines(keepends=True):
        asked = _ASKS.match(line)
        word = asked[2] if asked else ""
        depth += (word == "if") - (word == "endif")
        if asked and depth == 1 and (word in ("elif", "else") or (word == "if" and not found)):
            found.append((asked[1], []))
        elif depth > 0:
            found[-1][1].append(line)
        elif word != "endif":
            raise _not_read("text follows its #endif", model)
    if depth or found[-1][0] != "else":
        raise _not_read("its #if has no #else and #endif", model)
    return [(condition, "".join(lines)) for condition, lines in found]


def arrays_of(source: str, model: Model) -> tuple[Array, ...]:
    """The constant arrays of one branch, in the order in which they stand there. Raises InputError unless they are all that it declares."""
    found = []
    for kind, name, count, body in _ARRAY.findall(source):
        numbers = [_LOWEST.sub(lambda low: str(int(low[1]) - 1), part.strip()) for part in body.split(",") if part.strip()]
        dtype = np.dtype("float32" if kind == "float" else kind.removesuffix("_t")).newbyteorder("<")
        values = np.array([float(number.rstrip("f")) if kind == "float" else int(number) for number in numbers], dtype)
        if len(values) != int(count):
            raise InputError(f"{name} has {len(values)} values, and says {count}", where=str(model.path))
        found.append(Array(name, values.tobytes()))
    declared = re.findall(rf"^static const .*\b({re.escape(model.path.stem)}_c\d+)\[", source, re.MULTILINE)
    if [array.name for array in found] != declared or len(set(declared)) != len(declared):
        raise _not_read(f"{len(found)} constant arrays were read in it, of {len(declared)}", model)
    return tuple(found)


def _not_read(said: str, model: Model) -> InputError:
    return InputError(said, where=str(model.path), expected="a library that edgekd exported")


def checksum(arrays: Sequence[Array], heads: Sequence[Head]) -> int:
    """CRC-32 of the weights, then of the labels, each with the zero that ends it."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(array.content, crc)
    for head in heads:
        for label in head.labels:
            crc = zlib.crc32(text_of(label) + b"\0", crc)
    return crc


def text_of(label: str) -> bytes:
    """The bytes of a label as C has them in memory."""
    literal = c(label)[1:-1]
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), literal).encode("latin-1")


def identity(facts: Facts, model: Model, texts: dict[str, bytes]) -> int:
    """32 bits by which header and library know each other: of the release, its sources, its border and its labels."""
    stated = {
        "release": [facts.group, facts.artifact, facts.version, model.sha256],
        "sources": {name: hashlib.sha256(content).hexdigest() for name, content in texts.items()},
        "border": [str(model.input), *(str(head) for head in model.heads)],
    }
    return int(hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()[:8], 16)


def properties(facts: Facts, stem: str) -> str:
    """library.properties. Arduino refuses no field that it does not know, but demands these."""
    title = one_line(facts.licenses.get("title") or facts.name)
    stated = {
        "name": facts.type_name[:63],
        "version": facts.version,
        "author": one_line(facts.licenses.get("authors") or facts.group),
        "maintainer": facts.group,
        "sentence": f"{title}: a quantized model for microcontrollers.",
        "paragraph": f"Generated by edgekd for {one_line(facts.target)}, {len(facts.graph.ops)} operators, no heap.",
        "category": "Data Processing",
        "url": _home(facts),
        "architectures": "*",
        "includes": f"{stem}_model.h",
    }
    return "".join(f"{key}={value}\n" for key, value in stated.items())


def library(facts: Facts, stem: str, example: str) -> dict[str, Any]:
    """library.json of PlatformIO."""
    license = one_line(facts.licenses.get("license", ""))
    return {
        "name": facts.artifact[:50].strip("-"),
        "version": facts.version,
        "description": f"{one_line(facts.licenses.get('title') or facts.name)}: a quantized model for microcontrollers",
        "keywords": ["model", "inference", "quantized", "edgekd"],
        "authors": [{"name": one_line(facts.licenses.get("authors") or facts.group), "maintainer": True}],
        **({"license": license} if license else {}),
        "homepage": _home(facts),
        "frameworks": "*",
        "platforms": "*",
        "headers": f"{stem}_model.h",
        "build": {"srcDir": "src", "includeDir": "src"},
        "examples": [{"name": facts.type_name, "base": str(Path(example).parent), "files": [Path(example).name]}],
    }


def _home(facts: Facts) -> str:
    """The group's domain; both formats want an address, and neither looks at it."""
    return f"https://{'.'.join(reversed(facts.group.split('.')))}"


def _shown(vectors: Vectors, model: Model) -> list[dict[str, Any]]:
    """Each test vector as text of C. Raises InputError where they are not of the model's border."""
    parts = [(vectors.x, model.input), *((out, head.output) for out, head in zip(vectors.outputs, model.heads, strict=True))]
    size = sum(len(samples(values, border)[0]) for values, border in parts)
    count = max(1, min(len(vectors.x), VECTOR_BYTES // size))
    return [{"x": _numbers(vectors.x[n]), "outputs": [_numbers(out[n]) for out in vectors.outputs]} for n in range(count)]


def _numbers(values: np.ndarray) -> str:
    flat = values.reshape(prod(values.shape)).tolist()
    return "\n".join(f"        {', '.join(map(str, flat[at : at + 24]))}," for at in range(0, len(flat), 24))
