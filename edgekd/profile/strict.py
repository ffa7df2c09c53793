"""Strict TOML: one file read, checked against a pydantic model, and every problem listed at once, each with its cure."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin  # pyright: ignore[reportDeprecated]

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from edgekd.errors import InputError
from edgekd.profile.toml_file import Problem, read_toml

#: How pydantic names the branches of a union in an error's location.
BRANCH = re.compile(r"(constrained-str|list\[|literal\[)")

Positive = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]


def _exactly_int(value: Any) -> Any:
    """Literal[1] alone would take true and 1.0, which equal 1."""
    if type(value) is not int:
        raise PydanticCustomError("literal_error", "Input should be 1")
    return value


Version = Annotated[Literal[1], BeforeValidator(_exactly_int)]


class Strict(BaseModel):
    """Abstract: no unknown keys, no coercion, no NaN or infinity, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


M = TypeVar("M", bound=BaseModel)
#: Checks that concern several keys: given the sections (top-level keys) that are right in themselves, the problems between them.
Rules = Callable[[Mapping[str, Any]], Iterable[Problem]]


def check_file(path: Path, model: type[M], rules: Rules) -> tuple[M | None, list[Problem]]:
    """The validated content of ``path``, or None and every problem found. Never raises for what the file holds."""
    raw = read_toml(path)
    if isinstance(raw, Problem):
        return None, [raw]
    value, problems = validate(model, raw, rules)
    return (None, problems) if problems else (value, [])


def refusal(path: Path, problems: list[Problem]) -> InputError:
    """One error that lists all problems of ``path``."""
    if len(problems) == 1:
        (one,) = problems
        return InputError(f"{one.key}: {one.found}" if one.key else one.found, where=str(path), expected=one.expected, mend=one.mend)
    lines = [f"{len(problems)} problems"]
    for problem in problems:
        lines += [f"  {line}" for line in problem.lines()]
    return InputError("\n".join(lines), where=str(path))


def validate(model: type[M], raw: dict[str, Any], rules: Rules) -> tuple[M | None, list[Problem]]:
    """``raw`` as ``model``, or None and the problems: those of single keys first, then those that ``rules`` find between them."""
    try:
        value = model.model_validate(raw)
    except ValidationError as error:
        found = _without_branches(error.errors(include_url=False))
        bad = {e["loc"][0] for e in found if e["loc"]}
        return None, [_problem(model, e) for e in found] + list(rules(_clean_sections(model, raw, bad)))
    return value, list(rules({name: getattr(value, name) for name in model.model_fields}))


def _without_branches(errors: list[Any]) -> list[Any]:
    """Of a key that may be one thing or a list of them, pydantic says why it is neither: only what belongs to the kind that was meant."""
    kept = []
    for error in errors:
        at = next((i for i, part in enumerate(error["loc"]) if isinstance(part, str) and BRANCH.match(part)), None)
        if at is None:
            kept.append(error)
            continue
        is_list = isinstance(error["input"], list) or at + 1 < len(error["loc"])
        if error["loc"][at].startswith("list[") == is_list:
            kept.append(error | {"loc": (*error["loc"][:at], *error["loc"][at + 1 :])})
    return kept


def _clean_sections(model: type[BaseModel], raw: dict[str, Any], bad: set[Any]) -> dict[str, Any]:
    clean = {}
    for name, field in model.model_fields.items():
        if name in bad:
            continue
        if name in raw:
            kind: Any = field.annotation
            clean[name] = TypeAdapter(kind).validate_python(raw[name], strict=True)
        elif not field.is_required():
            clean[name] = field.get_default(call_default_factory=True)
    return clean


def _problem(model: type[BaseModel], error: Any) -> Problem:
    loc, kind, value = error["loc"], error["type"], error.get("input")
    key, last = dotted(loc), next((p for p in reversed(loc) if isinstance(p, str)), "")
    section = dotted(loc[:-1])
    under = f"under [{section}]" if section else "at the top"
    if kind == "extra_forbidden":
        return _unknown(model, loc, key, last)
    if kind == "missing":
        return Problem(key, "is missing", _hint(model, loc), f"add `{last} = …` {under}")
    allowed = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    if kind == "literal_error":
        options = [str(o) for o in get_args(_at(model, loc))]
        near = get_close_matches(str(value), options, 1)
        mend = f"{last} = {_quoted(model, loc, (near or options)[0])}" if options else f"set {last} to one of these"
        return Problem(key, f"found {_shown(value)}", allowed, mend)
    if kind == "string_pattern_mismatch":
        pattern = error["ctx"]["pattern"]
        mend = "use lower-case letters, digits and dashes" if pattern.startswith("^[a-z") else f"correct {last}"
        return Problem(key, f"found {_shown(value)}", f"text that matches {pattern}", mend)
    if kind == "too_short":
        return Problem(key, f"found {_shown(value)}", f"at least {error['ctx']['min_length']} in it", f"add one, or delete {last}")
    if kind == "model_type" or kind == "dict_type":
        return Problem(key, f"found {_shown(value)}", "a table", f"write [{key}] on a line of its own and its keys below")
    return Problem(key, f"found {_shown(value)}", allowed, _number_cure(last, value, kind) or f"set {last} to {allowed}")


def _unknown(model: type[BaseModel], loc: tuple[Any, ...], key: str, last: str) -> Problem:
    here = _at(model, loc[:-1])
    known = list(here.model_fields) if _is_model(here) else []
    if near := get_close_matches(last, known, 1):
        return Problem(key, "unknown key", ", ".join(known), f"perhaps {near[0]}")
    elsewhere = [path for path in _keys(model) if path.rpartition(".")[2] == last]
    mend = f"perhaps it belongs under [{elsewhere[0].rpartition('.')[0]}]" if elsewhere and "." in elsewhere[0] else "delete it"
    return Problem(key, "unknown key", ", ".join(known), mend)


def _number_cure(last: str, value: Any, kind: str) -> str:
    """A corrected line where the value is a number written in the wrong way."""
    if not kind.startswith(("int_", "float_")):
        return ""
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return ""
        return f"{last} = {int(number) if number.is_integer() else number}   (without quotes)"
    if isinstance(value, float) and kind.startswith("int_") and abs(value) < 2**53:
        return f"{last} = {round(value)}"
    return ""


def unknown_name(key: str, name: str, table: Mapping[str, str]) -> Iterator[Problem]:
    """A problem if ``name`` is neither in ``table`` nor ``package.module:function``."""
    if ":" not in name and name not in table:
        near = get_close_matches(name, table, 1)
        mend = f'{key.rpartition(".")[2]} = "{near[0]}"' if near else "name one of these, or your own"
        yield Problem(key, f"no such name: {name!r}", f"{', '.join(sorted(table))} or package.module:function", mend)


def dotted(loc: tuple[Any, ...]) -> str:
    """``("losses", 0, "weight")`` → ``losses[0].weight``."""
    out = ""
    for part in loc:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out


def shown(value: Any, limit: int = 80) -> str:
    """``value`` as TOML would nearly show it, on one line, shortened."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _shown(value: Any) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "text", list: "an array", dict: "a table"}
    return f"{shown(value)} ({names.get(type(value), type(value).__name__)})"


def _quoted(model: type[BaseModel], loc: tuple[Any, ...], option: str) -> str:
    return f'"{option}"' if option in get_args(_at(model, loc)) else option


def _hint(model: type[BaseModel], loc: tuple[Any, ...]) -> str:
    """What a missing key should hold: its description in the schema, or its type."""
    here = _at(model, loc[:-1])
    field = here.model_fields.get(loc[-1]) if _is_model(here) else None
    if field is None:
        return "a value"
    if field.description:
        return field.description
    kind = _bare(field.annotation)
    if _is_model(kind):
        return f"a table with {', '.join(kind.model_fields)}"
    return " or ".join(repr(o) for o in get_args(kind)) if get_origin(kind) not in (list, dict) and get_args(kind) else _type_name(kind)


def _type_name(kind: Any) -> str:
    names = {int: "an integer", float: "a number", str: "text", bool: "true or false", list: "an array", dict: "a table"}
    return names.get(get_origin(kind) or kind, "a value")


def _bare(kind: Any) -> Any:
    """``kind`` without Annotated and without ``| None``."""
    # Annotated[int, …] | None is a typing.Union, int | None a types.UnionType.
    while get_origin(kind) in (Annotated, Union, types.UnionType):  # pyright: ignore[reportDeprecated]
        kind = next(a for a in get_args(kind) if a is not types.NoneType)
    return kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _at(kind: Any, loc: tuple[Any, ...]) -> Any:
    """The type that the schema states at ``loc``; None where it states none."""
    for part in loc:
        kind = _bare(kind)
        if _is_model(kind):
            field = kind.model_fields.get(part)
            kind = field.annotation if field else None
        elif get_origin(kind) in (list, dict):
            kind = get_args(kind)[-1]
        else:
            return None
    return _bare(kind)


def _keys(kind: Any, at: str = "") -> Iterator[str]:
    for name, field in kind.model_fields.items():
        path, inner = f"{at}.{name}" if at else name, _bare(field.annotation)
        yield path
        if _is_model(inner):
            yield from _keys(inner, path)
