"""The shipped recipe of spoken digits: its teacher is the one that its card describes, and its student fits."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from edgekd.data.load import load_data
from edgekd.export.tflite import encode
from edgekd.quant.capture import capture
from edgekd.quant.freeze import freeze
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme
from edgekd.recipe.load import load
from edgekd.students.family import open_family
from edgekd.teachers import reading
from edgekd.teachers.reading import Reader
from edgekd.teachers.residual_cnn import residual_cnn
from edgekd.teachers.teacher import Teacher, load_weights, logits
from edgekd.train.ask import open_teacher

DATA = Path(os.environ.get("EDGEKD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


@pytest.mark.skipif(not (DATA / "fsdd" / "recordings.zip").is_file(), reason="no recordings: set EDGEKD_DATA to a folder with fsdd")
def test_the_teacher_is_the_cards(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKD_DATA", str(DATA))
    loaded = load(repository / "models" / "spoken_digits")
    data = load_data(loaded.recipe.data.source, loaded.recipe.data.options, loaded.folder)
    teacher = open_teacher(loaded, data)
    assert isinstance(teacher, Teacher)
    answers = logits(teacher, data.validation.x, bf16=False)
    assert 0.98 <= np.mean(answers.argmax(1) == data.validation.y) <= 0.987
    family = open_family(loaded.recipe.student.family)
    assert family.sketch is not None
    specs = list(family.candidates(loaded.recipe.student.options, loaded.recipe.student.space, data.shape, len(data.labels)))
    assert len(specs) == 21 and family.sketch(specs[0], Scheme()).outputs


def test_the_student_is_a_hundredth_of_the_teachers_float_file(repository: Path) -> None:
    """Of the teacher exported to TFLite in float32, and the budget that the recipe gives the student; the card has the accuracies."""
    loaded = load(repository / "models" / "spoken_digits")
    shape = (1, 39, 24)
    body = residual_cnn(channels=1, classes=10, **loaded.recipe.all_teachers[0].options)
    load_weights(body, loaded.folder / "teacher.safetensors")
    module = QatModule(capture(body.eval(), shape), Scheme(numeric="float32"))
    module.calibrate([torch.zeros(1, *shape)])
    exported = len(encode(freeze(module)))
    assert exported == pytest.approx(1_891_440, abs=64)
    assert exported / loaded.recipe.targets["nrf52840dk"].model_bytes > 100


@pytest.mark.skipif(not (DATA / "fsdd" / "recordings.zip").is_file(), reason="no recordings: set EDGEKD_DATA to a folder with fsdd")
def test_teachers_of_two_tasks_are_the_cards(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKD_DATA", str(DATA))
    loaded = load(repository / "models" / "digits_and_speakers")
    data = load_data(loaded.recipe.data.source, loaded.recipe.data.options, loaded.folder)
    digit, speaker = (open_teacher(loaded, data, table=table) for table in loaded.recipe.all_teachers)
    assert isinstance(digit, Teacher) and isinstance(speaker, Reader)
    seen, heard = logits(digit, data.validation.x, bf16=False), reading.logits(speaker, data.validation.more["wave"], bf16=False)
    right = [np.mean(answer.argmax(1) == data.validation.classes(task)) for task, answer in enumerate((seen, heard))]
    assert right[0] >= 0.99 and right[1] == 1, right
