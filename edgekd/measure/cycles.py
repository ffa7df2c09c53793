"""Cycles and milliseconds from instructions: predicted, with an interval, for the cores where something published says how."""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.records import Figure


@dataclass(frozen=True)
class Ratio:
    """Cycles an instruction: ``low`` to ``high``, and where they come from."""

    middle: float
    low: float
    high: float
    source: str


#: MLPerf Tiny v1.0, OctoML's microTVM with CMSIS-NN on NUCLEO-L4R5ZI (Cortex-M4F, 120 MHz): its cycles over the instructions of CMSIS-NN
#: 4.0 on an emulated M4 are 1.55 (keyword spotting) and 1.41 (image classification). Two networks, so the interval is a wide one by decree.
_M4 = Ratio(1.48, 1.48 * 0.7, 1.48 * 1.3, "two published networks on a Cortex-M4F (1.41 and 1.55 cycles an instruction), ±30 %")
#: MLPerf Tiny v0.7 and v1.0, X-CUBE-AI: cycles on NUCLEO-U575ZI (M33) over those on NUCLEO-L4R5ZI (M4) are 0.75 to 0.85 in eight rows.
_M33 = Ratio(1.18, 1.18 * 0.6, 1.18 * 1.4, "the ratio of a Cortex-M4F, times 0.80 as published for the same runtime on both, ±40 %")
#: Three stages as the M4 has; a multiplication with accumulation takes it two cycles instead of one, so the interval is wider.
_M3 = Ratio(1.48, 1.48 * 0.7, 1.48 * 1.5, "the ratio of a Cortex-M4F, whose pipeline it has, −30 to +50 %")
RATIOS = {"cortex-m3": _M3, "cortex-m4": _M4, "cortex-m4f": _M4, "cortex-m33": _M33}


def latency(instructions: float, core: str, clock_mhz: float, board: str) -> Figure | None:
    """Milliseconds of ``instructions``; None for a core that is not modelled."""
    ratio = RATIOS.get(core)
    if ratio is None:
        return None
    each = instructions / (clock_mhz * 1e3)
    where = f"{board} at {clock_mhz:g} MHz: instructions times {ratio.source}; no measurement"
    return Figure(each * ratio.middle, "ms", "predicted", where, low=each * ratio.low, high=each * ratio.high)
