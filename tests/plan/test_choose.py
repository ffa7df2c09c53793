from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edgekd.errors import DoesNotFit, InputError
from edgekd.export.tflite import encode
from edgekd.plan.budget import Budget
from edgekd.plan.choose import choose, explain
from edgekd.plan.estimate import cost
from edgekd.profile.schema import Profile
from edgekd.quant.graph import QuantGraph
from edgekd.quant.scheme import Scheme
from edgekd.records import Plan
from edgekd.runtimes.tflm import arena_bytes
from edgekd.students.inverted_residual import FAMILY, Spec, candidates, restore, sketch

SPACE: dict[str, list[Any]] = {
    "width": [0.25, 0.5, 0.75, 1.0, 1.5],
    "expansion": [2, 4],
    "stem_stride": [1, 2],
    "head": [0, 64],
}
SPECS: tuple[Spec, ...] = tuple(candidates({}, SPACE, (20, 24, 3), 6))
UNITS = {"model_bytes": "B", "peak_ram_bytes": "B", "max_macs": "MAC", "latency_ms": "ms"}


def draw(spec: Spec) -> QuantGraph:
    return sketch(spec, Scheme())


def file_bytes(graph: QuantGraph) -> int:
    return len(encode(graph))


def limits(**values: float) -> tuple[Budget, ...]:
    return tuple(Budget(name, value, UNITS[name], "command line") for name, value in values.items())


def plan(profile: Profile, *, measured: bool = True, **values: float) -> Plan:
    return choose(profile, FAMILY, SPECS, limits(**values), draw, file_bytes if measured else None)


@pytest.mark.parametrize("model_bytes", [30_000, 60_000, 200_000])
def test_no_larger_candidate_fits(profile: Profile, model_bytes: int) -> None:
    ram, macs = 60_000, 5_000_000
    found = plan(profile, model_bytes=model_bytes, peak_ram_bytes=ram, max_macs=macs)
    assert all(use.fits for use in found.budgets)
    fitting = [
        c
        for spec in SPECS
        if (c := cost(spec, draw(spec), profile)).macs <= macs and c.ram_bytes <= ram and file_bytes(draw(spec)) <= model_bytes
    ]
    assert max(fitting, key=lambda c: c.score).spec == restore(found.spec)
    assert found.considered == len(SPECS)


def test_the_figures_are_what_the_file_says(profile: Profile, tmp_path: Path) -> None:
    found = plan(profile, model_bytes=100_000, peak_ram_bytes=80_000)
    path = tmp_path / "model.tflite"
    path.write_bytes(encode(draw(restore(found.spec))))
    assert found.figures["model_bytes"].value == path.stat().st_size
    assert found.figures["model_bytes"].kind == "counted"
    assert abs(found.figures["peak_ram_bytes"].value - arena_bytes(path).total) <= 32
    assert found.figures["peak_ram_bytes"].kind == "predicted"


def test_the_order_of_the_candidates_does_not_matter(profile: Profile) -> None:
    chosen = partial(choose, profile, FAMILY, budgets=limits(model_bytes=60_000), sketch=draw, measure_file=file_bytes)
    assert chosen(specs=SPECS) == chosen(specs=SPECS[::-1])


def test_without_the_exporter_the_file_is_predicted(profile: Profile) -> None:
    found = plan(profile, measured=False, model_bytes=60_000)
    figure = found.figures["model_bytes"]
    assert figure.kind == "predicted"
    assert "tflite is not installed" in figure.where
    assert abs(figure.value / file_bytes(draw(restore(found.spec))) - 1) < 0.1


def test_elsewhere_the_file_is_in_memory_too(profile: Profile, phone: Profile) -> None:
    board, other = plan(profile, max_macs=1_000_000), plan(phone, max_macs=1_000_000)
    assert board.spec == other.spec
    assert other.figures["peak_ram_bytes"].value > other.figures["model_bytes"].value > board.figures["peak_ram_bytes"].value / 3
    assert "the runtime's own memory not included" in other.figures["peak_ram_bytes"].where


@pytest.mark.parametrize(
    ("values", "binding"),
    [
        ({"model_bytes": 2_000, "peak_ram_bytes": 90_000}, "model_bytes"),
        ({"model_bytes": 90_000, "peak_ram_bytes": 2_000}, "peak_ram_bytes"),
        ({"model_bytes": 90_000, "max_macs": 5_000}, "max_macs"),
    ],
)
def test_where_nothing_fits_the_binding_budget_is_named(profile: Profile, values: dict[str, float], binding: str) -> None:
    with pytest.raises(DoesNotFit) as caught:
        plan(profile, **values)
    message = str(caught.value)
    assert message.startswith(f"no student of inverted_residual fits board: {binding} binds")
    assert f"nearest of {len(SPECS)}: height 20, width 24" in message
    assert f"of {values[binding]:,.0f} {UNITS[binding]}, " in message
    assert "%) too much; the limit is set by command line" in message
    assert "fits" in message.splitlines()[-2]
    assert caught.value.exit_code == 1


def test_the_miss_is_exact(profile: Profile) -> None:
    smallest = min(file_bytes(draw(spec)) for spec in SPECS)
    assert plan(profile, model_bytes=smallest).figures["model_bytes"].value == smallest
    with pytest.raises(DoesNotFit, match=r"model_bytes: [\d,]+ of [\d,]+ B, 1 B \(0\.0 %\) too much"):
        plan(profile, model_bytes=smallest - 1)


def test_no_candidate_is_a_mistake(profile: Profile) -> None:
    with pytest.raises(InputError, match="no candidate"):
        choose(profile, FAMILY, [], limits(model_bytes=1), draw, file_bytes)


def test_what_is_not_predicted_is_said(phone: Profile) -> None:
    found = plan(phone, model_bytes=60_000, max_macs=2_000_000, latency_ms=5.0)
    assert found.notes == ("latency is not predicted, and what this host takes is reported but not judged: limit 5 ms (command line)",)
    text = explain(found)
    assert text.startswith(f"board: inverted_residual, the largest that fits of {len(SPECS)} candidates")
    assert f"{found.figures['model_bytes'].value:,.0f} of        60,000 B" in text
    assert "limit: command line" in text
    assert "parameters" in text
    assert found.notes[0] in text
    assert "latency_ms" not in {use.name for use in found.budgets}


def test_latency_is_judged_where_it_is_calibrated(profile: Profile) -> None:
    free, tight = plan(profile, model_bytes=60_000), plan(profile, model_bytes=60_000, latency_ms=20.0)
    figure = tight.figures["latency_ms"]
    assert figure.kind == "predicted" and figure.low is not None and figure.high is not None and figure.low < figure.value < figure.high
    assert free.figures["latency_ms"].value > 20.0 >= figure.value and tight.figures["macs"].value < free.figures["macs"].value
    assert [use.name for use in tight.budgets if use.used == figure.value] == ["latency_ms"] and tight.notes == ()
    text = explain(tight)
    assert f"{figure.value:.3g} of            20 ms" in text and f"ms; {figure.where}" in text and "90% interval" in figure.where
    with pytest.raises(DoesNotFit, match=r"latency_ms binds(.|\n)*latency_ms: [\d.]+ of 0\.1 ms, [\d.]+ ms \("):
        plan(profile, latency_ms=0.1)


def test_a_plan_is_stored_as_it_is(profile: Profile) -> None:
    found = plan(profile, model_bytes=60_000)
    assert dataclasses.asdict(found)["spec"] == FAMILY.describe(restore(found.spec))
