"""Releases as a whole: the same bytes wherever they are made, there whole or not at all, and never changed once they are there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.convert import load_samples
from edgekd.errors import InputError
from edgekd.export import EXPORTERS
from edgekd.lazy import load
from edgekd.quant import io, reference
from edgekd.records import BudgetUse, Figure
from edgekd.release import FORMATS
from edgekd.release.check import check
from edgekd.releasing import Order, in_its_order, release, release_facts
from tests.released import graph
from tests.releases import facts_of, keys, made, order, quiet, tiny

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny(monkeypatch)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_release_holds_everything_and_passes_its_own_check(tmp_path: Path) -> None:
    done = made(tmp_path)
    folder = done.released.folder
    assert done.new and not done.signed
    assert sorted(_bytes(folder)) == [
        "MODEL_CARD.md", "bom.cdx.json", "evidence/plan.json", "evidence/profile.json", "evidence/recipe.json", "evidence/verify.json",
        "graph/graph.json", "graph/weights.safetensors", "manifest.json", "model/model.tflite", "tiny/MODEL_CARD.md", "tiny/NOTES",
        "tiny/assets/labels.txt", "tiny/assets/model.tflite", "tiny/build.sh", "tiny/bundle.zip", "vectors.npz",
    ]  # fmt: skip
    checked = check(folder, None)
    assert checked.ok and checked.signature == "none"
    assert os.listdir(folder.parent) == [folder.name]


def test_vectors_are_what_the_graph_answers(tmp_path: Path) -> None:
    folder = made(tmp_path).released.folder
    graph = io.load(folder / "graph")
    x = load_samples(graph, folder / "vectors.npz")[0]
    with np.load(folder / "vectors.npz") as file:
        assert np.array_equal(file["expected_0"], reference.run(graph, x, "tflm")[graph.outputs[0]])


_ELSEWHERE = """
import os, sys
os.umask(int(sys.argv[2], 8))
from pathlib import Path
import locale
locale.setlocale(locale.LC_ALL, "")
from edgekd.release import FORMATS, NEEDS
from edgekd.releasing import release_facts
from tests.released import graph
from tests.releases import facts_of, order, quiet
FORMATS["tiny"], NEEDS["tiny"] = "tests.release.tiny_packer:pack", ("tflite",)
print(release_facts(facts_of(Path(sys.argv[1])), order(Path("out")), quiet).released.folder.resolve())
"""


def test_the_same_bytes_from_anywhere(tmp_path: Path) -> None:
    folders = []
    for name, umask, settings in (
        ("one", "077", {"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "1"}),
        ("two/deeper", "002", {"TZ": "America/New_York", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "HOME": str(tmp_path)}),
    ):
        at = tmp_path / name
        at.mkdir(parents=True)
        environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", _ELSEWHERE, str(at), umask]
        done = subprocess.run(command, cwd=at, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        folders.append(Path(done.stdout.strip()))
    one, two = (_bytes(folder) for folder in folders)
    assert one == two
    modes = [{path.relative_to(folder): path.stat().st_mode & 0o777 for path in folder.rglob("*")} for folder in folders]
    assert modes[0] == modes[1]
    assert modes[0][Path("tiny/build.sh")] == 0o755 and modes[0][Path("manifest.json")] == 0o644 and modes[0][Path("tiny")] == 0o755


def test_no_path_of_this_machine_is_in_it(tmp_path: Path) -> None:
    lies = "/Users/ann/secret/place"
    facts = facts_of(tmp_path)
    facts = replace(
        facts,
        figures={**facts.figures, "macs": Figure(1.0, "MAC", "counted", f"graph of {lies}")},
        budgets=(BudgetUse("model_bytes", 1.0, 2.0, "B", f"recipe {lies}", "counted"),),
        recipe={**facts.recipe, "data": {"source": "numpy", "options": {"file": lies}}, "teacher": {"source": "onnx", "checkpoint": lies}},
        profile={**facts.profile, "description": lies},
        environment={**facts.environment, "python": f"{lies}/bin"},
        notes=(f"the data is not at hand ({lies})",),
    )
    folder = release_facts(facts, order(tmp_path / "out"), quiet).released.folder
    secrets = [str(tmp_path), str(ROOT), str(Path.home()), "/".join(("", "home", "")), "/Users/", "/tmp/", sys.prefix, os.uname().nodename]
    for name, content in _bytes(folder).items():
        if name.endswith(".zip"):
            with zipfile.ZipFile(folder / name) as archive:
                content += b"".join(archive.read(member) for member in archive.namelist())
        for secret in secrets:
            assert len(secret) < 4 or secret.encode() not in content, (name, secret)
    assert json.loads((folder / "evidence" / "plan.json").read_bytes())["config"] == {"recipe_folder": "recipes"}


@pytest.mark.parametrize("changes", [{"version": "1.4"}, {"version": "v1.4.0"}, {"group": "Example"}, {"group": "../x"}])
def test_a_name_that_is_none_is_refused_before_the_work(tmp_path: Path, changes: dict[str, str]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(changes))} '"):
        order(tmp_path, **changes)


def test_the_order_of_formats_does_not_count(tmp_path: Path) -> None:
    assert order(tmp_path, formats=("tiny", "mcu", "tiny")).formats == order(tmp_path, formats=("mcu", "tiny")).formats


def test_released_again_it_is_the_same(tmp_path: Path) -> None:
    first, before = made(tmp_path), _bytes(tmp_path / "out")
    again = made(tmp_path)
    assert first.new and not again.new and again.released.folder == first.released.folder
    assert _bytes(tmp_path / "out") == before


@pytest.mark.parametrize("spoil", [lambda f: (f / "vectors.npz").write_bytes(b""), lambda f: (f / "more").write_text("x")])
def test_a_published_version_never_changes(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    folder = made(tmp_path).released.folder
    spoil(folder)
    before = _bytes(folder)
    with pytest.raises(InputError, match="is there already, and differs in (vectors.npz|more)") as refused:
        made(tmp_path)
    assert "a published one never changes" in str(refused.value) and "--version" in str(refused.value)
    assert _bytes(folder) == before and os.listdir(folder.parent) == [folder.name]


def test_other_bundles_are_another_release(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(InputError, match="MODEL_CARD.md|manifest.json"):
        made(tmp_path, formats=())
    made(tmp_path / "new", formats=())


def test_a_signed_release(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    done = made(tmp_path, key=private)
    folder = done.released.folder
    assert done.new and done.signed
    assert check(folder, public).signature == "good" and check(folder, None).signature == "unchecked"
    signature = (folder / "model.sig").read_bytes()
    again = made(tmp_path, key=private)
    assert not again.new and again.signed and (folder / "model.sig").read_bytes() == signature
    assert not made(tmp_path).new
    with pytest.raises(InputError, match="with the same bytes, but not signed by this key: .*Key mismatch"):
        made(tmp_path, key=keys(tmp_path, "other")[0])
    unsigned = made(tmp_path / "unsigned")
    assert _bytes(unsigned.released.folder) == {name: content for name, content in _bytes(folder).items() if name != "model.sig"}


def test_a_signature_is_not_added_afterwards(tmp_path: Path) -> None:
    folder = made(tmp_path).released.folder
    with pytest.raises(InputError, match="not signed by this key: there is no signature"):
        made(tmp_path, key=keys(tmp_path)[0])
    assert not (folder / "model.sig").exists()


@pytest.mark.parametrize(("packer", "error", "said"), [
    ("refuse", InputError, "a float16 model"),
    ("forget", RuntimeError, "untold.txt"),
    ("link", InputError, "is no regular file"),
])  # fmt: skip
def test_a_bundle_that_cannot_be_made_publishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packer: str, error: type[Exception], said: str
) -> None:
    tiny(monkeypatch, packer)
    with pytest.raises(error, match=said):
        made(tmp_path)
    assert os.listdir(tmp_path / "out") == []


def test_a_format_whose_file_the_run_has_not(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mcu needs a c file, and the run has tflite"):
        made(tmp_path, formats=("mcu",))
    assert os.listdir(tmp_path / "out") == []


def test_a_model_that_a_format_cannot_hold_is_said_with_the_formats(tmp_path: Path) -> None:
    student = graph("float")
    with pytest.raises(InputError) as refused:
        load(EXPORTERS["c"])(student, tmp_path)
    said = str(in_its_order(refused.value, ("android", "mcu")))
    assert said.startswith("--format android,mcu: graph student, operator") and "C has no" in said and "leave out the format" in said
    other = InputError("there is no such file", where="run/request.json")
    assert in_its_order(other, ("mcu",)) is other


def test_an_unknown_format_names_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="format 'windows'") as refused:
        order(tmp_path, formats=("android", "windows"))
    assert all(name in str(refused.value) for name in FORMATS)


def test_places_where_no_release_can_be(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be made"):
        release_facts(facts, order(tmp_path / "file"), quiet)
    with pytest.raises(InputError, match="cannot be made"):
        release_facts(facts, order(tmp_path / "file" / "below"), quiet)
    with pytest.raises(InputError, match="cannot be made"):
        release_facts(facts, order(Path("/proc/releases")), quiet)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "golden-pixel-8-1.4.0").write_text("x")
    with pytest.raises(InputError, match="is there and is no folder"):
        release_facts(facts, order(tmp_path / "taken"), quiet)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / ".golden-pixel-8-1.4.0.making").symlink_to(tmp_path / "taken")
    with pytest.raises(InputError, match="cannot be used"):
        release_facts(facts, order(tmp_path / "linked"), quiet)
    assert (tmp_path / "taken" / "golden-pixel-8-1.4.0").read_text() == "x"
    with pytest.raises(InputError, match="lies inside the run"):
        release(tmp_path / "run", Order("1.0.0", "a.b", (), tmp_path / "run" / "releases"), quiet)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o555)
    with pytest.raises(InputError, match="cannot be written"):
        made(tmp_path)


def test_a_key_that_cannot_be_used_is_known_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        release(tmp_path / "run", Order("1.0.0", "a.b", (), tmp_path / "out", tmp_path / "none.pem"), quiet)


def test_progress_counts_up_to_its_end(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    release_facts(facts_of(tmp_path), order(tmp_path / "out"), lambda *one: seen.append(one))
    assert seen[-1][1] == seen[-1][2] == 3 and [done for _, done, _ in seen] == [1, 2, 3]
