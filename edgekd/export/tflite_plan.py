"""The memory plan that a TFLite file may carry for TensorFlow Lite Micro, which else places tensors greedily when it loads the file.

Source: "Offline planned tensor allocations" in TFLM's description of its memory management (2021). LiteRT does not read it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

#: The name under which TFLM looks for it among the file's metadata.
NAME = "OfflineMemoryAllocation"
_VERSION, _SUBGRAPH, _UNPLANNED = 1, 0, -1


def offline_plan(offsets: Mapping[str, int], numbers: Mapping[str, int], tensors: int) -> bytes:
    """int32, little endian: version, subgraph, count, then for each of the ``tensors`` of the file its offset in the arena, −1 for those
    that TFLM places (or that are constants). ``offsets`` and ``numbers`` are by name."""
    words = np.full(3 + tensors, _UNPLANNED, "<i4")
    words[:3] = _VERSION, _SUBGRAPH, tensors
    for name, at in offsets.items():
        words[3 + numbers[name]] = at
    return words.tobytes()
