"""Several teachers as one: their stored outputs, blended into pseudo-logits that any loss reads as it reads one teacher's.

What is averaged are probabilities, not logits (Hinton et al. 2015, section 1, take the geometric mean or the arithmetic; Lakshminarayanan
et al. 2017 the arithmetic), and a pseudo-logit is the logarithm of that mean: its softmax at temperature 1 is the mean itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgekd.errors import InputError
from edgekd.teachers.answers import SMALLEST
from edgekd.teachers.shards import Layout, kept

#: Values of one teacher that are in memory at a time, as float32.
CHUNK = 1 << 21
#: How teachers are weighted; the recipe's key ``ensemble.how``.
HOW = ("mean", "confidence", "per_class")


def blend(
    outputs: Sequence[np.ndarray],
    how: str,
    file: Path,
    *,
    reliability: np.ndarray | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """Pseudo-logits float16 [V, N, C] of T teachers' logits, memory-mapped from ``file`` (.npy), which is written if it is not there.

    ``outputs`` are T arrays [V, N, C]; they may be memory-mapped, and are read a chunk at a time. ``how`` is one of

    - "mean": p = Σ_t p_t / T;
    - "confidence": p = Σ_t w_t p_t, with w_t = (1 − exp(H_t) / Σ_j exp(H_j)) / (T − 1) of each sample: the weights of Zhang et al. 2022
      (Confidence-aware multi-teacher knowledge distillation) with the entropy H of a teacher's answer, by which Kwon et al. 2020
      (Adaptive knowledge distillation based on entropy) weigh teachers, in the place of its cross-entropy: no label is needed. The
      weights of many teachers are all close to 1/T;
    - "per_class": p[c] ∝ Σ_t w[t, c] p_t[c], with ``reliability`` [T, C] as the weights: a class-conscious combination (Kuncheva 2004,
      Combining pattern classifiers).

    ``file``'s name must say what it is made from; what is there, whole, is not computed again. A single teacher's outputs are returned as
    they are. Raises InputError if shapes differ, ``how`` is none of HOW, or ``reliability`` does not belong to the teachers.
    """
    weights = _checked(outputs, how, reliability)
    if len(outputs) == 1:
        return outputs[0]

    def make(view: int, start: int, stop: int, told: Callable[[int], None]) -> np.ndarray:
        found = _blended([teacher[view, start:stop] for teacher in outputs], how, weights).astype(np.float16)
        told(stop - start)
        return found

    shape = outputs[0].shape
    layout = Layout(shape, np.dtype("<f2"), max(1, CHUNK // shape[2]))
    return kept(file, layout, make, "blends the same teachers' outputs", progress)


def recall(logits: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Share of each class that a teacher recognizes, float64 [C], from its logits [N, C] of the validation split and ``labels`` [N].

    Laplace's rule, (right + 1) / (n + 2): a class of few samples neither trusts nor rules out a teacher for ever.
    """
    right = logits.argmax(1) == labels
    counts = np.bincount(labels, minlength=classes)
    return (np.bincount(labels[right], minlength=classes) + 1) / (counts + 2)


def name_of(keys: Sequence[str], how: str, reliability: np.ndarray | None, view: str) -> str:
    """Under which name a blend is stored: that of its teachers' outputs (in their order), their weighting, and what was viewed."""
    digest = hashlib.sha256(repr((tuple(keys), how, view)).encode())
    if reliability is not None and how == "per_class":
        digest.update(np.ascontiguousarray(reliability, np.float64).data)
    return digest.hexdigest()[:32]


def _checked(outputs: Sequence[np.ndarray], how: str, reliability: np.ndarray | None) -> np.ndarray | None:
    """The weights [T, 1, C] of "per_class". Raises InputError for what cannot be blended."""
    where = "recipe, ensemble"
    if not outputs:
        raise InputError("there is no teacher", where=where, expected="at least one")
    shapes = {teacher.shape for teacher in outputs}
    if len(shapes) != 1 or outputs[0].ndim != 3:
        found = ", ".join(str(list(shape)) for shape in sorted(shapes))
        raise InputError(f"outputs of the shapes {found}", where=where, expected="one shape [views, N, classes]")
    if how not in HOW:
        raise InputError(f"how = {how!r}", where=where, expected=", ".join(HOW))
    if how != "per_class":
        return None
    wanted = (len(outputs), outputs[0].shape[2])
    if reliability is None or reliability.shape != wanted or not (np.isfinite(reliability) & (reliability > 0)).all():
        found = "none" if reliability is None else f"of the shape {list(reliability.shape)}, or not all above 0"
        raise InputError(f"weights a class: {found}", where=where, expected=f"positive numbers {list(wanted)}")
    return reliability[:, None].astype(np.float32)


def _blended(parts: Sequence[np.ndarray], how: str, reliability: np.ndarray | None) -> np.ndarray:
    """log Σ_t w_t p_t float16 [n, C] of T teachers' logits [n, C]; one teacher's probabilities are in memory at a time."""
    weights = reliability
    if how == "confidence":
        entropy = np.stack([_entropy(_probabilities(part)) for part in parts])
        odds = np.exp(entropy - entropy.max(0))
        weights = ((1 - odds / odds.sum(0)) / (len(parts) - 1))[..., None]
    total = np.zeros(parts[0].shape, np.float32)
    for t, part in enumerate(parts):
        p = _probabilities(part)
        total += p if weights is None else p * weights[t]
    total /= total.sum(-1, keepdims=True)
    return np.log(np.maximum(total, SMALLEST)).astype(np.float16)


def _probabilities(logits: np.ndarray) -> np.ndarray:
    values = logits.astype(np.float32)
    values -= values.max(-1, keepdims=True)
    np.exp(values, out=values)
    values /= values.sum(-1, keepdims=True)
    return values


def _entropy(p: np.ndarray) -> np.ndarray:
    """−Σ p log p of each row, in nats."""
    return -(p * np.log(np.maximum(p, SMALLEST))).sum(-1)
