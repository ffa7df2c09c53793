"""Cycles of a microcontroller: a factor of (core, runtime) times the sum, over kinds of work, of amount times cost.

Costs are relative to one multiply-accumulate of a convolution, and have a prior that says what kernels of such cores do; the published
rows decide the factors, and shift costs as far as four networks can. Not measured, but structure: Lai et al., CMSIS-NN (2018), whose
convolution multiplies two im2col columns by two rows of weights at a time, so that each loaded value is used twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgekd.plan.latency_fit import Posterior, most_probable
from edgekd.plan.latency_rows import Row, family, networks
from edgekd.plan.latency_work import Work

#: Kind of work → (cost in multiply-accumulates of a convolution, standard deviation of its logarithm). The first is the unit.
#: stem: 2.76 against 1.41 cycles (Lai et al., 2018, table 1, Cortex-M7: 5x5 of 3 channels against 5x5 of 32). pool: 4.7 cycles a value
#: read (same table). output: requantization, about 17 cycles (a least-squares fit of the pointwise layers of MobileNetV2 in CMSIS-NN on
#: Cortex-M55: pytorch/executorch, issue 17651, 2026) at 1.5 to 2.5 cycles a multiply-accumulate, less where requantization is unrolled.
#: depthwise: nothing loaded is used twice, and 8-bit pairs are widened for each use. fully_connected: each weight is read once, from flash.
COSTS: dict[str, tuple[float, float]] = {
    "convolution": (1.0, 0.0),
    "stem": (1.9, 0.3),
    "depthwise": (3.0, 0.35),
    "fully_connected": (1.5, 0.2),
    "column": (0.8, 0.5),
    "output": (10.0, 0.5),
    "pool": (3.3, 0.5),
    "elementwise": (15.0, 0.5),
    "copy": (2.0, 0.7),
    "call": (1000.0, 0.7),
}
#: Standard deviations, of logarithms: of a runtime's costs about all runtimes', of a version about its family, of a board (flash wait
#: states, caches, compiler) about its core, and of a row about what all that says.
RUNTIME_SD, VERSION_SD, BOARD_SD, NOISE = 0.15, 0.2, 0.15, 0.12
_FACTOR = (np.log(2.0), 2.0)
#: Share of residuals that an interval holds, and how many standard deviations that is where there are none to look at.
HELD, DEVIATIONS = 0.90, 1.645
_MACS = ("convolution", "stem", "depthwise", "fully_connected")


def amounts(work: Work) -> np.ndarray:
    """How much of each kind of COSTS every operator does: [operators, kinds]."""
    table = np.zeros((len(work.ops), len(COSTS)))
    at = {kind: i for i, kind in enumerate(COSTS)}
    for row, op in zip(table, work.ops, strict=True):
        if op.kind == "none":
            continue
        row[at["call"]] = 1
        row[at["column"]] = op.column
        if op.kind in _MACS:
            row[at[op.kind]], row[at["output"]] = op.macs, op.outputs
        else:
            row[at[op.kind]] = op.window if op.kind == "pool" else op.outputs
    return table


@dataclass(frozen=True)
class Cycles:
    """A prediction: cycles of every operator, their sum's interval as a ratio, the fitted boards and the rows of this core and runtime.

    ``ratio`` ≥ 1: the interval is from cycles / ratio to cycles · ratio.
    """

    per_operator: np.ndarray
    ratio: float
    rows: tuple[Row, ...]
    stand_in: str = ""

    @property
    def total(self) -> float:
        return float(self.per_operator.sum())


@dataclass(frozen=True)
class Model:
    """Fitted to ``rows``.

    Parameters go by ("cost", family, kind), ("factor", core, family), ("version", core, runtime) and ("board", core, family, board).
    """

    rows: tuple[Row, ...]

    @cached_property
    def _place(self) -> dict[tuple[str, ...], int]:
        keys: dict[tuple[str, ...], None] = {("cost", "", kind): None for kind in COSTS}
        for row in self.rows:
            keys |= {("cost", row.family, kind): None for kind in COSTS}
            keys |= dict.fromkeys(_offsets(row.core, row.runtime, row.board))
        return {key: i for i, key in enumerate(keys)}

    @cached_property
    def _prior(self) -> tuple[np.ndarray, np.ndarray]:
        fixed = 1e-6  # the unit of costs
        mean, sd = np.zeros(len(self._place)), np.zeros(len(self._place))
        deviations = {"factor": _FACTOR[1], "version": VERSION_SD, "board": BOARD_SD}
        for key, i in self._place.items():
            if key[0] == "cost":
                cost, spread = COSTS[key[2]]
                mean[i], sd[i] = (0.0, RUNTIME_SD if spread else fixed) if key[1] else (np.log(cost), spread or fixed)
            else:
                mean[i], sd[i] = _FACTOR[0] if key[0] == "factor" else 0.0, deviations[key[0]]
        return mean, sd

    @cached_property
    def posterior(self) -> Posterior:
        totals = {task: amounts(work).sum(0) for task, work in networks().items()}
        done = np.array([totals[row.task] for row in self.rows]).reshape(len(self.rows), len(COSTS))
        own = np.array([[self._place["cost", row.family, kind] for kind in COSTS] for row in self.rows]).reshape(done.shape).astype(int)
        design = np.zeros((len(self.rows), len(self._place)))
        for i, row in enumerate(self.rows):
            design[i, [self._place[key] for key in _offsets(row.core, row.runtime, row.board)]] = 1
        each = np.arange(len(self.rows))[:, None]

        def forward(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            spent = done * np.exp(parameters[: len(COSTS)] + parameters[own])
            total = spent.sum(1, keepdims=True)
            slopes = design.copy()
            slopes[:, : len(COSTS)] = slopes[each, own] = spent / total
            return np.log(total[:, 0]) + design @ parameters, slopes

        return most_probable(forward, *self._prior, np.array([row.log_cycles for row in self.rows]), NOISE)

    def knows(self, core: str, runtime: str) -> bool:
        """Whether there are rows of this core in this runtime, or in another version of it."""
        return ("factor", core, family(runtime)) in self._place

    def mean_cycles(self, work: Work, core: str, runtime: str, board: str) -> np.ndarray:
        """The most probable cycles of each operator. ``board`` is "" or one without rows for a core's middle."""
        parameters, kin = self.posterior.mean, family(runtime)
        costs = [np.exp(parameters[self._place["cost", "", kind]] + parameters[self._place["cost", kin, kind]]) for kind in COSTS]
        offset = sum(parameters[self._place[key]] for key in _offsets(core, runtime, board) if key in self._place)
        return amounts(work) @ np.array(costs) * np.exp(offset)

    @cached_property
    def left_out(self) -> tuple[tuple[Row, float], ...]:
        """Each row with the logarithm of measured over predicted, where the prediction knows no row of the same network."""
        found = []
        for task in sorted({row.task for row in self.rows}):
            model = Model(tuple(row for row in self.rows if row.task != task))
            for row in self.rows:
                if row.task == task and model.knows(row.core, row.runtime):
                    predicted = model.mean_cycles(networks()[task], row.core, row.runtime, row.board).sum()
                    found.append((row, row.log_cycles - float(np.log(predicted))))
        return tuple(found)

    @cached_property
    def spread(self) -> float:
        """Half the width of an interval, as a logarithm: what holds HELD of the rows of the network that is worst foretold when left out.

        Of the worst, because networks, not rows, are what is new, and there are four of them.
        """
        by_task: dict[str, list[float]] = {}
        for row, residual in self.left_out:
            by_task.setdefault(row.task, []).append(abs(residual))
        return max((float(np.quantile(found, HELD)) for found in by_task.values()), default=DEVIATIONS * 0.5)

    @cached_property
    def _seen(self) -> np.ndarray:
        """The largest share of its cycles that a network of the rows spends on each kind."""
        shares = [self._shares(networks()[task]) for task in sorted({row.task for row in self.rows})]
        return np.max(shares, axis=0)

    def _shares(self, work: Work) -> np.ndarray:
        spent = amounts(work).sum(0) * np.exp(self.posterior.mean[: len(COSTS)])
        return spent / max(spent.sum(), 1e-12)

    def predict(self, work: Work, core: str, runtime: str, board: str = "") -> Cycles:
        """What ``work`` takes; ``runtime`` must be known on ``core``. The interval is wider for a board or version without rows, and
        for kinds of work of which no calibrated network does as much.
        """
        kin = family(runtime)
        keys = _offsets(core, runtime, board)
        variance = sum(sd**2 for key, sd in zip(keys[1:], (VERSION_SD, BOARD_SD), strict=True) if key not in self._place)
        beyond = np.clip(self._shares(work) - self._seen, 0, None) * np.array([sd for _, sd in COSTS.values()])
        half = np.sqrt(self.spread**2 + DEVIATIONS**2 * (variance + float((beyond**2).sum())))
        exact = tuple(row for row in self.rows if row.core == core and row.runtime == runtime)
        stand_in = "" if exact else kin
        rows = exact or tuple(row for row in self.rows if row.core == core and row.family == kin)
        return Cycles(self.mean_cycles(work, core, runtime, board), float(np.exp(half)), rows, stand_in)


def fit(rows: Sequence[Row]) -> Model:
    return Model(tuple(rows))


def _offsets(core: str, runtime: str, board: str) -> tuple[tuple[str, ...], ...]:
    kin = family(runtime)
    return ("factor", core, kin), ("version", core, runtime), ("board", core, kin, board)
