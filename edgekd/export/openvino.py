"""QuantGraph → OpenVINO IR (``model.xml`` + ``model.bin``), by way of the ONNX exporter and OpenVINO's own reader.

The border is the ONNX file's: float32, channels first, batch free, ``input`` and ``output``. Half-precision graphs keep float16 weights and
float16 operators; an int8 graph's weights stay int8 (nothing is compressed behind the exporter's back).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino as ov
from openvino import opset13
from openvino._offline_transformations import apply_moc_transformations

from edgekd.export.onnx import build, metadata_of
from edgekd.quant.graph import QuantGraph
from edgekd.records import Artifact, Figure
from edgekd.runtimes.openvino import KEY, integer_kernels, read_metadata, where

__all__ = ["export", "read_metadata"]

XML, BIN = "model.xml", "model.bin"
#: What the reader makes of DequantizeLinear.
_DEQUANTIZING: dict[str, Any] = {"Convert": np.asarray, "Subtract": np.subtract, "Multiply": np.multiply}


def export(graph: QuantGraph, out: Path) -> Artifact:
    """Write ``graph`` (channels last; int8, float32 or float16) as ``out/model.xml`` and ``out/model.bin``.

    The same graph gives the same bytes. The metadata in the .xml holds the SHA-256 of the .bin (``weights_sha256``), so the artifact's
    ``sha256``, that of the .xml, covers both. Each file is written atomically, the .bin first. Raises InputError where an operator or
    dtype has no form here.
    """
    # The nodes that round ties as TFLite does make more integers of OpenVINO's differ, not fewer.
    model = build(graph, ties_away=False)
    metadata = metadata_of(model)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".openvino") as folder:
        _save(model, graph.name, metadata, Path(folder))
        for name in (BIN, XML):
            os.replace(Path(folder) / name, out / name)
    sizes = sum((out / name).stat().st_size for name in (XML, BIN))
    figures = {"model_bytes": Figure(sizes, "B", "counted", f"{XML} + {BIN}")}
    notes: list[str] = []
    if metadata["input"].get("scale") is not None:
        kernels = integer_kernels(out / XML)
        for name in ("integer", "float"):
            figures[f"{name}_convolutions"] = Figure(kernels[f"{name}_convolutions"], "operators", "counted", where(1))
        if kernels["float_convolutions"]:
            total = kernels["integer_convolutions"] + kernels["float_convolutions"]
            notes.append(f"OpenVINO computes {kernels['float_convolutions']} of {total} convolutions in float on this host")
    return Artifact("openvino", XML, hashlib.sha256((out / XML).read_bytes()).hexdigest(), figures, (XML, BIN), tuple(notes))


def _save(model: onnx.ModelProto, name: str, metadata: dict[str, Any], folder: Path) -> None:
    # The reader would copy the ONNX file's properties into the IR a second time.
    del model.metadata_props[:]
    source = folder / "model.onnx"
    source.write_bytes(model.SerializeToString(deterministic=True))
    # What ov.convert_model does, which would also tell OpenVINO's makers of it.
    converted = ov.Core().read_model(source)
    apply_moc_transformations(converted, cf=False, smart_reshape=True)
    converted.set_friendly_name(name)
    _keep_sums_apart(converted)
    _keep_products_apart(converted)
    _number_nameless(converted)
    # The weights do not depend on the metadata, which is to hold their hash: save, hash, save again.
    ov.save_model(converted, folder / XML, compress_to_fp16=False)
    digest = hashlib.sha256((folder / BIN).read_bytes()).hexdigest()
    text = json.dumps({**metadata, "weights_sha256": digest}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    converted.set_rt_info(text, [KEY])
    ov.save_model(converted, folder / XML, compress_to_fp16=False)


def _keep_sums_apart(model: ov.Model) -> None:
    """Given Conv → Quantize → Add → Result: Conv → Quantize → MaxPool 1x1 → Add.

    The CPU plugin (2026.4) fuses a convolution with the sum that reads it and then leaves out the rounding between the two: a fifth of a
    residual sum's integers come out one off. A pool of one cell computes nothing, is not optimized away, and keeps them apart.
    """
    for add in model.get_ordered_ops():
        if add.get_type_name() != "Add" or not add.get_friendly_name().startswith("Add:"):
            continue
        for port in add.inputs():
            source = port.get_source_output()
            producer = source.get_node()
            if producer.get_type_name() == "FakeQuantize" and len(source.get_target_inputs()) == 1 and len(source.get_partial_shape()) == 4:
                port.replace_source_output(_through_pool(source))


def _keep_products_apart(model: ov.Model) -> None:
    """Given Mul by a constant per channel, not all of it positive → Quantize, Result: Mul → MaxPool 1x1 → Quantize.

    The CPU plugin (2026.4) makes the constant part of the quantization's input scale. Positive constants become ranges per channel, which
    is right; others are set in the kernel itself, which in the blocked layout (16 channels side by side, chosen where the product reads
    int8) takes the first channel's scale for all: three quarters of the integers come out wrong, by up to 40.
    """
    for quantize in model.get_ordered_ops():
        if quantize.get_type_name() != "FakeQuantize":
            continue
        product = quantize.input_value(0)
        if product.get_node().get_type_name() != "Multiply" or len(product.get_partial_shape()) != 4:
            continue
        factors = [_constant(port.get_source_output()) for port in product.get_node().inputs()]
        if any(factor is not None and factor.size > 1 and not (factor > 0).all() for factor in factors):
            quantize.input(0).replace_source_output(_through_pool(product))


def _through_pool(source: Any) -> Any:
    name = f"Apart:{source.get_node().get_friendly_name()}"
    return opset13.max_pool(source, [1, 1], [1, 1], [0, 0], [0, 0], [1, 1], name=name).output(0)


def _constant(output: Any) -> np.ndarray | None:
    """The values of a constant, or of a dequantized one; None for anything that is computed from the input."""
    node = output.get_node()
    kind = node.get_type_name()
    if kind == "Constant":
        return np.asarray(node.data)
    parts = [_constant(port.get_source_output()) for port in node.inputs()] if kind in _DEQUANTIZING else [None]
    values = [part.astype(np.float32) for part in parts if part is not None]
    return _DEQUANTIZING[kind](*values) if len(values) == len(parts) else None


def _number_nameless(model: ov.Model) -> None:
    """The reader numbers what has no name by a counter that runs as long as the process: number it by its place in the model instead."""
    for place, node in enumerate(model.get_ordered_ops()):
        # A folded constant keeps the number of what it was, so the kind need not be its own.
        if re.fullmatch(r"[A-Z]\w*_\d+", node.get_friendly_name()):
            node.set_friendly_name(f"{node.get_type_name()}.{place}")
