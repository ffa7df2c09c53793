"""The nouns of records to JSON and back, strictly."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from edgekd.errors import InputError
from edgekd.records import Artifact, Bits, Checkpoint, Examination, Figure, Measurement, Plan, Verdict

#: What a record's body may be: one of these, or several.
NOUNS: dict[str, type] = {cls.__name__: cls for cls in (Plan, Checkpoint, Bits, Artifact, Verdict, Measurement, Examination, Figure)}


def table(value: Any, *, where: str) -> dict[str, Any]:
    """``value``, which must be a table. Raises InputError."""
    if not isinstance(value, dict):
        raise InputError(f"holds a {type(value).__name__}", where=where, expected="a JSON object")
    return value


def encode(value: Any) -> Any:
    """``value`` as plain JSON values: dataclasses and mappings as tables, tuples as lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    return [encode(item) for item in value] if isinstance(value, list | tuple) else value


def encode_body(body: Any) -> Any:
    """A record's body with the name of its noun. Raises InputError for a body of several kinds."""
    items = body if isinstance(body, list | tuple) else [body]
    noun = type(items[0]).__name__ if items and type(items[0]) in NOUNS.values() else None
    if noun and any(type(item).__name__ != noun for item in items):
        raise InputError("a body of several kinds", where="record", expected=f"only {noun}")
    return {"noun": noun, "value": encode(body)}


def decode_body(raw: Any) -> Any:
    """A record's body from what ``encode_body`` made of it. Raises InputError as ``decode`` does."""
    raw = table(raw, where="body")
    noun, value = raw.get("noun"), raw.get("value")
    if noun is None:
        return value
    if not isinstance(noun, str) or noun not in NOUNS:
        raise InputError(f"noun {noun!r}", where="body", expected=", ".join(NOUNS))
    cls = NOUNS[noun]
    return [decode(cls, item, f"body[{i}]") for i, item in enumerate(value)] if isinstance(value, list) else decode(cls, value, "body")


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def decode(hint: Any, raw: Any, where: str) -> Any:
    """JSON → the type that ``hint`` names: a noun or a part of one. An int may stand for a float.

    Strict: raises InputError for an unknown key, a missing one, another type.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return raw
    if is_dataclass(hint):
        return _decode_dataclass(hint, raw, where)  # type: ignore[arg-type]
    if origin is dict and isinstance(raw, dict):
        return {key: decode(arguments[1], item, f"{where}.{key}") for key, item in raw.items()}
    if origin in (tuple, list) and isinstance(raw, list):
        return origin(decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(raw))
    if origin is UnionType and (raw is not None or NoneType in arguments):
        return None if raw is None else decode(next(a for a in arguments if a is not NoneType), raw, where)
    if origin is Literal and raw in arguments:
        return raw
    # 1e999 is JSON, and so is an integer of a thousand digits; neither is a figure.
    if hint is float and isinstance(raw, int | float) and not isinstance(raw, bool) and abs(raw) <= sys.float_info.max:
        return float(raw)
    if hint in (int, str, bool) and type(raw) is hint:
        return raw
    raise InputError(f"{raw!r:.60}", where=where, expected=getattr(hint, "__name__", str(hint)))


def _decode_dataclass(cls: type, raw: Any, where: str) -> Any:
    raw, hints = table(raw, where=where), _hints(cls)
    if unknown := sorted(set(raw) - set(hints)):
        raise InputError(f"unknown key {unknown[0]!r}", where=where, expected=", ".join(hints))
    if cls is Figure and (raw.get("low") is None) != (raw.get("high") is None):  # whoever shows one end shows the other
        raise InputError("an interval with one end", where=where, expected="low and high, or neither")
    try:
        return cls(**{name: decode(hints[name], value, f"{where}.{name}") for name, value in raw.items()})
    except TypeError as error:  # a field is missing
        raise InputError(str(error), where=where, expected=", ".join(hints)) from error
