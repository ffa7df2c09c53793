"""From a recipe's ``[data]`` to a dataset: the source looked up, its options checked against its parameters."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from edgekd.data import SOURCES
from edgekd.data.dataset import Dataset
from edgekd.errors import InputError
from edgekd.lazy import attempt, resolve


def load_data(source: str, options: dict[str, Any], folder: Path) -> Dataset:
    """The dataset of ``source`` (a key of SOURCES or ``package.module:function``), called with ``options``.

    Options of parameters annotated ``Path`` are relative to ``folder``, the recipe's. Raises InputError if there is no such source, an
    option is unknown, missing or of the wrong type, the data is bad, or the function returns something else than a Dataset.
    """
    function = resolve(source, SOURCES, where="data.source")
    if not callable(function):
        raise InputError(
            f"{source} is {type(function).__name__}, not a function", where="data.source", expected="a function that returns a Dataset"
        )
    arguments = _arguments(function, options, folder)
    data = function(**arguments) if source in SOURCES else attempt(source, lambda: function(**arguments), where="data.source")
    if not isinstance(data, Dataset):
        raise InputError(
            f"{source} returned {type(data).__name__}",
            where="data.source",
            expected="edgekd.data.dataset.Dataset",
            mend="return Dataset(name, train, validation, test, labels)",
        )
    return data


def check_recipe_data(source: str, options: dict[str, Any], folder: Path, *, channels: int) -> Dataset:
    """``load_data``, and that the teacher's mean and std have one value, or one for each of the data's ``channels``.

    Raises InputError as load_data does, and if the numbers differ.
    """
    data = load_data(source, options, folder)
    if channels not in (1, data.shape[2]):
        raise InputError(
            f"{channels} values for images of {data.shape[2]} channels",
            where="teacher.mean",
            expected=f"1 or {data.shape[2]} values",
            mend=f"mean and std with {data.shape[2]} values each",
        )
    return data


def _arguments(function: Callable[..., Any], options: dict[str, Any], folder: Path) -> dict[str, Any]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return dict(options)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes = ", ".join(named) or "no options"
    for name in options:
        if name not in named and not open_ended:
            near = get_close_matches(name, named, 1)
            raise InputError(
                f"unknown option {name!r}", where=f"data.options.{name}", expected=takes, mend=f"perhaps {near[0]}" if near else "delete it"
            )
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in options:
            raise InputError("is missing", where=f"data.options.{name}", expected=f"the source takes {takes}", mend=f"add `{name} = …`")
    hints = _hints(function)
    return {name: _checked(name, value, hints.get(name), folder) for name, value in options.items()}


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}  # a user's annotations may name what is not there at run time; then nothing is checked


def _checked(name: str, value: Any, hint: Any, folder: Path) -> Any:
    """``value`` as the parameter wants it. Raises InputError if it has another type."""
    where = f"data.options.{name}"
    if hint is Path:
        if not isinstance(value, str) or not value or "\0" in value:
            raise InputError(f"found {value!r}", where=where, expected="a path, as text", mend=f'{name} = "…"')
        return folder / Path(value).expanduser()
    if hint is None:
        return value
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False))
    except PydanticUserError:
        return value
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        text = error.errors(include_url=False)[0]["msg"].removeprefix("Input should be ")
        raise InputError(f"found {value!r}", where=where, expected=text, mend=f"correct {name} in [data.options]") from error
