"""Activations of 8 and of 16 bits in one student, from a recipe to a measured file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekd.jobs import Request, load_jobs, plan_job
from edgekd.quant import io
from edgekd.recipe.load import load
from tests.small_builds import edgekd, recipe

BEFORE = 'family = "inverted_residual"'
MIXED = {BEFORE: f'{BEFORE}\nactivations = "mixed"'}
BOTH = {BEFORE: f'{BEFORE}\nactivations = "mixed"\nbits = "mixed"'}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_plan_says_what_they_may_take_and_chooses_the_same_student(tmp_path: Path) -> None:
    (eight,) = load_jobs(Request(str(recipe(tmp_path / "plain")), ("nucleo-l4r5zi",)))
    for n, change in enumerate((MIXED, BOTH, {BEFORE: f"{MIXED[BEFORE]}\nsoftmax = true"})):
        (mixed,) = load_jobs(Request(str(recipe(tmp_path / str(n), change)), ("nucleo-l4r5zi",)))
        plans = [plan_job(job) for job in (eight, mixed)]
        (said,) = (note for note in plans[1].notes if note.startswith("activations: "))
        assert plans[0].spec == plans[1].spec and "with all" in said and " of 262,144" in said
        none, most = (int(part.split(" B with")[0].split()[-1].replace(",", "")) for part in (said, said.split("none and ")[1]))
        assert none == plans[1].figures["peak_ram_bytes"].value
        assert (none < most <= 2 * none) if change is not BOTH else most >= none


def test_a_recipe_without_them_is_what_it_was(tmp_path: Path) -> None:
    plain, mixed = (load(str(recipe(tmp_path / name, change))).recipe for name, change in (("plain", {}), ("mixed", MIXED)))
    assert "activations" not in plain.model_dump()["student"] and mixed.model_dump()["student"]["activations"] == "mixed"


@pytest.mark.parametrize(
    ("target", "why"), [("intel-n100", "openvino has no kernels for 16 bits beside 8"), ("corstone-300", "ethos-u has no kernels")]
)
def test_where_the_runtime_has_no_such_kernels_it_is_refused(target: str, why: str, tmp_path: Path) -> None:
    where = recipe(tmp_path / "recipe", MIXED)
    for command in (("plan", where), ("build", where, "--runs", tmp_path / "runs")):
        code, _, error = edgekd(*command, "-t", target)
        assert code == 2 and f'recipe, student: activations = "mixed" for {target}: {why}' in error, error
        assert "to mend:  delete activations" in error


@pytest.mark.slow
def test_activations_take_what_the_budgets_leave_and_every_runtime_agrees(tmp_path: Path) -> None:
    root, built, graphs = tmp_path / "runs", {}, {}
    for name, change, *budgets in (
        ("wide", MIXED, "peak_ram_bytes=20000"),
        ("tight", MIXED, "peak_ram_bytes=7000"),
        ("both", BOTH, "model_bytes=8300", "peak_ram_bytes=20000"),
    ):
        where = recipe(tmp_path / name, change)
        limits = [part for budget in budgets for part in ("--budget", budget)]
        code, out, error = edgekd("build", where, "-t", "nucleo-l4r5zi", "--runs", root, "--threads", "1", "--json", *limits)
        assert code == 0, error
        (found,) = json.loads(out)
        built[name] = found["records"]
        bits = found["records"]["bits"]["body"]["value"]
        graphs[name] = Path(found["run"]) / "graph"
        graph = io.load(graphs[name])
        wide = {op.name for op in graph.ops if graph.tensor(op.outputs[0]).dtype == "int16"}
        assert set(bits["sixteen_bits"]) <= wide and set(bits["sixteen_bits"]) <= set(bits["activations"])
        assert all(verdict["ok"] for verdict in found["records"]["verify"]["body"]["value"])
        assert bits["figures"]["peak_ram_bytes"]["value"] == pytest.approx(
            found["records"]["measure"]["figures"]["peak_ram_bytes"]["value"], abs=64
        )
    chosen = {name: records["bits"]["body"]["value"] for name, records in built.items()}
    assert len(chosen["wide"]["sixteen_bits"]) > len(chosen["tight"]["sixteen_bits"]) > 0
    assert built["tight"]["measure"]["figures"]["peak_ram_bytes"]["value"] <= 7000
    assert chosen["both"]["four_bits"] and built["both"]["export"]["body"]["value"][0]["figures"]["model_bytes"]["value"] <= 8300
    code, out, error = edgekd("convert", graphs["wide"], "--to", "c", "--out", tmp_path / "c")
    assert code == 0 and (tmp_path / "c" / "student.c").is_file(), error
    assert "c_host" not in out or "bit-equal for 100.0000%" in out
