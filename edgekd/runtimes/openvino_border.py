"""The border of an IR that edgekd did not write, read off the model: what a device would feed and read is what the waist has there.

A FakeQuantize that alone reads the input, or makes the output, means integers outside; uint8 is int8, 128 lower. Feature maps lie as the
parameter's layout says; where it says nothing, channels first, unless the first operator that is not elementwise turns them so.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import openvino as ov

from edgekd.errors import InputError
from edgekd.runtimes.border import Border, Exit

#: Element types of the border → what the file holds there.
HELD = {"f32": "float32", "i8": "int8", "u8": "uint8", "i32": "int32", "i64": "int64"}
#: What a device holds instead: uint8 is int8, 128 higher; numbers of tokens are int32.
FEEDS = {"uint8": "int8", "int64": "int32"}
ELEMENTWISE = ("Convert", "FakeQuantize", "Subtract", "Add", "Multiply", "Divide")
#: Any more is hostile.
LARGEST = 1 << 28
Parameters = tuple[np.float32, int]


def border_of(model: ov.Model, where: str) -> Border:
    """Raises InputError for several inputs, sizes that are free but for the batch, or another element type than HELD's."""
    inputs, outputs = model.get_parameters(), model.get_results()
    if len(inputs) != 1 or not outputs:
        raise InputError(f"{len(inputs)} inputs, {len(outputs)} outputs", where=where, expected="one input")
    entry, made = inputs[0].output(0), [result.input_value(0) for result in outputs]
    kinds = [port.get_element_type().get_type_name() for port in (entry, *made)]
    if not all(kind in HELD for kind in kinds):
        raise InputError(f"its border is {kinds}", where=where, expected=", ".join(HELD))
    shape = _sizes(entry.get_partial_shape(), where)
    last = _channels_last(inputs[0])
    held = HELD[kinds[0]]
    entering = _entering(entry, held)
    feeds = "int8" if entering else FEEDS.get(held, held)
    return Border(
        shape if last or len(shape) != 3 else (*shape[1:], shape[0]),
        *(entering or (None, 0)),
        tuple(_exit(port, HELD[kind]) for port, kind in zip(made, kinds[1:], strict=True)),
        feeds,
        held,
        channels_last=last,
    )


def _exit(port: Any, answered: str) -> Exit:
    leaving = _range(port.get_node()) if answered == "float32" else None
    return Exit(*(leaving or (None, 0)), "int8" if leaving else FEEDS.get(answered, answered))


def _sizes(shape: ov.PartialShape, where: str) -> tuple[int, ...]:
    """All but the batch."""
    if shape.rank.is_dynamic or any(size.is_dynamic for size in list(shape)[1:]):
        raise InputError(
            f"input of shape {shape}", where=where, expected="fixed sizes but for the batch", mend="reshape the model to fixed sizes"
        )
    sizes = tuple(size.get_length() for size in list(shape)[1:])
    if not all(size > 0 for size in sizes) or math.prod(sizes) > LARGEST:
        raise InputError(f"input of shape {shape}", where=where, expected=f"at most {LARGEST} values a sample")
    return sizes


def _channels_last(parameter: Any) -> bool:
    if len(parameter.get_partial_shape()) != 4:
        return False
    stated = parameter.get_layout()
    if not stated.empty:
        return str(stated).replace(" ", "").replace(",", "").strip("[]").upper() == "NHWC"
    port = parameter.output(0)
    while len(readers := port.get_target_inputs()) == 1:
        node = next(iter(readers)).get_node()
        if node.get_type_name() == "Transpose":
            order = node.input_value(1).get_node()
            return order.get_type_name() == "Constant" and [int(i) for i in order.data] == [0, 3, 1, 2]
        if node.get_type_name() not in ELEMENTWISE:
            return False
        port = node.output(0)
    return False


def _entering(entry: Any, held: str) -> Parameters | None:
    readers = list(entry.get_target_inputs())
    if held != "float32" or len(readers) != 1:
        return None
    return _range(readers[0].get_node())


def _range(node: Any) -> Parameters | None:
    """(scale, zero point as int8) of a FakeQuantize that is per tensor, of 8 bits, and leaves the range as it was."""
    if node.get_type_name() != "FakeQuantize" or not 2 < (levels := int(node.get_attributes()["levels"])) <= 256:
        return None
    bounds = [node.input_value(i).get_node() for i in range(1, 5)]
    if any(bound.get_type_name() != "Constant" or bound.data.size != 1 for bound in bounds):
        return None
    low, high, left, right = (float(bound.data.reshape(-1)[0]) for bound in bounds)
    if (low, high) != (left, right) or not low <= 0 < high:
        return None
    scale = (high - low) / (levels - 1)
    smallest = 128 - levels
    return np.float32(scale), round(smallest - low / scale)
