"""From a build to a signed release and back: what is packed, what is refused, what a taker can check."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekd.release import FORMATS
from edgekd.release.bom import problems as bom_problems
from edgekd.release.manifest import problems
from tests.releases import keys
from tests.small_builds import edgekd, recipe

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    where = recipe(folder / "recipe")
    command = ("build", where, "-t", "pixel-8", "--runs", folder / "runs", "--threads", "1", "--budget", "accuracy_drop_pp=100")
    code, _, error = edgekd(*command)
    assert code == 0, error
    return next((folder / "runs").iterdir())


@pytest.fixture(scope="module")
def released(run: Path) -> tuple[Path, Path]:
    """With the public key that verifies it."""
    out = run.parents[1] / "releases"
    private, public = keys(run.parents[1])
    code, stdout, error = edgekd(
        "release", run, "--format", ",".join(FORMATS), "--version", "1.0.0", "--out", out, "--key", private, "--json"
    )
    assert code == 0, error
    said = json.loads(stdout)
    assert said["new"] and said["signed"] and said["manifest"]["formats"] == list(FORMATS)
    return Path(said["path"]), public


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _contents(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """A file, and what lies in it where it is an archive."""
    yield name, content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from _contents(f"{name}!{member}", archive.read(member))
    elif name.endswith((".tar", ".tar.gz")) or content[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(content)) as tarred:
            for member in filter(tarfile.TarInfo.isfile, tarred):
                extracted = tarred.extractfile(member)
                assert extracted is not None
                yield from _contents(f"{name}!{member.name}", extracted.read())


def test_what_is_released_is_verified(released: tuple[Path, Path]) -> None:
    folder, public = released
    code, out, _ = edgekd("release", "verify", folder, "--public-key", public)
    assert code == 0 and "signature: good" in out
    assert problems(json.loads((folder / "manifest.json").read_bytes())) == []
    assert bom_problems((folder / "bom.cdx.json").read_text("utf-8")) == []
    code, _, error = edgekd("verify", folder / "graph", folder / "model" / "model.tflite", "--samples", folder / "vectors.npz")
    assert code == 0, error
    card = (folder / "MODEL_CARD.md").read_bytes()
    assert all((folder / format / "MODEL_CARD.md").read_bytes() == card for format in FORMATS)


def test_released_again_it_is_the_same(run: Path, released: tuple[Path, Path], tmp_path: Path) -> None:
    formats = ",".join(reversed(FORMATS))
    code, _, error = edgekd("release", run, "--format", formats, "--version", "1.0.0", "--out", tmp_path / "else" / "where")
    assert code == 0, error
    again = next((tmp_path / "else" / "where").iterdir())
    one, two = (
        {path.relative_to(at).as_posix(): path.read_bytes() for path in at.rglob("*") if path.is_file()} for at in (released[0], again)
    )
    assert one.pop("model.sig") and one == two
    code, out, _ = edgekd("release", run, "--format", formats, "--version", "1.0.0", "--out", again.parent)
    assert code == 0 and "is there already, with the same bytes" in out
    code, _, error = edgekd("release", run, "--format", "android", "--version", "1.0.0", "--out", again.parent)
    assert code == 2 and "a published one never changes" in error


def test_no_path_of_this_machine_is_in_it(run: Path, released: tuple[Path, Path]) -> None:
    secrets = [str(run.parents[1]), str(ROOT), str(Path.home()), "/tmp/", "/".join(("", "home", ""))]
    for file, whole in _files(released[0]).items():
        for name, content in _contents(file, whole):
            for secret in secrets:
                assert len(secret) < 4 or secret.encode() not in content, (name, secret)


def test_a_run_that_changed_is_not_released(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / run.name
    shutil.copytree(run, copy)
    (copy / "export" / "model.tflite").write_bytes((copy / "export" / "model.tflite").read_bytes() + b"\0")
    code, _, error = edgekd("release", copy, "--format", "android", "--version", "1.0.0", "--out", tmp_path / "out")
    assert code == 1 and "model.tflite" in error
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_not_finished_is_not_released(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / run.name
    shutil.copytree(run, copy)
    os.remove(copy / "records" / "measure.json")
    code, _, error = edgekd("release", copy, "--format", "android", "--version", "1.0.0", "--out", tmp_path / "out")
    assert code == 2 and "measure is not done" in error
