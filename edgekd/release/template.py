"""Text from the templates of this package. Strict: a name that a template uses and nobody gave is an error, not an empty string."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """The text of ``templates/<template>.j2``. Filters besides Jinja's own: ``quoted``, a string literal of C, Kotlin, Swift and Python;
    ``kotlin``, ``swift``, ``c`` and ``python``, string literals of these for whatever text."""
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
    made.filters["kotlin"] = kotlin
    made.filters["swift"] = swift
    made.filters["c"] = c
    made.filters["python"] = ascii
    return made


def kotlin(text: str) -> str:
    """A string literal of Kotlin: ``$`` would begin a template. What is not printable (line ends, marks that turn text around) is escaped
    in UTF-16, the rest kept."""
    made = []
    for character in text:
        if character in '"\\$':
            made.append("\\" + character)
        elif character.isprintable():
            made.append(character)
        else:
            utf16 = character.encode("utf-16-be", "surrogatepass").hex()
            made.extend(f"\\u{utf16[at : at + 4]}" for at in range(0, len(utf16), 4))
    return '"' + "".join(made) + '"'


def swift(text: str) -> str:
    """A string literal of Swift. What is not printable is escaped; half a surrogate pair, which Swift has no text for, is U+FFFD."""
    made = []
    for character in text:
        if character in '"\\':
            made.append("\\" + character)
        elif character.isprintable():
            made.append(character)
        else:
            code = 0xFFFD if 0xD800 <= ord(character) < 0xE000 else ord(character)
            made.append(f"\\u{{{code:x}}}")
    return '"' + "".join(made) + '"'


def c(text: str) -> str:
    """A string literal of C and C++ in ASCII: UTF-8 in octal, as is what would begin a trigraph. NUL would end it, and half a surrogate
    pair is no text: both are U+FFFD."""
    kept = set(range(32, 127)) - set(b'"\\?')
    whole = "".join("\ufffd" if character == "\0" or 0xD800 <= ord(character) < 0xE000 else character for character in text)
    return '"' + "".join(chr(byte) if byte in kept else f"\\{byte:03o}" for byte in whole.encode()) + '"'


def quoted(text: str) -> str:
    """A literal that means the same in all four languages. Kotlin would read $ as a template, C would read ?? as a trigraph, and universal
    character names differ, so what is not plain ASCII is refused where it is not printable, and kept as UTF-8 else."""
    made = json.dumps(text, ensure_ascii=False)
    return made.replace("\\/", "/")
