"""How long an inference takes on a device that is not here, and what energy it costs: predicted, with an interval and a source.

Microcontrollers: cycles by core and runtime, calibrated by published measurements (latency_cycles.py). Other processors: a roofline,
calibrated by what was measured on the same processor (latency_roofline.py, latency_store.py). Where there is no calibration there is no
figure, and a reason instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from math import exp, log

import numpy as np

from edgekd import host
from edgekd.errors import InputError
from edgekd.plan import latency_rows
from edgekd.plan.latency_cycles import HELD, Cycles, Model, fit
from edgekd.plan.latency_roofline import roofline
from edgekd.plan.latency_rows import Row
from edgekd.plan.latency_store import Measured, caches, timed
from edgekd.plan.latency_work import Work, work_of
from edgekd.profile.schema import Device
from edgekd.records import Figure

__all__ = ["Prediction", "host_device", "predict", "runtimes", "work_of"]

#: A profile's runtime → the published runtime that it is, where one is.
PUBLISHED_AS = {"tflm": "TFLM + CMSIS-NN"}
#: A profile's runtime → what this host measures it in; None where nothing on this host is that runtime.
MEASURED_AS: dict[str, str | None] = {
    "tflm": "tflm",
    "ethos-u": None,
    "tensorrt": None,
    "litert": "litert_xnnpack",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "litert_xnnpack": "litert_xnnpack",
    "litert_ref": "litert_ref",
}
_SOURCE_OF_HOST = "this machine"


@dataclass(frozen=True)
class Prediction:
    """``figures`` has latency_ms, and energy_uj where the board's energy was published; none where nothing is calibrated, and a ``reason``.

    ``low`` and ``high`` are 90 % intervals. ``per_operator_ms`` is in the order of the work's operators. ``published``: by public
    measurements, the same wherever it is computed, not by what a machine's own store holds.
    """

    figures: dict[str, Figure] = field(default_factory=dict)
    reason: str = ""
    per_operator_ms: tuple[float, ...] = ()
    published: bool = False

    @property
    def latency_ms(self) -> Figure | None:
        return self.figures.get("latency_ms")

    @property
    def energy_uj(self) -> Figure | None:
        return self.figures.get("energy_uj")


def runtimes() -> tuple[str, ...]:
    """Every runtime that may be asked for: those of the published rows, and those of profiles and of this host."""
    return (*latency_rows.runtimes(), *MEASURED_AS)


def host_device() -> Device:
    """This machine, for the rows that were measured on it."""
    cpu = host.host().removeprefix("host: ")
    return Device(board=cpu, core=cpu, clock_mhz=1.0, ram_bytes=1, source=_SOURCE_OF_HOST)


def predict(work: Work, device: Device, runtime: str, *, measured: Sequence[Measured] = (), threads: int = 1) -> Prediction:
    """What ``work`` takes on ``device`` in ``runtime``, one of ``runtimes()``.

    ``measured`` are rows of a machine's own store: those of the device's processor and of that runtime count. Raises InputError for an
    unknown runtime, listing all.
    """
    name = latency_rows.named(runtime) or PUBLISHED_AS.get(runtime)
    if name is None and runtime not in MEASURED_AS:
        raise InputError(f"runtime {runtime!r}", where="latency", expected=", ".join(runtimes()))
    model = calibration()
    if name is not None and model.knows(device.core, name):
        reason = _unlike(work, name)
        return Prediction(reason=reason) if reason else _published(model, work, device, runtime, name)
    own = MEASURED_AS.get(runtime)
    rows = [row for row in measured if row.runtime == own and _same(row.cpu, device) and row.timed.work.numeric == work.numeric]
    return _roofline(work, device, rows, threads) if rows else Prediction(reason=_reason(model, device, runtime))


@cache
def calibration() -> Model:
    """The model of all published rows, fitted once a process."""
    return fit(latency_rows.published())


def _published(model: Model, work: Work, device: Device, asked: str, runtime: str) -> Prediction:
    board = _board(model, device)
    found = model.predict(work, device.core, runtime, board)
    milliseconds = found.per_operator / (device.clock_mhz * 1e3)
    value = float(milliseconds.sum())
    boards = sorted({f"{row.board} at {row.clock_mhz:g} MHz" for row in found.rows})
    named = runtime if asked.casefold() == runtime.casefold() else f"{runtime} (for {asked})"
    where = (
        f"{device.core} at {device.clock_mhz:g} MHz, {named}; calibrated by {latency_rows.SOURCE}: {len(found.rows)} of "
        f"{len(model.rows)} rows are of this core and {found.stand_in or 'runtime'} ({', '.join(boards)})"
        + (f", none of them of {runtime}" if found.stand_in else "")
        + f"; {HELD:.0%} interval, from networks left out"
    )
    figures = {"latency_ms": Figure(value, "ms", "predicted", where, len(found.rows), value / found.ratio, value * found.ratio)}
    if energy := _energy(model, found, device, board, runtime):
        figures["energy_uj"] = energy
    return Prediction(figures, "", tuple(map(float, milliseconds)), True)


def _energy(model: Model, found: Cycles, device: Device, board: str, runtime: str) -> Figure | None:
    """By the energy of a cycle, which is the chip's own: None for a board of which none was published."""
    kin = latency_rows.family(runtime)
    rows = [r for r in model.rows if r.core == device.core and r.board == board and r.family == kin and r.energy_uj is not None]
    if not rows:
        return None
    each = np.array([_picojoules(row) for row in rows])
    middle = float(np.median(each))
    # Rows of one board differ by supply voltage, firmware and what was left switched on.
    off = float(np.quantile(np.abs(each - middle), HELD))
    value, ratio = found.total * exp(middle) * 1e-6, exp((log(found.ratio) ** 2 + off**2) ** 0.5)
    where = f"{board}, {kin}; energy of a cycle of {len(rows)} rows of {latency_rows.SOURCE}; {HELD:.0%} interval, from networks left out"
    return Figure(value, "µJ", "predicted", where, len(rows), value / ratio, value * ratio)


def _picojoules(row: Row) -> float:
    """The logarithm of the energy of one cycle, in pJ."""
    return log((row.energy_uj or 0) * 1e6) - row.log_cycles


def _roofline(work: Work, device: Device, rows: Sequence[Measured], threads: int) -> Prediction:
    sizes = caches() if device.source == _SOURCE_OF_HOST else rows[-1].timed.caches
    milliseconds, ratio = roofline(timed(rows)).predict(work, threads, sizes)
    value = float(milliseconds.sum())
    models = len({row.model for row in rows})
    where = (
        f"{rows[-1].cpu}, {rows[-1].runtime}, {threads} {'thread' if threads == 1 else 'threads'}; roofline calibrated by {len(rows)} "
        f"{'time' if len(rows) == 1 else 'times'} of {models} {'model' if models == 1 else 'models'} measured there; {HELD:.0%} interval"
    )
    figure = Figure(value, "ms", "predicted", where, len(rows), value / ratio, value * ratio)
    return Prediction({"latency_ms": figure}, "", tuple(map(float, milliseconds)))


def _unlike(work: Work, runtime: str) -> str:
    """Why rows of ``runtime`` say nothing about ``work``; "" where they do. Quantized work may be asked for as float."""
    if work.numeric == "int8" or (work.numeric == "float32" and "float" in runtime.casefold()):
        return ""
    return f"latency is not predicted: the published rows of {runtime} are of int8 activations, and these are {work.numeric}"


def _reason(model: Model, device: Device, runtime: str) -> str:
    known = sorted({row.runtime for row in model.rows if row.core == device.core}, key=str.casefold)
    if known:
        return f"latency is not predicted: {device.core} is calibrated for {', '.join(known)}, not for {runtime}"
    cores = ", ".join(sorted({row.core for row in model.rows}))
    name = device.accelerator or device.core
    return (
        f"latency is not predicted: there is no calibration of {name} in {runtime}; published rows are of {cores}, and none was "
        "measured there"
    )


def _board(model: Model, device: Device) -> str:
    """The calibration's name of the device's board, "" where it has no rows of that."""
    words = device.board.upper().replace("_", "-")
    return next((board for board in sorted({row.board for row in model.rows}) if board in words), "")


def _same(cpu: str, device: Device) -> bool:
    """Whether a processor, as its system calls it, is the device's: every word of it is in the board's or core's name, or the same."""
    words = set(_words(cpu)) - {"r", "tm", "cpu", "processor"}
    return cpu == device.core or (bool(words) and any(words <= set(_words(text)) for text in (device.board, device.core)))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9.]+", text.casefold())
