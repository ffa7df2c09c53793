"""A family whose students are compressed once they are trained: what a plan counts is what will be left of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd import lazy
from edgekd.errors import DoesNotFit
from edgekd.quant.graph import QuantGraph
from edgekd.quant.scheme import Scheme
from edgekd.recipe import weights
from edgekd.recipe.schema import Recipe
from edgekd.recipe.schema_compress import Compress
from edgekd.students.family import Family, Shape, open_family

if TYPE_CHECKING:
    from torch import nn

LOG = logging.getLogger(__name__)
#: "fit" tries shares of the MACs that are multiples of one in so many.
GRAIN = 64


@dataclass(frozen=True)
class Compressed:
    """A student of the family ``base`` that will be compressed: ``macs`` is the share that channels leave, None for other methods;
    ``planes`` are the channels of the data."""

    base: Any
    planes: int
    macs: float | None


def student_family(recipe: Recipe, folder: Path) -> Family:
    """The recipe's family; with [compress] one whose specs say how far they are compressed. ``folder`` is the recipe's, for its checkpoint.

    The modules that it builds are whole: what was trained and compressed gives them its shapes (``edgekd.compress.load``).
    """
    base, table = open_family(recipe.student.family), recipe.compress
    return base if table is None else compressed(base, table, folder)


def student_checkpoint(table: Compress | None, folder: Path) -> Path | None:
    """The file of the user's trained student, None where there is to be none. Raises InputError if it is not there."""
    if table is None or table.checkpoint is None:
        return None
    return weights.beside(folder, table.checkpoint, "compress.checkpoint", "delete checkpoint, and the student is trained first")


def compressed(base: Family, table: Compress, folder: Path) -> Family:
    """``base`` with students that ``table``, of a recipe in ``folder``, compresses."""

    def candidates(options: Mapping[str, Any], space: Mapping[str, list[Any]], shape: Shape, classes: int) -> Iterator[Compressed]:
        share = None if table.macs is None else 1.0 if table.macs == "fit" else float(table.macs)
        for spec in base.candidates(options, space, shape, classes):
            yield Compressed(spec, shape[2], share)

    def describe(spec: Compressed) -> dict[str, Any]:
        macs = {} if spec.macs is None else {"macs": spec.macs}
        return {**base.describe(spec.base), "compress": {"method": table.method, **macs, "planes": spec.planes}}

    def restore(body: Mapping[str, Any]) -> Compressed:
        own = dict(body)
        how = own.pop("compress")
        return Compressed(base.restore(own), how["planes"], how.get("macs"))

    def sketch(spec: Compressed, scheme: Scheme) -> QuantGraph:
        shape = (spec.planes, *base.resolution(spec.base))
        return lazy.load("edgekd.quant.outline:outline")(_shaped(base, spec, table, student_checkpoint(table, folder)), shape, scheme)

    def build(spec: Compressed) -> nn.Module:
        return base.build(spec.base)

    # Drawn once: a plan looks at each three times.
    return Family(base.name, candidates, restore, describe, lambda spec: base.resolution(spec.base), cache(sketch), build)


def counted(specs: Iterable[Compressed], count: int) -> Iterator[Compressed]:
    """``specs``, of which there are ``count``, and how far one has got with them: capturing and pruning each takes a second."""
    for at, spec in enumerate(specs):
        LOG.info("candidates", extra={"progress": ("candidates, compressed", at, count)})
        yield spec
    LOG.info("candidates", extra={"progress": ("candidates, compressed", count, count)})


def fitting(specs: Iterable[Compressed], fits: Callable[[Compressed], bool], least: Callable[[Compressed], float]) -> Iterator[Compressed]:
    """Each of ``specs`` with the largest share of its MACs at which it fits; with the least possible where it fits nowhere."""
    for spec in specs:
        low, high = -(-round(least(spec) * GRAIN * 1000) // 1000), GRAIN
        if low >= high or fits(spec):
            yield spec
            continue
        if fits(replace(spec, macs=low / GRAIN)):
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if fits(replace(spec, macs=middle / GRAIN)) else (low, middle)
        yield replace(spec, macs=low / GRAIN)


def fits_at_all(plan: Callable[[], Any]) -> bool:
    """Whether ``plan`` finds a student."""
    try:
        plan()
    except DoesNotFit:
        return False
    return True


def least_share(family: Family, spec: Compressed) -> float:
    """The smallest share of its MACs that a student can be pruned to."""
    example = lazy.load("torch:zeros")(1, spec.planes, *family.resolution(spec))
    return lazy.load("edgekd.compress.channels:least_share")(family.build(spec), example)


def _shaped(base: Family, spec: Compressed, table: Compress, checkpoint: Path | None) -> nn.Module:
    """A module of the shapes that the compressed student will have; what depends on weights that do not exist yet is left whole."""
    module, example = base.build(spec.base), lazy.load("torch:zeros")(1, spec.planes, *base.resolution(spec.base))
    if checkpoint is not None:
        module = lazy.load("edgekd.compress.load:with_weights")(module, checkpoint, example)
    if table.method == "channels" and spec.macs is not None and spec.macs < 1:
        return lazy.load("edgekd.compress.apply:outlined")(module, example, spec.macs, table)
    if table.method == "low_rank" and (table.rank is not None or checkpoint is not None):
        return lazy.load("edgekd.compress.apply:applied")(module, example, table)
    return module
