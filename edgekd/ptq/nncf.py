"""NNCF's post-training quantization of a float ONNX file: what it decides is read off its QDQ file, by the float file's own names."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("NNCF_CI", "1")  # it would tell its makers of each call

import nncf
import numpy as np
import onnx
from nncf import quantization
from nncf.quantization import advanced_parameters as advanced
from onnx import numpy_helper

from edgekd.errors import InputError

#: Read off the QDQ file, not computed with: weights stay float there, so that their names stay.
KEEP_WEIGHTS = {"compress_weights": False}


@dataclass(frozen=True, eq=False)
class Found:
    """``ranges``: activation → (lowest, highest) real value that its integers reach; ``scales``: weight → float32 [1] or [channels];
    ``constants``: every weight and bias as float32, biases corrected."""

    ranges: Mapping[str, tuple[float, float]]
    scales: Mapping[str, np.ndarray]
    constants: Mapping[str, np.ndarray]


def quantize(model: bytes, samples: np.ndarray, *, symmetric: bool, per_channel: bool) -> Found:
    """``nncf.quantize`` of a float ONNX file of one input, over ``samples`` [n, ...] as the file takes them, one at a time, all of them.

    Preset "performance" where activations are to be ``symmetric`` (after a rectifier it takes them unsigned: it is their largest value that
    counts), else "mixed". Fast bias correction; no weight is halved for processors whose sums saturate.

    Raises InputError where NNCF cannot.
    """
    proto = onnx.load_from_string(model)
    name = proto.graph.input[0].name
    preset = nncf.QuantizationPreset.PERFORMANCE if symmetric else nncf.QuantizationPreset.MIXED
    parameters = nncf.AdvancedQuantizationParameters(
        overflow_fix=nncf.OverflowFix.DISABLE,
        activations_quantization_params=advanced.QuantizationParameters(per_channel=False),
        weights_quantization_params=advanced.QuantizationParameters(per_channel=per_channel),
        backend_params=dict(KEEP_WEIGHTS),
    )
    logging.getLogger("nncf").setLevel(logging.ERROR)
    try:
        # Its progress bars and notes go to stdout, which is not its to write to.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            made = quantization.quantize(
                proto,
                nncf.Dataset([{name: samples[at : at + 1]} for at in range(len(samples))]),
                preset=preset,
                target_device=nncf.TargetDevice.ANY,
                subset_size=len(samples),
                fast_bias_correction=True,
                advanced_parameters=parameters,
            )
    except Exception as error:  # it has no base class for what it raises, and onnxruntime raises within it
        text = " ".join(str(error).split())[:300]
        raise InputError(
            f"NNCF cannot quantize it ({type(error).__name__}: {text})", where=proto.graph.name, expected="operators that NNCF knows"
        ) from error
    return read(made)


def read(model: Any) -> Found:
    """What a QDQ file of NNCF says. A value with several quantizers has the range that holds them all."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    ranges: dict[str, tuple[float, float]] = {}
    scales: dict[str, np.ndarray] = {}
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear":
            continue
        name, scale, zero = node.input[0], constants[node.input[1]].reshape(-1), constants[node.input[2]].reshape(-1)
        if name in constants:
            scales[name] = scale.astype(np.float32)
        elif len(scale) == 1:
            limits, real = np.iinfo(zero.dtype), float(scale[0])
            low, high = ((limit - int(zero[0])) * real for limit in (limits.min, limits.max))
            before = ranges.get(name, (low, high))
            ranges[name] = (min(low, before[0]), max(high, before[1]))
    return Found(ranges, scales, {name: value for name, value in constants.items() if value.dtype == np.float32})
