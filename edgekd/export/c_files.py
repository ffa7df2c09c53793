"""The kernels' C files: which are needed, in which order, and their text as it stands in a library."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from edgekd.errors import InputError

_NEEDS = re.compile(r"/\* edgekd kernel; needs:([^*]*)\*/")
TYPES = "types.h"
#: Of a kernel that does the same with 16 bits only the file for 8 is there: what its text says differently for 16.
_WIDER = (("int8_t", "int16_t"), ("INT8_M", "INT16_M"), ("_s8", "_s16"))


def needed(names: Iterable[str]) -> list[str]:
    """``names`` ("portable/conv_s8.c") and what they need, each once, what is needed first. Deterministic."""
    found: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise InputError(f"kernels need each other: {' → '.join((*above, name))}", where=name)
        if name not in found:
            for other in _needs(name):
                visit(other, (*above, name))
            found.append(name)

    for name in sorted(set(names)):
        visit(name, ())
    return found


def text(name: str) -> str:
    """The content of a kernel's file, guarded so that several libraries may be compiled as one, without its own include of types.h."""
    content = _read(name)
    if name == TYPES:
        return content
    body = "".join(line for line in content.splitlines(keepends=True) if not re.match(r'#include ".*types\.h"', line))
    guard = "EK_" + re.sub(r"\W", "_", name.removesuffix(".c")).upper()
    return f"#ifndef {guard}\n#define {guard}\n{body.rstrip()}\n#endif\n"


def _needs(name: str) -> list[str]:
    head = _NEEDS.match(_read(name))
    if head is None:
        raise InputError("no line that says what it needs", where=name, expected="/* edgekd kernel; needs: a, b */")
    folder = name.partition("/")[0]
    resolved: list[str] = []
    for other in filter(None, (part.strip().removesuffix(".c") for part in head.group(1).split(","))):
        choices = [f"{other}.c"] if "/" in other else [f"{place}/{other}.c" for place in dict.fromkeys((folder, "portable"))]
        resolved.append(next((path for path in choices if _at(path).is_file() or _at(_narrower(path)).is_file()), choices[0]))
    return resolved


@cache
def _read(name: str) -> str:
    if _at(name).is_file():
        return _at(name).read_text(encoding="utf-8")
    if "_s16" not in name or not _at(_narrower(name)).is_file():
        raise InputError("no such kernel", where=name, expected="a file of edgekd/firmware/kernels")
    content = _at(_narrower(name)).read_text(encoding="utf-8")
    for narrow, wide in _WIDER:
        content = content.replace(narrow, wide)
    return content


def _narrower(name: str) -> str:
    """The kernel for 8 bits, of one for 16."""
    return name.replace("_s16", "_s8")


def _at(name: str) -> Traversable:
    return files("edgekd").joinpath("firmware", "kernels", *name.split("/"))
