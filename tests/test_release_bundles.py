"""From a build by the command line to what its takers do with the bundles: CMake's test, skopeo's copy, the accessor's self-test."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.firmware_bundles import needs, ran
from tests.small_builds import edgekd, recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=("pixel-8", "nrf52840dk", "orin-nano"))
def released(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    where = recipe(folder / "recipe")
    limits = ("--budget", "accuracy_drop_pp=100", "--budget", "latency_ms=10000")
    code, _, error = edgekd("build", where, "-t", request.param, "--runs", folder / "runs", "--threads", "1", *limits)
    assert code == 0, error
    run = next((folder / "runs").iterdir())
    code, stdout, error = edgekd("release", run, "--format", "mcu,oci,openvino", "--version", "2.1.0", "--out", folder / "out", "--json")
    assert code == 0, error
    return Path(json.loads(stdout)["path"])


def test_the_bundles_work_where_they_are_taken_in(released: Path, tmp_path: Path):
    needs("cmake", "gcc", "skopeo")
    artifact = released.name.removesuffix("-2.1.0")
    ran("cmake", "-S", released / "mcu" / artifact, "-B", tmp_path / "build")
    ran("cmake", "--build", tmp_path / "build")
    assert "100% tests passed" in ran("ctest", "--test-dir", tmp_path / "build")
    done = ran(sys.executable, released / "openvino" / artifact / "edgekd_model.py", "--self-test")
    assert f"{artifact} 2.1.0, openvino: " in done
    layout = released / "oci" / artifact
    ran("skopeo", "copy", "-q", f"oci:{layout}:2.1.0", f"dir:{tmp_path / 'pulled'}")
    manifest = json.loads((tmp_path / "pulled/manifest.json").read_text())
    for layer in manifest["layers"]:
        name = layer["annotations"]["org.opencontainers.image.title"]
        shutil.copy(tmp_path / "pulled" / layer["digest"].removeprefix("sha256:"), tmp_path / name)
    assert (tmp_path / "build_engine.sh").exists() == artifact.endswith("orin-nano")
    assert "test vectors pass" in ran(sys.executable, tmp_path / "edgekd_model.py", "--self-test")
