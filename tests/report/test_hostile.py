"""Pages and tables of records that no build wrote: drawn, or one message; never a hang, a bomb or a steered terminal."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekd import runs
from edgekd.report import page
from tests import examined_runs
from tests.small_builds import edgekd

HOSTILE = "\x1b[31m\u202e[/red]<script>alert(1)</script>"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return examined_runs.run(tmp_path / "runs")


def changed(run: Path, stage: str, change: Callable[[Any], object]) -> Path:
    path = run / "records" / f"{stage}.json"
    document = json.loads(path.read_bytes())
    change(document["body"]["value"])
    path.write_text(json.dumps(document))
    return run


def html(run: Path) -> tuple[int, str, str]:
    """Exit code, stderr, page."""
    file = run.parent / "page.html"
    code, _, err = edgekd("report", run, "--html", file)
    return code, err, file.read_text("utf-8") if file.exists() else ""


def _latency(**changes: object) -> Callable[[Any], None]:
    return lambda body: [one["figures"]["latency_ms"].update(changes) for one in body]  # type: ignore[func-returns-value, return-value]


@pytest.mark.parametrize(
    ("stage", "change", "said"),
    [
        ("measure", _latency(value=1e308), "1e+308 is no figure of a run"),
        ("measure", _latency(low=-1e300), "-1e+300 is no figure of a run"),
        ("qat", lambda body: body["history"][0].update(loss=1e308), "1e+308 is no figure of a run"),
        ("examine", lambda body: body["tasks"][0]["confusion"][0].__setitem__(0, 10**400), "is no figure of a run"),
        ("examine", lambda body: body["tasks"][0]["confusion"][0].__setitem__(0, -5), "holds a negative count"),
        ("examine", lambda body: body["tasks"][0].update(teacher_confusion=[[1]]), "teacher's confusion matrix is of other classes"),
    ],
)
def test_what_cannot_be_drawn_names_its_record(run: Path, stage: str, change: Callable[[Any], object], said: str) -> None:
    code, err, written = html(changed(run, stage, change))
    assert code == 2 and said in err and f"{stage}.json: " in err and "edgekd build … --resume makes it again" in err and not written


def test_a_cost_of_nothing_is_drawn(run: Path) -> None:
    assert html(changed(run, "measure", _latency(value=0.0, low=None, high=None)))[0] == 0


def test_half_a_character_is_written_somehow(run: Path) -> None:
    code, _, written = html(changed(run, "examine", lambda body: body["tasks"][0]["labels"].__setitem__(0, "half \ud800 one")))
    assert code == 0 and "half \\ud800 one" in written


def test_a_folder_whose_name_is_no_text(run: Path) -> None:
    odd = shutil.copytree(run, run.parent / os.fsdecode(b"\xff"))
    code, _, written = html(odd)
    assert code == 0 and "\\udcff" in written


@pytest.mark.parametrize(
    ("width", "height", "said"), [(65_000, 65_000, "65000 x 65000 pixels"), (2**31 - 1, 1, "2147483647 x 1 pixels"), (0, 9, "0 x 9 pixels")]
)
def test_a_picture_that_unpacks_to_more_than_a_page_bears(run: Path, width: int, height: int, said: str) -> None:
    picture = run / runs.read(run, "examine").body.picture
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(50))
    changed(run, "examine", lambda body: body.update(sha256=runs.sha256_file(picture)))
    code, _, written = html(run)
    assert code == 0 and said in written and "data:image/png" not in written


def test_a_picture_that_is_a_pipe_is_not_read(run: Path) -> None:
    picture = run / runs.read(run, "examine").body.picture
    picture.unlink()
    os.mkfifo(picture)
    code, _, written = html(run)
    assert code == 0 and "examples.png is not there" in written


def test_a_table_does_not_steer_a_terminal(run: Path) -> None:
    changed(run, "plan", lambda body: body.update(target=HOSTILE, family=HOSTILE))
    changed(run, "measure", _latency(unit=HOSTILE))
    code, out, _ = edgekd("report", run)
    assert code == 0 and "\x1b" not in out and "\u202e" not in out and "[/red]" in out


def test_the_most_runs_are_under_three_megabytes(tmp_path: Path) -> None:
    made = [examined_runs.run(tmp_path / f"{at}", seed=at) for at in range(page.MOST)]
    assert page.write(made, tmp_path / "page.html") < 3_000_000
    code, _, err = edgekd("report", *made, tmp_path / "0" / made[0].name, "--html", tmp_path / "page.html")
    assert code == 2 and f"at most {page.MOST} on one page" in err
