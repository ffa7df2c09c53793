"""Text from the templates of this package. Strict: a name that a template uses and nobody gave is an error, not an empty string."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """The text of ``templates/<template>.j2``. Filters besides Jinja's own: ``kotlin``, ``swift``, ``c`` and ``python``, string
    literals of these for whatever text."""
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
    made.filters["kotlin"] = kotlin
    made.filters["swift"] = swift
    made.filters["c"] = c
    made.filters["python"] = ascii
    return made


def kotlin(text: str) -> str:
    """A string literal of Kotlin: ``$`` would begin a template. What is not printable (line ends, marks that turn text around) is escaped
    in UTF-16, the rest kept."""

    def utf16(character: str) -> str:
        units = character.encode("utf-16-be", "surrogatepass").hex()
        return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))

    return _literal(text, '"\\$', utf16)


def swift(text: str) -> str:
    """A string literal of Swift. What is not printable is escaped; half a surrogate pair, which Swift has no text for, is U+FFFD."""
    return _literal(text, '"\\', lambda character: f"\\u{{{ord(_whole(character)):x}}}")


def c(text: str) -> str:
    """A string literal of C and C++ in ASCII: UTF-8 in octal, as is what would begin a trigraph. NUL would end it, and half a surrogate
    pair is no text: both are U+FFFD."""
    kept = set(range(32, 127)) - set(b'"\\?')
    whole = "".join("\ufffd" if character == "\0" else _whole(character) for character in text)
    return '"' + "".join(chr(byte) if byte in kept else f"\\{byte:03o}" for byte in whole.encode()) + '"'


def _literal(text: str, special: str, escape: Callable[[str], str]) -> str:
    """``text`` in quotes: a backslash before each of ``special``, ``escape`` of what is not printable, the rest as it is."""
    made = ("\\" + one if one in special else one if one.isprintable() else escape(one) for one in text)
    return '"' + "".join(made) + '"'


def _whole(character: str) -> str:
    """Half a surrogate pair is no text: U+FFFD stands for it."""
    return "\ufffd" if 0xD800 <= ord(character) < 0xE000 else character
