"""What softened logits carry: probabilities, entropy, and the temperature at which they carry a given amount. Logits are [..., C]."""

from __future__ import annotations

import numpy as np

#: Temperatures between which one is looked for: no recipe wants one beyond.
COLDEST, HOTTEST = 0.01, 1000.0


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities float64, of the same shape."""
    z = logits.astype(np.float64) / temperature
    raised = np.exp(z - z.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def entropy(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Entropy in nats, float64 [...], of logits softened by ``temperature``: 0 for a certain answer, log C for a uniform one."""
    z = logits.astype(np.float64) / temperature
    z = z - z.max(-1, keepdims=True)
    raised = np.exp(z)
    total = raised.sum(-1)
    return np.maximum(np.log(total) - (raised * z).sum(-1) / total, 0.0)


def temperature_for(logits: np.ndarray, share: float) -> float:
    """The temperature at which the mean entropy is ``share`` of log C, found by bisection: entropy rises with temperature.

    COLDEST where it is more even there (logits that are all alike), HOTTEST where it is less even there.
    """
    wanted, low, high = share * np.log(logits.shape[-1]), np.log(COLDEST), np.log(HOTTEST)
    if entropy(logits, COLDEST).mean() >= wanted:
        return COLDEST
    if entropy(logits, HOTTEST).mean() <= wanted:
        return HOTTEST
    for _ in range(40):
        middle = (low + high) / 2
        if entropy(logits, float(np.exp(middle))).mean() < wanted:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))
