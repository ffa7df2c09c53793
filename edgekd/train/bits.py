"""Which layers of a float student take other bits than 8, by what that changes on training samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from edgekd.quant import sensitivity
from edgekd.quant.graph import QuantGraph
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme
from edgekd.records import Bits, BudgetUse
from edgekd.train.student import Training, calibration_samples, prepared, student_input


def choose_bits(
    model: nn.Module, training: Training, scheme: Scheme, run: Path, limit: float, file_bytes: Callable[[QuantGraph], int]
) -> Bits:
    """Which layers of the float student of ``run`` take weights of 4 bits, so that its file keeps ``limit`` bytes."""
    return sensitivity.choose(*_calibrated(model, training, scheme, run), limit, file_bytes)


def choose_activations(
    model: nn.Module, training: Training, scheme: Scheme, run: Path, uses: Callable[[QuantGraph], Sequence[BudgetUse]]
) -> Bits:
    """Which activations of the float student of ``run`` take 16 bits, so that the budgets are kept that ``uses`` counts."""
    return sensitivity.choose_activations(*_calibrated(model, training, scheme, run), uses)


def _calibrated(model: nn.Module, training: Training, scheme: Scheme, run: Path) -> tuple[QatModule, torch.Tensor]:
    """The student of 8 bits, and the samples that its ranges were read off."""
    module, x = prepared(model, training, scheme, run), student_input(calibration_samples(training))
    module.calibrate([x])
    return module, x
