"""One TOML file, read, or the one problem that keeps it from being read."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 20  # nobody writes a megabyte of settings by hand


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a file: ``key`` (dotted path, empty for the file itself), what was ``found``, what is ``expected``, the cure."""

    key: str
    found: str
    expected: str = ""
    mend: str = ""

    def lines(self) -> list[str]:
        out = [f"{self.key}: {self.found}" if self.key else self.found]
        if self.expected:
            out.append(f"  expected: {self.expected}")
        if self.mend:
            out.append(f"  to mend:  {self.mend}")
        return out


def read_toml(path: Path) -> dict[str, Any] | Problem:
    """The file's content, or the one problem that keeps it from being read."""
    try:
        if path.is_dir():
            return Problem("", "is a directory", "a TOML file", f"name the file in it, e.g. {path}/NAME.toml")
        if not path.exists():
            return Problem("", "no such file", "a TOML file", _near_file(path))
        if not path.is_file():
            return Problem("", "is not a regular file", "a TOML file", "give the path of an ordinary file")
        if (size := path.stat().st_size) > MAX_BYTES:
            return Problem("", f"{size} bytes", f"at most {MAX_BYTES}", "is it the right file? Data does not belong here")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        return Problem("", f"cannot be read ({error})", "a readable file", "check the path and its permissions")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Problem("", f"byte 0x{content[error.start]:02x} on line {line} is not UTF-8", "UTF-8 text", "save it again as UTF-8")
    if text.startswith("\ufeff"):
        return Problem("", "begins with a byte order mark", "UTF-8 text without one", "save it as UTF-8 without BOM")
    if not text.strip():
        return Problem("", "is empty", "the keys of its schema", "copy a packaged file and change it")
    try:
        tables = tomllib.loads(text)
        return next(_beyond(tables), tables)
    except RecursionError:
        return Problem("", "arrays or tables are nested too deeply", "at most a few levels", "flatten it")
    except ValueError as error:
        return _syntax(str(error))


def _beyond(value: Any, key: str = "") -> Iterator[Problem]:
    """Integers that TOML does not have: of more than 64 bits."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield Problem(key, "is an integer of more than 64 bits", "-9223372036854775808 to 9223372036854775807", "a smaller number")
    elif isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _beyond(inner, f"{key}[{name}]" if isinstance(name, int) else f"{key}.{name}".lstrip("."))


def _syntax(message: str) -> Problem:
    if "overwrite" in message or "twice" in message or "Cannot mutate" in message:
        return Problem("", f"not valid TOML: {message}: a key or table stands twice", "each key and table once", "delete one of the two")
    return Problem("", f"not valid TOML: {message}", "TOML 1.0 (text in quotes, true and false in lower case)", "correct that line")


def _near_file(path: Path) -> str:
    names = [p.name for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
    near = get_close_matches(path.name, names, 1)
    return f"perhaps {path.parent / near[0]}" if near else "check the path"
