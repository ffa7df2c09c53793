"""How far one has got with students that are captured and pruned to be counted."""

from __future__ import annotations

import logging

import pytest

from edgekd.plan.compressed import Compressed, counted


def test_each_is_told(caplog: pytest.LogCaptureFixture) -> None:
    specs = [Compressed(name, 1, 0.5) for name in "ab"]
    with caplog.at_level(logging.INFO, "edgekd"):
        assert list(counted(iter(specs), 2)) == specs
    told = [record.__dict__["progress"] for record in caplog.records]
    assert told == [("candidates, compressed", at, 2) for at in range(3)]
