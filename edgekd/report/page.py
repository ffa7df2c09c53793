"""The page: one HTML file that holds all it shows, and asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from edgekd import outputs, runs
from edgekd.errors import InputError
from edgekd.report import sections, svg
from edgekd.report.gather import View, views

#: A page of more runs would be neither read nor small.
MOST = 20
#: By which a page is known that may be written over.
_MARK = b'content="edgekd report"'


def write(folders: Sequence[Path], file: Path, store: str = "") -> int:
    """Write the page of these runs to ``file``, at once; its size in bytes.

    ``store`` names another store of measurements, as for `edgekd results`. Raises InputError for what is no run folder, a damaged record,
    more than MOST runs, and a file that cannot be written.
    """
    if len(folders) > MOST:
        raise InputError(f"{len(folders)} runs", where="edgekd report --html", expected=f"at most {MOST} on one page")
    outputs.check(Path(file), "--html", _MARK)
    content = render(views(folders, store)).encode(errors="backslashreplace")  # a name may be no text
    try:
        runs.atomic_write(Path(file), content)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", where=str(file), expected="a file in a folder that can be written"
        ) from error
    return len(content)


def render(shown: Sequence[View]) -> str:
    """The whole page as text. Style and script are allowed by their hashes, pictures only from within the page."""
    style, script = _source("style.css"), _source("page.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    said: dict[str, Any] = {
        "policy": policy,
        "style": Markup(style),
        "script": Markup(script),
        "views": shown,
        "key": svg.key,
        **sections.all_of(shown),
    }
    return _environment().get_template("page.html.j2").render(**said)


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("edgekd.report"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _source(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a content security policy names an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
