"""Text from the templates of this package. Strict: a name that a template uses and nobody gave is an error, not an empty string."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """The text of ``templates/<template>.j2``. Filters besides Jinja's own: ``quoted``, a string literal of C, Kotlin, Swift and Python."""
    return _environment().get_template(f"{template}.j2").render(**values)


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("edgekd.release"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # none of it is HTML
    )
    made.filters["quoted"] = quoted
    return made


def quoted(text: str) -> str:
    """A literal that means the same in all four languages. Kotlin would read $ as a template, C would read ?? as a trigraph, and universal
    character names differ, so what is not plain ASCII is refused where it is not printable, and kept as UTF-8 else."""
    made = json.dumps(text, ensure_ascii=False)
    return made.replace("\\/", "/")
