"""What a recipe's [teacher] may say, and what old recipes keep."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgekd.data.resize import resize
from edgekd.errors import InputError
from edgekd.recipe.load import load
from edgekd.recipe.rules import FINISHED
from edgekd.recipe.schema import Teacher as Table
from edgekd.teachers import TEACHERS
from edgekd.teachers.assemble import assemble
from edgekd.teachers.opened import BATCH, About, Opened
from edgekd.teachers.teacher import Teacher, amx, logits
from edgekd.train.ask import fingerprint
from edgekd.train.teach_recipe import teach_recipe
from tests.small_builds import recipe

LABELS = ("cat", "dog", "fox")
TEACHER = 'source = "residual_cnn"\noptions = { width = 4 }\nmean = [0.5]\nstd = [0.25]\n'


class Pooled(nn.Module):
    """The mean of each channel of what it is fed, and what that was."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.fed = x
        return x.mean((2, 3))


def image(n: int = 9) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, 7, 5, 3)).astype(np.uint8)


def table(**keys: Any) -> Table:
    return Table.model_validate({"source": "m:f", **keys})


def test_an_old_recipe_keeps_its_identity() -> None:
    keys = {"source", "options", "checkpoint", "mean", "std", "schedule"}
    assert set(table().model_dump()) == set(table(scale=1.0).model_dump()) == keys
    assert table(output="logits", size=[8, 8]).model_dump() == table().model_dump() | {"output": "logits", "size": [8, 8]}
    assert Table.model_validate(table(labels=["a", "b"]).model_dump()).labels == ["a", "b"]


def test_an_old_teacher_keeps_its_fingerprint() -> None:
    body = nn.Linear(2, 3)
    digest = hashlib.sha256(repr((torch.tensor([0.5]).reshape(1, -1, 1, 1).tolist(), [[[[0.25]]]], amx())).encode())
    for name in ("bias", "weight"):
        digest.update(name.encode())
        digest.update(body.state_dict()[name].numpy())
    assert fingerprint(Teacher(body, (0.5,), (0.25,))) == digest.hexdigest()


def test_whatever_decides_the_outputs_is_in_the_fingerprint() -> None:
    body = Opened(nn.Flatten(), About("0" * 64, "torch"))
    changes: list[dict[str, Any]] = [{}, {"scale": 255.0}, {"size": (4, 4)}, {"log": True}, {"columns": (1, 0)}]
    found = {fingerprint(Teacher(body, (0.0,), (1.0,), **change)) for change in changes}
    found.add(fingerprint(Teacher(Opened(nn.Flatten(), About("1" * 64, "torch")), (0.0,), (1.0,))))
    assert len(found) == 6


def test_resized_as_a_students_images_are() -> None:
    body = Pooled()
    teacher = assemble(body, table(size=[4, 3], scale=255.0), image(), LABELS)
    logits(teacher, image(), bf16=False)
    expected = resize(image(), 4, 3).transpose(0, 3, 1, 2)
    # A mean that lies half way between two integers may be rounded either way.
    assert abs(body.fed.numpy() - expected).max() < 1.01 and (abs(body.fed.numpy() - expected) > 0.01).mean() < 0.1
    assert assemble(body, table(size=[7, 5]), image(), LABELS).size is None


def test_columns_of_a_torch_module_are_matched_by_name() -> None:
    found = logits(assemble(Pooled(), table(labels=["fox", "cat", "dog"]), image(), LABELS), image(), bf16=False)
    np.testing.assert_allclose(found, (image() / 255).mean((1, 2))[:, [1, 2, 0]], rtol=1e-5)
    with pytest.raises(InputError, match=r"recipe, teacher: the teacher has no label 'dog'\n  expected: perhaps 'dogs'"):
        assemble(Pooled(), table(labels=["fox", "cat", "dogs"]), image(), LABELS)


def test_probabilities_of_a_torch_module() -> None:
    class Softmax(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.softmax(x.mean((2, 3)) * 500, 1)

    teacher = assemble(Softmax(), table(output="probabilities"), image(), LABELS)
    found = torch.from_numpy(logits(teacher, image(), bf16=False))
    own = torch.from_numpy((image() / 255).mean((1, 2)) * 500).float()
    assert found.isfinite().all()
    for temperature in (4.0, 20.0):
        torch.testing.assert_close(functional.softmax(found / temperature, 1), functional.softmax(own / temperature, 1), rtol=0, atol=2e-3)
    assert assemble(Softmax(), table(), image(), LABELS).log is False  # as it always was


def test_what_cannot_both_be_true() -> None:
    about = About("0" * 64, "torch", size=(7, 5))
    with pytest.raises(InputError, match=r"size = \[8, 5\]\n  expected: \[7, 5\], which the model is made for"):
        assemble(Opened(Pooled(), about), table(size=[8, 5]), image(), LABELS)
    with pytest.raises(InputError, match=r"normalized by 2 values\n  expected: images of 3 channels"):
        assemble(Pooled(), table(mean=[0.1, 0.2], std=[1.0, 1.0]), image(), LABELS)
    with pytest.raises(InputError, match=r"m:f answers \[9, 3\] for 9 images\n  expected: \[9, 2\]"):
        assemble(Pooled(), table(), image(), ("a", "b"))


def test_large_models_are_asked_in_parts() -> None:
    sizes: list[int] = []

    def inner(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return x.mean((2, 3))

    Opened(inner, About("", "torch"))(torch.zeros(2 * BATCH + 3, 3, 2, 2))
    assert sizes == [BATCH, BATCH, 3]
    assert Teacher(nn.Flatten(), (0.0,), (1.0,), size=(224, 224)).batch == 83


def test_finished_sources_are_those_of_the_table() -> None:
    assert set(TEACHERS) - FINISHED == {"residual_cnn", "wave_cnn"} and set(TEACHERS) > FINISHED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('checkpoint = "a.safetensors"', r"teacher.checkpoint: has no meaning for source = 'onnx'"),
        ("[teacher.schedule]\nepochs = 3", r"teacher.schedule: has no meaning for source = 'onnx'\n  expected: none: there is nothing to"),
        ("size = [8]", r"teacher.size: found \[8\]"),
        ('labels = ["a", "a"]', r"teacher.labels: \['a', 'a'\] has a name twice"),
        ('output = "softmax"', r"(?s)teacher.output: found 'softmax' .*'logits' or 'probabilities'"),
        ("scale = 0.0", r"teacher.scale: found 0.0"),
    ],
)
def test_contradictions(tmp_path: Path, text: str, message: str) -> None:
    where = recipe(tmp_path / "r", {TEACHER: f'source = "onnx"\noptions = {{ file = "t.onnx" }}\n{text}\n'})
    with pytest.raises(InputError, match=message):
        load(where)


def test_a_file_of_outputs_is_fed_no_image(tmp_path: Path) -> None:
    where = recipe(tmp_path / "r", {TEACHER: 'source = "soft_targets"\noptions = { file = "t.npy" }\nmean = [0.5]\nsize = [8, 8]\n'})
    with pytest.raises(InputError, match=r"(?s)teacher.mean: has no meaning.*teacher.size: has no meaning for source = 'soft_targets'"):
        load(where)


@pytest.mark.parametrize("source", sorted(FINISHED))
def test_nothing_to_train(tmp_path: Path, source: str) -> None:
    loaded = load(recipe(tmp_path / "r", {TEACHER: f'source = "{source}"\n'}))
    with pytest.raises(
        InputError, match=rf"there is nothing to train: source = '{source}' is a finished teacher\n  to mend:  edgekd build"
    ):
        teach_recipe(loaded, None, tmp_path, lambda *_: None, fresh=False)  # type: ignore[arg-type]
