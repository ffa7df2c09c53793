"""Every golden student computes the reference's integers on every core, with both sets of kernels: 20 inputs each."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.bench import write
from edgekd.convert import random_inputs
from edgekd.errors import MissingDependency
from edgekd.mcu.boards import CORES
from edgekd.measure.device import Subject
from edgekd.measure.emulated import COUNTED, measure
from edgekd.profile.load import find, load
from edgekd.quant import io
from tests.mcu.tools import needs_qemu

GOLDEN = Path(__file__).resolve().parent.parent / "golden"


@needs_qemu
@pytest.mark.slow
@pytest.mark.parametrize("name", ["branches_per_tensor", "inverted_residual", "inverted_residual_symmetric"])
@pytest.mark.parametrize("core", CORES)
def test_golden_students(core: str, name: str) -> None:
    profile = load(find("nucleo-l4r5zi"))
    graph = io.load(GOLDEN / name)
    target = profile.model_copy(update={"device": profile.device.model_copy(update={"core": core})})
    subject = Subject(graph, target, random_inputs(graph, COUNTED), None, "random inputs", write, ("portable", "cmsis"))
    try:
        found = measure(subject, lambda *_: None)
    except MissingDependency as error:
        pytest.skip(str(error).splitlines()[0])
    assert found.ok, [row.failed for row in found.rows]
    for row in found.rows:
        figures = row.measurement.figures
        assert figures["bit_equal"].value == 1 and figures["bit_equal"].n == COUNTED
        assert figures["stack_bytes"].value < 1024 and figures["static_bytes"].value == 0
