"""`edgekd plan --search` over front-ends, and builds of students that are fed others than their teachers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd import pipeline, runs
from edgekd.jobs import Request, load_jobs, plan_job
from edgekd.plan.halving import Trained
from edgekd.plan.search import Candidate
from edgekd.quant import io
from edgekd.searching import _table, _toml
from tests import small_builds
from tests.small_builds import edgekd
from tests.small_sounds import recipe

TARGETS = ("-t", "nucleo-l4r5zi", "-t", "pixel-8")
SEARCH = """[search.frontend]
options = { low_hz = 80 }
space = { mels = [8, 10, 16], hop = [120, 160, 240], frame = [128, 256] }

[search.ds_cnn]
options = { stem_kernel = [4, 4] }
space = { channels = [4, 8, 12], blocks = [1, 2] }

[[losses]]
name = "soft_targets\""""
LOSS = '[[losses]]\nname = "soft_targets"'
FILE = '[student]\nfamily = "ds_cnn"\noptions = {{ stem_kernel = [4, 4], channels = 8, blocks = 1 }}\n{}\n'


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.slow
def test_a_search_chooses_the_front_end(tmp_path: Path) -> None:
    where, root = recipe(tmp_path / "recipe", {LOSS: SEARCH}), tmp_path / "runs"
    command = (
        "plan",
        where,
        *TARGETS,
        "--search",
        "--trials",
        "60",
        "--trained",
        "6",
        "--passes",
        "0.5,2",
        "--threads",
        "1",
        "--runs",
        root,
    )
    code, out, error = edgekd(*command, "--json")
    assert code == 0, error
    found = json.loads(out)
    folder = Path(found["folder"])
    counted = _counted(folder)
    assert all(c["front_end"]["low_hz"] == 80 for c in counted) and {c["front_end"].get("mels", 16) for c in counted} == {8, 10, 16}
    for c in counted:
        assert c["spec"]["width"] == c["front_end"].get("mels", 16) and c["front_end_work"] > 0
    # All students learn from the same answers.
    assert len(list((tmp_path / "cache" / "edgekd" / "soft_targets").glob("*.npy"))) == 2
    code, out, error = edgekd(*command)
    assert code == 0 and "float: done" not in error and "front-end: the recipe's own" in out, error
    assert all("multiplications for the features" in (folder / f"{one['target']}.toml").read_text() for one in found["found"])
    assert "of the front-end too" in (folder / "pixel-8.svg").read_text()
    code, _, error = edgekd("plan", where, *TARGETS, "--student", folder)
    assert code == 0, error


def _counted(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "study.journal").read_text().splitlines()]
    return [json.loads(line["user_attr"]["candidate"]) for line in lines if "candidate" in line.get("user_attr", {})]


@pytest.mark.slow
def test_each_target_is_built_with_its_own_front_end(tmp_path: Path) -> None:
    where, root, files = recipe(tmp_path / "recipe"), tmp_path / "runs", tmp_path / "found"
    files.mkdir()
    (files / "nucleo-l4r5zi.toml").write_text(FILE.format("frontend = { hop = 240, mels = 10 }"))
    (files / "pixel-8.toml").write_text(FILE.format(""))
    code, _, error = edgekd("build", where, *TARGETS, "--student", files, "--runs", root, "--threads", "1", "--json")
    assert code in (0, 1), error  # 1: accuracy, of a few passes
    assert len(list((tmp_path / "cache" / "edgekd" / "soft_targets").glob("*.npy"))) == 2
    folders = sorted(root.iterdir())
    data = {job.profile.name: job.data for job in load_jobs(Request(str(where), TARGETS[1::2], student=str(files)))}
    for folder, name, size in zip(folders, ("nucleo-l4r5zi", "pixel-8"), ((7, 10), (11, 16)), strict=True):
        graph = io.load(folder / "graph")
        assert graph.tensor(graph.inputs[0]).shape == (1, *size, 1)
        assert graph.metadata["input"]["front_end"] == dict(data[name].front_end)
        assert graph.metadata["hashes"]["data"] == runs.request(folder)["data"] == data[name].sha256
        assert any(f"front-end: {size[0]} frames of {size[1]} mel bands" in note for note in runs.read(folder, "plan").body.notes)
        verdicts = pipeline.verify_again(folder, lambda *_: None, threads=1)
        assert all(v.ok for v in verdicts) and verdicts[0].figures["accuracy"].n == len(data[name].test)
    first, second = (runs.read(folder, "measure").figures["teacher_accuracy"] for folder in folders)
    assert first.value == second.value  # it sees its own
    code, _, error = edgekd("build", where, *TARGETS, "--student", files, "--runs", root, "--threads", "1", "--resume")
    assert code in (0, 1) and "float: done" not in error, error


def test_what_was_found_is_written_with_its_front_end(tmp_path: Path) -> None:
    where = recipe(tmp_path / "recipe", {"[student.space]": "frontend = { hop = 120 }\n\n[student.space]"}, each=10)
    (job,) = load_jobs(Request(str(where), ("nucleo-l4r5zi",)))
    assert job.data.shape == (14, 16, 1) and job.data.for_teachers.shape == (11, 16, 1)
    own = Candidate("ds_cnn", {}, {"a": 1}, 9, 9, 9, 9, {}, 0.0, {"hop": 120}, 100)
    best = Candidate("ds_cnn", {"channels": 8}, {"a": 1}, 9, 9, 9, 9, {}, 0.0, {"mels": 10}, 200)
    assert own.name != best.name and own.work == 109
    assert _table(job, own, own)["frontend"] == {"hop": 120} and "space" in _table(job, own, own)
    file = tmp_path / "student.toml"
    file.write_text(_toml(_table(job, best, own), Trained(best, {1.0: 0.5}), 10))
    assert "200 multiplications for the features" in file.read_text()
    (again,) = load_jobs(Request(str(where), ("nucleo-l4r5zi",), student=str(file)))
    assert again.data.shape == (11, 10, 1) and plan_job(again).spec["width"] == 10
    assert again.identity["recipe"]["student"]["frontend"] == {"mels": 10} and again.data.sha256 != job.data.sha256


def test_teachers_are_trained_on_what_they_see(tmp_path: Path) -> None:
    change = {
        "[student.space]": "frontend = { mels = 10 }\n\n[student.space]",
        "options = { width = 4 }": 'options = { width = 4 }\ncheckpoint = "teacher.safetensors"\nschedule = { epochs = 1, batch = 16 }',
    }
    where = recipe(tmp_path / "recipe", change, each=10)
    code, out, error = edgekd("teach", where, "--threads", "1", "--json")
    assert code == 0, error
    (job,) = load_jobs(Request(str(where), ("nucleo-l4r5zi",)))
    assert json.loads(out)["inputs"]["data"] == job.data.for_teachers.sha256 != job.data.sha256
    code, _, error = edgekd("recipes", "check", where / "recipe.toml", "--data")
    assert code == 0, error


@pytest.mark.parametrize(
    ("space", "command", "message"),
    [
        ("mel = [8, 16]", (), "'mel' is no number of the front-end"),
        ('"mels[]" = [8, 16]', (), "'mels[]' is no number of the front-end"),
        ("mels = [150, 200]", ("--trials", "4"), "fewer filters, or a longer frame"),
        ("mels = [8, 16]", ("--supernet", "1"), "[search.frontend] beside --supernet"),
    ],
)
def test_front_ends_of_no_students(tmp_path: Path, space: str, command: tuple[str, ...], message: str) -> None:
    where = recipe(tmp_path / "recipe", {LOSS: f"[search.frontend]\nspace = {{ {space} }}\n\n{LOSS}"}, each=10)
    code, _, error = edgekd("plan", where, "-t", "nucleo-l4r5zi", "--search", *command, "--runs", tmp_path / "runs")
    assert code == 2 and message in error and "search.frontend" in error and "Traceback" not in error, error


def test_images_have_no_front_end_to_search(tmp_path: Path) -> None:
    where = small_builds.recipe(tmp_path / "a", {"[presets.demo]\n": "[search.frontend]\nspace = { mels = [8, 16] }\n\n[presets.demo]\n"})
    code, _, error = edgekd("plan", where, "-t", "pixel-8", "--search", "--runs", tmp_path / "runs")
    assert code == 2 and "the data of numpy has no front-end" in error and "delete search.frontend" in error, error
    where = small_builds.recipe(tmp_path / "b", {"[student.space]": "frontend = { mels = 8 }\n\n[student.space]"})
    code, _, error = edgekd("plan", where, "-t", "pixel-8")
    assert code == 2 and "the data of numpy has no front-end" in error and "delete student.frontend" in error, error


def test_ram_of_a_frame_counts(tmp_path: Path) -> None:
    """A frame and the features that are made of it must fit the budget of RAM as well."""
    where = recipe(tmp_path / "recipe", {LOSS: f"[search.frontend]\nspace = {{ frame = [128, 1024] }}\n\n{LOSS}"}, each=10)
    code, out, error = edgekd(
        "plan", where, "-t", "nucleo-l4r5zi", "--search", "--trials", "12", "--trained", "2", "--passes", "0.2", "--budget",
        "peak_ram_bytes=6000", "--threads", "1", "--runs", tmp_path / "runs", "--json",
    )  # fmt: skip
    assert code == 0, error
    counted = _counted(Path(json.loads(out)["folder"]))
    assert {c["front_end"].get("frame") for c in counted} == {128, 1024}
    for c in counted:
        over = 8 * c["front_end"]["frame"] + c["spec"]["height"] * c["spec"]["width"] > 6000
        assert over == (c["front_end"]["frame"] == 1024) and (not over or c["use"]["nucleo-l4r5zi"] > 1)
    assert np.isfinite([c["use"]["nucleo-l4r5zi"] for c in counted]).all()
