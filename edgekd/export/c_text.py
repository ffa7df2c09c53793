"""Values as text of C: identifiers, literals, arrays, comments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edgekd.errors import InputError
from edgekd.export.c_base import C_TYPES, Array, Field

WIDTH = 140
#: C's own headers (C11, 7.1.2): a library NAME.h must not be found in the place of one. And what is ours or Arm's.
_TAKEN = (
    "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbool stddef "
    "stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype"
)
_OURS = re.compile(r"(ek|ekp|arm|cmsis)(_|$)")


def identifier(name: str) -> str:
    """A prefix for the public names of a library, and the name of its files: [a-z][a-z0-9_]*.

    Raises InputError for a name of which nothing is left.
    """
    found = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if not found:
        raise InputError(f"the name {name!r}", where="graph", expected="letters or digits in the name of a graph that becomes C")
    return f"model_{found}" if found[0].isdigit() or found in _TAKEN.split() or _OURS.match(found) else found


def literal(value: float | int) -> str:
    """A number. Floats are written so that the same float32 is read back."""
    if isinstance(value, (int, np.integer)):
        number = int(value)
        if number == -(1 << 31):
            return "(-2147483647 - 1)"
        return "(-9223372036854775807 - 1)" if number == -(1 << 63) else str(number)
    text = f"{np.float32(value):.9g}"
    if not np.isfinite(np.float32(value)):
        raise InputError(f"the value {value}", where="a layer's parameters", expected="finite numbers")
    return f"{text}f" if re.search(r"[.e]", text) else f"{text}.0f"


def string(value: str) -> str:
    """A string literal in ASCII; UTF-8 bytes as octal."""
    plain = set(range(32, 127)) - set(b'"\\?')
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in value.encode()) + '"'


def comment(value: Any) -> str:
    """JSON, on one line, in which no comment ends or begins."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).replace("/", "\\/").replace("*", "\\u002a")


def wrapped(parts: Iterable[str], indent: str = "    ") -> str:
    """Comma-separated parts in lines of at most WIDTH characters."""
    lines: list[str] = []
    line = indent
    for part in parts:
        if len(line) + len(part) + 1 > WIDTH and line != indent:
            lines.append(line)
            line = indent
        line += f"{part},"
    return "\n".join([*lines, line])


class Arrays:
    """Final. The constant arrays of a library: equal ones share a name."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._names: dict[tuple[str, bytes], str] = {}
        self._texts: list[str] = []
        self.nbytes = 0

    def name(self, array: Array) -> str:
        values = np.ascontiguousarray(array.values).ravel()
        key = (values.dtype.name, values.tobytes())
        if key not in self._names:
            self._names[key] = f"{self._prefix}_c{len(self._names)}"
            self._texts.append(self._text(self._names[key], values))
            self.nbytes += values.nbytes
        return self._names[key]

    def text(self) -> str:
        return "\n".join(self._texts)

    def _text(self, name: str, values: np.ndarray) -> str:
        if values.dtype.name not in C_TYPES or not values.size:
            raise InputError(f"an array of {values.size} {values.dtype}", where=name, expected=", ".join(C_TYPES))
        numbers = (literal(value) for value in values.tolist())
        kind = C_TYPES[values.dtype.name]
        # Kernels may read several bytes at once.
        return f"static const _Alignas({max(4, values.itemsize)}) {kind} {name}[{values.size}] EK_WEIGHTS = {{\n{wrapped(numbers)}\n}};"


def initializer(fields: Mapping[str, Field], arrays: Arrays) -> str:
    """The braces of a struct: fields by name, those that are 0 left out."""
    parts: list[str] = []
    for name, value in fields.items():
        if value is None or (not isinstance(value, (Array, tuple)) and value == 0):
            continue
        if isinstance(value, Array):
            text = arrays.name(value)
        elif isinstance(value, tuple):
            text = "{" + ", ".join(literal(part) for part in value) + "}"
        else:
            text = literal(value)
        parts.append(f".{name} = {text}")
    return "{\n" + wrapped(parts or ["0"]).replace(",.", ", .") + "\n}"
