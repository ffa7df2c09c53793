"""Whether two models differ, from the runner's blocks."""

from __future__ import annotations

import numpy as np

from edgekd.measure import protocol
from edgekd.measure.compare import compared, different
from edgekd.measure.device import Row
from edgekd.measure.protocol import Judged
from edgekd.records import Figure, Measurement
from tests.measure.results import block, model, result


def ratio(slower: float, seed: int) -> Figure:
    """Of two models on a device that wavers by 5 % from round to round, which meets both, and each by itself by 2 %."""
    rng = np.random.default_rng(seed)
    wavers = 1 + 0.05 * np.repeat(rng.normal(size=10), 4)
    a, b = ([block(1e-3 * both * (1 + 0.02 * rng.normal()) * by, rng) for both in wavers] for by in (1, slower))
    models = model(a, "a"), model(b, "b")
    judged = [protocol.judged(result(*models), one, "a device") for one in models]
    rows, figures, differ = compared([row("a", judged[0]), row("b", judged[1])], judged, "a device")
    assert not rows[1].failed and differ is different(figures["latency_ratio"])
    return figures["latency_ratio"]


def row(name: str, judged: Judged, failed: str = "") -> Row:
    return Row(name, Measurement(name, "host", judged.figures), failed=failed)


def test_the_same_model_is_not_different_and_a_slowdown_is() -> None:
    assert sum(different(ratio(1.0, seed)) for seed in range(30)) <= 3
    assert sum(different(ratio(1.1, seed)) for seed in range(30)) >= 29
    assert sum(different(ratio(0.9, seed)) for seed in range(30)) >= 29


def test_the_ratio_has_its_interval() -> None:
    found = ratio(1.1, 0)
    assert found.low is not None and found.high is not None and found.low < 1.1 < found.high
    assert found.high - found.low < 0.06, "what wavers in both falls out"


def test_less_than_a_percent_is_never_called_real() -> None:
    assert not different(Figure(1.005, "ratio", "measured", "", low=1.004, high=1.006))
    assert different(Figure(1.02, "ratio", "measured", "", low=1.01, high=1.03))
    assert not different(Figure(1.02, "ratio", "measured", "", low=0.99, high=1.03))


def test_rounds_in_which_either_was_disturbed_are_not_compared() -> None:
    """Each has six rounds of its own, but only five in which neither was disturbed: a verdict of that would be none."""
    latency = {"latency_ms": Figure(1.0, "ms", "measured", "a device")}
    a, b = (Judged(latency, rounds={(0, at): 1e-3 for at in range(first, first + 6)}) for first in (0, 1))
    (one, other), figures, differ = compared([row("a", a), row("b", b, "b: rejected: drift")], [a, b], "a device")
    assert figures == {} and differ is None and not one.failed
    assert other.failed.startswith(
        "b: rejected: drift; b: rejected: others disturbed so much that only 5 rounds can be compared, at least 6"
    )
    assert other.failed.endswith("6 are needed: more --seconds")


def test_what_computes_something_else_is_not_compared() -> None:
    judged = Judged({"latency_ms": Figure(1.0, "ms", "measured", "a device")}, rounds={(0, at): 1e-3 for at in range(9)})
    rows = [row("a", judged), row("b", judged, "b computes something else than the reference: 3 of 4 samples")]
    assert compared(rows, [judged, judged], "a device") == (tuple(rows), {}, None)
    assert compared(rows[:1], [judged], "a device") == (tuple(rows[:1]), judged.figures, None)
