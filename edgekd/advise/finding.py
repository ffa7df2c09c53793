"""One piece of advice, and the lines of TOML that it comes with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgekd.errors import InputError
from edgekd.recipe.schema import Loss
from edgekd.records import Figure

#: From "look at it" to "what is built will be worse for it". The order is that of the table.
SEVERITIES = ("warning", "advice", "note")


@dataclass(frozen=True)
class Finding:
    """What was ``measured``, what that would ``change``, the ``lines`` of the recipe that say so, and ``why``: authors and year.

    ``lines`` replace what stands there under the same heading; a finding that is not mended in the recipe has none.
    """

    name: str
    severity: Literal["warning", "advice", "note"]
    measured: str
    change: str
    why: str
    lines: tuple[str, ...] = ()
    task: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise InputError(f"severity {self.severity!r}", where="finding", expected=", ".join(SEVERITIES))


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The gravest first; otherwise in the order in which they were found."""
    return tuple(sorted(findings, key=lambda f: SEVERITIES.index(f.severity)))


def loss_lines(loss: Loss, **changes: Any) -> tuple[str, ...]:
    """A loss as its table in a recipe: ``changes`` are its keys, and ``temperature``, which is one of its options."""
    options = dict(loss.options)
    if "temperature" in changes:
        options["temperature"] = changes.pop("temperature")
    keys = {**loss.model_dump(), **changes, "options": options}
    return ("[[losses]]", *(f"{key} = {toml(value)}" for key, value in keys.items() if value not in ({}, None)))


def table_lines(heading: str, keys: Mapping[str, Any]) -> tuple[str, ...]:
    """A table of a recipe."""
    return (f"[{heading}]", *(f"{key} = {toml(value)}" for key, value in keys.items()))


def toml(value: Any) -> str:
    """A value as TOML 1.0 writes it in one line."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {toml(item)}' for key, item in value.items())} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    bare = key.replace("_", "").replace("-", "")
    return key if bare.isascii() and bare.isalnum() else json.dumps(key, ensure_ascii=False)


def rounded(value: float) -> float:
    """Two digits: no search, no sample tells more."""
    return float(f"{value:.2g}")


def shown(figure: Figure) -> str:
    """A figure with its unit, interval and n."""
    if figure.unit == "share":
        value, ends = f"{figure.value:.1%}", f"{figure.low:.1%}–{figure.high:.1%}, " if figure.low is not None else ""
    else:
        value, ends = f"{figure.value:.3g}", f"{figure.low:.3g}–{figure.high:.3g}, " if figure.low is not None else ""
        value += f" {figure.unit}" if figure.unit else ""
    return f"{value} ({ends}n={figure.n})" if figure.n is not None else value
