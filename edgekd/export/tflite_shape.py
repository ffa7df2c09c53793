"""Operators that move, reduce, resize or multiply whole tensors, in TFLite; listed in BUILTINS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgekd.export.tflite_builtin import Builtin
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph

BUILTINS: dict[type[ops.Op], Callable[[Any, QuantGraph], Builtin]] = {}
