"""A torch module becomes a float QuantGraph: ``torch.export``, then each ATen operator into ours, batch norm folded as the runtime will.

Given   nn.Module (evaluation mode)       conv2d → batch_norm → relu → … → linear
Result  QuantGraph (channels first)       Conv2D(activation=relu) → … → FullyConnected
"""

from __future__ import annotations

import io
from contextlib import redirect_stderr

import torch
from torch import nn

from edgekd.errors import InputError
from edgekd.quant.aten import HANDLERS, Builder
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Conv2D, DepthwiseConv2D
from edgekd.quant.passes.fuse import fuse


def capture(model: nn.Module, shape: tuple[int, ...], *, name: str = "student") -> QuantGraph:
    """The float graph of ``model`` for one sample of ``shape`` (without batch, channels first).

    Raises InputError naming the operator and the user's source line where something is not supported.
    """
    was_training = model.training
    model.eval()
    example = torch.zeros(1, *shape)
    try:
        with redirect_stderr(io.StringIO()):  # torch prints the graph that it could not capture
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
    graph = fuse(_translate(program, name, shape))
    for op in graph.ops:
        if isinstance(op, Conv2D | DepthwiseConv2D) and len(graph.tensors[op.inputs[0]].shape) != 4:
            raise InputError(
                f"{op.name} convolves or normalizes what is no image: {graph.tensors[op.inputs[0]].shape}",
                where=type(model).__name__,
                expected="Conv2d and BatchNorm2d on [N, C, H, W], BatchNorm1d right after a Linear",
            )
    return graph


def _translate(program: torch.export.ExportedProgram, name: str, shape: tuple[int, ...]) -> QuantGraph:
    builder = Builder(name)
    signature = program.graph_signature
    stored = {**program.state_dict, **program.constants}
    owners = {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in owners:
                value = stored[owners[node.name]]
                assert isinstance(value, torch.Tensor)
                builder.hold(node.name, value.detach().cpu().numpy())
            else:
                builder.input(node.name, (1, *shape))
        elif node.op == "call_function":
            key = str(node.target).removeprefix("aten.").partition(".")[0]
            handler = HANDLERS.get(key)
            if handler is None:
                raise InputError(f"operator {node.target} is not supported", where=source_line(node), expected=", ".join(sorted(HANDLERS)))
            try:
                handler(builder, node)
                if key.endswith("_"):
                    builder.alias_argument(node)
            except InputError as error:
                raise InputError(error.what, where=source_line(node), expected=error.expected, mend=error.mend) from None
    nodes = {node.name: node for node in program.graph.nodes}
    for result in signature.user_outputs:
        builder.output(builder.name_of(nodes.get(str(result))))
    return builder.graph()


def source_line(node: torch.fx.Node) -> str:
    """Where in the user's code a node comes from."""
    trace = node.meta.get("stack_trace") or ""
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    return " ".join(lines[-2:]) if lines else node.name
