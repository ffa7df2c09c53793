"""The repository for model servers: OpenVINO reads its model, the layout is what servers look for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from edgekd.quant import reference
from tests.release.bundles import packed
from tests.released import facts


@pytest.mark.parametrize("kind", ("int8", "two_tasks", "sound", "float"))
def test_openvino_reads_the_repository_and_gives_the_expected_outputs(tmp_path: Path, kind: str):
    made = facts(tmp_path, kind, formats=("openvino",))
    out = packed("openvino", made, tmp_path / "openvino")
    served = json.loads((out / "config.json").read_text())["model_config_list"][0]["config"]
    assert served == {"name": made.artifact, "base_path": f"/models/{made.artifact}"}
    versions = [path for path in (out / made.artifact).iterdir() if path.is_dir()]
    assert [path.name for path in versions] == ["1"]
    assert sorted(path.name for path in versions[0].iterdir()) == ["model.bin", "model.xml"]
    model = ov.Core().compile_model(versions[0] / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    stated = json.loads((out / made.artifact / "edgekd.json").read_text())
    assert (stated["version"], stated["server_version"]) == ("1.4.0", 1)
    with np.load(out / made.artifact / "vectors.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    assert list(arrays["x"].shape[1:]) == stated["input"]["shape"][1:]
    found = model([arrays["x"]])  # all at once: the batch is free
    profile = "float" if kind == "float" else "tflm"
    expected = reference.run(made.graph, made.vectors.x, profile)
    for at, (output, name) in enumerate(zip(stated["outputs"], made.graph.outputs, strict=True)):
        got = found[output["name"]]
        assert np.array_equal(got.argmax(1), arrays[f"expected_{at}"].argmax(1))
        assert np.array_equal(got.argmax(1), expected[name].reshape(len(got), -1).argmax(1))


def test_the_accessor_passes_its_vectors(tmp_path: Path):
    out = packed("openvino", facts(tmp_path, "two_tasks", formats=("openvino",)), tmp_path / "openvino")
    done = subprocess.run([sys.executable, "golden-pixel-8/edgekd_model.py"], cwd=out, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "golden-pixel-8 1.4.0, openvino: 8 test vectors pass\n"), done.stderr
    weights = bytearray((out / "golden-pixel-8/1/model.bin").read_bytes())
    weights[len(weights) // 2] ^= 1
    (out / "golden-pixel-8/1/model.bin").write_bytes(weights)
    done = subprocess.run([sys.executable, "golden-pixel-8/edgekd_model.py"], cwd=out, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "model.bin is" in done.stderr and "take accessor and model from the same release" in done.stderr
