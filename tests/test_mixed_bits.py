"""Layers of 4 and of 8 bits in one student, from a recipe to a measured file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekd.jobs import Request, load_jobs, plan_job, sketch
from edgekd.quant.four_bits import candidates, half
from tests.small_builds import edgekd, recipe

MIXED = {'family = "inverted_residual"': 'family = "inverted_residual"\nbits = "mixed"'}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_plan_counts_half_of_the_weights_with_four_bits(tmp_path: Path) -> None:
    where = recipe(tmp_path / "recipe", MIXED)
    (eight,) = load_jobs(Request(str(recipe(tmp_path / "plain")), ("nucleo-l4r5zi",)))
    (mixed,) = load_jobs(Request(str(where), ("nucleo-l4r5zi",)))
    plans = [plan_job(job) for job in (eight, mixed)]
    graph = sketch(mixed, mixed.family, mixed.family.restore(plans[1].spec))
    sizes = {op.name: graph.tensor(op.inputs[1]).data.size for op in candidates(graph)}  # type: ignore[union-attr]
    four = {op.name for op in candidates(graph) if graph.tensor(op.inputs[1]).dtype == "int4"}
    assert four == set(half(graph)) and 0.5 <= sum(sizes[name] for name in four) / sum(sizes.values()) < 0.9
    saved = sum(sizes[name] for name in four) / 2
    found = [plan.figures["model_bytes"].value for plan in plans]
    assert plans[0].spec == plans[1].spec and found[0] - found[1] == pytest.approx(saved, abs=64)
    assert any("bits: counted with half" in note for note in plans[1].notes)


def test_where_the_runtime_has_no_such_kernels_it_is_said(tmp_path: Path) -> None:
    code, out, _ = edgekd("plan", recipe(tmp_path / "recipe", MIXED), "-t", "intel-n100")
    assert code == 0 and "bits: all weights are alike, for openvino has no kernels" in out


@pytest.mark.slow
def test_a_tight_budget_takes_layers_of_four_bits_and_every_runtime_agrees(tmp_path: Path) -> None:
    where, root = recipe(tmp_path / "recipe", MIXED), tmp_path / "runs"
    built = {}
    for limit in (9000, 8300):
        command = ("build", where, "-t", "nucleo-l4r5zi", "--runs", root, "--threads", "1", "--json", "--budget", f"model_bytes={limit}")
        code, out, error = edgekd(*command)
        assert code == 0, error
        built[limit] = json.loads(out)[0]["records"]
    bits = {limit: records["bits"]["body"]["value"]["four_bits"] for limit, records in built.items()}
    assert bits[9000] == [] and bits[8300]
    assert built[8300]["export"]["body"]["value"][0]["figures"]["model_bytes"]["value"] <= 8300
    for records in built.values():
        assert all(verdict["ok"] for verdict in records["verify"]["body"]["value"])
    assert built[8300]["measure"]["figures"]["accuracy"]["value"] > built[9000]["measure"]["figures"]["accuracy"]["value"] - 0.15
    code, _, error = edgekd("build", where, "-t", "nucleo-l4r5zi", "--runs", root, "--threads", "1", "--budget", "model_bytes=6000")
    assert code == 1 and "model_bytes" in error, error
