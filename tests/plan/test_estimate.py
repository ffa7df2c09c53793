"""What a refusal says of patch-wise execution, a plan of TFLM's own bytes, and a sketch's file beside a captured graph's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgekd import lazy
from edgekd.errors import DoesNotFit
from edgekd.export import EXPORTERS, Export
from edgekd.plan.budget import Budget
from edgekd.plan.choose import choose
from edgekd.plan.estimate import as_captured, cost, in_patches
from edgekd.profile.schema import Profile
from edgekd.quant.graph import QuantGraph
from edgekd.quant.passes.rename import renamed
from edgekd.quant.scheme import Scheme
from edgekd.students.inverted_residual import FAMILY, candidates, sketch

SPECS = tuple(candidates({"stem_stride": 1, "expansion": 4}, {}, (28, 28, 1), 10))


def refusal(profile: Profile, ram: float) -> str:
    limits = (Budget("peak_ram_bytes", ram, "B", "command line"),)
    with pytest.raises(DoesNotFit) as caught:
        choose(profile, FAMILY, SPECS, limits, lambda spec: sketch(spec, Scheme()), None)
    return str(caught.value)


def test_a_refusal_says_what_patches_would_do(profile: Profile) -> None:
    said = refusal(profile, 90_000)
    found = re.search(r"peak_ram_bytes: would fit in (\d)×\1 patches of the first \d+ operators, \+\d+ % MAC: ([\d,]+) B", said)
    assert found
    assert int(found[2].replace(",", "")) <= 90_000
    assert said.endswith("to mend:  smaller values in the recipe's student.space, or a wider budget")
    assert "peak_ram_bytes: would not fit patch-wise either: " in refusal(profile, 20_000)


def test_elsewhere_than_in_an_arena_nothing_is_said(phone: Profile) -> None:
    assert in_patches(sketch(SPECS[0], Scheme()), phone, 1000) == ""


def test_a_plan_says_what_tflm_adds(profile: Profile) -> None:
    limits = (Budget("peak_ram_bytes", 200_000, "B", "command line"),)
    plan = choose(profile, FAMILY, SPECS, limits, lambda spec: sketch(spec, Scheme()), None)
    counted = cost(SPECS[0], sketch(SPECS[0], Scheme()), profile)
    placed = counted.ram_bytes - counted.runtime_bytes
    assert placed % 16 == 0
    assert f"({placed:,} and {counted.runtime_bytes:,} B)" in plan.figures["peak_ram_bytes"].where


@pytest.mark.parametrize("exporter", ["tflite", "onnx", "openvino"])
def test_a_sketchs_file_is_as_large_as_a_captured_graphs(exporter: str, tmp_path: Path) -> None:
    """The names and zero points that a trained student would have, written by hand over the sketch's."""
    drawn = sketch(SPECS[0], Scheme())
    weighted = [op for op in drawn.ops if len(op.inputs) == 3]
    names = {op.outputs[0]: f"relu_{i}" if op.activation == "relu" else f"batch_norm_{i}" for i, op in enumerate(weighted)}
    names |= {name: f"conv2d_{i}_{name.rpartition('.')[2]}" for i, op in enumerate(weighted) for name in op.inputs[1:]}
    export = lazy.load(EXPORTERS[exporter])
    sizes = [sum(path.stat().st_size for path in folder(tmp_path / name, export, graph)) for name, graph in (
        ("seen", as_captured(drawn)), ("named", renamed(drawn, {k: v for k, v in names.items() if k not in drawn.outputs}))
    )]  # fmt: skip
    assert abs(sizes[0] / sizes[1] - 1) < 0.01
    rectified = [drawn.tensor(op.outputs[0]) for op in weighted if op.activation == "relu"]
    assert rectified
    assert all(t.quantization and t.quantization.single[1] == -128 for t in rectified)


def folder(out: Path, export: Export, graph: QuantGraph) -> list[Path]:
    artifact = export(graph, out)
    return [out / name for name in artifact.files or (artifact.path,)]
