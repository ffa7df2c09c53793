"""A C library cut off after one tensor: its own kernels and constants, run no further than to where the tensor is written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Reshape

_LAYER = re.compile(r'^    EK_LAYER\(\d+\); /\* \w+ (".*") \*/\n', re.MULTILINE)
#: Where the last alternative begins of a library for no core in particular.
_LAST = "\n#else\n/* Written by edgekd "
_OUTPUT = re.compile(r"\(a \+ (\d+)\), (?:NULL|\(a \+ \d+\))\);\n\Z")


def cut(path: Path, graph: QuantGraph, tensor: str, folder: Path) -> Path:
    """Write ``folder``/NAME.c and NAME.h, whose only output is ``tensor``.

    Raises InputError if the library is not edgekd's, or has no layer that writes the tensor.
    """
    wanted = graph.tensor(tensor)
    try:
        source, header = _for_hosts(path.read_text(encoding="utf-8")), path.with_suffix(".h").read_text(encoding="utf-8")
        said = re.match(r"/\* edgekd (\{.*\}) \*/\n", header)
        document: dict[str, Any] = json.loads(said[1]) if said else {}
        stem, end_of_said = str(document["c"]["stem"]), said.end() if said else 0
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError("no library of edgekd", where=str(path), expected="NAME.c beside the NAME.h that edgekd wrote") from error
    end, offset = _written(source, _root(graph, tensor), path)
    document["c"]["outputs"] = [{"name": tensor, "dtype": wanted.dtype, "shape": list(wanted.shape), "scale": None, "zero_point": None}]
    read = (
        f"\nconst {stem}_output_t *{stem}_output(const void *arena)\n{{\n    return (const void *)((const int8_t *)arena + {offset});\n}}\n"
    )
    written = folder / path.name
    written.write_text(f"{source[:end]}}}\n{read}", encoding="utf-8")
    comment = json.dumps(document, sort_keys=True).replace("/", "\\/").replace("*", "\\u002a")
    # Further outputs stay declared, which harms nobody.
    written.with_suffix(".h").write_text(f"/* edgekd {comment} */\n{header[end_of_said:]}", encoding="utf-8")
    return written


def _for_hosts(source: str) -> str:
    """Of a library for no core in particular what the preprocessor leaves on a host; else all."""
    if not source.startswith("#if ") or _LAST not in source:
        return source
    return source[source.rindex(_LAST) + len("\n#else\n") :].removesuffix("#endif\n")


def _root(graph: QuantGraph, tensor: str) -> str:
    """The tensor in whose memory ``tensor`` lies: a reshape is no layer."""
    maker = graph.producer(tensor)
    return _root(graph, maker.inputs[0]) if isinstance(maker, Reshape) else tensor


def _written(source: str, tensor: str, path: Path) -> tuple[int, int]:
    """Where in the source the layer ends that writes ``tensor``, and how far from the arena's start the tensor lies."""
    layers = list(_LAYER.finditer(source))
    for at, layer in enumerate(layers):
        if json.loads(layer[1]) != tensor:
            continue
        following = re.compile(r"^    EK_LAYER\(\d+\);", re.MULTILINE).search(source, layer.end())
        end = layers[at + 1].start() if at + 1 < len(layers) else following.start() if following else len(source)
        output = _OUTPUT.search(source[:end])
        if output is not None:
            return end, int(output[1])
    raise InputError(f"no layer writes {tensor!r}", where=str(path), expected="tensors named as in the graph")
