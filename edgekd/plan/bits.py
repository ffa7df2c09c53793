"""What a plan has to say of layers with other bits than 8, before it is known which they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgekd.errors import InputError
from edgekd.profile.rules import SIXTEEN_BITS
from edgekd.profile.schema import Profile
from edgekd.quant.graph import QuantGraph
from edgekd.quant.scheme import Scheme
from edgekd.quant.sixteen_bits import candidates, widened
from edgekd.recipe.schema import Recipe
from edgekd.records import BudgetUse


def check_activations(recipes: Sequence[Recipe], profiles: Sequence[Profile]) -> None:
    """Raises InputError where a recipe wants 16-bit activations beside 8-bit weights of a target whose runtime has no kernels for them."""
    for recipe, profile in zip(recipes, profiles, strict=True):
        runtime, numeric = profile.deploy.runtime, profile.scheme.numeric
        if recipe.student.activations is None or (numeric == "int8" and runtime in SIXTEEN_BITS):
            continue
        lacking = f"{runtime} has no kernels for 16 bits beside 8" if numeric == "int8" else f"it computes in {numeric}"
        raise InputError(
            f'activations = "mixed" for {profile.name}: {lacking}',
            where="recipe, student",
            expected=f"targets that compute int8 in {' or '.join(SIXTEEN_BITS)}",
            mend="delete activations, or build this target from a recipe without it",
        )


def weights_note(profile: Profile, *, chosen: bool) -> str:
    """``chosen``: whether some layers may have weights of 4 bits, and others not."""
    if chosen:
        return "bits: counted with half of the weights in 4; which layers, and how many, is chosen after the float training"
    return f"bits: all weights are alike, for {profile.deploy.runtime} has no kernels for layers of 4 bits among others"


def activations_note(graph: QuantGraph, scheme: Scheme, uses: Callable[[QuantGraph], Sequence[BudgetUse]]) -> str:
    """``uses`` says what a graph uses of the budgets; ``graph`` has 8 bits."""
    some = candidates(graph, scheme)
    none, most = (next(u for u in uses(g) if u.name == "peak_ram_bytes") for g in (graph, widened(graph, scheme, some)))
    return (
        "activations: those that 8 bits cost most get 16 after the float training, as far as the budgets allow; "
        f"peak_ram_bytes {none.used:,.0f} B with none and {most.used:,.0f} B with all {len(some)} that may have them, of {none.limit:,.0f}"
    )
