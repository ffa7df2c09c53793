"""Cuts of files that name their tensors: another tool's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.importers.tflite import read
from edgekd.quant.reference import run
from edgekd.runtimes.litert import open_reference
from edgekd.verify.cut_tflite import cut

FILE = Path(__file__).resolve().parents[1] / "importers" / "files" / "convolutions_uint8.tflite"


def test_a_tensor_is_found_by_its_name(tmp_path: Path) -> None:
    graph = read(FILE)
    x = np.random.default_rng(0).integers(-128, 128, (2, *graph.tensor(graph.inputs[0]).shape[1:])).astype(np.int8)
    names = [op.outputs[0] for op in graph.ops[2:14:4]]
    wanted = run(graph, x, "litert_ref", keep=names)
    for name in names:
        runner = open_reference(cut(FILE, graph, name, tmp_path))
        assert np.array_equal(runner.run(x), wanted[name]), name


def test_a_tensor_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none named 'nothing'"):
        cut(FILE, read(FILE), "nothing", tmp_path)
