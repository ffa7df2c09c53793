from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgekd import host


@pytest.mark.parametrize(("stated", "expected"), [("3", 3), ("4,2", 4), ("", None), ("0", None), ("many", None), ("-1", None)])
def test_threads(monkeypatch: pytest.MonkeyPatch, stated: str, expected: int | None) -> None:
    """What is asked for decides, else OMP_NUM_THREADS where it says a number, else the cores."""
    monkeypatch.setenv("OMP_NUM_THREADS", stated)
    assert host.threads(0) == (expected or host.cores()) and host.threads(7) == 7
    assert host.threads(0, 1) == (expected or 1) and host.threads(7, 1) == 7
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert host.threads(0) == host.cores()


def test_machines_that_are_alike_have_the_same_edgekd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = host.alike.__wrapped__()
    assert set(found) == {"python", "numpy", "torch", "edgekd"} and all(found.values()) and found == host.alike.__wrapped__()
    (tmp_path / "host.py").write_text("another")
    monkeypatch.setattr(host, "__file__", str(tmp_path / "host.py"))
    assert host.alike.__wrapped__() == {**found, "edgekd": host.alike.__wrapped__()["edgekd"]} != found


def test_children_take_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "8")
    monkeypatch.setenv("OWN", "kept")
    found = host.single_threaded()
    assert {found[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")} == {"1"}
    assert found["OWN"] == "kept" and found["PYTHONPATH"].count(":") == len(sys.path) - 1


@pytest.mark.parametrize(
    ("cpuinfo", "board", "model"),
    [
        ("processor\t: 0\nmodel name\t: Xeon\nflags\t\t: avx2 fma\n", "", "Xeon"),
        (
            "processor\t: 0\nFeatures\t: asimddp avx2\nCPU part\t: 0xd0b\n",
            "Raspberry Pi 5 Model B Rev 1.0\0",
            "Raspberry Pi 5 Model B Rev 1.0",
        ),
        ("Features\t: avx2\n\nHardware\t: BCM2835\n", "", "BCM2835"),
        (
            "model name\t: ARMv7 Processor\nFeatures\t: avx2\n\nHardware\t: BCM2835\n",
            "Raspberry Pi 4 Model B Rev 1.4\0",
            "Raspberry Pi 4 Model B Rev 1.4",
        ),
    ],
)
def test_two_arm_boards_are_two_processors(cpuinfo: str, board: str, model: str) -> None:
    found, flags = host.processor(cpuinfo, board)
    assert found == model and "avx2" in flags
