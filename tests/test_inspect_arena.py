"""What `inspect` says of memory: TFLM's own placement, that of the exported file, and patches."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from edgekd.cli import app
from edgekd.export.tflite import encode
from edgekd.inspect_model import inspect
from edgekd.quant.arena import arrange
from edgekd.quant.scheme import Scheme
from edgekd.runtimes.tflm import arena_bytes
from edgekd.students.inverted_residual import sketch, spec_from


def test_the_planned_arena_and_patches_are_shown(tmp_path: Path) -> None:
    graph = sketch(spec_from({"stem_stride": 2, "expansion": 2, "fused": 1, "head": 64}, (28, 28, 1), 10), Scheme())
    path = tmp_path / "model.tflite"
    path.write_bytes(encode(graph))
    said = CliRunner().invoke(app, ["inspect", str(path)])
    assert said.exit_code == 0
    assert "an order or a plan by which TFLM takes 12.25 KiB of them" in said.output
    document = json.loads(CliRunner().invoke(app, ["inspect", str(path), "--json"]).stdout)
    assert document["arena_bytes"] == 15_680
    assert document["arena_planned_bytes"] == arena_bytes(path).activations == arrange(graph).placement.total_bytes
    assert [option["side"] for option in document["patches"]] == [2, 3, 4]
    assert "patch-wise, which nothing executes yet: " in said.output


def test_nothing_is_said_where_nothing_is_saved() -> None:
    graph = sketch(spec_from({"stem_stride": 1, "expansion": 4}, (28, 28, 1), 10), Scheme())
    found = inspect(graph)
    assert found.arena_planned_bytes == found.arena_bytes
