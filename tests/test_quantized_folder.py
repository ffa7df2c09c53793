"""The folder that `edgekd quantize` fills, given to the other commands; here with a graph made by hand in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgekd import runs
from edgekd.cli import app
from edgekd.convert import PIXELS, load_samples
from edgekd.errors import InputError
from edgekd.export.tflite import export
from edgekd.quant import io
from edgekd.records import Artifact, Record

sys.path.insert(0, str(Path(__file__).parent / "verify"))

from small import graph, samples  # pyright: ignore[reportMissingImports]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = runs.create(tmp_path, "quantize-small", "nucleo-l4r5zi", {"command": "quantize", "model": {"name": "small"}})
    io.save(graph(), made / "graph")
    path = f"export/{export(graph(), made / 'export').path}"
    graph_files = ("graph/graph.json", "graph/weights.safetensors")
    frozen = Artifact("quantgraph", graph_files[0], runs.sha256_file(made / graph_files[0]), {}, graph_files)
    exported = Artifact("tflite", path, runs.sha256_file(made / path), {}, (path,))
    runs.write(made, Record("freeze", {}, {}, {}, frozen, 0.0))
    runs.write(made, Record("export", {}, {}, {}, [exported], 0.0))
    return made


def edgekd(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_verify_runs_its_files_against_its_graph(folder: Path) -> None:
    code, out, err = edgekd("verify", folder, "--threads", "1")
    assert code == 0, err
    assert "200 random inputs" in out and [line.split()[1:3] for line in out.splitlines()[1:]] == [
        ["tflm", "ok"],
        ["litert_ref", "ok"],
        ["litert_xnnpack", "ok"],
    ]
    np.savez(folder / "samples.npz", x=samples(7), y=np.zeros(7, int))
    code, out, _ = edgekd("verify", folder, "--samples", folder / "samples.npz", "--threads", "1", "--json")
    assert code == 0 and json.loads(out)["inputs"] == "7 samples of samples.npz"


def test_pixels_are_samples_of_what_is_fed_pixels(tmp_path: Path) -> None:
    """The file that --data took: uint8."""
    pixels = (samples(5).astype(int) + 128).astype(np.uint8)
    np.savez(tmp_path / "pixels.npz", x=pixels)
    fed = graph().with_metadata(input={"value": PIXELS})
    np.testing.assert_array_equal(load_samples(fed, tmp_path / "pixels.npz")[0], samples(5))
    with pytest.raises(InputError, match=r"x is uint8(.|\n)*int8"):
        load_samples(graph(), tmp_path / "pixels.npz")


def test_verify_takes_its_graph_and_file_as_well(folder: Path) -> None:
    code, _, err = edgekd("verify", folder / "graph", folder / "export" / "model.tflite", "--threads", "1")
    assert code == 0, err


def test_verify_compares_its_layers(folder: Path) -> None:
    code, out, err = edgekd("verify", "--layers", folder, "--threads", "1")
    assert code == 0 and "0 of 6 tensors differ" in out, out + err


def test_a_changed_file_is_no_longer_what_was_made(folder: Path) -> None:
    (folder / "export" / "model.tflite").write_bytes(b"other")
    code, _, err = edgekd("verify", folder)
    assert code == 1 and "is not what `edgekd quantize` made" in err


def test_several_at_once_are_refused(folder: Path) -> None:
    code, _, err = edgekd("verify", folder, folder)
    assert code == 2 and "one folder at a time" in err
    code, _, err = edgekd("verify", folder / "export" / "model.tflite", folder)
    assert code == 2 and "is a model file," in err and f"to mend:  edgekd verify {folder}" in err


def test_inspect_and_convert_find_its_graph(folder: Path, tmp_path: Path) -> None:
    code, out, err = edgekd("inspect", folder)
    assert code == 0 and "FullyConnected" in out, err
    code, _, err = edgekd("convert", folder, "--to", "onnx", "--out", tmp_path / "converted", "--no-verify")
    assert code == 0 and (tmp_path / "converted" / "model.onnx").is_file(), err
