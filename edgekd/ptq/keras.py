"""A Keras model or a SavedModel as a float TFLite file, which the importer of those reads. Whoever calls has looked at the files first."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

from edgekd.errors import InputError


@dataclass(frozen=True)
class Opened:
    """``shape`` of one sample, None where it is open; ``call`` is the model, of a tensor; ``kept`` holds its variables."""

    shape: tuple[int | None, ...]
    dtype: Any
    call: Callable[[Any], Any]
    kept: Any
    where: str

    def tflite(self, shape: tuple[int, ...]) -> bytes:
        """The float TFLite file for one sample of ``shape`` at a time. Raises InputError where TensorFlow cannot convert it."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                function = tf.function(self.call).get_concrete_function(tf.TensorSpec([1, *shape], self.dtype))
                return bytes(tf.lite.TFLiteConverter.from_concrete_functions([function], self.kept).convert())
        except Exception as error:  # the converter raises what it meets, of any kind
            text = " ".join(str(error).split())[:300]
            raise InputError(
                f"TensorFlow's converter cannot make a TFLite file of it ({type(error).__name__}: {text})",
                where=self.where,
                expected=f"a model of samples {list(shape)}, of operators that TFLite has",
            ) from error

    def answers(self, x: np.ndarray) -> np.ndarray:
        """Of samples [n, ...], one at a time: a SavedModel may fix its batch."""
        return np.concatenate([np.asarray(self.call(tf.constant(x[at : at + 1], self.dtype))) for at in range(len(x))])


def open_keras(path: Path) -> Opened:
    """The model in a ``.keras`` file (``safe_mode``: no lambda). Raises InputError for another file, or several inputs or outputs."""
    try:
        model: Any = tf.keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # what a damaged or foreign configuration raises is of any kind
        text = " ".join(str(error).split())[:300]
        raise InputError(f"Keras cannot open it ({text})", where=str(path), expected="a model of Keras's own layers") from error
    inputs, outputs = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
    _one_each(inputs, outputs, path)
    dtype = tf.as_dtype(inputs[0].dtype)

    def call(x: Any) -> Any:
        y = model(x, training=False)
        return next(iter(y.values())) if isinstance(y, dict) else y[0] if isinstance(y, list | tuple) else y

    kept: Any = tf.Module()
    kept.held = [variable.value for variable in model.variables]  # Keras's own tracking keeps them from becoming constants
    return Opened(tuple(inputs[0].shape)[1:], _fed(dtype, path), call, kept, str(path))


def open_saved_model(path: Path) -> Opened:
    """The only signature, or ``serving_default``, of a SavedModel. Raises InputError where it has several inputs or outputs."""
    try:
        model: Any = tf.saved_model.load(str(path))
        signatures = dict(model.signatures)
    except Exception as error:  # TensorFlow raises errors of many kinds for a damaged folder
        text = " ".join(str(error).split())[:300]
        raise InputError(f"TensorFlow cannot open it ({text})", where=str(path), expected="a SavedModel folder") from error
    key = next(iter(signatures), None) if len(signatures) == 1 else "serving_default"
    if key not in signatures:
        raise InputError(f"signatures {sorted(signatures)}", where=str(path), expected="serving_default, or one only")
    function = signatures[key]
    inputs = function.structured_input_signature[1]
    _one_each(inputs, function.structured_outputs, path)
    ((name, spec),), (output,) = inputs.items(), function.structured_outputs
    if spec.shape.rank is None:
        raise InputError("the shape of its input is not known", where=str(path), expected="a batch of samples")
    return Opened(tuple(spec.shape.as_list())[1:], _fed(spec.dtype, path), lambda x: function(**{name: x})[output], model, str(path))


def _one_each(inputs: Any, outputs: Any, path: Path) -> None:
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(f"{len(inputs)} inputs and {len(outputs)} outputs", where=str(path), expected="one of each")


def _fed(dtype: Any, path: Path) -> Any:
    if dtype not in (tf.float32, tf.int32, tf.int64):
        raise InputError(f"its input is {dtype.name}", where=str(path), expected="float32, or integers that are indices")
    return dtype
