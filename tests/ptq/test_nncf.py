"""The real NNCF, on a float file of ours."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export.onnx import build
from edgekd.ptq.nncf import quantize
from edgekd.quant import ops
from edgekd.quant.capture import capture
from tests.float_models import residual


@pytest.mark.slow
def test_what_nncf_decides(capfd: pytest.CaptureFixture[str]) -> None:
    graph = capture(residual(), (3, 12, 12), name="residual")
    content = build(graph).SerializeToString()
    x = np.random.default_rng(0).uniform(-1, 1, (12, 3, 12, 12)).astype(np.float32)
    found = quantize(content, x, symmetric=False, per_channel=True)
    weights = {op.inputs[1]: op for op in graph.ops if isinstance(op, ops.WEIGHTED)}
    assert set(found.scales) == set(weights)
    for name, scale in found.scales.items():
        weight = np.asarray(graph.tensor(name).data)
        largest = np.abs(weight.reshape(len(weight), -1)).max(1)
        assert np.allclose(scale, np.maximum(largest / 127, scale.min()), rtol=0.02), name
    convolutions = [op for op in graph.ops if isinstance(op, ops.Conv2D | ops.DepthwiseConv2D)]
    corrected = [
        op for op in convolutions if not np.array_equal(found.constants[op.inputs[2]], np.asarray(graph.tensor(op.inputs[2]).data))
    ]
    assert len(corrected) >= len(convolutions) // 2, "biases are corrected"
    rectified = next(op.outputs[0] for op in convolutions if op.activation == "relu")
    assert found.ranges[rectified][0] == 0 and found.ranges[rectified][1] > 0
    again = quantize(content, x, symmetric=False, per_channel=True)
    assert again.ranges == found.ranges and all(np.array_equal(again.constants[n], v) for n, v in found.constants.items())
    one = quantize(content, x, symmetric=True, per_channel=False)
    assert all(len(scale) == 1 for scale in one.scales.values())
    assert capfd.readouterr().out == ""
    with pytest.raises(InputError, match="NNCF cannot quantize it"):
        quantize(content, x[:, :2], symmetric=True, per_channel=True)
