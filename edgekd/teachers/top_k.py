"""Of a teacher of many classes the ``k`` largest logits a sample, and what the others come to: kilobytes become tens of bytes.

Stored are the k logits z (float16), their classes, and the log-sum-exp of the others, taken before anything is rounded. The others are
given back as equal logits r = log-sum-exp − log(C − k). Then, with q_T the softmax's share of the others at the temperature T as it is
given back:

- at T = 1 the k probabilities and the sum of the others are the teacher's own, but for the rounding of z to float16;
- at T > 1 the others' share is never too small: log Σ exp(z/T) is convex in 1/T, and equal logits are its chord between T = 1 and T = ∞.
  So no k-th probability is too large, and the total variation between what is given back and what the teacher said is at most q_T: what is
  wrong is how the others share what they have. ``rest(T)`` is q_T of each sample, so that the bound is a number and not a hope.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TopK:
    """Logits of ``classes`` in all, as ``rows`` (of ``row_type``) [views, N] tell of them, memory-mapped.

    Read as the dense array [views, N, classes] would be: ``found[view, samples]`` is float32 [n, classes], made of these samples alone.
    """

    rows: np.ndarray
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.rows.shape, self.classes)

    @property
    def stored(self) -> int:
        """k."""
        return self.rows.dtype["logits"].shape[0]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Any) -> np.ndarray:
        return dense(self.rows[which], self.classes)


#: Stored soft targets [views, N, classes], float16 or as TopK.
Targets = np.ndarray | TopK


def row_type(k: int, classes: int) -> np.dtype:
    """What is stored of a sample: 4k + 4 bytes up to 65,536 classes, 6k + 4 beyond."""
    index = np.uint16 if classes <= 1 << 16 else np.uint32
    return np.dtype([("logits", "<f2", (k,)), ("classes", np.dtype(index).newbyteorder("<"), (k,)), ("rest", "<f4")])


def largest(logits: np.ndarray, k: int) -> np.ndarray:
    """The ``k`` largest of ``logits`` float32 [n, C], k < C, in falling order, as rows [n] of ``row_type``.

    Of equal ones (in float16) the lowest class comes first, whatever the machine. Values beyond float16 become infinite.
    """
    n, classes = logits.shape
    half = (logits + np.float32(0)).astype(np.float16)  # + 0: −0 is 0
    bits = half.view(np.int16)
    order = bits ^ ((bits >> 15) & 0x7FFF)  # rises as the floats do
    room = 16 if classes <= 1 << 16 else 32
    wide = np.int32 if room == 16 else np.int64
    keys = order.astype(wide) << room | np.arange(classes - 1, -1, -1, dtype=wide)  # no two are equal
    keys.partition(classes - k, axis=1)
    best = np.sort(keys[:, classes - k :], axis=1)[:, ::-1].astype(np.int64)
    which = classes - 1 - (best & ((1 << room) - 1))
    found = np.empty(n, row_type(k, classes))
    found["logits"], found["classes"] = np.take_along_axis(half, which, 1), which
    others = logits.copy()
    np.put_along_axis(others, which, -np.inf, 1)
    found["rest"] = _log_sum_exp(others)
    return found


def dense(rows: np.ndarray, classes: int) -> np.ndarray:
    """Logits float32 [..., classes] of ``rows`` [...]: the stored ones, and the others all alike."""
    k = rows.dtype["logits"].shape[0]
    alike = rows["rest"] - np.float32(np.log(classes - k))
    found = np.repeat(alike[..., None], classes, axis=-1)
    np.put_along_axis(found, rows["classes"].astype(np.int64), rows["logits"].astype(np.float32), -1)
    return found


def rest(rows: np.ndarray, classes: int, temperature: float) -> np.ndarray:
    """q_T of each of ``rows`` [...], float64: the others' share at ``temperature`` ≥ 1, which bounds the total variation."""
    k = rows.dtype["logits"].shape[0]
    others = (rows["rest"].astype(np.float64) - np.log(classes - k)) / temperature + np.log(classes - k)
    stored = _log_sum_exp(rows["logits"].astype(np.float64) / temperature)
    return np.exp(others - np.logaddexp(others, stored))


def _log_sum_exp(values: np.ndarray) -> np.ndarray:
    """Over the last axis, float64."""
    most = values.max(-1, keepdims=True)
    return most[..., 0] + np.log(np.exp(values - most).sum(-1, dtype=np.float64))
