"""A page shows what a store has of a run; what other tests measured is not that."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _store_of_this_test(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKD_STORE", str(Path(tmp_path_factory.mktemp("store"), "results.sqlite")))
