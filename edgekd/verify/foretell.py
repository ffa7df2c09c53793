"""The reference under several profiles at once: what two profiles compute alike is computed once."""

from __future__ import annotations

import numpy as np

from edgekd.errors import InputError
from edgekd.quant import ops, reference
from edgekd.quant.graph import QuantGraph
from edgekd.quant.passes.suffix import suffix
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


def foretell(graph: QuantGraph, x: np.ndarray, profiles: tuple[str, ...]) -> np.ndarray:
    """What the reference answers to ``x`` [N, ...] under each profile: [N, profiles, ...]."""
    output, first = graph.outputs[0], profiles[0]
    branches = {profile: branch_point(graph, first, profile) for profile in profiles[1:]}
    kept = tuple({name for name in branches.values() if name is not None})
    trunk = reference.run(graph, x, first, keep=kept)
    results = [trunk[output]]
    for profile, name in branches.items():
        rest = graph if name is None else suffix(graph, name)
        results.append(trunk[output] if name == output else reference.run(rest, x if name is None else trunk[name], profile)[output])
    return np.stack(results, axis=1)


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
    """The last tensor up to which profiles ``a`` and ``b`` compute the same and through which all the rest goes; None if there is none."""
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
        return graph.outputs[0]
    for name in reversed(alike):
        try:
            suffix(graph, name)
        except InputError:
            continue
        return name
    return None
