from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.recipe.schema import Teacher
from edgekd.teachers.outputs_file import StoredOutputs, Wanted, load, matched

WANTED = Wanted(("cat", "dog", "fox"), "d" * 64, "v" * 64, 2, 5, 4)
OUTPUTS = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)


def table(**keys: Any) -> Teacher:
    return Teacher.model_validate({"source": "soft_targets", **keys})


def saved(folder: Path, **arrays: Any) -> StoredOutputs:
    np.savez(folder / "o.npz", **arrays)
    return load(root=folder, file="o.npz")


def test_npy_of_views(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", OUTPUTS)
    train, test = matched(load(root=tmp_path, file="o.npy"), WANTED, table())
    assert np.array_equal(train, OUTPUTS.astype(np.float16)) and test is None


def test_npz_with_all_that_it_may_hold(tmp_path: Path) -> None:
    test = OUTPUTS[0, :4].astype(np.float64)
    stored = saved(
        tmp_path, outputs=OUTPUTS, test=test, labels=["fox", "Cat", "dog"], data_sha256="d" * 64, views_sha256="v" * 64, other=[1]
    )
    train, answers = matched(stored, WANTED, table())
    assert np.array_equal(train, OUTPUTS[..., [1, 2, 0]].astype(np.float16))
    assert answers is not None and np.array_equal(answers, test[:, [1, 2, 0]].astype(np.float16))
    train, _ = matched(stored, WANTED, table(labels=["dog", "fox", "cat"]))
    assert np.array_equal(train, OUTPUTS[..., [2, 0, 1]].astype(np.float16))


def test_probabilities_become_logits_of_the_same_softmax(tmp_path: Path) -> None:
    probable = np.exp(OUTPUTS) / np.exp(OUTPUTS).sum(2, keepdims=True)
    probable[0, 0] = [1, 0, 0]
    stored = saved(tmp_path, outputs=probable)
    train, _ = matched(stored, WANTED, table(output="probabilities"))
    again = np.exp(train.astype(np.float64))
    np.testing.assert_allclose(again / again.sum(2, keepdims=True), probable, atol=2e-3)
    with pytest.raises(InputError, match='output = "probabilities"'):
        matched(stored, WANTED, table())


def test_one_view_needs_no_axis(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", OUTPUTS[0])
    stored = load(root=tmp_path, file="o.npy")
    assert stored.train.shape == (1, 5, 3)
    with pytest.raises(
        InputError, match=r"(?s)outputs of 1 view of 5 images.*2 views of 5 images, as the recipe.*count = 1 under \[views\]"
    ):
        matched(stored, WANTED, table())


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"outputs": OUTPUTS[:, :4]}, r"outputs of 2 views of 4 images"),
        ({"outputs": OUTPUTS, "data_sha256": "e" * 64}, r"made from other data \(data_sha256 eeee"),
        ({"outputs": OUTPUTS, "views_sha256": "e" * 64}, r"made from other views"),
        ({"outputs": OUTPUTS, "test": OUTPUTS[0]}, r"test has the shape \[5, 3\]\n  expected: \[4, 3\]"),
        ({"outputs": OUTPUTS, "labels": ["cat", "dog", "wolf"]}, r"has no label 'fox'"),
        ({"outputs": OUTPUTS[..., :2]}, r"2 outputs and does not name them"),
        ({"outputs": OUTPUTS * np.nan}, r"not finite"),
        ({"outputs": OUTPUTS * 1e6}, r"not finite in float16"),
        ({"outputs": OUTPUTS.astype(np.int32)}, r"outputs has the type int32"),
        ({"outputs": OUTPUTS[0, 0]}, r"outputs have the shape \[3\]"),
        ({"outputs": OUTPUTS[:0]}, r"outputs have the shape \[0, 5, 3\]"),
        ({"logits": OUTPUTS}, r"holds no array `outputs`"),
        ({"outputs": np.array([{}, {}])}, r"outputs is pickled"),
    ],
)
def test_outputs_of_something_else(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        matched(saved(tmp_path, **arrays), WANTED, table())


def test_files_that_are_none(tmp_path: Path) -> None:
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "text.npy").write_text("0.1 0.2")
    np.save(tmp_path / "cut.npy", OUTPUTS)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-4])
    for name in ("pickle", "text", "cut"):
        with pytest.raises(InputError, match=rf"{name}.npy: cannot be read .*\n  expected: an array of numbers"):
            load(root=tmp_path, file=f"{name}.npy")
    with pytest.raises(InputError, match=r"teacher.options.file: .*none.npy does not exist"):
        load(root=tmp_path, file="none.npy")


def test_a_header_that_claims_more_than_there_is(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 3)})
    with zipfile.ZipFile(tmp_path / "o.npz", "w") as archive:
        archive.writestr("outputs.npy", stream.getvalue())
    with pytest.raises(InputError, match="outputs is cut short"):
        load(root=tmp_path, file="o.npz")
