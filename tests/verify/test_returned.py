"""Outputs that come back from a device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.quant import io, reference
from edgekd.quant.graph import QuantGraph
from edgekd.verify import returned
from edgekd.verify.returned import judge

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "inverted_residual"


@pytest.fixture
def graph() -> QuantGraph:
    return io.load(GOLDEN)


@pytest.fixture
def x() -> np.ndarray:
    with np.load(GOLDEN / "inputs.npz") as file:
        return next(iter(file.values()))[:8]


def test_the_references_own_answers_are_right_and_accuracy_is_of_them(graph: QuantGraph, x: np.ndarray) -> None:
    answers = reference.run(graph, x, "xnnpack")[graph.outputs[0]]
    y = answers.argmax(1)
    y[0] = (y[0] + 1) % answers.shape[1]
    verdict = judge(graph, "litert_xnnpack", "a device", answers, x, y)
    assert verdict.ok and verdict.figures["accuracy"].value == 7 / 8 and verdict.figures["accuracy"].where == "a device"
    assert verdict.figures["bit_equal"].value == 1


def test_one_integer_that_differs_is_a_no(graph: QuantGraph, x: np.ndarray) -> None:
    answers = reference.run(graph, x, "xnnpack")[graph.outputs[0]].copy()
    answers[3, 0] ^= 1
    verdict = judge(graph, "litert_xnnpack", "a device", answers, x, None)
    assert not verdict.ok and "87.5000% of 8 samples" in verdict.reason and "every one is demanded" in verdict.reason


def test_many_samples_run_in_processes_and_say_the_same(graph: QuantGraph, x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = reference.run(graph, x, "xnnpack")[graph.outputs[0]]
    monkeypatch.setattr(returned, "FEW", 4)
    assert judge(graph, "litert_xnnpack", "a device", answers, x, None).ok


def test_outputs_of_another_number_or_shape_are_refused(graph: QuantGraph, x: np.ndarray) -> None:
    answers = reference.run(graph, x, "xnnpack")[graph.outputs[0]]
    with pytest.raises(InputError, match="a device: 7 outputs"):
        judge(graph, "litert_xnnpack", "a device", answers[:7], x, None)
    with pytest.raises(InputError, match="the same shape"):
        judge(graph, "litert_xnnpack", "a device", answers[:, :2], x, None)
