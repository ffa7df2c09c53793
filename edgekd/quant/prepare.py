"""Quantization-aware training of a captured graph: the graph itself is the module.

Given   a float QuantGraph (channels first) and the target's scheme
Result  QatModule: the same operators, weights fake-quantized once a step, each scale of the graph a learned step
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgekd.quant import ops
from edgekd.quant.chains import chained
from edgekd.quant.fake import best_step, fake_quantize, rounded
from edgekd.quant.forward import FORWARD
from edgekd.quant.graph import QuantGraph
from edgekd.quant.grid import Group, constants_read, groups
from edgekd.quant.paths import Held
from edgekd.quant.scheme import Scheme

#: Bits of a weight → the steps that it may take.
WEIGHT_LEVELS = {4: (-7, 7), 8: (-127, 127)}
#: XNNPACK takes no sum whose addends are this much finer than it, or finer still (xnn_create_add_nd_qs8, as in ai-edge-litert 2.3).
FINEST_ADDEND = 2.0**-10
#: Activations of 16 bits reach so many times as far as was seen when they were calibrated: what lies beyond costs more than two bits.
REACH_16 = 4
#: What only moves values keeps them on the grid of its input.
_MOVES = (
    ops.MaxPool2D, ops.ReduceMax, ops.ResizeNearest, ops.Maximum, ops.Minimum, ops.Reshape, ops.Transpose, ops.Concat, ops.Slice,
    ops.Gather, ops.Pad,
)  # fmt: skip


class QatModule(nn.Module):
    """Runs a float graph with fake-quantizers.

    Parameters: the graph's constants, one log2 step a weight channel and one a group of activations.
    ``mode`` is "float" (no quantizers), "observe" (float, keeping ranges for ``calibrate``) or "quantized".
    In "float", the group of activations that is ``probed``, if there is one, is quantized all the same.
    ``paths`` says where the outputs of the student's modules lie; of those that are ``watched``, by their paths, ``kept`` holds what they
    were in the last forward pass.
    What is ``chained`` and not watched stays a count of steps while it is quantized: see edgekd.quant.chains.
    """

    def __init__(self, graph: QuantGraph, scheme: Scheme, paths: Mapping[str, Held] | None = None) -> None:
        super().__init__()
        self.graph, self.scheme, self.mode = graph, scheme, "float"
        made = {name for op in graph.ops for name in op.outputs}
        self.paths = {path: held for path, held in (paths or {}).items() if held.tensor in made}
        self.watched: tuple[str, ...] = ()
        self.kept: dict[str, torch.Tensor] = {}
        self.groups = groups(graph, symmetric=scheme.symmetric_activations, sixteen=scheme.sixteen_bits)
        self.probed: int | None = None
        self.chained = chained(graph)
        self.group_of = {name: i for i, group in enumerate(self.groups) for name in group.tensors}
        constants = {t.name: t.data for t in graph.tensors.values() if t.data is not None}
        self.values = nn.ParameterDict({n: nn.Parameter(torch.from_numpy(np.array(v, np.float32))) for n, v in constants.items()})
        self.weight_steps = nn.ParameterDict({n: nn.Parameter(self._weight_step(n)) for n in self.weights})
        self.steps = nn.ParameterList(nn.Parameter(torch.tensor([self._fixed_step(g)])) for g in self.groups)
        self.register_buffer("zero_points", torch.tensor([self._fixed_zero(g) for g in self.groups], dtype=torch.int32))
        for step, group in zip(self.steps, self.groups, strict=True):
            step.requires_grad_(group.fixed is None)
        self._seen: dict[int, list[torch.Tensor]] = {}
        self._levels: dict[int, tuple[int, int]] = {}
        self.register_load_state_dict_post_hook(lambda module, _: module._levels.clear())

    @property
    def weights(self) -> list[str]:
        """Names of the constants that are fake-quantized; biases are not."""
        return [op.inputs[1] for op in self.graph.ops if isinstance(op, ops.WEIGHTED)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values: dict[str, torch.Tensor] = {self.graph.inputs[0]: x}
        for name in constants_read(self.graph):
            values[name] = self._constant(name)
        for op in self.graph.ops:
            y = FORWARD[type(op)](self, op, values)
            values[op.outputs[0]] = self._activation(op, y)
        self.kept = {path: self.paths[path].as_the_module_has_it(values[self.paths[path].tensor]) for path in self.watched}
        answers = [values[name] for name in self.graph.outputs]
        return torch.cat(answers, -1) if len(answers) > 1 else answers[0]

    def weight(self, name: str) -> torch.Tensor:
        if self.mode != "quantized":
            return self.values[name]
        return fake_quantize(self.values[name], self.weight_steps[name], *WEIGHT_LEVELS[self.scheme_of(name)[0]])

    def scheme_of(self, name: str) -> tuple[int, bool]:
        """Bits of a weight, and whether each channel has its own scale. One that several operators share has what suits them all."""
        readers = [op for op in self.graph.ops if isinstance(op, ops.WEIGHTED) and op.inputs[1] == name]
        found = [self.scheme.weights_of(type(op), op.name) for op in readers]
        return max(bits for bits, _ in found), all(per_channel for _, per_channel in found)

    def bias(self, op: ops.Op) -> torch.Tensor | None:
        return self.values[op.inputs[2]] if len(op.inputs) > 2 else None

    def weighted(self, op: ops.Op) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight and bias of ``op`` for an input and an output that are counts of steps where they are chained."""
        weight, bias = self.weight(op.inputs[1]), self.bias(op)
        reads, writes = self._counted(op.inputs[0]), self._counted(op.outputs[0])
        if not reads and not writes:
            return weight, bias
        step_in, step_out = (self.steps[self.group_of[name]] for name in (op.inputs[0], op.outputs[0]))
        log2 = step_in - step_out if reads and writes else step_in if reads else -step_out
        return weight * torch.exp2(log2), bias * torch.exp2(-step_out) if writes and bias is not None else bias

    def _counted(self, name: str) -> bool:
        """Whether a tensor is a count of steps."""
        return self.mode == "quantized" and name in self.chained and all(self.paths[path].tensor != name for path in self.watched)

    def levels(self, index: int) -> tuple[int, int]:
        """Lowest and highest step of a group, counted from real zero."""
        if index not in self._levels:
            zero = int(self.zero_points[index])  # pyright: ignore[reportIndexIssue]
            half = 1 << (self.groups[index].bits - 1)
            lowest = 0 if self.groups[index].rectified and zero == 0 else -half - zero
            self._levels[index] = (lowest, half - 1 - zero)
        return self._levels[index]

    @torch.no_grad()
    def calibrate(self, batches: Iterable[torch.Tensor]) -> None:
        """Set each learned step, and each zero point, from the activations of ``batches``; then quantize from here on."""
        self.mode, self._seen = "observe", {}
        for batch in batches:
            self(batch)
        for index, group in enumerate(self.groups):
            if group.fixed is None:
                self._set_range(index, torch.cat(self._seen[index]))
        self._raise_small_addends()
        self.mode, self._seen, self._levels = "quantized", {}, {}

    def _set_range(self, index: int, sample: torch.Tensor) -> None:
        maker = self.graph.producer(self.groups[index].tensors[0])
        if isinstance(maker, ops.Rsqrt):  # what is rounded to zero saturates: no step has to reach as far as its inverse root would
            finest = torch.exp2(self.steps[self.group_of[maker.inputs[0]]])
            sample = sample.clamp(max=float(finest.rsqrt()))
        low, high = min(float(sample.min()), 0.0), max(float(sample.max()), 1e-6)
        if self.scheme.symmetric_activations or self.groups[index].bits == 16:
            zero = 0
        elif self.groups[index].rectified:
            zero = -128
        else:
            zero = int(np.clip(round(-128 - low / max((high - low) / 255, 1e-9)), -128, 127))
        self.zero_points[index] = zero  # pyright: ignore[reportIndexIssue]
        self._levels.pop(index, None)
        step = best_step(sample, *self.levels(index)) * (REACH_16 if self.groups[index].bits == 16 else 1)
        self.steps[index].fill_(math.log2(step))

    def _raise_small_addends(self) -> None:
        """A constant addend far below the sum (a norm's epsilon) takes a step that XNNPACK loads."""
        for op in self.graph.ops:
            for name in op.inputs if isinstance(op, ops.Add | ops.Sub) else ():
                index = self.group_of[name]
                if self.graph.tensors[name].is_constant and self.groups[index].fixed is None:
                    least = float(self.steps[self.group_of[op.outputs[0]]]) + math.log2(2 * FINEST_ADDEND)
                    self.steps[index].clamp_(min=least)

    def _constant(self, name: str) -> torch.Tensor:
        """A constant that is read as an activation."""
        index, value = self.group_of[name], self.values[name]
        if self.mode == "quantized" or index == self.probed:
            return fake_quantize(value, self.steps[index], *self.levels(index))
        self._observe(index, value)
        return value

    def _activation(self, op: ops.Op, y: torch.Tensor) -> torch.Tensor:
        index = self.group_of[op.outputs[0]]
        if self.mode == "quantized" or index == self.probed:
            activation = getattr(op, "activation", "none")
            if isinstance(op, _MOVES) and activation == "none":
                return y
            if self._counted(op.outputs[0]):
                return rounded(y, *self._reach(op, index))
            y = _rectify(op, y) if activation == "relu6" else y
            return fake_quantize(y, self.steps[index], *self._reach(op, index))
        y = _rectify(op, y)
        self._observe(index, y)
        return y

    def _observe(self, index: int, y: torch.Tensor) -> None:
        if self.mode == "observe" and index not in self._fixed():
            flat = y.detach().float().reshape(-1)
            stride = max(1, len(flat) // 65536)
            while math.gcd(stride, len(flat)) > 1:  # else it meets the same columns of every image
                stride += 1
            self._seen.setdefault(index, []).append(flat[::stride])

    def _reach(self, op: ops.Op, index: int) -> tuple[int, int]:
        """Levels that ``op`` may write: a rectifier cuts at zero, by the same clamp that quantizes."""
        low, high = self.levels(index)
        return (max(low, 0) if getattr(op, "activation", "none") != "none" else low), high

    def _fixed(self) -> set[int]:
        return {i for i, g in enumerate(self.groups) if g.fixed is not None}

    def _weight_step(self, name: str) -> torch.Tensor:
        weight, axis = self.values[name], weight_axis(self.graph, name)
        bits, per_channel = self.scheme_of(name)
        low, high = WEIGHT_LEVELS[bits]
        shape = [1] * weight.ndim
        rows = weight.detach().transpose(0, axis).flatten(1)
        if per_channel:
            shape[axis] = weight.shape[axis]
        else:
            rows = rows.reshape(1, -1)
        if bits < 8:  # so few steps that clipping the largest weights serves the others
            return torch.log2(torch.tensor([best_step(row, low, high) for row in rows])).reshape(shape)
        return torch.log2(torch.clamp(rows.abs().amax(1), min=1e-5) / high).reshape(shape)

    @staticmethod
    def _fixed_step(group: Group) -> float:
        return math.log2(group.fixed.single[0]) if group.fixed else 0.0

    @staticmethod
    def _fixed_zero(group: Group) -> int:
        return group.fixed.single[1] if group.fixed else 0


def weight_axis(graph: QuantGraph, name: str) -> int:
    """The axis of a weight that counts the outputs."""
    return 1 if any(isinstance(op, ops.TransposeConv2D) and op.inputs[1] == name for op in graph.ops) else 0


def _rectify(op: ops.Op, y: torch.Tensor) -> torch.Tensor:
    match getattr(op, "activation", "none"):
        case "relu":
            return functional.relu(y)
        case "relu6":
            return functional.relu6(y)
        case _:
            return y
