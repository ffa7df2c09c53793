"""The reader of releases: what it refuses, and every way in which a folder is not what was released."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from edgekd.errors import InputError
from edgekd.records import Figure, Verdict
from edgekd.released import MANIFEST, VERSION, encode, is_release, load, verify_files
from tests.releases import made, tiny


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny(monkeypatch)
    return made(tmp_path).released.folder


def test_what_was_released_is_as_it_was_released(folder: Path) -> None:
    released = load(folder)
    assert verify_files(released) == []
    assert is_release(folder) and not is_release(folder.parent)
    assert released.name == folder.name == "golden-pixel-8-1.4.0"
    assert isinstance(released.figures["accuracy"], Figure)
    assert isinstance(released.parity[0], Verdict) and isinstance(released.parity[0].figures["bit_equal"], Figure)
    assert released.examination is not None and released.examination.tasks[0].labels[1] == "trouser"
    assert [budget.name for budget in released.budgets] == ["model_bytes", "accuracy_drop_pp"]
    assert not released.signed


def test_a_flipped_bit_anywhere_is_found(folder: Path) -> None:
    rng = random.Random(0)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for _ in range(30 if path.name == MANIFEST else 2):
            bit = rng.randrange(8 * len(whole))
            spoilt = bytearray(whole)
            spoilt[bit // 8] ^= 1 << bit % 8
            path.write_bytes(spoilt)
            try:
                assert verify_files(load(folder)), (path, bit)
            except InputError as error:
                assert path.name == MANIFEST, error
        path.write_bytes(whole)
    assert verify_files(load(folder)) == []


def test_what_is_missing_added_or_a_link_is_named(folder: Path) -> None:
    (folder / "vectors.npz").unlink()
    (folder / "tiny" / "extra.txt").write_text("x")
    (folder / ".DS_Store").write_text("x")
    (folder / "empty").mkdir()
    content = (folder / "MODEL_CARD.md").read_bytes()
    (folder / "MODEL_CARD.md").unlink()
    (folder.parent / "elsewhere.md").write_bytes(content)
    (folder / "MODEL_CARD.md").symlink_to(folder.parent / "elsewhere.md")
    os.mkfifo(folder / "pipe")
    assert verify_files(load(folder)) == [
        "vectors.npz: is missing",
        ".DS_Store: was added: the manifest does not name it",
        "empty: is an empty folder, which no release has",
        "pipe: is no regular file",
        "tiny/extra.txt: was added: the manifest does not name it",
        "MODEL_CARD.md: is a symbolic link: a release holds files only",
    ]


def test_a_folder_that_is_a_link_is_not_followed(folder: Path) -> None:
    (folder / "graph").rename(folder.parent / "graph")
    (folder / "graph").symlink_to(folder.parent / "graph")
    problems = verify_files(load(folder))
    assert "graph: is a symbolic link: a release holds files only" in problems
    assert "graph/graph.json: is missing" in problems


def test_a_manifest_written_anew_shows_by_its_own_hash(folder: Path) -> None:
    document = json.loads((folder / MANIFEST).read_bytes())
    document["figures"]["accuracy"]["value"] = 0.5
    (folder / MANIFEST).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    assert verify_files(load(folder)) == ["manifest.json: is not as it was written: it holds a hash of itself, which is another"]


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../outside", "graph/../../outside", "a//b", "./a", "a\\b", "C:x", "a\nb", "", "manifest.json", "model.sig"]
)
def test_a_path_that_leaves_the_folder_is_refused(folder: Path, name: str) -> None:
    document = json.loads((folder / MANIFEST).read_bytes())
    document["files"][name] = next(iter(document["files"].values()))
    (folder / MANIFEST).write_bytes(encode(document))
    with pytest.raises(InputError, match="paths below the folder of the release"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 2}, "schema_version 2"),
        ({"schema_version": True}, "schema_version True"),
        ({"files": []}, r"files is \[\]"),
        ({"name": None}, "name is None"),
        ({"accuracy": "high"}, "accuracy is 'high'"),
        ({"files": {"a": {"sha256": "0" * 63, "bytes": 1}}}, "expected: sha256 and bytes of the file"),
        ({"files": {"a": {"sha256": "0" * 64, "bytes": "1"}}}, "expected: sha256 and bytes of the file"),
        ({"files": {"a": None}}, "expected: sha256 and bytes of the file"),
    ],
)
def test_a_manifest_of_another_shape_is_refused(folder: Path, change: dict[str, Any], said: str) -> None:
    document = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_bytes(encode({**document, **change}))
    with pytest.raises(InputError, match=said):
        load(folder)


@pytest.mark.parametrize("value", ["1e999", '"\\ud800"', "[" * 50_000 + "]" * 50_000])
def test_what_cannot_be_written_again_is_refused(folder: Path, value: str) -> None:
    text = (folder / MANIFEST).read_text("utf-8")
    (folder / MANIFEST).write_text(text.replace('"notes": []', f'"notes": [{value}]'), "utf-8")
    with pytest.raises(InputError, match="cannot be written again|not JSON"):
        load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"a": NaN}', '{"name": 1, "name": 2}', "\xff"])
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"manifest\.json"):
        load(tmp_path)


def test_a_folder_without_manifest_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name a folder that `edgekd release` made"):
        load(tmp_path)
    with pytest.raises(InputError, match="there is no such file"):
        load(tmp_path / "nothing")


def test_a_figure_of_the_wrong_type_is_refused_where_it_is_asked_for(folder: Path) -> None:
    document = json.loads((folder / MANIFEST).read_bytes())
    document["figures"]["accuracy"]["value"] = "high"
    (folder / MANIFEST).write_bytes(encode(document))
    with pytest.raises(InputError, match="'high'"):
        _ = load(folder).figures


def test_folders_without_end(folder: Path) -> None:
    inner = folder
    for _ in range(1100):
        inner /= "d"
        os.mkdir(inner)
    try:
        with pytest.raises(InputError, match="folders within folders, deeper than any release"):
            verify_files(load(folder))
    finally:  # deeper than what pytest removes
        while inner != folder:
            inner.rmdir()
            inner = inner.parent


def test_a_signature_larger_than_any(folder: Path) -> None:
    with (folder / "model.sig").open("wb") as file:
        file.truncate(2**33)
    assert verify_files(load(folder)) == ["model.sig: has 8589934592 bytes, which no signature has"]


def test_names_that_differ_in_case_alone(folder: Path) -> None:
    document = json.loads((folder / MANIFEST).read_bytes())
    document["files"]["MODEL/Model.tflite"] = document["files"]["model/model.tflite"]
    (folder / MANIFEST).write_bytes(encode(document))
    with pytest.raises(InputError, match="names that differ in more than case"):
        load(folder)


@pytest.mark.parametrize("version", ["1.4", "01.0.0", "1\u0663.0.0", "1.0.0+build", "1.0.0-", "1.0.0\n"])
def test_what_is_no_version(version: str) -> None:
    """Maven, OCI tags and folders have ASCII digits only."""
    assert VERSION.fullmatch(version) is None and VERSION.fullmatch("10.0.1-rc.1")
