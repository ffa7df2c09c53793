"""Device arm64-emulated: LiteRT for aarch64 computes the integers that the reference foretells, and its times are said to mean nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd import lazy
from edgekd.export import EXPORTERS
from edgekd.measure.attached import arm64_emulated
from edgekd.measure.device import Subject
from edgekd.quant import io
from edgekd.quant.passes.channels_last import channels_last
from edgekd.records import Verdict
from edgekd.verify.returned import judge
from tests.transports.arm64_system import sysroot_or_skip

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
IMAGES = 200


def subject(name: str) -> Subject:
    """The golden student ``name`` with 200 pictures: its own, and soft waves with noise."""
    graph = channels_last(io.load(GOLDEN / name))
    with np.load(GOLDEN / name / "inputs.npz") as file:
        own = file["x"]
    random = np.random.default_rng(7)
    at = np.linspace(0, 2 * np.pi, own.shape[1])
    turns = random.uniform(0.3, 4, (IMAGES - len(own), 2, 1, own.shape[3]))
    waves = np.sin(at[None, :, None, None] * turns[:, :1]) + np.cos(at[None, None, :, None] * turns[:, 1:])
    drawn = 50 * waves + random.normal(0, 25, (len(waves), *own.shape[1:]))
    x = np.concatenate([own, np.clip(np.rint(drawn), -128, 127).astype(np.int8)])

    def write(fmt: str, graph: object, out: Path, **options: str) -> object:
        return lazy.load(EXPORTERS[fmt])(graph, out, **options)

    return Subject(graph, None, x, None, "pictures", write, judge=judge)  # type: ignore[arg-type]


@pytest.mark.slow  # two systems start, on an emulated processor
def test_two_golden_students_on_200_images() -> None:
    sysroot_or_skip()
    verdicts: list[Verdict] = []

    def kept(*arguments: object) -> Verdict:
        verdicts.append(judge(*arguments))  # type: ignore[arg-type]
        return verdicts[-1]

    first, second = (replace(subject(name), judge=kept) for name in ("inverted_residual", "inverted_residual_symmetric"))
    bench = arm64_emulated(replace(first, rival=second), lambda *_: None)
    assert bench.ok, [row.failed for row in bench.rows]
    assert len(bench.rows) == len(verdicts) == 2 and bench.different is None, "times that mean nothing are not compared"
    for row, verdict in zip(bench.rows, verdicts, strict=True):
        assert verdict.ok and verdict.profile == "xnnpack" and set(verdict.histogram) == {"0"}, verdict
        equal = row.measurement.figures["bit_equal"]
        assert (equal.value, equal.n) == (1.0, IMAGES) and "cortex-a72 under QEMU" in equal.where
        assert row.measurement.figures["latency_ms"].kind == "emulated"
        assert any("nothing of its times means anything" in note for note in row.measurement.notes)


@pytest.mark.slow
def test_something_else_is_an_error(tmp_path: Path) -> None:
    """The file's first weights are of the other sign."""
    sysroot_or_skip()
    one = subject("inverted_residual")
    weights = next(tensor for tensor in one.graph.tensors.values() if tensor.is_constant and tensor.dtype == "int8")
    turned = replace(weights, data=-np.maximum(weights.data, -127))  # type: ignore[arg-type, type-var]
    wrong = replace(one.graph, tensors={**one.graph.tensors, weights.name: turned})
    file = tmp_path / lazy.load(EXPORTERS["tflite"])(wrong, tmp_path).path
    bench = arm64_emulated(replace(one, file=file, x=one.x[:8]), lambda *_: None)
    assert not bench.ok and "computes something else than the reference" in bench.rows[0].failed
