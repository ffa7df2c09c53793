"""The published measurements that predictions for microcontrollers are calibrated by. calibration/SOURCE.md says where they come from."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import cache
from math import log
from pathlib import Path
from typing import Any

from edgekd.errors import InputError
from edgekd.plan.latency_work import OpWork, Work

_FOLDER = Path(__file__).parent / "calibration"
SOURCE = "MLPerf Tiny v0.5 to v1.2, closed division"
#: Versions and variants of one runtime: their kernels are alike, so each has a factor of its own but shares the rest.
FAMILIES = {
    "X-CUBE-AI-7.3": "X-CUBE-AI",
    "X-CUBE-AI-8.0": "X-CUBE-AI",
    "HALE int8 max performance": "HALE int8",
    "HALE int8 min RAM": "HALE int8",
}


@dataclass(frozen=True)
class Row:
    """One published inference: ``energy_uj`` is None where none was submitted; ``task`` is a key of ``networks()``."""

    round: str
    board: str
    core: str
    clock_mhz: float
    runtime: str
    task: str
    latency_ms: float
    energy_uj: float | None

    @property
    def log_cycles(self) -> float:
        return log(self.latency_ms * self.clock_mhz * 1e3)

    @property
    def family(self) -> str:
        return family(self.runtime)


def family(runtime: str) -> str:
    return FAMILIES.get(runtime, runtime)


@cache
def published() -> tuple[Row, ...]:
    """All rows, in the order of the file."""
    with open(_FOLDER / "mlperf_tiny.csv", encoding="utf-8", newline="") as file:
        return tuple(_row(line) for line in csv.DictReader(file))


@cache
def networks() -> dict[str, Work]:
    """Task → the work of its network."""
    raw: dict[str, list[dict[str, Any]]] = json.loads((_FOLDER / "networks.json").read_bytes())
    return {task: Work(task, tuple(OpWork(**op) for op in ops)) for task, ops in raw.items()}


def runtimes() -> tuple[str, ...]:
    """Every runtime that was measured, on whatever core."""
    return tuple(sorted({row.runtime for row in published()}, key=str.casefold))


def named(runtime: str) -> str | None:
    """The runtime of that name, whatever its capitals; None where there is none."""
    return next((known for known in runtimes() if known.casefold() == runtime.casefold()), None)


def _row(line: dict[str, str]) -> Row:
    try:
        energy = float(line["energy_uj"]) if line["energy_uj"] else None
        numbers = float(line["clock_mhz"]), float(line["latency_ms"])
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{line}", where="mlperf_tiny.csv", expected="clock_mhz, latency_ms and energy_uj", mend="install again"
        ) from error
    return Row(line["round"], line["board"], line["core"], numbers[0], line["runtime"], line["task"], numbers[1], energy)
