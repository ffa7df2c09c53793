from __future__ import annotations

import sys

import pytest

from edgekd import host


@pytest.mark.parametrize(("stated", "expected"), [("3", 3), ("4,2", 4), ("", None), ("0", None), ("many", None), ("-1", None)])
def test_threads(monkeypatch: pytest.MonkeyPatch, stated: str, expected: int | None) -> None:
    """What is asked for decides, else OMP_NUM_THREADS where it says a number, else the cores."""
    monkeypatch.setenv("OMP_NUM_THREADS", stated)
    assert host.threads(0) == (expected or host.cores()) and host.threads(7) == 7
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert host.threads(0) == host.cores()


def test_children_take_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "8")
    monkeypatch.setenv("OWN", "kept")
    found = host.single_threaded()
    assert {found[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")} == {"1"}
    assert found["OWN"] == "kept" and found["PYTHONPATH"].count(":") == len(sys.path) - 1
