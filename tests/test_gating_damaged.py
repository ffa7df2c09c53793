"""Runs and releases that are damaged, tampered with, or meant to do harm: one message, or not judged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgekd import runs
from tests import gate_runs
from tests.gate_runs import copied
from tests.registry.made import release
from tests.small_builds import edgekd
from tests.test_gating import corrupt, failed, gate


@pytest.fixture(scope="module")
def baseline() -> Path:
    return gate_runs.run()


@pytest.mark.parametrize(
    "name", ["nothing", "empty", "file", "unfinished", "no JSON", "other noun", "wrong stage", "huge", "infinite", "negative"]
)
def test_a_damaged_baseline_is_one_message(baseline: Path, tmp_path: Path, name: str) -> None:
    bad = copied(baseline, tmp_path / "bad")
    record = bad / "records" / "measure.json"
    if name in ("nothing", "empty", "file"):
        shutil.rmtree(bad)
        bad.mkdir() if name == "empty" else bad.write_text("{}") if name == "file" else None
    elif name == "unfinished":
        record.unlink()
    elif name == "no JSON":
        record.write_bytes(record.read_bytes()[:200])
    elif name == "other noun":
        document = json.loads(record.read_bytes())
        document["body"] = json.loads((bad / "records" / "plan.json").read_bytes())["body"]
        record.write_text(json.dumps(document))
    elif name == "wrong stage":
        record.write_bytes((bad / "records" / "verify.json").read_bytes())
    elif name == "huge":
        record.write_text("[" * 100_000)
    elif name == "infinite":
        document = json.loads(record.read_bytes())
        document["body"]["value"][0]["figures"]["latency_ms"]["value"] = 4711.5
        record.write_text(json.dumps(document).replace("4711.5", "1e999"))
    else:
        path = bad / "records" / "examine.json"
        document = json.loads(path.read_bytes())
        document["body"]["value"]["tasks"][0]["confusion"][0][0] = -1
        path.write_text(json.dumps(document))
    code, out, err = edgekd("gate", baseline, "--baseline", bad)
    assert code == 2 and not out and err.startswith("edgekd: ") and "bad" in err and err.count("edgekd: ") == 1
    assert edgekd("gate", bad, "--baseline", baseline)[0] == 2


@pytest.mark.parametrize(
    "more",
    [
        {"models": {"tflite": 3}},
        {"own": ["tflite"]},
        {"own": "onnx"},
        {"data": {"sha256": 5}},
        {"figures": {"latency_ms": {"value": "fast"}}},
        {"figures": {"latency_ms": {"value": 10**400, "unit": "ms", "kind": "measured", "where": "x"}}},
        {"figures": {"accuracy": 3}},
        {"parity": [3]},
        {"budgets": [{"name": "latency_ms"}]},
        {"accuracy": {"tasks": 3}},
        {
            "figures": {
                "latency_ms": {"value": 1.0, "unit": "\x1b[31m[/bold]", "kind": "measured", "where": "x", "n": 1, "low": 1, "high": 1}
            }
        },
        {"target": "\x1b[31m[red]"},
    ],
)
def test_a_damaged_release_is_one_message_or_is_not_judged(baseline: Path, tmp_path: Path, more: dict[str, Any]) -> None:
    made = release(tmp_path, **more)
    for arguments in ((baseline, "--baseline", made), (made, "--baseline", baseline), (made, "--baseline", made)):
        code, out, err = edgekd("gate", *arguments)
        assert code in (1, 2) and bool(out) != bool(err) and "\x1b" not in out + err
    if "models" in more:
        assert edgekd("gate", made, "--baseline", made, "--device", "host")[0] == 2


def test_changed_and_missing_files(baseline: Path, tmp_path: Path) -> None:
    (artifact,) = runs.read(baseline, "export").body
    changed, missing = copied(baseline, tmp_path / "a"), copied(baseline, tmp_path / "b")
    corrupt(changed)
    (missing / artifact.path).unlink()
    for new, said in ((changed, "is not what records/export.json says"), (missing, "of records/export.json, is missing")):
        code, document = gate(new, "--baseline", baseline)
        assert code == 1 and failed(document) == {"files"} and said in document["checks"][0]["message"]
        code, document = gate(baseline, "--baseline", new)
        assert code == 2 and not failed(document)
