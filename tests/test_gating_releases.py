"""What the gate reads off a release: of which kind a budget's use is, which runtimes ran the target's own file, and what is noted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekd.gate.check import TOLERANCES
from edgekd.gate.relative import against
from edgekd.gating import read
from edgekd.runs import sha256_file
from tests.registry.made import release


def verdict(artifact: str, runtime: str) -> dict[str, Any]:
    return {"artifact": artifact, "runtime": runtime, "profile": "tflm", "ok": True, "reason": "bit-equal", "histogram": {}, "figures": {}}


def made(folder: Path, *verdicts: dict[str, Any]) -> Path:
    sha256 = sha256_file(release(folder, "0.0.1") / "model" / "model.tflite")
    own = {"sha256": sha256, "paths": ["model/model.tflite"], "files": {"model.tflite": sha256}}
    latency = {"value": 0.05, "unit": "ms", "kind": "measured", "where": "host: a CPU", "n": 50, "low": 0.04, "high": 0.06}
    budget = {"name": "latency_ms", "used": 1.9, "limit": 500.0, "unit": "ms", "source": "profile nucleo-l4r5zi"}
    return release(
        folder, models={"tflite": own, "c": {"sha256": "c" * 64, "files": {"tiny.c": "c" * 64}}}, figures={"latency_ms": latency},
        budgets=[{**budget, "kind": "predicted"}, {**budget, "used": 0.05}], parity=list(verdicts), notes=["latency: of this host"],
    )  # fmt: skip


def test_a_release_says_how_it_is_known_what_is_used(tmp_path: Path) -> None:
    """Also where what is used happens to be the host's figure."""
    found = read(made(tmp_path, verdict("model.tflite", "tflm")))
    assert [(one.used, one.kind) for one in found.limits] == [(1.9, "predicted"), (0.05, "")]
    assert found.notes == ("latency: of this host",)


def test_only_runtimes_of_the_targets_own_file_are_asked_of_another(tmp_path: Path) -> None:
    own = [verdict("model.tflite", "tflm"), verdict("model.tflite", "litert_ref")]
    before, after = made(tmp_path / "a", *own, verdict("tiny.c", "c_host")), made(tmp_path / "b", own[0])
    assert [one.further for one in read(before).parity] == [False, False, True]
    found = {one.name: one.status for one in against(read(after), read(before), TOLERANCES)}
    assert found["parity.litert_ref"] == "unknown" and "parity.c_host" not in found
