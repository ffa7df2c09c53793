"""Predictions for devices that are not here: what is calibrated, what is not, and how well networks are foretold that were left out."""

from __future__ import annotations

import re
from math import exp

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.plan import latency_rows
from edgekd.plan.latency import calibration, predict, runtimes
from edgekd.plan.latency_cycles import COSTS, amounts, fit
from edgekd.plan.latency_rows import networks, published
from edgekd.plan.latency_work import OpWork, Work
from edgekd.profile.load import load
from edgekd.profile.schema import Device

NUCLEO = load("nucleo-l4r5zi").device


def work(*ops: OpWork, numeric: str = "int8") -> Work:
    return Work("some", ops, numeric)


@pytest.mark.parametrize("task", sorted(networks()))
def test_a_network_that_was_left_out_is_foretold(task: str) -> None:
    """The goal of tools/bench_latency.py, which shows more."""
    model = fit([row for row in published() if row.task != task])
    errors, held, widths = [], [], []
    for row in published():
        if row.task == task:
            found = model.predict(networks()[task], row.core, row.runtime, row.board)
            ratio = found.total / exp(row.log_cycles)
            errors.append(abs(ratio - 1))
            held.append(1 / found.ratio <= ratio <= found.ratio)
            widths += [] if found.stand_in else [found.ratio**2]
    assert np.median(errors) <= 0.25
    assert np.mean(held) >= 0.85
    assert max(widths) < 2.5


def test_the_published_rows_are_all_there() -> None:
    assert len(published()) == 188 and {row.task for row in published()} == set(networks())
    assert {task: work.macs for task, work in networks().items()} == {"ad": 264_192, "ic": 12_501_632, "kws": 2_656_768, "vww": 7_489_664}
    assert all(row.latency_ms > 0 and row.clock_mhz > 0 for row in published())
    assert {latency_rows.family(name) for name in latency_rows.FAMILIES} <= set(latency_rows.runtimes())


@pytest.mark.parametrize("runtime", latency_rows.runtimes())
def test_every_runtime_may_be_asked_for(runtime: str) -> None:
    row = next(row for row in published() if row.runtime == runtime)
    device = Device(board=row.board, core=row.core, clock_mhz=row.clock_mhz, ram_bytes=1, source="published")
    found = predict(networks()[row.task], device, runtime.upper())
    figure = found.latency_ms
    assert figure is not None and found.published and not found.reason
    assert figure.low is not None and figure.high is not None and figure.low < figure.value < figure.high
    assert (figure.kind, figure.unit) == ("predicted", "ms") and figure.n == len(
        [r for r in published() if (r.core, r.runtime) == (row.core, runtime)]
    )
    assert f"{figure.n} of 188 rows" in figure.where and "MLPerf Tiny" in figure.where and row.board in figure.where
    assert sum(found.per_operator_ms) == pytest.approx(figure.value)
    assert (found.energy_uj is not None) == any(r.energy_uj for r in published() if (r.board, r.family) == (row.board, row.family))


def test_runtimes_of_one_board_differ() -> None:
    times = {name: predict(networks()["kws"], NUCLEO, name).latency_ms for name in ("X-CUBE-AI", "TFLM 2.3.1 reference kernels")}
    fast, slow = (figure.value for figure in times.values() if figure)
    assert slow > 2 * fast


def test_the_targets_own_runtime_is_named() -> None:
    figure = predict(networks()["ic"], NUCLEO, "tflm").latency_ms
    assert figure is not None and "TFLM + CMSIS-NN (for tflm)" in figure.where


def test_a_clock_is_time_and_an_unknown_board_is_less_sure() -> None:
    other = NUCLEO.model_copy(update={"clock_mhz": 60.0})
    known, slower = (predict(networks()["ic"], device, "X-CUBE-AI").latency_ms for device in (NUCLEO, other))
    strange = predict(networks()["ic"], NUCLEO.model_copy(update={"board": "Board One"}), "X-CUBE-AI")
    assert known is not None and slower is not None and slower.value == pytest.approx(2 * known.value)
    unsure = strange.latency_ms
    assert unsure is not None and strange.energy_uj is None
    assert (unsure.high or 0) / (unsure.low or 1) > (known.high or 0) / (known.low or 1)


@pytest.mark.parametrize(
    ("target", "runtime", "reason"),
    [
        ("nucleo-h7a3zi", "tflm", "Cortex-M7 is calibrated for HALE float, HALE int8, .*, not for tflm"),
        ("rp2040", "Plumerai", r"Cortex-M0\+ is calibrated for HALE int8, not for Plumerai"),
        ("pixel-8", "litert", "there is no calibration of Cortex-X3 in litert; published rows are of Cortex-M0"),
        ("corstone-300", "ethos-u", "there is no calibration of Ethos-U55-128 in ethos-u"),
    ],
)
def test_what_is_not_calibrated_has_no_figure(target: str, runtime: str, reason: str) -> None:
    found = predict(networks()["ic"], load(target).device, runtime)
    assert found.latency_ms is None and found.energy_uj is None and not found.published
    assert re.search(reason, found.reason), found.reason


def test_an_unknown_runtime_is_refused_with_the_list() -> None:
    with pytest.raises(InputError, match=r"runtime 'CMSIS'\n  expected: HALE float.*X-CUBE-AI.*tflm.*openvino") as caught:
        predict(networks()["ic"], NUCLEO, "CMSIS")
    assert caught.value.exit_code == 2 and set(latency_rows.runtimes()) < set(runtimes())


def test_other_numerics_are_not_foretold_by_int8_rows() -> None:
    float_work = work(*networks()["ic"].ops, numeric="float32")
    assert "these are float32" in predict(float_work, NUCLEO, "X-CUBE-AI").reason
    assert predict(float_work, NUCLEO, "HALE float").latency_ms is not None
    assert "these are int16" in predict(work(*networks()["ic"].ops, numeric="int16"), NUCLEO, "HALE float").reason


def test_more_work_takes_longer_and_strange_work_is_less_sure() -> None:
    model = calibration()
    conv = OpWork("conv", "convolution", 1_000_000, 10_000, 0, 0, 1000, 1000, 1000)
    copy = OpWork("copy", "copy", 0, 500_000, 0, 0, 0, 500_000, 500_000)
    one, two = (model.predict(work(*[conv] * n), "Cortex-M4F", "X-CUBE-AI") for n in (1, 2))
    assert two.total == pytest.approx(2 * one.total) and two.ratio == pytest.approx(one.ratio)
    assert model.predict(work(conv, copy), "Cortex-M4F", "X-CUBE-AI").ratio > 1.1 * one.ratio


def test_rows_move_the_prediction_towards_them() -> None:
    rows = [row for row in published() if row.runtime == "ONNC"]
    error = {}
    for name, given in (("without", [row for row in published() if row.runtime != "ONNC"] + rows[:1]), ("with", list(published()))):
        model = fit(given)
        error[name] = np.mean(
            [abs(np.log(model.predict(networks()[r.task], r.core, r.runtime, r.board).total) - r.log_cycles) for r in rows]
        )
    assert error["with"] < error["without"]


def test_the_amounts_of_an_operator() -> None:
    at = {kind: i for i, kind in enumerate(COSTS)}
    table = amounts(networks()["kws"])
    assert table.shape == (13, len(COSTS))
    stem = table[0]
    assert (stem[at["stem"]], stem[at["output"]], stem[at["column"]], stem[at["call"]]) == (320_000, 8_000, 5_000, 1)
    assert table[1][at["depthwise"]] == 72_000 and table[9][at["pool"]] == 8_000 and not table[10].any()
