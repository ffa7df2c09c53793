"""Cuts of IRs: edgekd's, and those of another tool."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small import graph as small
from small import samples

from edgekd.errors import InputError
from edgekd.export.openvino import export
from edgekd.runtimes.openvino import open_model
from edgekd.verify.cut_openvino import cut


def test_a_tensor_of_our_own_file(tmp_path: Path) -> None:
    graph, x = small(), samples(4)
    export(graph, tmp_path)
    (tmp_path / "cut").mkdir()
    whole = open_model(tmp_path / "model.xml").run(x)
    assert np.array_equal(open_model(cut(tmp_path / "model.xml", graph, "logits", tmp_path / "cut")).run(x), whole)
    assert open_model(cut(tmp_path / "model.xml", graph, "stem", tmp_path / "cut")).run(x).shape == (4, 8, 8, 6)
    with pytest.raises(InputError, match="no operator writes 'nothing'"):
        cut(tmp_path / "model.xml", graph, "nothing", tmp_path / "cut")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: re.sub(r"<edgekd .*?/>", "", text), "no metadata under 'edgekd'\n  expected: a file that edgekd exported"),
        (lambda text: text.replace("Convolution", "Nonsense"), "OpenVINO cannot read it: "),
        (lambda text: text[:99], "not an OpenVINO IR"),
    ],
)
def test_other_files_are_refused_with_a_sentence(tmp_path: Path, damage: Callable[[str], str], message: str) -> None:
    export(small(), tmp_path)
    path = tmp_path / "model.xml"
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=message):
        cut(path, small(), "stem", tmp_path)
