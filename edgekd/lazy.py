"""``module:attribute`` → the object, imported when it is asked for; and the error that says which extra to install."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from edgekd.errors import EdgekdError, InputError, MissingDependency

#: Import name of a library → the extra of edgekd that brings it.
EXTRAS = {
    "sqlalchemy": "devices",
    "asyncssh": "devices",
    "serial": "devices",
    "torch": "train",
    "safetensors": "train",
    "PIL": "train",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "ai_edge_litert": "tflite",
    "flatbuffers": "tflite",
    "tflite_micro": "tflite",
    "tensorflow": "tensorflow",
    "transformers": "transformers",
    "nncf": "baseline",
    "optuna": "search",
    "tensorboard": "train",
    "mlflow": "mlflow",
    "unicorn": "mcu",
    "jinja2": "release",
    "jsonschema": "release",
    "cyclonedx": "release",
    "model_signing": "release",
    "cryptography": "release",
    "sigstore_models": "release",
    "ray": "scale",
}


def load(path: str) -> Any:
    """The object at ``module:attribute``. Raises InputError if there is none, MissingDependency if a library is not installed."""
    module_name, colon, attribute = path.partition(":")
    if not colon or not module_name or not attribute:
        raise InputError(f"{path!r} names no object", expected="package.module:function")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        root = (error.name or "").partition(".")[0]
        if root in EXTRAS:
            extra = EXTRAS[root]
            raise MissingDependency(
                f"{module_name} needs {root}, which is not installed\n  to mend:  pip install 'edgekd[{extra}]'"
            ) from error
        raise InputError(
            f"module {error.name!r} is not to be found", where=path, expected="a module on the Python path", mend="PYTHONPATH=. edgekd …"
        ) from error
    except Exception as error:
        if module_name.partition(".")[0] == "edgekd":
            raise  # a bug of ours, whose traceback is wanted
        raise _raised(f"module {module_name}", error, where=path) from error
    if not hasattr(module, attribute):
        near = get_close_matches(attribute, dir(module), 1)
        raise InputError(
            f"module {module_name} has no {attribute!r}",
            where=path,
            expected=f"perhaps {near[0]!r}" if near else "a function of that module",
        )
    return getattr(module, attribute)


def resolve(name: str, table: dict[str, str], *, where: str) -> Any:
    """The object that ``table`` lists under ``name``, or that ``name`` itself points to as ``package.module:function``."""
    if ":" in name:
        return load(name)
    if name not in table:
        near = get_close_matches(name, table, 1)
        raise InputError(
            f"{name!r} is not known",
            where=where,
            expected=f"{', '.join(sorted(table))} or package.module:function",
            mend=f"perhaps {near[0]!r}" if near else "",
        )
    return load(table[name])


def call(name: str, function: Any, given: Mapping[str, Any], options: Mapping[str, Any], *, where: str) -> Any:
    """What a recipe's function returns for its ``options``, and for what is ``given`` to those functions that name it as a parameter.

    Raises InputError if ``name`` is no function, does not take its options, or raises; then the message names the line.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is a {type(function).__name__}", where=where, expected="a function") from error
    arguments = {key: value for key, value in given.items() if key in signature.parameters} | dict(options)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise InputError(
            f"{name} does not take these options: {error}", where=f"{where}, options", expected=f"{name}{signature}"
        ) from error
    return attempt(name, lambda: function(**arguments), where=where)


def attempt(name: str, work: Callable[[], Any], *, where: str) -> Any:
    """What ``work``, which runs a user's own ``name``, returns. Raises InputError, naming the line, for whatever it raises."""
    try:
        return work()
    except EdgekdError:
        raise
    except Exception as error:
        raise _raised(name, error, where=where) from error


def source_sha256(name: str) -> str:
    """sha256 of the file that a user's ``package.module:function`` stands in (not of what it imports); "" for a name of a table."""
    if ":" not in name:
        return ""
    load(name)
    file = getattr(sys.modules[name.partition(":")[0]], "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def _raised(name: str, error: Exception, *, where: str) -> InputError:
    """What a user's own code raised, with the line that the error comes from."""
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        # Where a library refuses what it was called with, the call is what is to be mended.
        own = [frame for frame in frames if "site-packages" not in Path(frame.filename).parts and frame.filename != __file__]
        frame = (own or frames)[-1]
        file, line = frame.filename, frame.lineno
    return InputError(f"{name} raised {type(error).__name__}: {error}", where=where, mend=f"see {file}, line {line}")
