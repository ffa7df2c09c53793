"""How the values of one tensor lie in another: what reshapes and transposes do, without doing it.

The other tensor's memory is counted in digits, as a number is: ``sizes`` has the base of each, the major one first. Each axis of the one is
a sequence of these digits, so a transpose reorders the axes, and a reshape regroups the digits.

    stored [1, H, W, C]        sizes (H, W, C)
    x [1, C, H, W]             axes  ((), (2,), (0,), (1,))        x is stored channels last
    x.flatten(1) [1, C·H·W]    axes  ((), (2, 0, 1))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np


@dataclass(frozen=True, eq=False)
class View:
    """A tensor as it lies in the tensor ``name``. ``order`` where no digits tell it: the index of each value of the last axis."""

    name: str
    sizes: tuple[int, ...]
    axes: tuple[tuple[int, ...], ...]
    order: np.ndarray | None = None

    def memory(self, perm: Sequence[int]) -> list[int]:
        """Digits in the order of the axes ``perm``; in sequence where the tensor lies so."""
        return [d for a in perm for d in self.axes[a]]

    def fits(self, perm: Sequence[int]) -> bool:
        """Whether memory holds the tensor transposed by ``perm``."""
        return self.order is None and self.memory(perm) == list(range(len(self.sizes)))

    def transposed(self, order: Sequence[int]) -> View:
        return replace(self, axes=tuple(self.axes[a] for a in order))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(np.prod([self.sizes[d] for d in digits], dtype=int)) for digits in self.axes)


def plain(name: str, shape: Sequence[int], perm: Sequence[int] | None = None) -> View:
    """A tensor of ``shape``, stored transposed by ``perm``."""
    kept = [a for a in perm or range(len(shape)) if shape[a] != 1]
    return View(name, tuple(shape[a] for a in kept), tuple((kept.index(a),) if a in kept else () for a in range(len(shape))))


def normal(view: View) -> View:
    """The same with the fewest digits: neighbours that stay together become one."""
    follows = {a: b for digits in view.axes for a, b in pairwise(digits) if b == a + 1}
    heads = [d for d in range(len(view.sizes)) if d - 1 not in follows]
    runs = {head: [head] for head in heads}
    for run in runs.values():
        while run[-1] in follows:
            run.append(follows[run[-1]])
    sizes = tuple(int(np.prod([view.sizes[d] for d in runs[head]])) for head in heads)
    axes = tuple(tuple(heads.index(d) for d in digits if d in runs) for digits in view.axes)
    return replace(view, sizes=sizes, axes=axes)


def regrouped(view: View, shape: Sequence[int]) -> View | None:
    """The view reshaped to ``shape``; None where a digit would have to break at what does not divide it."""
    view = normal(replace(view, axes=(tuple(view.memory(range(len(view.axes)))),)))
    pending: list[tuple[int, ...]] = [(d,) for d in view.axes[0]]
    size: dict[tuple[int, ...], int] = {(d,): s for d, s in enumerate(view.sizes)}
    grouped: list[list[tuple[int, ...]]] = []
    for wanted in shape:
        group: list[tuple[int, ...]] = []
        left = wanted
        while left > 1:
            digit = pending.pop(0)
            have = size[digit]
            if left % have == 0:
                group.append(digit)
                left //= have
                continue
            if have % left:
                return None
            # (d, 0) is the major part of d, (d, 1) the rest: sorting them keeps the order of memory.
            major, rest = (*digit, 0), (*digit, 1)
            size[major], size[rest] = left, have // left
            del size[digit]
            group.append(major)
            pending.insert(0, rest)
            left = 1
        grouped.append(group)
    keys = sorted(size)
    return replace(view, sizes=tuple(size[k] for k in keys), axes=tuple(tuple(keys.index(k) for k in g) for g in grouped))


def literal_groups(view: View, shape: Sequence[int]) -> list[tuple[int, ...]] | None:
    """The digits of each axis of the stored tensor's own ``shape``; None where a digit spans several."""
    groups, at = [], 0
    for wanted in shape:
        first, have = at, 1
        while have < wanted and at < len(view.sizes):
            have *= view.sizes[at]
            at += 1
        if have != wanted:
            return None
        groups.append(tuple(range(first, at)))
    return groups


def like(view: View, shape: Sequence[int], data: np.ndarray) -> np.ndarray | None:
    """``data``, which broadcasts to the view's tensor, arranged to broadcast to the stored one of ``shape``; None where it cannot."""
    groups = literal_groups(view, shape)
    if groups is None or view.order is not None:
        return None
    whole = view.shape
    if any(d not in (1, full) for d, full in zip(data.shape, whole, strict=True)):
        return None
    full = {d for digits, size, most in zip(view.axes, data.shape, whole, strict=True) for d in digits if size == most}
    if any(len({d in full for d in group}) > 1 for group in groups):
        return None
    memory = view.memory(range(len(view.axes)))
    spread = data.reshape([view.sizes[d] if d in full else 1 for d in memory]).transpose(np.argsort(memory))
    return np.ascontiguousarray(spread.reshape([s if all(d in full for d in g) else 1 for s, g in zip(shape, groups, strict=True)]))
