"""A model that torch quantized (PT2E) and exported: QDQ around the weighted operators, free border in float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.importers.onnx import read
from edgekd.quant import ops
from edgekd.quant.reference import run
from edgekd.runtimes.onnxruntime import open_model


def exported(path: Path) -> Path:
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.point, self.logits = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Conv2d(8, 8, 1), torch.nn.Linear(8, 5)

        def forward(self, x):
            x = torch.relu(self.stem(x))
            return self.logits((x + self.point(x)).mean((2, 3)))

    torch.manual_seed(0)
    x = torch.randn(1, 3, 8, 8)
    module = torch.export.export(Net().eval(), (x,)).module()
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(module, quantizer)
    for _ in range(4):
        prepared(torch.randn(1, 3, 8, 8))
    torch.onnx.export(convert_pt2e(prepared), (x,), str(path), dynamo=True, opset_version=21, verbose=False)
    return path


@pytest.mark.slow
def test_a_pt2e_model_is_read_as_onnxruntime_runs_it(tmp_path: Path) -> None:
    path = exported(tmp_path / "pt2e.onnx")
    graph = read(path)
    weighted = [op for op in graph.ops if isinstance(op, ops.WEIGHTED)]
    kinds = [graph.tensor(op.inputs[1]).dtype for op in weighted]
    # X86InductorQuantizer states no scale for the fused sum nor for the logits: those two stay float.
    assert len(kinds) == 3 and kinds[0] == "int8", (kinds, graph.metadata.get("notes"))
    real = np.random.default_rng(0).normal(0, 1, (24, 8, 8, 3)).astype(np.float32)
    q = graph.tensor(graph.inputs[0]).quantization
    x = real if q is None else np.clip(np.rint(real / q.scale) + q.zero_point, -128, 127).astype(np.int8)
    expected = run(graph, x, "onnxruntime")[graph.outputs[0]]
    found = open_model(path).run(x)
    assert found.dtype == expected.dtype and (found.argmax(1) == expected.argmax(1)).mean() > 0.9
    np.testing.assert_allclose(found, expected, atol=0.02 if found.dtype == np.float32 else 2)
