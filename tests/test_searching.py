"""`edgekd plan --search`, from a recipe to a build of what was found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.jobs import Request, load_jobs
from edgekd.plan.search import Candidate
from edgekd.searching import _table
from tests.small_builds import edgekd, recipe

TARGETS = ("-t", "nucleo-l4r5zi", "-t", "pixel-8")
FEW = ("--trials", "120", "--trained", "4", "--budget", "max_macs=150000", "--threads", "1")
SMALL = (*FEW, "--passes", "0.5,1.5")
SPACE = """
[search.inverted_residual]
options = { stem_stride = 2, strides = [1, 2] }
space = { stem = [4, 8], "widths[]" = [4, 8, 12, 16], "blocks[]" = [1, 2], "kernel[]" = [3, 5], expansion = [1, 2, 3] }

[presets.demo]
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.slow
def test_a_search_is_found_again_and_built(tmp_path: Path) -> None:
    where, root = recipe(tmp_path / "recipe", {"[presets.demo]\n": SPACE}), tmp_path / "runs"
    code, out, error = edgekd("plan", where, *TARGETS, "--search", *SMALL, "--runs", root, "--json")
    assert code == 0, error
    found = json.loads(out)
    assert found["counted"] > 50 and found["trained"] == 6 and [f["target"] for f in found["found"]] == ["nucleo-l4r5zi", "pixel-8"]
    folder = Path(found["folder"])
    for one in found["found"]:
        assert max(map(float, one["best"]["accuracy"])) == 1.5
        last = [max(one[who]["accuracy"].items(), key=lambda item: float(item[0]))[1] for who in ("own", "best")]
        assert last[1] >= last[0]
        assert (folder / f"{one['target']}.svg").read_text().startswith("<svg")
        assert one["best"]["candidate"]["macs"] <= 150_000
    code, out, error = edgekd("plan", where, *TARGETS, "--search", *SMALL, "--runs", root)
    assert code == 0 and "float: done" not in error and f"--student {folder}" in out, error
    assert "search: done" in error and "rung 2 of 2: done" in error
    code, out, error = edgekd("build", where, "-t", "pixel-8", "--student", folder, "--runs", root, "--threads", "1", "--json")
    assert code == 0, error
    (built,) = json.loads(out)
    pixel = found["found"][1]["best"]["candidate"]
    assert built["records"]["plan"]["body"]["value"]["spec"] == pixel["spec"]
    assert built["records"]["plan"]["figures"]["macs"]["value"] == pixel["macs"]
    assert built["records"]["plan"]["figures"]["model_bytes"]["value"] == pytest.approx(pixel["model_bytes"], rel=0.05)


@pytest.mark.slow
def test_students_are_cut_out_of_a_supernet(tmp_path: Path) -> None:
    where, root = recipe(tmp_path / "recipe", {"[presets.demo]\n": SPACE}), tmp_path / "runs"
    command = ("plan", where, *TARGETS, "--search", *FEW, "--supernet", "3", "--runs", root, "--json")
    code, out, error = edgekd(*command)
    assert code == 0 and "supernet: done" in error, error
    found = json.loads(out)
    assert found["trained"] > 12  # judged without being trained
    for one in found["found"]:
        assert one["best"]["accuracy"]["3.0"] >= one["own"]["accuracy"]["3.0"] and one["best"]["accuracy"]["3.0"] > 0.5
    code, again, error = edgekd(*command)
    # The same but for the second at which the machine was asked.
    now = {"environment": found["environment"]}
    assert code == 0 and json.loads(again) | now == found and "supernet: done" not in error
    folder = Path(found["folder"])
    code, out, error = edgekd("build", where, "-t", "pixel-8", "--student", folder, "--runs", root, "--threads", "1", "--json")
    assert code == 0, error
    cut = json.loads(out)[0]["records"]
    (folder / "pixel-8.safetensors").write_bytes(b"none")
    code, out, error = edgekd("build", where, "-t", "pixel-8", "--student", folder, "--runs", tmp_path / "other", "--threads", "1")
    assert code == 2 and "cannot be begun from" in error and "delete initial" in error, error
    (folder / "pixel-8.safetensors").unlink()
    code, out, error = edgekd("build", where, "-t", "pixel-8", "--student", folder, "--runs", tmp_path / "third", "--threads", "1")
    assert code == 2 and "student.initial: " in error and "is no file" in error, error
    text = (folder / "pixel-8.toml").read_text()
    (folder / "pixel-8.toml").write_text(text.replace('initial = "pixel-8.safetensors"\n', ""))
    code, out, error = edgekd("build", where, "-t", "pixel-8", "--student", folder, "--runs", root, "--threads", "1", "--json")
    assert code == 0, error
    random = json.loads(out)[0]["records"]
    assert random["plan"]["body"]["value"]["spec"] == cut["plan"]["body"]["value"]["spec"]
    assert random["float"]["body"]["value"]["sha256"] != cut["float"]["body"]["value"]["sha256"]
    # More trials are other students, and another supernet.
    code, _, error = edgekd(*("150" if word == "120" else word for word in command))
    assert code == 0 and "supernet: done" in error, error
    two = recipe(tmp_path / "two", {"[presets.demo]\n": f"{SPACE.strip().removesuffix('[presets.demo]')}[search.vit]\n\n[presets.demo]\n"})
    code, _, error = edgekd("plan", two, *TARGETS, "--search", *FEW, "--supernet", "3")
    assert code == 2 and "2 families" in error, error


def test_passes_have_no_meaning_for_a_supernet(tmp_path: Path) -> None:
    code, _, error = edgekd("plan", recipe(tmp_path / "recipe", {}), *TARGETS, "--search", *SMALL, "--supernet", "3")
    assert code == 2 and "--passes beside --supernet" in error, error


def test_what_the_recipe_says_of_its_student_goes_on_to_hold(tmp_path: Path) -> None:
    change = {
        "[presets.demo]\n": SPACE,
        'family = "inverted_residual"': 'family = "inverted_residual"\nsoftmax = true\nbits = "mixed"\nactivations = "mixed"',
    }
    (job,) = load_jobs(Request(str(recipe(tmp_path / "recipe", change)), ("nucleo-l4r5zi",)))
    found = Candidate("inverted_residual", {"stem": 4}, {"stem": 4}, 1, 1, 1, 1, {}, 0.0)
    own = replace(found, spec={"stem": 8})
    for best in (found, own):
        student = _table(job, best, own)
        assert student["softmax"] is True and student["bits"] == student["activations"] == "mixed"


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("foo = [4, 8]", "'foo' is not an option"),
        ('"widths[]" = [8, "a"]', "whole numbers, which can rise"),
        ('strides = [[3, 3]], blocks = [[1, 1]], "widths[]" = [8]', "stride 3"),
    ],
)
def test_spaces_of_no_students(tmp_path: Path, space: str, message: str) -> None:
    change = {"[presets.demo]\n": f"[search.inverted_residual]\nspace = {{ {space} }}\n\n[presets.demo]\n"}
    for command in ((), ("--trials", "3")):
        code, _, error = edgekd("plan", recipe(tmp_path / "recipe", change), "-t", "pixel-8", "--search", *command)
        assert code == 2 and message in error and "Traceback" not in error, error


def test_refusals(tmp_path: Path) -> None:
    where = recipe(tmp_path / "recipe")
    for passes in ("", "0", "3,1", "1,1", "a", "nan"):
        code, _, error = edgekd("plan", where, "-t", "pixel-8", "--search", "--passes", passes)
        assert code == 2 and "rising numbers above 0" in error, (passes, error)
    file = tmp_path / "student.toml"
    for text, message in (
        ("[student]\nfamily = 3", "student.family"),
        ("", "student"),
        ('name = "x"\n[student]\nfamily = "conv1d"', "name"),
        ("[stud", "student.toml"),
    ):
        file.write_text(text)
        code, _, error = edgekd("plan", where, "-t", "pixel-8", "--student", file)
        assert code == 2 and message in error and "Traceback" not in error, error
    code, _, error = edgekd("plan", where, "-t", "pixel-8", "--student", tmp_path / "recipe")
    assert code == 2 and "pixel-8.toml" in error
    unknown = recipe(tmp_path / "unknown", {"[presets.demo]\n": "[search.nothing]\n\n[presets.demo]\n"})
    code, _, error = edgekd("plan", unknown, "-t", "pixel-8", "--search")
    assert code == 2 and "recipe, search.nothing: 'nothing' is not known" in error, error
    own = recipe(tmp_path / "own", {"[presets.demo]\n": '[search."tests.float_models:nothing"]\n\n[presets.demo]\n'})
    assert edgekd("plan", own, "-t", "pixel-8", "--search")[0] == 2
