"""A teacher from an ONNX file, run by onnxruntime on the CPU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError

from edgekd.errors import InputError
from edgekd.teachers.answers import beside, named
from edgekd.teachers.files import located, sha256_of
from edgekd.teachers.opened import About, Foreign, Opened, chosen, images_of

DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64", "tensor(uint8)": "uint8"}


def load(*, root: Path, channels: int, file: str, layout: str | None = None, output_name: str = "") -> Opened:
    """The model in ``file``: one input of images, in ``layout`` "NCHW" or "NHWC", and one output [N, classes], or that of ``output_name``.

    The layout is found from the input's shape where only one of the two fits. Labels: the metadata entry ``labels`` (JSON, or one a line),
    that of edgekd's own files, or labels.txt beside the file. Raises InputError for anything else.
    """
    path = located(root, file, "file", "an ONNX file")
    where = str(path)
    parts = _parts(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no base of their own
        raise InputError(f"onnxruntime cannot open it ({_short(error)})", where=where, expected="an ONNX model that it can run") from error
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise InputError(f"{len(inputs)} inputs ({', '.join(i.name for i in inputs)})", where=where, expected="one, of images")
    shape = images_of([d if isinstance(d, int) and d > 0 else None for d in inputs[0].shape], where)
    if inputs[0].type not in DTYPES:
        raise InputError(f"its input is {inputs[0].type}", where=where, expected=" or ".join(DTYPES))
    last = _channels_last(shape, channels, layout, where)
    output = chosen(output_name, [o.name for o in session.get_outputs()], where)
    dtype = np.dtype(DTYPES[inputs[0].type])

    def run(x: np.ndarray) -> np.ndarray:
        return np.asarray(session.run([output], {inputs[0].name: x})[0])

    about = About(
        sha256=sha256_of(parts, path.parent, last, output),
        library=f"onnxruntime {onnxruntime.__version__}",
        channels=channels,
        size=(shape[1], shape[2]) if last else (shape[2], shape[3]),
        labels=_labels(session.get_modelmeta().custom_metadata_map, where) or beside(path),
        integer=dtype.kind == "u",
    )
    return Opened(Foreign(run, dtype, last, shape[0]), about)


def _channels_last(shape: tuple[int | None, ...], channels: int, layout: object, where: str) -> bool:
    fits = {"NCHW": shape[1] in (channels, None), "NHWC": shape[3] in (channels, None)}
    shown = ["?" if d is None else d for d in shape]
    if layout is not None:
        if layout not in fits:
            raise InputError(f"layout = {layout!r}", where="recipe, teacher.options", expected='"NCHW" or "NHWC"')
        if not fits[str(layout)]:
            raise InputError(f"its input has the shape {shown}", where=where, expected=f"{layout} of {channels} channels")
        return layout == "NHWC"
    if not any(fits.values()):
        raise InputError(f"its input has the shape {shown}", where=where, expected=f"images of {channels} channels, as the data has")
    # An axis that says the number of channels counts more than one that is open.
    sure = {name: shape[at] == channels for name, at in (("NCHW", 1), ("NHWC", 3))}
    if sum(fits.values()) == 2 and sum(sure.values()) != 1:
        raise InputError(
            f"its input has the shape {shown}, which may be either layout",
            where=where,
            expected="that the recipe says which",
            mend='options = { …, layout = "NCHW" }',
        )
    return sure["NHWC"] if sum(fits.values()) == 2 else fits["NHWC"]


def _parts(path: Path) -> list[Path]:
    """The file and those that hold its weights. Raises InputError if it is no ONNX file, or one of these lies elsewhere or is missing."""
    where = str(path)
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError, ValueError, RuntimeError) as error:
        raise InputError(f"cannot be read ({_short(error)})", where=where, expected="an ONNX file") from error
    if not model.graph.node:
        raise InputError("holds no graph", where=where, expected="an ONNX file")
    parts = [path]
    for name in sorted(set(_external(model.graph))):
        part = path.parent / name
        if not name or not part.resolve().is_relative_to(path.parent.resolve()):
            raise InputError(f"its weights lie in {name!r}", where=where, expected="a file in the same folder")
        if not part.is_file():
            raise InputError(f"its weights lie in {name!r}, which is not there", where=where, expected="that file beside it")
        parts.append(part)
    return parts


def _external(graph: onnx.GraphProto) -> Iterator[str]:
    """Names of the files that hold tensors of ``graph``, and of the graphs in its nodes."""
    tensors = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                yield from _external(inner)
    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield from (entry.value for entry in tensor.external_data if entry.key == "location")


def _labels(metadata: dict[str, str], where: str) -> tuple[str, ...] | None:
    if "labels" in metadata:
        return named(metadata["labels"], f"{where}, metadata entry labels")
    try:
        labels = json.loads(metadata.get("edgekd", "{}")).get("labels")
    except (ValueError, AttributeError, RecursionError):
        return None
    return tuple(map(str, labels)) if isinstance(labels, list) and labels else None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
