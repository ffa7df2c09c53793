"""Run folders and what lies beside them: name → (valid seeds, made in a folder; what reads one that was damaged), as in fuzz_files.py."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import shutil
from collections.abc import Generator
from functools import cache
from pathlib import Path

from fuzz_files import ROOT, Parse, Seeds, each, placed


@cache
def _run(folder: Path) -> Path:
    from edgekd import runs
    from edgekd.records import Artifact
    from tests.examined_runs import run, write

    made = run(folder / "runs")
    (made / "m.tflite").write_bytes(b"model")
    write(made, "export", [Artifact("tflite", "m.tflite", runs.sha256_file(made / "m.tflite"), {}, ("m.tflite",))])
    shutil.copytree(made, folder / "whole")
    return made


def records(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((_run(folder) / "records").glob("*.json"))]


def record(content: bytes, folder: Path) -> None:
    with _damaged(content, folder) as run:
        _judged(run)


def page(content: bytes, folder: Path) -> None:
    """What `report --html` shows, which takes longer."""
    with _damaged(content, folder) as run:
        _shown(run)


@contextlib.contextmanager
def _damaged(content: bytes, folder: Path) -> Generator[Path]:
    """A run with ``content`` in the place of one of its records: of that stage that it says first. The run is whole again afterwards."""
    said, run = re.search(rb'"stage": "(\w{1,20})"', content), _run(folder)
    path = run / "records" / f"{said[1].decode() if said else 'plan'}.json"
    whole = folder / "whole" / "records" / path.name
    path.write_bytes(content)
    try:
        yield run
    finally:
        if whole.is_file():
            shutil.copyfile(whole, path)
        else:
            path.unlink()


def requests(folder: Path) -> list[bytes]:
    from edgekd.recipe.load import load

    recipe = load(ROOT / "models" / "fashion_mnist").recipe.model_dump(mode="json")
    asked = {**json.loads((_run(folder) / "request.json").read_bytes()), "recipe": recipe, "data": "d" * 64}
    return [json.dumps(asked).encode(), json.dumps({**asked, "command": "quantize"}).encode()]


def request(content: bytes, folder: Path) -> None:
    from edgekd import jobs

    run = _run(folder)
    (run / "request.json").write_bytes(content)
    each(lambda: _judged(run), lambda: jobs.asked_of(run))


def _judged(run: Path) -> None:
    """As `gate` and `report` do."""
    from edgekd import gating, report, runs
    from edgekd.gate.judge import judge

    each(
        lambda: judge(gating.read(run), None, today=datetime.date(2026, 1, 1)),
        lambda: report.documents([run]) and report.table([run]),
        lambda: [runs.changed(run, stage) for stage in runs.stages(run)] and runs.unchained(run),
    )


def _shown(run: Path) -> None:
    from edgekd.report import page
    from edgekd.report.gather import views

    page.render(views([run]))


def searches(folder: Path) -> list[bytes]:
    candidate = {"family": "vit", "spec": {"width": 8}, "model_bytes": 1000, "macs": 5000}
    line = json.dumps({"op_code": 8, "user_attr": {"edgekd": "x", "candidate": json.dumps(candidate)}})
    return [line.encode(), json.dumps({"found": [{"own": {"candidate": candidate}, "best": None}]}).encode(), b'{"accuracy": 0.91}']


def search(content: bytes, folder: Path) -> None:
    from edgekd.report.searched import beside

    for name in ("study.journal", "search.json", "x/aabb-1.5.json"):
        placed(folder / "clothes-search-0", name, content)
    beside(folder / "clothes-pixel-8-0", "clothes")


PARSERS: dict[str, tuple[Seeds, Parse]] = {
    "record": (records, record),
    "page": (records, page),
    "request": (requests, request),
    "search": (searches, search),
}
