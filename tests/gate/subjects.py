"""Subjects of the gate, made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgekd.gate.check import Classes, Limit, Parity, Subject
from edgekd.records import Figure

HOST = "host: a CPU, LiteRT 2.3.0, 1 thread"


def figures() -> dict[str, Figure]:
    return {
        "accuracy": Figure(0.9, "share", "emulated", HOST, n=1000, low=0.88, high=0.92),
        "latency_ms": Figure(2.0, "ms", "measured", HOST, n=50, low=1.98, high=2.02),
        "model_bytes": Figure(100_000, "B", "counted", "file"),
        "peak_ram_bytes": Figure(20_000, "B", "emulated", HOST),
    }


def subject(**changes: Any) -> Subject:
    made = Subject(
        "runs/a", "clothes", "pixel-8", "d" * 64, "m" * 64, figures(),
        limits=(Limit("model_bytes", 200_000, "B", "profile pixel-8", 100_000, "counted"),),
        parity=(Parity("tflm", True, "bit-equal"),),
        classes=(Classes("", ("shirt", "shoe"), (500, 500), (420, 480)),),
    )  # fmt: skip
    return replace(made, **changes)


def with_figure(name: str, made: Subject | None = None, **changes: Any) -> Subject:
    """Another file, of which one figure differs."""
    made = made or subject()
    return replace(made, model="n" * 64, figures={**made.figures, name: replace(made.figures[name], **changes)})
