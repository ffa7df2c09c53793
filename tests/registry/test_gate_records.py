"""What `edgekd gate --json` said, as the registry takes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekd.errors import InputError, NotReleasable
from edgekd.registry.history import passed_gate
from edgekd.released import load
from tests.registry.made import gate_record, release
from tests.small_builds import edgekd


def test_a_release_that_was_compared_with_itself(tmp_path: Path) -> None:
    """It passes whatever it is."""
    made = release(tmp_path)
    record = gate_record(tmp_path / "gate.json", made, where=str(made))
    assert passed_gate(record, load(made))
    document = json.loads(record.read_bytes())
    record.write_text(json.dumps({**document, "baseline": {**document["subject"], "where": "releases/the-one-before"}}))
    assert passed_gate(record, load(made))
    record.write_text(json.dumps({**document, "baseline": document["subject"]}))
    with pytest.raises(NotReleasable, match="the gate compared tiny-pixel-8-1.0.0 with itself: --baseline names what it is to replace"):
        passed_gate(record, load(made))
    record.write_text(json.dumps({**document, "baseline": [1]}))
    with pytest.raises(InputError, match="not what the gate says"):
        passed_gate(record, load(made))


def test_the_gate_says_that_it_compared_nothing(tmp_path: Path) -> None:
    made = release(tmp_path)
    code, out, _ = edgekd("gate", made, "--baseline", tmp_path / "." / made.name)
    assert code == 2 and "note: the baseline is this very folder: nothing was compared" in out
