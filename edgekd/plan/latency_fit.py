"""Regression of logarithms on few rows: parameters have a prior, residuals may have heavy tails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Degrees of freedom of the residuals' t distribution: a row that lies far off, as published ones do, then hardly counts.
FREEDOM = 4.0
_STEPS, _LONGEST_STEP, _STILL = 60, 1.0, 1e-4

#: Parameters [p] → predicted logarithms [n] and their derivatives [n, p].
Forward = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Posterior:
    """Most probable parameters [p] and, by Laplace's approximation there, their covariance [p, p]."""

    mean: np.ndarray
    covariance: np.ndarray


def most_probable(
    forward: Forward, prior_mean: np.ndarray, prior_sd: np.ndarray, y: np.ndarray, noise: float, *, freedom: float = FREEDOM
) -> Posterior:
    """Parameters of normal priors, given logarithms ``y`` [n] with t-distributed residuals of scale ``noise`` (``freedom`` inf: normal).

    Gauss-Newton with the weights of the t distribution: Lange, Little and Taylor, Robust statistical modeling using the t distribution
    (JASA, 1989). Without rows the posterior is the prior.
    """
    parameters = prior_mean.astype(np.float64).copy()
    precision = np.diag(1 / prior_sd**2)
    for _ in range(_STEPS):
        predicted, slopes = forward(parameters)
        residual = y - predicted
        weight = _weight(residual, noise, freedom)
        curvature = (slopes.T * weight) @ slopes + precision
        step = np.linalg.solve(curvature, slopes.T @ (weight * residual) - precision @ (parameters - prior_mean))
        parameters = parameters + np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
        if np.abs(step).max() < _STILL:
            break
    predicted, slopes = forward(parameters)
    weight = _weight(y - predicted, noise, freedom)
    return Posterior(parameters, np.linalg.inv((slopes.T * weight) @ slopes + precision))


def _weight(residual: np.ndarray, noise: float, freedom: float) -> np.ndarray:
    """Of each row: 1 / noise², less for one that lies far off."""
    tails = np.ones_like(residual) if np.isinf(freedom) else (freedom + 1) / (freedom + (residual / noise) ** 2)
    return tails / noise**2
