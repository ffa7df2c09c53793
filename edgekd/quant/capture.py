"""A torch module becomes a float QuantGraph: ``torch.export``, then each ATen operator into ours, batch norm folded as the runtime will.

Given   nn.Module (evaluation mode)       conv2d → batch_norm → relu → … → linear
Result  QuantGraph (channels first)       Conv2D(activation=relu) → … → FullyConnected

What depends on parameters alone (position tables, class tokens, masks) is computed here and becomes a constant.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import Any

import torch
from torch import fx, nn

from edgekd.errors import InputError
from edgekd.quant.aten import HANDLERS, Builder, instead
from edgekd.quant.aten_builder import ours, shape_of
from edgekd.quant.graph import QuantGraph
from edgekd.quant.passes.fuse import fuse
from edgekd.quant.passes.norms import norms_of_vectors
from edgekd.quant.passes.tokens import tokens
from edgekd.quant.paths import Held, module_outputs, output_shapes, surviving


def capture(model: nn.Module, shape: tuple[int, ...], *, name: str = "student", indices: bool = False) -> QuantGraph:
    """The float graph of ``model`` for one sample of ``shape`` (without batch, channels first); of integers where ``indices``.

    Raises InputError naming the operator and the user's source line where something is not supported, and what is.
    """
    example = torch.zeros(1, *shape, dtype=torch.int64 if indices else torch.float32)
    return _simplified(_translate(exported(model, example), name, shape, indices=indices).graph())


def capture_paths(model: nn.Module, shape: tuple[int, ...], *, name: str = "student") -> tuple[QuantGraph, dict[str, Held]]:
    """As ``capture``, and where in the graph lies what each module of ``model`` answers, by its path, as far as it survives there."""
    example = torch.zeros(1, *shape)
    program = exported(model, example)
    builder = _translate(program, name, shape, indices=False)
    was_training = model.training
    try:
        paths = module_outputs(program.graph, builder, output_shapes(model.eval(), example))
    finally:
        model.train(was_training)
    before = builder.graph()
    after = _simplified(before)
    return after, surviving(paths, before, after)


def _simplified(graph: QuantGraph) -> QuantGraph:
    return tokens(norms_of_vectors(fuse(graph)))


def exported(model: nn.Module, example: torch.Tensor) -> torch.export.ExportedProgram:
    """What torch.export makes of ``model`` in evaluation mode. Raises InputError if it cannot, or if the answer is not one tensor."""
    was_training, shape = model.training, example.shape[1:]
    model.eval()
    try:
        with redirect_stderr(io.StringIO()), torch.no_grad():  # torch prints the graph that it could not capture
            program = torch.export.export(model, (example,))
    except Exception as error:  # torch.export raises whatever the user's forward() raises, and a dozen kinds of its own
        raise InputError(
            f"torch.export cannot capture the student ({str(error).splitlines()[0] if str(error) else type(error).__name__})",
            where=type(model).__name__,
            expected=f"a module of one tensor [N, {', '.join(map(str, shape))}] whose control flow does not depend on its values",
        ) from error
    finally:
        model.train(was_training)
    spec = program.call_spec.out_spec
    if spec is None or not spec.is_leaf():
        raise InputError(
            f"the student returns a {getattr(spec and spec.type, '__name__', 'None')}",
            where=type(model).__name__,
            expected="one tensor",
            mend="return the logits from a module around it",
        )
    return program


def _translate(program: torch.export.ExportedProgram, name: str, shape: tuple[int, ...], *, indices: bool) -> Builder:
    builder = Builder(name)
    signature = program.graph_signature
    stored = {**program.state_dict, **program.constants}
    owners = {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in owners:
                value = stored[owners[node.name]]
                assert isinstance(value, torch.Tensor)
                builder.hold(node.name, value.detach().cpu())
            else:
                builder.input(node.name, (1, *shape), indices=indices)
        elif node.op == "call_function":
            _call(builder, node)
    nodes = {node.name: node for node in program.graph.nodes}
    for result in signature.user_outputs:
        builder.output(_result(builder, nodes.get(str(result))))
    return builder


def _result(builder: Builder, node: Any) -> str:
    """The tensor behind what the module returns, batch first as it is there."""
    found = builder.name_of(node)
    whole = shape_of(node)
    if whole[:1] != (1,):
        raise InputError(f"the student returns {whole} for one sample", where=builder.title, expected="the batch first")
    return builder.reshaped(found, ours(whole, 0))


def _call(builder: Builder, node: fx.Node) -> None:
    if _computed_of_constants(builder, node):
        return
    key = str(node.target).removeprefix("aten.").partition(".")[0]
    handler = HANDLERS.get("getitem" if "getitem" in str(node.target) else key)
    if handler is None:
        near, known = instead(str(node.target)), ", ".join(sorted(k for k in HANDLERS if not k.startswith("_") and not k.endswith("_")))
        raise InputError(
            f"operator {node.target} is not supported",
            where=source_line(node),
            expected=known,
            mend=f"use {near}" if near else "",
        )
    try:
        handler(builder, node)
        if key.endswith("_"):
            builder.alias_argument(node)
    except InputError as error:
        raise InputError(error.what, where=source_line(node), expected=error.expected, mend=error.mend) from None


def _computed_of_constants(builder: Builder, node: fx.Node) -> bool:
    """Whether ``node`` reads no activation; its value is then held."""
    target: Any = node.target
    if any(source.name not in builder.held for source in node.all_input_nodes) or not isinstance(target, Callable):
        return False
    if not node.all_input_nodes and not isinstance(node.meta.get("val"), torch.Tensor):
        return False

    def known(source: fx.Node) -> Any:
        found = builder.held[source.name]
        return found.clone() if isinstance(found, torch.Tensor) else found

    with torch.no_grad():
        builder.hold(node.name, target(*fx.map_arg(node.args, known), **fx.map_arg(node.kwargs, known)))
    return True


def source_line(node: torch.fx.Node) -> str:
    """Where in the user's code a node comes from."""
    trace = node.meta.get("stack_trace") or ""
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    return " ".join(lines[-2:]) if lines else node.name
