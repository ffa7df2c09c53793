"""What a family of students offers, and how a user's own function becomes one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from edgekd import lazy
from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph
from edgekd.quant.scheme import Scheme
from edgekd.students import STUDENTS

if TYPE_CHECKING:
    from torch import nn

#: Height, width and channels of one sample.
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Shared:
    """How students of a family lie inside one another, so that they can share weights (see train/supernet.py).

    Specs of the same ``kin(spec)`` can, and drawn with the options ``fixed(spec)`` most are; ``hull(specs)`` is the smallest spec that
    holds them all; ``parts(net, spec)`` are a module's parts by their role: parts of one role in two nets are made of the same layers,
    though of the first of them some may be missing.
    """

    kin: Callable[[Any], Any]
    fixed: Callable[[Any], dict[str, Any]]
    hull: Callable[[Sequence[Any]], Any]
    parts: Callable[[Any, Any], dict[str, Any]]


@dataclass(frozen=True)
class Family:
    """One family. A spec is frozen and hashable, and says everything that ``build`` needs.

    ``candidates(options, space, shape, classes)`` yields the specs of every combination of ``space`` over the fixed ``options``;
    ``restore(body)`` makes a spec of the JSON that ``describe(spec)`` gave; ``resolution(spec)`` is the height and width that it is
    fed; ``sketch(spec, scheme)`` is the channels-last graph that its frozen student will have, with arbitrary weights, or None
    where only capturing the built module can tell; ``build(spec)`` is the untrained module, fed float [N, C, H, W] of (p − 128)/128,
    returning logits [N, classes]. ``wide(shape)`` is what a search chooses from where the recipe says nothing (see plan/space.py):
    fixed options, and the values of the others. ``shared`` says how weights are shared, where they can be.
    """

    name: str
    candidates: Callable[[Mapping[str, Any], Mapping[str, list[Any]], Shape, int], Iterator[Any]]
    restore: Callable[[Mapping[str, Any]], Any]
    describe: Callable[[Any], dict[str, Any]]
    resolution: Callable[[Any], tuple[int, int]]
    sketch: Callable[[Any, Scheme], QuantGraph] | None
    build: Callable[[Any], nn.Module]
    wide: Callable[[Shape], tuple[dict[str, Any], dict[str, list[Any]]]] | None = None
    shared: Shared | None = None


def open_family(name: str, *, where: str = "recipe, student.family") -> Family:
    """The family called ``name``: a key of STUDENTS, or a user's own ``package.module:function`` that returns an nn.Module.

    Raises InputError if there is none.
    """
    if ":" not in name:
        return lazy.resolve(name, STUDENTS, where=where)
    function = lazy.load(name)
    if isinstance(function, Family):
        return function
    if not callable(function):
        raise InputError(f"{name} is a {type(function).__name__}", where=where, expected="a function that returns an nn.Module")

    def candidates(options: Mapping[str, Any], space: Mapping[str, list[Any]], shape: Shape, classes: int) -> Iterator[Own]:
        for chosen in combinations(options, space):
            yield Own(name, tuple(sorted(chosen.items())), shape, classes)

    return Family(name, candidates, Own.restore, Own.describe, Own.resolution, None, build_own)


def combinations(options: Mapping[str, Any], space: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """``options`` with every combination of ``space``, in the order in which ``space`` lists them. Raises InputError for an empty list."""
    for key, values in space.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"{key} = {values!r}", where="recipe, student.space", expected="a list of at least one value")
        if key in options:
            raise InputError(f"{key} is fixed and free at once", where="recipe, student", expected="it in options or in space")
    for chosen in product(*space.values()):
        yield {**options, **dict(zip(space, chosen, strict=True))}


@dataclass(frozen=True)
class Own:
    """A user's own student: the function, its keyword options, and the shape and classes of the data."""

    function: str
    options: tuple[tuple[str, Any], ...]
    shape: Shape
    classes: int

    def __hash__(self) -> int:
        return hash((self.function, repr(self.options), self.shape, self.classes))

    def describe(self) -> dict[str, Any]:
        return {"function": self.function, "options": dict(self.options), "shape": list(self.shape), "classes": self.classes}

    @classmethod
    def restore(cls, body: Mapping[str, Any]) -> Own:
        height, width, channels = body["shape"]
        return cls(body["function"], tuple(sorted(body["options"].items())), (height, width, channels), body["classes"])

    def resolution(self) -> tuple[int, int]:
        return self.shape[:2]


def build_own(spec: Own) -> nn.Module:
    """Call the user's function with its options, and with ``channels``, ``classes``, ``height`` and ``width`` where it takes them.

    Raises InputError if it does not take its options, raises, or returns no module.
    """
    function = lazy.load(spec.function)
    height, width, channels = spec.shape
    given = {"channels": channels, "classes": spec.classes, "height": height, "width": width}
    module = lazy.call(spec.function, function, given, dict(spec.options), where="recipe, student")
    if not isinstance(module, lazy.load("torch.nn:Module")):
        raise InputError(f"{spec.function} returned a {type(module).__name__}", where="recipe, student.family", expected="an nn.Module")
    return module
