"""What is made of a runner's raw blocks: of calm devices, busy ones, hot ones, and such whose clocks jump."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.measure import protocol
from edgekd.measure.device import Asked
from edgekd.measure.files import ModelFile
from edgekd.measure.protocol import Judged
from tests.measure.results import block, model, result

MS = 1e-3


def judged(blocks: list[dict[str, Any]], **circumstances: Any) -> Judged:
    one = model(blocks)
    return protocol.judged(result(one, **circumstances), one, "a device")


def calm(count: int = 40, **more: Any) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [block(MS, rng, **more) for _ in range(count)]


def test_a_calm_device_has_its_figures_and_nothing_to_say() -> None:
    found = judged(calm())
    latency = found.figures["latency_ms"]
    assert latency.value == pytest.approx(1.005, abs=0.002) and latency.low is not None and latency.high is not None
    assert latency.low <= latency.value <= latency.high and latency.high - latency.low == pytest.approx(0.01 * latency.value)
    assert latency.value < found.figures["latency_p90_ms"].value < found.figures["latency_p99_ms"].value < 1.02
    assert found.figures["cold_start_ms"].value == 200 and found.figures["peak_ram_bytes"].value == 16_000_000
    assert latency.n == 4000 and latency.kind == "measured" and latency.where == "a device"
    assert (found.notes, found.rejected) == ((), "") and len(found.rounds) == 40


def test_what_others_disturb_does_not_count_and_the_median_stays() -> None:
    rng = np.random.default_rng(1)
    shares = rng.uniform(0.1, 0.95, 40)  # most of the time over half: the median of all would be 1.5 times as long
    blocks = [block(MS, rng, slowed=share, others=1.3) for share in shares]
    found = judged(blocks)
    assert found.figures["latency_ms"].value == pytest.approx(1.005, abs=0.003)
    assert found.figures["latency_p99_ms"].value < 1.02
    assert found.rejected == "" and "of the inferences were disturbed and do not count; others computed on 1.3 cores" in found.notes[0]


def test_without_others_a_slower_ruler_is_the_devices_own_doing() -> None:
    rng = np.random.default_rng(1)
    found = judged([block(MS, rng, slowed=0.8) for _ in range(40)])
    assert found.figures["latency_ms"].value > 1.45


def test_inferences_that_were_interrupted_do_not_count() -> None:
    blocks = calm()
    for one in blocks:
        one["seconds"][7], one["interrupted"], one["interruptions"] = 1.0, [7], 1
    assert judged(blocks).figures["latency_p99_ms"].value < 1.02


def test_too_much_background_load_is_a_reason_to_reject() -> None:
    rng = np.random.default_rng(2)
    blocks = [block(MS, rng, slowed=0.0 if i == 3 else 0.999, others=1.9) for i in range(40)]
    assert "background load: 9" in judged(blocks).rejected and "1.9 cores" in judged(blocks).rejected
    assert "the hypervisor took 20%" in judged(calm(stolen=0.2)).rejected


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({"core_throttle_count": 3}, {"core_throttle_count": 9}, "thermal throttling: core_throttle_count went from 3 to 9"),
        ({}, {"cooling thermal-cpufreq-0": 2}, "thermal throttling: cooling thermal-cpufreq-0 went from 0 to 2"),
        ({"vcgencmd get_throttled": 4}, {"vcgencmd get_throttled": 4}, "vcgencmd get_throttled went from 4 to 4"),
    ],
)
def test_throttling_that_the_device_states_is_a_reason(before: dict[str, float], after: dict[str, float], reason: str) -> None:
    assert reason in judged(calm(), before={"throttling": before}, after={"throttling": after}).rejected
    counted = {"throttling": {"core_throttle_count": 3}}
    assert judged(calm(), before=counted, after=counted).rejected == "", "what it was before is no sign"


def test_throttling_that_is_over_before_the_end_is_seen_in_the_blocks() -> None:
    blocks = calm()
    blocks[20]["throttling"] = {"cooling cpu": 1}
    assert "cooling cpu went from 0 to 1" in judged(blocks).rejected


def test_a_clock_that_falls_is_throttling() -> None:
    blocks = calm()
    for i, one in enumerate(blocks):
        one["mhz"], one["celsius"] = (1800.0, 60.0) if i < 20 else (1200.0, 82.0)
    assert judged(blocks).rejected == "thermal throttling: the clock went from 1800 to 1200 MHz, at 60 °C and then 82 °C"


def test_drift_is_noted_and_much_of_it_rejected() -> None:
    rng = np.random.default_rng(3)
    little = judged([block(MS * (1 + 0.03 * i / 39), rng) for i in range(40)])
    assert little.rejected == "" and "drift: from the first block to the last it got slower by 3" in " ".join(little.notes)
    assert "slower by 1" in judged([block(MS * (1 + 0.15 * i / 39), rng) for i in range(40)]).rejected


def test_a_wall_clock_that_jumps_is_said_and_does_no_harm() -> None:
    found = judged(calm(), wall=3610.0)
    assert found.rejected == "" and "wall clock jumped by +3600.0 s" in found.notes[0]
    assert "jumped by -60.0 s" in judged(calm(), wall=-50.0).notes[0]


def test_sustained_is_first_minute_against_last() -> None:
    rng = np.random.default_rng(4)
    blocks = calm() + [block(MS * (1.0 if i < 120 else 1.3), rng, phase="sustained", invocation=-1) for i in range(240)]
    found = judged(blocks)
    assert found.figures["sustained_first_ms"].value == pytest.approx(1.005, abs=0.002)
    assert found.figures["sustained_last_ms"].value == pytest.approx(1.3065, abs=0.003)
    assert found.figures["latency_ms"].value == pytest.approx(1.005, abs=0.002), "these blocks are not of the repeats"
    assert "last 60 s of 240 s" in found.figures["sustained_last_ms"].where


def test_energy_is_of_the_best_sensor_for_each_inference() -> None:
    energy = judged(calm(joules={"VDD_IN": 0.2, "VDD_CPU_GPU_CV": 0.1})).figures["energy_uj"]
    assert energy.value == pytest.approx(2000) and "VDD_IN" in energy.where
    assert judged(calm(joules={"meter": 0.4, "VDD_IN": 0.2})).figures["energy_uj"].value == pytest.approx(4000)
    assert "energy_uj" not in judged(calm()).figures


def test_a_wide_interval_asks_for_more_and_results_are_pooled() -> None:
    rng = np.random.default_rng(5)
    wide = model([block(MS * (1.3 if i // 4 % 2 else 1), rng) for i in range(28)])  # every second process is slower
    assert not protocol.enough(result(wide), wide)
    narrow = model(calm(28))
    assert protocol.enough(result(narrow), narrow)
    later = result(narrow)
    later["clock"] = {"before": {"monotonic": 20.0, "wall": 1e9 + 15}, "after": {"monotonic": 30.0, "wall": 1e9 + 25}}
    both = protocol.pooled(result(narrow), later)
    (one,) = both["models"]
    found = protocol.judged(both, one, "")
    assert len(found.rounds) == 56 and found.figures["cold_start_ms"].n == 6 and not found.notes, "the clock goes on from one to the other"
    assert one["blocks"][28]["t"] == one["blocks"][0]["t"] + 15 and one["blocks"][28]["invocation"] == 7


def test_an_emulated_processor_has_no_times_to_believe() -> None:
    one = model(calm(6))
    found = protocol.judged(result(one), one, "there", emulated=True)
    assert found.figures["latency_ms"].kind == "emulated" and "nothing of its times means anything" in found.notes[0]


@pytest.mark.parametrize(
    ("rails", "source", "watts"),
    [
        ({"VDD_IN": 10.0, "VDD_CPU_GPU_CV": 3.0}, "VDD_IN", 10.0),
        (
            {"VDDQ_VDD2_1V8AO": 1.0, "VDD_GPU_SOC": 4.0, "VDD_CPU_CV": 2.0, "VIN_SYS_5V0": 5.0},
            "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0",
            11.0,
        ),
        ({"A": 1.0, "B": 2.0}, "B", 2.0),
        ({"VDD_IN": 0.0, "A": 1.0}, "A", 1.0),
    ],
    ids=["the whole board", "AGX Orin's rails together", "the one that draws most", "a sensor that says nothing"],
)
def test_energy_is_that_of_as_much_of_the_board_as_is_seen(rails: dict[str, float], source: str, watts: float) -> None:
    energy = judged(calm(joules={name: 0.1 * value for name, value in rails.items()})).figures["energy_uj"]
    assert energy.value == pytest.approx(watts * 1e3) and f"{source}, with what the device draws at rest" in energy.where


def test_percentiles_say_of_how_many_times_they_are() -> None:
    """Of very many inferences only some times are kept."""
    blocks = [{**one, "count": 5000, "every": 50} for one in calm()]
    figures = judged(blocks).figures
    assert figures["latency_p99_ms"].n == figures["latency_p90_ms"].n == 4000 and figures["latency_ms"].n == 200_000


def test_an_engine_may_take_its_time() -> None:
    """The runner waits so long for trtexec: the job must not be ended before. And every sample is a process of it."""
    file = ModelFile(Path("model.onnx"), "onnxruntime", "onnxruntime", {}, lambda outputs: outputs[0])
    engine = replace(file, runtime="trtexec")
    assert protocol.limit_s([file], Asked(), 200) < 1500 < 1800 + 200 * 10 < protocol.limit_s([engine], Asked(), 200)
    outputs = [protocol.job([("m", one, "x.npy")], Asked(), 200)["protocol"]["outputs_limit_s"] for one in (file, engine)]
    assert outputs == [520, 3120]
    assert protocol.limit_s([file], Asked(provider="TensorrtExecutionProvider"), 200) > 1800
