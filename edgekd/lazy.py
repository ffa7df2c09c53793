"""``module:attribute`` → the object, imported when it is asked for; and the error that says which extra to install."""

from __future__ import annotations

import importlib
from difflib import get_close_matches
from typing import Any

from edgekd.errors import InputError, MissingDependency

#: Import name of a library → the extra of edgekd that brings it.
EXTRAS = {
    "torch": "train",
    "safetensors": "train",
    "PIL": "train",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "ai_edge_litert": "tflite",
    "flatbuffers": "tflite",
    "tflite_micro": "tflite",
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
