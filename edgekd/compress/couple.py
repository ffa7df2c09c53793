"""A module's coupling: its captured graph is walked once, and each operator says what becomes of the channels that it is fed."""

from __future__ import annotations

import operator
from collections import Counter
from typing import Any

import torch
from torch import fx, nn

from edgekd.compress.flow import FLOWS
from edgekd.compress.units import Coupling, Flow, Stored, Ties
from edgekd.quant.capture import exported


def coupling(module: nn.Module, example: torch.Tensor) -> Coupling:
    """Which channels of ``module`` go together, for ``example`` [n, …], of which only the shape of one sample counts.

    Raises InputError where torch.export cannot capture the module.
    """
    program = exported(module, example[:1])
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    ties = Ties(sliceable(module).__contains__)
    values: dict[str, Any] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            shape = _shape(node.meta["val"])
            held = node.name in names or node.name in signature.inputs_to_lifted_tensor_constants
            values[node.name] = Stored(names.get(node.name, ""), shape) if held else Flow(shape)
        elif node.op == "call_function":
            values[node.name] = _called(ties, node, values)
        elif node.op == "output":
            _fix(ties, node, values)
    return ties.finished()


def sliceable(module: nn.Module) -> set[str]:
    """Names of what may lose slices: parameters and buffers that the state dictionary holds, each under one name only."""
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    names = Counter(id(tensor) for _, tensor in named)
    stored = module.state_dict()
    return {name for name, tensor in named if names[id(tensor)] == 1 and name in stored}


def _called(ties: Ties, node: fx.Node, values: dict[str, Any]) -> Any:
    if node.target is operator.getitem:
        whole, at = node.args
        assert isinstance(whole, fx.Node) and isinstance(at, int)
        return values[whole.name][at]
    found = node.meta.get("val")
    shape = [_shape(one) for one in found] if isinstance(found, list | tuple) else _shape(found)
    key = str(node.target).removeprefix("aten.").partition(".")[0].removesuffix("_")
    if key in FLOWS:
        return FLOWS[key](ties, fx.map_arg(tuple(node.args), lambda source: values[source.name]), shape)
    _fix(ties, node, values)
    return [Flow(one) for one in shape] if isinstance(shape, list) else Flow(shape)


def _fix(ties: Ties, node: fx.Node, values: dict[str, Any]) -> None:
    """Nothing that ``node`` reads can be removed."""
    for source in node.all_input_nodes:
        value = values[source.name]
        ties.fix(*(one for one in (value if isinstance(value, list) else [value]) if isinstance(one, Flow)))


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in value.shape) if isinstance(value, torch.Tensor) else ()
