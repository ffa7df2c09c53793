"""What each operator asks of the layout of its inputs, and how it reads when they lie otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgekd.quant import ops
from edgekd.quant.graph import Layout, QuantGraph
from edgekd.quant.passes.layout import EACH, IMAGES, PAIRS, State, size, transposed
from edgekd.quant.passes.views import View, like, normal, plain, regrouped

#: How weights turn, by the layout that they turn into.
WEIGHTS: dict[Layout, dict[type[ops.Op], tuple[int, ...]]] = {
    "channels_last": {ops.Conv2D: (0, 2, 3, 1), ops.DepthwiseConv2D: (1, 2, 3, 0), ops.TransposeConv2D: (1, 2, 3, 0)},
    "channels_first": {ops.Conv2D: (0, 3, 1, 2), ops.DepthwiseConv2D: (3, 0, 1, 2), ops.TransposeConv2D: (3, 0, 1, 2)},
}


def convert(graph: QuantGraph, layout: Layout) -> QuantGraph:
    """``graph`` in another layout: the same function of inputs and outputs that lie otherwise."""
    return graph if graph.layout == layout else convert_and_view(graph, layout)[0]


def convert_and_view(graph: QuantGraph, layout: Layout) -> tuple[QuantGraph, dict[str, View]]:
    """``graph`` in another layout, and how each of its activations lies there."""
    state = State(graph, layout)
    state.start()
    for op in graph.ops:
        RULES[type(op)](state, op)
    return state.finish(), state.where


def _image(state: State, op: ops.Op) -> None:
    names = [state.at(state.view(op.inputs[0]), state.into)]
    if type(op) in WEIGHTS[state.layout]:
        names.append(state.constant(transposed(state.graph.tensor(op.inputs[1]), WEIGHTS[state.layout][type(op)])))
        names += [state.constant(state.graph.tensor(name)) for name in op.inputs[2:]]
    state.add(replace(op, inputs=tuple(names)), state.into)


def _each(state: State, op: ops.Op) -> None:
    view, name = state.view(op.inputs[0]), op.outputs[0]
    stored = state.stored(view.name)
    state.append(replace(op, inputs=(state.reshaped(view.name, stored),)), stored)
    state.where[name] = replace(view, name=name)


def _padded(state: State, name: str, rank: int) -> View:
    """The view of an operand with leading axes of 1, so that it has ``rank`` axes."""
    view = state.view(name)
    if (missing := rank - len(view.axes)) <= 0:
        return view
    return replace(view, axes=((),) * missing + view.axes)


def _pair(state: State, op: ops.Op) -> None:
    out = state.shape(op.outputs[0])
    views = [_padded(state, name, len(out)) for name in op.inputs]
    if _alike(state, op, views):
        return
    perm = _agreed(state, op, views)
    state.add(replace(op, inputs=tuple(state.at(v, perm) for v in views)), perm)


def _alike(state: State, op: ops.Op, views: list[View]) -> bool:
    """Where all activations lie alike, however that is, and the constants can be made to: nothing moves."""
    moving = [v for v, name in zip(views, op.inputs, strict=True) if not state.graph.tensor(name).is_constant]
    if not moving or any(v.order is not None or v.shape != state.shape(op.outputs[0]) for v in moving):
        return False
    first = normal(moving[0])
    if any((n.sizes, n.axes) != (first.sizes, first.axes) for n in map(normal, moving[1:])):
        return False
    stored = state.stored(moving[0].name)
    names = []
    for view, name in zip(views, op.inputs, strict=True):
        tensor = state.graph.tensor(name)
        if tensor.data is None:
            names.append(state.reshaped(view.name, stored))
            continue
        found = like(moving[0], stored, tensor.data.reshape((1,) * (len(view.axes) - tensor.data.ndim) + tensor.data.shape))
        if found is None or (tensor.quantization is not None and tensor.quantization.axis is not None):
            return False
        names.append(state.constant(replace(tensor, shape=found.shape, data=found)))
    state.append(replace(op, inputs=tuple(names)), stored)
    state.where[op.outputs[0]] = replace(moving[0], name=op.outputs[0])
    return True


def _agreed(state: State, op: ops.Op, views: list[View]) -> tuple[int, ...]:
    """The permutation by which the fewest values have to move."""
    moving = [v for v, name in zip(views, op.inputs, strict=True) if not state.graph.tensor(name).is_constant]
    rank = len(views[0].axes)
    wish = state.wish(op.outputs[0])
    largest = sorted(moving, key=lambda v: -size(v.sizes))
    candidates = [wish, *(state.arrangement(v) for v in largest), tuple(range(rank))]
    return min((c for c in candidates if c), key=lambda c: sum(size(v.sizes) for v in moving if not v.fits(c)))


def _concat(state: State, op: ops.Op) -> None:
    assert isinstance(op, ops.Concat)
    out = state.shape(op.outputs[0])
    axis = op.axis % len(out)
    views = [state.view(name) for name in op.inputs]
    if axis == len(out) - 1 and any(state.arrangement(v) is None for v in views) and state.absorbed(op.outputs[0]):
        orders = [_columns(v) for v in views]
        if all(o is not None for o in orders) and all(not any(v.axes[:-1]) for v in views):
            starts = np.cumsum([0, *(len(o) for o in orders if o is not None)])
            order = np.concatenate([o + start for o, start in zip(orders, starts, strict=False) if o is not None])
            names = tuple(state.reshaped(v.name, (*out[:-1], size(v.sizes))) for v in views)
            state.append(replace(op, inputs=names, axis=axis), out)
            state.where[op.outputs[0]] = View(op.outputs[0], (out[-1],), (*((),) * (len(out) - 1), (0,)), order)
            return
    perm = _agreed(state, op, views)
    state.add(replace(op, inputs=tuple(state.at(v, perm) for v in views), axis=perm.index(axis)), perm)


def _columns(view: View) -> np.ndarray | None:
    """Index along the last axis of each value as it lies in memory; None where other values lie between them, or after."""
    if view.order is not None:
        return view.order
    last = view.axes[-1]
    if sorted(last) != list(range(len(view.sizes) - len(last), len(view.sizes))):
        return None
    index = np.arange(size([view.sizes[d] for d in last]))
    return index.reshape([view.sizes[d] for d in last]).transpose(np.argsort(last)).ravel()


def _last(state: State, op: ops.Op) -> tuple[View, np.ndarray]:
    """The view of an input whose last axis lies last, each stored row of it one, and the order within."""
    view = state.view(op.inputs[0])
    columns = _columns(view)
    if columns is None or (view.axes[-1] and view.order is None and len(columns) != view.shape[-1]):
        found, perm = state.at(view, range(len(view.axes))), tuple(range(len(view.axes)))
        view = plain(found, state.shape(op.inputs[0]), perm)
        state.where[op.inputs[0]] = view
        columns = np.arange(view.shape[-1])
    if state.stored(view.name)[-1] != len(columns):
        perm = state.arrangement(view)
        shape = tuple(view.shape[a] for a in perm) if perm and perm[-1] == len(perm) - 1 else (1, -1, len(columns))
        if -1 in shape:
            shape = (1, size(view.sizes) // len(columns), len(columns))
        view = replace(view, name=state.reshaped(view.name, shape))
    return view, columns


def _fully_connected(state: State, op: ops.Op) -> None:
    view, columns = _last(state, op)
    weight = state.graph.tensor(op.inputs[1])
    assert weight.data is not None
    if not np.array_equal(columns, np.arange(len(columns))):
        weight = replace(weight, data=np.ascontiguousarray(weight.data[:, columns]))
    names = (view.name, state.constant(weight), *(state.constant(state.graph.tensor(n)) for n in op.inputs[2:]))
    count, lead = weight.shape[0], view.sizes[: len(view.sizes) - len(view.axes[-1])]
    state.append(replace(op, inputs=names), (*state.stored(view.name)[:-1], count))
    sizes, last = ((*lead, count), (len(lead),)) if count != 1 else (lead, ())
    state.where[op.outputs[0]] = View(op.outputs[0], sizes, (*view.axes[:-1], last))


def _softmax(state: State, op: ops.Op) -> None:
    view, _ = _last(state, op)
    state.append(replace(op, inputs=(view.name,)), state.stored(view.name))
    state.where[op.outputs[0]] = replace(view, name=op.outputs[0])


def _batch_matmul(state: State, op: ops.Op) -> None:
    assert isinstance(op, ops.BatchMatMul)
    a, b = (state.view(name) for name in op.inputs)
    left = state.at(a, range(len(a.axes)))
    rank = len(b.axes)
    straight, turned = tuple(range(rank)), (*range(rank - 2), rank - 1, rank - 2)
    keeps = {True: b.fits(turned), False: b.fits(straight)}
    # Where b must move in any case: so that what lies last stays last.
    last = next((axis for axis, digits in enumerate(b.axes) if digits and digits[-1] == len(b.sizes) - 1), rank - 1)
    turn = not keeps[False] and (keeps[True] or last == rank - 2)
    right = state.at(b, turned if turn else straight)
    names, perm = (left, right), tuple(range(len(state.shape(op.outputs[0]))))
    state.add(replace(op, inputs=names, adjoint_b=op.adjoint_b != turn), perm)


def _reduce(state: State, op: ops.Op) -> None:
    assert isinstance(op, ops.Mean | ops.Sum | ops.ReduceMax)
    found, perm = state.settled(op.inputs[0])
    axes = {a % len(perm) for a in op.axes}
    kept = [a for a in range(len(perm)) if a not in axes]
    out = perm if op.keepdims else tuple(kept.index(a) for a in perm if a not in axes)
    state.add(replace(op, inputs=(found,), axes=tuple(sorted(perm.index(a) for a in axes))), out)


def _pad(state: State, op: ops.Op) -> None:
    assert isinstance(op, ops.Pad)
    found, perm = state.settled(op.inputs[0])
    state.add(replace(op, inputs=(found,), amounts=tuple(op.amounts[a] for a in perm)), perm)


def _slice(state: State, op: ops.Op) -> None:
    assert isinstance(op, ops.Slice)
    found, perm = state.settled(op.inputs[0])
    begin, length, step = (tuple(values[a] for a in perm) for values in (op.begin, op.size, op.step))
    state.add(replace(op, inputs=(found,), begin=begin, size=length, step=step), perm)


def _transpose(state: State, op: ops.Op) -> None:
    assert isinstance(op, ops.Transpose)
    view = state.view(op.inputs[0])
    state.where[op.outputs[0]] = view.transposed(op.order)


def _reshape(state: State, op: ops.Op) -> None:
    assert isinstance(op, ops.Reshape)
    out, name = state.shape(op.outputs[0]), op.outputs[0]
    view = state.view(op.inputs[0])
    found = regrouped(view, out) if view.order is None else None
    if found is None:
        view = plain(state.at(view, range(len(view.axes))), state.shape(op.inputs[0]))
        perm: tuple[int, ...] = tuple(range(len(out)))
        found = plain(name, out)
    elif (arranged := state.arrangement(found)) is not None:
        perm = arranged
    else:  # each axis together, though not in order within: only weights may meet that
        perm = tuple(sorted(range(len(out)), key=lambda a: (a > 0, min(found.axes[a], default=-1))))
        if [sorted(found.axes[a]) for a in perm] != _runs(found, perm):
            state.where[name] = found
            return
    stored = tuple(out[a] for a in perm)
    state.append(replace(op, inputs=(view.name,), shape=stored), stored)
    state.reshape_of[name] = state.reshape_of.get(view.name, view.name)
    state.where[name] = replace(found, name=name)


def _runs(view: View, perm: Sequence[int]) -> list[list[int]]:
    """Digits counted up, as many for each axis of ``perm`` as it has."""
    runs, at = [], 0
    for axis in perm:
        runs.append(list(range(at, at + len(view.axes[axis]))))
        at += len(view.axes[axis])
    return runs


def _gather(state: State, op: ops.Op) -> None:
    table = state.constant(state.graph.tensor(op.inputs[0]))
    indices = state.view(op.inputs[1])
    names = (table, state.at(indices, range(len(indices.axes))))
    state.add(replace(op, inputs=names), range(len(state.shape(op.outputs[0]))))


RULES: dict[type[ops.Op], Callable[[State, Any], None]] = {
    **dict.fromkeys(IMAGES, _image),
    **dict.fromkeys(EACH, _each),
    **dict.fromkeys(PAIRS, _pair),
    **dict.fromkeys((ops.Mean, ops.Sum, ops.ReduceMax), _reduce),
    ops.FullyConnected: _fully_connected,
    ops.BatchMatMul: _batch_matmul,
    ops.Softmax: _softmax,
    ops.Concat: _concat,
    ops.Slice: _slice,
    ops.Pad: _pad,
    ops.Reshape: _reshape,
    ops.Transpose: _transpose,
    ops.Gather: _gather,
}
