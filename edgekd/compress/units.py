"""Which channels of a module go together: none can be removed without all the others of its unit.

The dependency graph of Fang et al. 2023 ("DepGraph: Towards Any Structural Pruning"), but read off what torch.export captured, operator by
operator: what is not known to keep channels apart ties them down instead of being guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

#: The unit of what cannot be removed: the input's channels, the classes, whatever an unknown operator has seen.
FIXED = 0
#: A dimension of a parameter or buffer: its name in the state dictionary, and which one.
Axis = tuple[str, int]


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer: ``positions`` is how often each of its weights is multiplied for one sample."""

    weight: str
    shape: tuple[int, ...]
    positions: int


@dataclass(frozen=True)
class Coupling:
    """What is known of a module's channels.

    ``units`` is the unit of every index of each axis of a parameter. ``reads`` are the axes along which a layer reads channels, rather
    than makes them; ``scales`` the weights of batch norms. ``other_macs`` are those of products that no parameter is a factor of.
    """

    units: Mapping[Axis, np.ndarray]
    reads: frozenset[Axis]
    scales: frozenset[str]
    layers: tuple[Layer, ...]
    other_macs: int

    @cached_property
    def count(self) -> int:
        """One more than the highest unit."""
        return 1 + max((int(units.max(initial=0)) for units in self.units.values()), default=0)

    @cached_property
    def bundles(self) -> tuple[np.ndarray, ...]:
        """The units that can be removed, int64; those that stand in the same axes are alike, and stand together."""
        where: dict[int, list[Axis]] = {}
        for axis, units in self.units.items():
            for unit in np.unique(units):
                where.setdefault(int(unit), []).append(axis)
        alike: dict[tuple[Axis, ...], list[int]] = {}
        for unit, axes in sorted(where.items()):
            # Removing what nobody reads, or nobody makes, would save nothing.
            if unit != FIXED and any(axis in self.reads for axis in axes) and any(axis not in self.reads for axis in axes):
                alike.setdefault(tuple(axes), []).append(unit)
        return tuple(np.array(units, np.int64) for units in alike.values())

    def together(self, bundle: np.ndarray) -> int:
        """How many channels of one tensor a unit of ``bundle`` is, at least: those of a place in every group are one unit."""
        counts = (int((units == bundle[0]).sum()) for units in self.units.values())
        return min(count for count in counts if count)

    def macs(self, kept: np.ndarray) -> int:
        """Multiply-accumulates of one sample where ``kept`` bool [count] says which units are left."""
        return self.other_macs + sum(self._layer_macs(layer, kept) for layer in self.layers)

    def _layer_macs(self, layer: Layer, kept: np.ndarray) -> int:
        found = layer.positions
        for dim, size in enumerate(layer.shape):
            units = self.units.get((layer.weight, dim))
            found *= size if units is None else int(kept[units].sum())
        return found


@dataclass(frozen=True)
class Flow:
    """An activation: ``labels`` int64 [shape[axis]] are the channels that lie along ``axis``; None where none could be removed."""

    shape: tuple[int, ...]
    axis: int | None = None
    labels: np.ndarray | None = None

    def moved(self, shape: tuple[int, ...], axis: int | None) -> Flow:
        """The same channels in a tensor of another shape."""
        return Flow(shape, axis, self.labels if axis is not None else None)


@dataclass(frozen=True)
class Stored:
    """A parameter, buffer or constant; ``name`` is "" where it cannot be sliced."""

    name: str
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        return int(np.prod(self.shape))


class Ties:
    """Labels of channels while a graph is walked, united as operators ask for it."""

    def __init__(self, known: Callable[[str], bool]) -> None:
        self._parent: list[int] = [FIXED]
        self._axes: dict[Axis, np.ndarray] = {}
        self._known = known
        self.reads: set[Axis] = set()
        self.scales: set[str] = set()
        self.layers: list[Layer] = []
        self.other_macs = 0

    def fresh(self, n: int) -> np.ndarray:
        """``n`` channels that nothing is tied to yet."""
        first = len(self._parent)
        self._parent.extend(range(first, first + n))
        return np.arange(first, first + n, dtype=np.int64)

    def unite(self, a: np.ndarray, b: np.ndarray) -> None:
        """Tie the channels of two arrays of one length, pair by pair."""
        for one, other in zip(a.tolist(), b.tolist(), strict=True):
            first, second = self._root(one), self._root(other)
            # The lower stands for both, so that what is tied to FIXED is FIXED.
            self._parent[max(first, second)] = min(first, second)

    def fix(self, *flows: Flow) -> None:
        """Nothing of ``flows`` can be removed."""
        for flow in flows:
            if flow.labels is not None:
                self.unite(flow.labels, np.zeros_like(flow.labels))

    def bind(self, stored: Stored | None, dim: int, labels: np.ndarray) -> None:
        """The slices of a parameter along ``dim`` belong to these channels."""
        if stored is None:
            return
        if not self._known(stored.name):
            self.unite(labels, np.zeros_like(labels))
        elif (axis := (stored.name, dim)) in self._axes:
            self.unite(self._axes[axis], labels)
        else:
            self._axes[axis] = labels

    def finished(self) -> Coupling:
        roots = np.array([self._root(label) for label in range(len(self._parent))], np.int64)
        units = {axis: roots[labels] for axis, labels in self._axes.items()}
        return Coupling(units, frozenset(self.reads), frozenset(self.scales), tuple(self.layers), self.other_macs)

    def _root(self, label: int) -> int:
        while self._parent[label] != label:
            self._parent[label] = self._parent[self._parent[label]]
            label = self._parent[label]
        return label
