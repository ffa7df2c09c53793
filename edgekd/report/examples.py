"""Samples that teacher and student answer differently, cut from the run's one picture of them."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass

from markupsafe import Markup

from edgekd import runs
from edgekd.errors import EdgekdError
from edgekd.records import Examined, Example
from edgekd.report.classes import label_of
from edgekd.report.gather import View
from edgekd.report.svg import el

#: A picture larger than this is left out: the page must stay small.
LARGEST = 400_000
LARGEST_PIXELS = 4_000_000
_MAGIC = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Sprite:
    """Samples of ``width`` x ``height`` pixels side by side; ``definition`` embeds them once a page."""

    name: str
    width: int
    height: int
    definition: Markup


def sprite(view: View) -> tuple[Sprite | None, str]:
    """The run's picture, or why it is not shown. It must be the PNG that the record names, by its hash."""
    examination = view.examination
    if examination is None or not examination.picture or not examination.tasks or not examination.tasks[0].examples:
        return None, "this run has no picture of its examples"
    try:
        path = runs.inside(view.folder, examination.picture)
        if not path.is_file():
            return None, f"{examination.picture} is not there"
        raw = path.read_bytes() if path.stat().st_size <= LARGEST else b""
        if raw and examination.sha256 and runs.sha256_file(path) != examination.sha256:
            return None, f"{examination.picture} is not the file that the record was written with"
    except (OSError, EdgekdError):
        return None, f"{examination.picture} is not there"
    if not raw:
        return None, f"{examination.picture} is larger than {LARGEST // 1000} kB"
    if raw[:8] != _MAGIC or raw[12:16] != b"IHDR" or len(raw) < 24:
        return None, f"{examination.picture} is no PNG"
    width, height = struct.unpack(">II", raw[16:24])
    if not 0 < width * height <= LARGEST_PIXELS:  # a few bytes may unpack to more than a browser's memory
        return None, f"{examination.picture} is said to have {width} x {height} pixels"
    count = len(examination.tasks[0].examples)
    name = f"sprite-{view.key}"
    data = f"data:image/png;base64,{base64.b64encode(raw).decode()}"
    image = el("image", id=name, href=data, width=width, height=height)
    return Sprite(name, width // count, height, el("svg", el("defs", image), width=0, height=0, class_="sprite", aria_hidden="true")), ""


def thumbnail(found: Sprite, at: int, said: str) -> Markup:
    """Sample ``at`` of the picture; ``said`` is read aloud."""
    box = f"{at * found.width} 0 {found.width} {found.height}"
    return el("svg", el("use", href=f"#{found.name}"), viewbox=box, class_="thumb", role="img", aria_label=said)


@dataclass(frozen=True)
class Shown:
    """One example in words."""

    index: int
    label: str
    student: str
    teacher: str
    student_p: str
    teacher_p: str
    right: str


def words(examined: Examined, example: Example) -> Shown:
    right = "neither is right"
    if example.student == example.label:
        right = "the student is right"
    if example.teacher == example.label:
        right = "the teacher is right"
    is_, student, teacher = (label_of(examined, at) for at in (example.label, example.student, example.teacher))
    return Shown(
        example.index, is_, student, teacher, f"{100 * example.student_p:.0f}\u00a0%", f"{100 * example.teacher_p:.0f}\u00a0%", right
    )
