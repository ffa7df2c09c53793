"""Milliseconds from what was executed: predicted, with an interval, for the cores where something published says how.

Instructions alone do not tell: one that loads eight registers takes nine cycles. So the emulated run is weighed with the timings that Arm
states for each instruction (edgekd.mcu.timing), and what a board adds to these is taken from published latencies.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.records import Figure


@dataclass(frozen=True)
class Ratio:
    """Cycles of a board over those of ``timing``, a core of TIMINGS: middle · (1 ± spread), and where that comes from."""

    timing: str
    middle: float
    spread: float
    source: str


#: MLPerf Tiny v1.0, OctoML's microTVM with CMSIS-NN on NUCLEO-L4R5ZI (Cortex-M4F, 120 MHz): 99.81 ms for keyword spotting and 389.56 ms
#: for image classification, over the cycles of CMSIS-NN 4.0 on the same models by Arm's timings: 1.31 and 1.25. Two networks on one board
#: do not make an interval, so it is a wide one by decree.
_BOARD = 1.28
_M4 = "1.28, the ratio of two published networks on a Cortex-M4F (1.25 and 1.31), ±30 %"
RATIOS = {
    "cortex-m4": Ratio("cortex-m4", _BOARD, 0.3, _M4),
    "cortex-m4f": Ratio("cortex-m4f", _BOARD, 0.3, _M4),
    "cortex-m3": Ratio("cortex-m3", _BOARD, 0.5, "1.28 as on a Cortex-M4F, ±50 %: nothing is published to compare with"),
    "cortex-m0plus": Ratio("cortex-m0plus", _BOARD, 0.5, "1.28 as on a Cortex-M4F, ±50 %: nothing is published to compare with"),
    "cortex-m0": Ratio("cortex-m0", _BOARD, 0.5, "1.28 as on a Cortex-M4F, ±50 %: nothing is published to compare with"),
    # MLPerf Tiny v0.7 and v1.0, X-CUBE-AI: cycles on NUCLEO-U575ZI (M33) over those on NUCLEO-L4R5ZI (M4) are 0.75 to 0.85 in eight rows.
    "cortex-m33": Ratio("cortex-m4", _BOARD * 0.8, 0.4, "1.28 as on a Cortex-M4F, times 0.80 as one runtime is published for both, ±40 %"),
}
#: Where the cycles by Arm's timings are not to be had: cycles an instruction are 1.20 for CMSIS-NN, 1.37 for plain C, 1.63 for own kernels.
_EACH, _EACH_SPREAD = 1.4, 0.2


def latency(instructions: float, timed: float | None, core: str, clock_mhz: float, board: str) -> Figure | None:
    """Milliseconds of an inference of ``instructions``, ``timed`` cycles by Arm's timings (None: not known); None for a core that is not
    modelled."""
    ratio = RATIOS.get(core)
    if ratio is None:
        return None
    cycles, spread = (timed, ratio.spread) if timed is not None else (instructions * _EACH, ratio.spread + _EACH_SPREAD)
    what = "cycles by Arm's timings of each instruction" if timed is not None else f"instructions at {_EACH} cycles ±{_EACH_SPREAD:.0%}"
    each = cycles * ratio.middle / (clock_mhz * 1e3)
    where = f"{board} at {clock_mhz:g} MHz: {what}, times {ratio.source}; no measurement"
    return Figure(each, "ms", "predicted", where, low=each * (1 - spread), high=each * (1 + spread))
