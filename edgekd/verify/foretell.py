"""The reference under several profiles at once: what two profiles compute alike is computed once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekd.errors import InputError
from edgekd.quant import ops, reference
from edgekd.quant.graph import QuantGraph
from edgekd.quant.outputs import joined
from edgekd.quant.passes.suffix import suffix
from edgekd.quant.reference.engine import Step
from edgekd.quant.reference.profiles import RULES

#: Operator → its rule in the table of profiles; "" for those that only move or compare integers, whatever the profile.
RULE_OF: dict[type[ops.Op], str] = {
    ops.Conv2D: "conv",
    ops.DepthwiseConv2D: "conv",
    ops.FullyConnected: "fully_connected",
    ops.Add: "add",
    ops.Mean: "mean",
    ops.Softmax: "softmax",
    ops.Logistic: "logistic",
    ops.Relu: "relu",
    ops.MaxPool2D: "",
    ops.ReduceMax: "",
    ops.Slice: "",
    ops.Transpose: "",
    ops.Gather: "",
    ops.Reshape: "",
    ops.Concat: "",
    ops.Pad: "",
}


#: Where profiles compute everything the same and there is no one tensor that all goes through: several outputs.
WHOLE = ""


def foretell(graph: QuantGraph, x: np.ndarray, profiles: tuple[str, ...]) -> np.ndarray:
    """What the reference answers to ``x`` [N, ...] under each profile: [N, profiles, ...], outputs joined where there are several."""
    return foretelling(graph, profiles)(x)


def foretelling(graph: QuantGraph, profiles: tuple[str, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """``foretell`` for many ``x``: what two of them have in common, compiling, is done once."""
    first = profiles[0]
    branches = {profile: branch_point(graph, first, profile) for profile in profiles[1:]}
    rests = {profile: suffix(graph, name) if name else graph for profile, name in branches.items()}
    kept = tuple({name for name in branches.values() if name})
    compiled: dict[str, dict[str, tuple[Step, ...]]] = {profile: {} for profile in profiles}

    def answers(x: np.ndarray) -> np.ndarray:
        trunk = reference.run(graph, x, first, keep=kept, compiled=compiled[first])
        results = [trunk]
        for profile, name in branches.items():
            rest, start = rests[profile], trunk[name] if name else x
            same = name == WHOLE or not rest.ops
            results.append(trunk if same else reference.run(rest, start, profile, compiled=compiled[profile]))
        return np.stack([joined([found[name] for name in graph.outputs]) for found in results], axis=1)

    return answers


def group(profiles: tuple[str, ...], graph: QuantGraph) -> list[tuple[str, ...]]:
    """Profiles in groups that share work; each group's first is the one that the others branch off."""
    groups: list[tuple[str, ...]] = []
    for profile in profiles:
        at = next((i for i, names in enumerate(groups) if branch_point(graph, names[0], profile) is not None), None)
        if at is None:
            groups.append((profile,))
        else:
            groups[at] = (*groups[at], profile)
    return groups


def branch_point(graph: QuantGraph, a: str, b: str) -> str | None:
    """The last tensor up to which profiles ``a`` and ``b`` compute the same and through which all the rest goes; None if there is none.

    WHOLE if they compute the same to the end, and there are several outputs.
    """
    if a not in RULES or b not in RULES or RULES[a]["bounds"] != RULES[b]["bounds"]:
        return None
    if any(tensor.dtype == "int16" for tensor in graph.tensors.values()):
        return None  # the table's rules are those of int8
    alike = []
    for op in graph.ops:
        rule = RULE_OF.get(type(op))
        if rule is None or (rule and (rule not in RULES[a] or RULES[a][rule] != RULES[b].get(rule))):
            break
        alike.append(op.outputs[0])
    if len(alike) == len(graph.ops):
        return graph.outputs[0] if len(graph.outputs) == 1 else WHOLE
    for name in reversed(alike):
        try:
            suffix(graph, name)
        except InputError:
            continue
        return name
    return None
