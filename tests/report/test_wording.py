from __future__ import annotations

import pytest

from edgekd.records import Figure
from edgekd.report import wording


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.0, "share", "100 %"),
        (0.999999, "share", "99.99 %"),
        (0.9194, "share", "91.94 %"),
        (512, "B", "512 B"),
        (63552, "B", "62.1 KiB"),
        (52310016, "B", "49.89 MiB"),
        (4371912, "MAC", "4.37 M MAC"),
        (5400, "MAC", "5.40 k MAC"),
        (44554, "", "44.55 k"),
        (0, "MAC", "0 MAC"),
        (0.39175, "ms", "0.392 ms"),
        (118.35, "ms", "118 ms"),
        (12345.6, "ms", "12346 ms"),
    ],
)
def test_an_amount_with_its_unit(value: float, unit: str, text: str) -> None:
    assert wording.amount(value, unit) == text.replace(" ", "\u00a0")


def test_an_interval_is_in_the_figure_s_unit() -> None:
    assert wording.interval(Figure(0.9, "share", "measured", "x", low=0.8, high=1.0)) == "80.00 to 100.00\u00a0%"
    assert wording.interval(Figure(3, "ms", "measured", "x", low=2.5, high=3.25)) == "2.5\u00a0ms to 3.25\u00a0ms"
    assert wording.interval(Figure(3, "ms", "measured", "x")) == ""


def test_a_figure_without_a_name_of_its_own_is_said_as_it_is_called() -> None:
    assert wording.name("latency_ms") == "Latency" and wording.name("accuracy_shape") == "accuracy shape"
