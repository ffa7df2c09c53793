"""Transposed convolution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekd.quant import ops

Compute = Callable[..., np.ndarray]
#: Operator → a function (op, graph, profile) that returns its function (memory, *inputs) → output; integers.
COMPILE: dict[type[ops.Op], Callable[..., Compute]] = {}
#: The same for float graphs.
COMPILE_FLOAT: dict[type[ops.Op], Callable[..., Compute]] = {}
