"""The reference under several profiles at once: what two profiles compute alike is computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgekd.quant import ops, reference
from edgekd.quant.graph import QuantGraph
from edgekd.quant.outputs import joined
from edgekd.quant.reference.engine import Step, go_on
from edgekd.quant.reference.profiles import RULES, is_float, rules_of

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
    """What the reference answers to ``x`` [N, ...] under each profile: [N, profiles, ...], outputs joined where there are several."""
    return foretelling(graph, profiles)(x)


def foretelling(graph: QuantGraph, profiles: tuple[str, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """``foretell`` for many ``x``: what two of them have in common, compiling, is done once."""
    first = profiles[0]
    rests = {profile: rest(graph, alike(graph, first, profile)) for profile in profiles[1:]}
    kept = tuple(dict.fromkeys(name for left in rests.values() for name in left.inputs if name != graph.inputs[0]))
    compiled: dict[str, dict[str, tuple[Step, ...]]] = {profile: {} for profile in profiles}

    def answers(x: np.ndarray) -> np.ndarray:
        trunk = {graph.inputs[0]: x, **reference.run(graph, x, first, keep=kept, compiled=compiled[first])}
        results = [trunk]
        for profile, left in rests.items():
            given = {name: trunk[name] for name in left.inputs}
            results.append(go_on(left, given, profile, compiled[profile]) if left.ops else trunk)
        return np.stack([joined([found[name] for name in graph.outputs]) for found in results], axis=1)

    return answers


def rest(graph: QuantGraph, count: int) -> QuantGraph:
    """``graph`` without its first ``count`` operators; its inputs are the tensors of theirs that it still reads or answers."""
    left = graph.ops[count:]
    made = {name for op in left for name in op.outputs}
    read = dict.fromkeys(name for op in left for name in op.inputs if not graph.tensor(name).is_constant)
    inputs = tuple(name for name in dict.fromkeys((*read, *graph.outputs)) if name not in made and not graph.tensor(name).is_constant)
    return replace(graph, ops=left, inputs=inputs)


def group(profiles: tuple[str, ...], graph: QuantGraph) -> list[tuple[str, ...]]:
    """Profiles in groups that share work; each group's first is the one that the others branch off."""
    groups: list[tuple[str, ...]] = []
    for profile in profiles:
        at = next((i for i, names in enumerate(groups) if alike(graph, names[0], profile)), None)
        if at is None:
            groups.append((profile,))
        else:
            groups[at] = (*groups[at], profile)
    return groups


def alike(graph: QuantGraph, a: str, b: str) -> int:
    """How many of the first operators profiles ``a`` and ``b`` compute the same; none where all is by other bounds."""
    if a not in RULES or b not in RULES or RULES[a]["bounds"] != RULES[b]["bounds"]:
        return 0
    if any(tensor.dtype == "int16" for tensor in graph.tensors.values()):
        return 0  # the table's rules are those of int8
    for count, op in enumerate(graph.ops):
        rule = RULE_OF.get(type(op))
        if rule is None:
            return count
        if is_float(op, graph):
            continue  # no profile has rules of its own for floats, nor a float operator the scales that XNNPACK is asked about
        mine, theirs = (rules_of(op, graph, profile) for profile in (a, b))
        if mine["bounds"] != theirs["bounds"]:
            return count
        if rule and (rule not in mine or mine[rule] != theirs.get(rule)):
            return count
    return len(graph.ops)
