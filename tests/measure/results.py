"""RESULT.json as the runner writes it, made up."""

from __future__ import annotations

from typing import Any

import numpy as np


def block(level: float, rng: np.random.Generator, *, slowed: float = 0.0, **more: Any) -> dict[str, Any]:
    """100 inferences of ``level`` seconds; a share of ``slowed`` took half as long again, and the ruler beside them too."""
    slow = rng.random(100) < slowed
    seconds = level * (1 + 0.01 * rng.random(100)) * np.where(slow, 1.5, 1)
    ruler = 2e-6 * (1 + 0.02 * rng.random(100)) * np.where(slow, 1.5, 1)
    plain = {"invocation": 0, "phase": "repeat", "count": 100, "every": 1, "interrupted": [], "interruptions": 0}
    measured = {"wall_s": 0.1, "cpu_s": 0.1, "others": 0.0, "stolen": 0.0, "mhz": None, "celsius": None, "throttling": {}}
    return {"seconds": seconds.tolist(), "ruler": ruler.tolist(), "t": 0.0, **plain, **measured, **more}


def model(blocks: list[dict[str, Any]], name: str = "a") -> dict[str, Any]:
    numbered = [{**one, "invocation": one["invocation"] or i // 4, "t": 0.3 * i} for i, one in enumerate(blocks)]
    said = {"runtime": "tflite", "version": "ai-edge-litert 2.3.0", "provider": "XNNPACK", "warmups": [{"steady": True}]}
    memory = {"peak_rss_bytes": 50_000_000, "base_rss_bytes": 34_000_000, "cold_start_s": [0.2, 0.1, 0.3]}
    return {"name": name, "file_sha256": "", "error": None, "outputs": ["m0.y0.npy"], "blocks": numbered, **said, **memory}


def result(
    *models: dict[str, Any], wall: float = 10.0, before: dict[str, Any] | None = None, after: dict[str, Any] | None = None
) -> dict[str, Any]:
    clock = {"before": {"monotonic": 5.0, "wall": 1e9}, "after": {"monotonic": 15.0, "wall": 1e9 + wall}}
    return {"schema": 1, "facts_before": before or {}, "facts_after": after or {}, "models": list(models), "clock": clock}
