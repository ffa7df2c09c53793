"""Releases made by hand: files and a manifest as edgekd reads it, without a training or a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgekd import runs
from edgekd.registry.history import Who
from edgekd.released import MANIFEST, encode

NAME = "tiny-pixel-8"
ADA = Who("ada", "because")


def release(folder: Path, version: str = "1.0.0", *, artifact: str = NAME, weights: bytes = b"weights", **more: Any) -> Path:
    """``folder``/<artifact>-<version>; ``more`` are keys of the manifest."""
    made = folder / f"{Path(artifact).name}-{version}"
    for name, content in {"model/model.tflite": weights, "graph/graph.json": b"{}", "MODEL_CARD.md": b"# Tiny\n"}.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(content)
    document: dict[str, Any] = {
        "schema_version": 1, "name": "tiny", "artifact": artifact, "group": "com.example.models", "version": version,
        "created": "2026-11-22T04:00:31+00:00", "target": "pixel-8", "run": "tiny-pixel-8-0123456789", "fingerprint": "f" * 64,
        "own": "tflite", "models": {"tflite": {"sha256": runs.sha256_file(made / "model/model.tflite"), "paths": ["model/model.tflite"]}},
        "figures": {"model_bytes": {"value": len(weights), "unit": "B", "kind": "counted", "where": "file"}},
        "data": {"sha256": "d" * 64}, "teacher": {}, "licenses": {}, "environment": {}, "budgets": [], "parity": [], "formats": ["android"],
        "waivers": [], "accuracy": None,
    }  # fmt: skip
    files = {
        path.relative_to(made).as_posix(): {"sha256": runs.sha256_file(path), "bytes": path.stat().st_size}
        for path in sorted(made.rglob("*"))
        if path.is_file()
    }
    (made / MANIFEST).write_bytes(encode({**document, "files": files, **more}))
    return made


def gate_record(path: Path, release: Path, verdict: str = "pass", **more: Any) -> Path:
    """What `edgekd gate --json` says of a release."""
    manifest = json.loads((release / MANIFEST).read_bytes())
    subject = {"model": manifest["models"]["tflite"]["sha256"], "target": manifest["target"], **more}
    path.write_text(json.dumps({"schema_version": 1, "verdict": verdict, "subject": subject}))
    return path
