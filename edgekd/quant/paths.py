"""Which tensor of a captured graph holds what a module of the student answers, so that a loss taps the same thing in both phases.

Given   stem.conv → stem.norm → stem.relu, captured and fused into one Conv2D that writes "relu"
Result  {"stem": "relu", "stem.relu": "relu", "stem.norm": "relu", "stem.conv": "relu"}: what was fused answers together
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import fx, nn

from edgekd.quant.aten_builder import Builder, ours, shape_of
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import DepthwiseConv2D, Pad, Relu, Reshape


@dataclass(frozen=True)
class Held:
    """Where a module's output lies: in ``tensor``, whose shape for one sample was ``shape`` (ours, batch first); in the module's own output
    the batch is on axis ``batch``, or merged into the first one where that is None."""

    tensor: str
    shape: tuple[int, ...]
    batch: int | None

    def as_the_module_has_it(self, value: torch.Tensor) -> torch.Tensor:
        """``value`` of the tensor [N, …] in the shape and order of axes of the module's output."""
        shaped = value.reshape(len(value), *self.shape[1:])
        return shaped.flatten(0, 1) if self.batch is None else shaped.movedim(0, self.batch)


def output_shapes(model: nn.Module, example: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """The shape of what each module of ``model`` answers for ``example``, by its path; of the first tensor where it answers several."""
    found: dict[str, tuple[int, ...]] = {}

    def note(path: str, output: object) -> None:
        if (tensor := first_tensor(output)) is not None:
            found[path] = tuple(tensor.shape)

    hooks = [module.register_forward_hook(lambda _, __, out, path=path: note(path, out)) for path, module in model.named_modules() if path]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def first_tensor(output: object) -> torch.Tensor | None:
    """The tensor that a module answers, or the first one of a tuple, list, or mapping such as a ModelOutput; None if there is none."""
    if isinstance(output, torch.Tensor):
        return output
    items = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    return next((found for item in items if (found := first_tensor(item)) is not None), None)


def module_outputs(program: fx.Graph, builder: Builder, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Held]:
    """For each module path the tensor that holds its output before any pass: that of the last node of the module's (last) call that has
    the output's shape."""
    found: dict[str, Held] = {}
    for node in program.nodes:
        if node.op != "call_function" or node.name not in builder.first:
            continue
        name, batch = builder.first[node.name]
        for path, _ in (node.meta.get("nn_module_stack") or {}).values():
            if path and shape_of(node) == shapes.get(path):
                found[path] = Held(name, ours(shape_of(node), batch), batch)
    return found


def surviving(paths: Mapping[str, Held], before: QuantGraph, after: QuantGraph) -> dict[str, Held]:
    """``paths`` of the graph ``before`` the passes, as far as there is a tensor for them ``after``."""
    there = {name for op in after.ops for name in op.outputs} | set(after.inputs)
    found = {path: (_survivor(held.tensor, before, there, set()), held) for path, held in paths.items()}
    return {path: Held(name, held.shape, held.batch) for path, (name, held) in found.items() if name is not None}


def _survivor(name: str, graph: QuantGraph, there: set[str], seen: set[str]) -> str | None:
    """The tensor that ``name`` became: itself, or what it was fused into, or what it is another shape of."""
    if name in there:
        return name
    if name in seen:
        return None
    seen.add(name)
    maker, readers = graph.producer(name), graph.consumers(name)
    if len(readers) == 1 and isinstance(readers[0], Relu | DepthwiseConv2D | Reshape) and not isinstance(maker, Pad):
        found = _survivor(readers[0].outputs[0], graph, there, seen)
        if found is not None:
            return found
    return _survivor(maker.inputs[0], graph, there, seen) if isinstance(maker, Reshape) else None
