"""Processors with caches: no rows, no prediction; the more rows, the narrower; what the store keeps, and what it refuses."""

from __future__ import annotations

import json
from math import exp
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.plan.latency import host_device, predict
from edgekd.plan.latency_roofline import CACHES, PRIOR, Timed, roofline
from edgekd.plan.latency_rows import networks
from edgekd.plan.latency_store import MOST, caches, measured, path, remember
from edgekd.plan.latency_work import Work
from edgekd.profile.load import load
from edgekd.records import Figure


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def took(milliseconds: float, kind: str = "measured") -> Figure:
    return Figure(milliseconds, "ms", kind, "host: some, LiteRT", 60, 0.9 * milliseconds, 1.1 * milliseconds)  # type: ignore[arg-type]


def true_time(work: Work, factor: float = 1.0) -> float:
    """Of a machine whose convolutions take twice as long as the prior has it, and whose calls cost a third."""
    macs = sum(op.macs * (6 if op.kind == "depthwise" else 1) for op in work.ops)
    return factor * (macs * 0.04 + work.calls * 300) * 1e-6


def test_without_rows_there_is_no_figure() -> None:
    found = predict(networks()["ic"], host_device(), "litert")
    assert found.latency_ms is None and "none was measured there" in found.reason


def test_what_was_measured_is_foretold_and_sharpens() -> None:
    ratios = []
    for task in ("kws", "ic", "ad"):
        remember(networks()[task], took(true_time(networks()[task])), "litert_xnnpack", task)
        found = predict(networks()["vww"], host_device(), "litert", measured=measured())
        figure = found.latency_ms
        assert figure is not None and figure.low is not None and figure.high is not None and not found.published
        assert figure.low < true_time(networks()["vww"]) < figure.high
        assert len(found.per_operator_ms) == len(networks()["vww"].ops) and sum(found.per_operator_ms) == pytest.approx(figure.value)
        ratios.append(figure.high / figure.low)
    assert ratios[0] > 2 and min(ratios[1:]) < 0.95 * ratios[0]
    assert "roofline calibrated by 3 times of 3 models measured there" in figure.where and figure.n == 3


def test_rows_of_others_do_not_count() -> None:
    work = networks()["kws"]
    remember(work, took(1.0), "litert_ref", "a")
    assert predict(work, host_device(), "litert", measured=measured()).latency_ms is None
    assert predict(work, host_device(), "litert_ref", measured=measured()).latency_ms is not None
    assert predict(work, load("pixel-8").device, "litert_ref", measured=measured()).latency_ms is None
    assert predict(Work("f", work.ops, "float32"), host_device(), "litert_ref", measured=measured()).latency_ms is None


def test_a_processor_is_known_by_its_name() -> None:
    remember(networks()["kws"], took(1.0), "openvino", "a")
    row = json.loads(path().read_text())
    path().write_text(json.dumps(row | {"cpu": "Intel(R) N100"}) + "\n")
    assert predict(networks()["kws"], load("intel-n100").device, "openvino", measured=measured()).latency_ms is not None
    assert predict(networks()["kws"], load("raspberry-pi-5").device, "openvino", measured=measured()).latency_ms is None


def test_the_newest_of_a_model_counts() -> None:
    for value in (3.0, 2.0):
        remember(networks()["kws"], took(value), "openvino", "same")
    remember(networks()["kws"], took(7.0), "openvino", "same", threads=2)
    assert [row.timed.latency_ms for row in measured()] == [2.0, 7.0] and len(path().read_bytes().splitlines()) == 3


def test_the_store_does_not_grow_for_ever() -> None:
    remember(networks()["ad"], took(1.0), "openvino", "a")
    path().write_bytes(path().read_bytes() * (MOST + 5))
    remember(networks()["ad"], took(2.0), "openvino", "b")
    assert len(path().read_bytes().splitlines()) == MOST


def test_a_damaged_line_is_named() -> None:
    remember(networks()["ad"], took(1.0), "openvino", "a")
    good = path().read_bytes()
    for bad in (b"{", b'{"schema_version": 2}', b"[]", good.strip().replace(b'"latency_ms": 1.0', b'"latency_ms": -1.0')):
        path().write_bytes(good + bad + b"\n")
        with pytest.raises(InputError, match=r"latency\.jsonl, line 2: (.|\n)*to mend:  delete that line"):
            measured()


@pytest.mark.parametrize("figure", [took(1.0, "emulated"), took(0.0), took(float("inf")), Figure(5.0, "B", "measured", "host")])
def test_only_times_are_kept(figure: Figure) -> None:
    with pytest.raises(InputError, match="expected: a measured time in ms"):
        remember(networks()["ad"], figure, "openvino", "a")
    assert not path().exists()


def test_threads_and_caches() -> None:
    work = networks()["ic"]
    model = roofline([Timed(work, 1, true_time(work))])
    one, four = (model.predict(work, threads)[0].sum() for threads in (1, 4))
    assert one / 4 < four < one / 2
    # Where nothing fits the caches, bytes come from memory.
    small, large = (model.predict(networks()["ad"], 1, sizes)[0].sum() for sizes in ((256, 512, 1024), CACHES))
    assert small > large


def test_caches_are_read(tmp_path: Path) -> None:
    for i, (kind, level, text) in enumerate((("Data", 1, "48K"), ("Instruction", 1, "32K"), ("Unified", 2, "2M"), ("Unified", 3, "x"))):
        folder = tmp_path / f"index{i}"
        folder.mkdir()
        for name, value in (("type", kind), ("level", str(level)), ("size", text)):
            (folder / name).write_text(f"{value}\n")
    assert caches(tmp_path) == (48 << 10, 2 << 20, 2 << 20)
    assert caches(tmp_path / "none") == (CACHES[0], CACHES[1], CACHES[2])


def test_the_slopes_are_those_of_the_roofline() -> None:
    """Gauss-Newton is only as good as its derivatives."""
    from edgekd.plan.latency_roofline import _nanoseconds

    middle = np.array([mean for mean, _ in PRIOR.values()])
    for work in networks().values():
        spent, slopes = _nanoseconds(work, 2, (4_000, 40_000, 400_000), middle)
        for i in range(len(middle)):
            step = np.zeros(len(middle))
            step[i] = 1e-5
            up, down = (_nanoseconds(work, 2, (4_000, 40_000, 400_000), middle + sign * step)[0].sum() for sign in (1, -1))
            assert (up - down) / 2e-5 == pytest.approx(slopes[i], rel=1e-3, abs=1e-4 * spent.sum())
    assert exp(middle[0]) == pytest.approx(0.02)
