from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.data.dataset import Dataset, Split
from edgekd.errors import EdgekdError, InputError
from edgekd.recipe.schema import Teacher as Table
from edgekd.teachers import reading
from edgekd.teachers.teacher import Teacher, logits
from edgekd.teachers.wave_cnn import wave_cnn
from edgekd.train.augment import slide
from edgekd.train.teach import TeachSchedule, teach
from tests.watching import Stopped, quiet, stop_at

SCHEDULE = TeachSchedule(3, 8, 0.05, 5e-4, mirror=False, shift=1, cutout=2, seed=1, average=0.9)


def data(n: int = 64) -> Dataset:
    """The class is whether the image is bright."""
    generator = np.random.default_rng(0)

    def split(m: int) -> Split:
        y = np.arange(m) % 2
        return Split((generator.integers(0, 100, (m, 8, 8, 1)) + 120 * y[:, None, None, None]).astype(np.uint8), y.astype(np.int64))

    return Dataset("bright", split(n), split(20), split(20), ("dark", "bright"))


def teacher() -> Teacher:
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    return Teacher(body, (0.4,), (0.3,))


def test_learns_and_returns_its_average(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    model = teacher()
    taught = teach(model, data(), replace(SCHEDULE, epochs=6), tmp_path / "s", lambda _, n, total: seen.append((n, total)))
    assert taught is not model and not any(p.requires_grad for p in taught.parameters())
    assert (logits(taught, data().test.x, bf16=False).argmax(1) == data().test.y).mean() > 0.9
    assert seen[-1] == (48, 48) and [n for n, _ in seen] == sorted(n for n, _ in seen)


def test_one_that_hears_what_the_student_sees(tmp_path: Path) -> None:
    """Bright is a high tone. The images are black: what it learns it heard."""
    generator = np.random.default_rng(0)

    def split(n: int) -> Split:
        y = np.arange(n) % 2
        tone = np.sin(np.arange(240) * (0.2 + 0.5 * y[:, None]) + generator.uniform(0, 6, (n, 1))) * 9000
        return Split(np.zeros((n, 8, 8, 1), np.uint8), y.astype(np.int64), {"wave": tone.astype(np.int16)})

    heard = Dataset("tones", split(64), split(20), split(20), ("low", "high"))
    torch.manual_seed(0)
    table = Table(source="wave_cnn", reads="wave", std=[0.2])
    model = reading.reader(wave_cnn(classes=2, width=4), table, heard.train.more["wave"][:2], heard.labels)
    taught = teach(model, heard, replace(SCHEDULE, epochs=8, cutout=0, shift=20), tmp_path / "s", quiet)
    assert (reading.logits(taught, heard.test.more["wave"], bf16=False).argmax(1) == heard.test.y).mean() > 0.9


def test_a_sequence_slides_and_silence_comes_in() -> None:
    x = torch.arange(1.0, 6.0).repeat(200, 1)
    seen = {tuple(row.tolist()) for row in slide(x, 2, torch.Generator().manual_seed(0))}
    assert seen == {(0, 0, 1, 2, 3), (0, 1, 2, 3, 4), (1, 2, 3, 4, 5), (2, 3, 4, 5, 0), (3, 4, 5, 0, 0)}


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = teach(teacher(), data(), SCHEDULE, tmp_path / "a", quiet)
    for step in (8, 16, 24):  # 8 steps an epoch; told of the last before its state is stored
        with pytest.raises(Stopped):
            teach(teacher(), data(), SCHEDULE, tmp_path / "b", stop_at(step))
    torch.manual_seed(99)
    again = teach(teacher(), data(), SCHEDULE, tmp_path / "b", quiet)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_fewer_samples_than_a_batch(tmp_path: Path) -> None:
    teach(teacher(), data(6), replace(SCHEDULE, batch=128), tmp_path / "s", quiet)


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    with pytest.raises(EdgekdError, match=r"the teacher's loss is not finite at step 2 of 24\n  to mend:  lower learning_rate"):
        teach(teacher(), data(), replace(SCHEDULE, learning_rate=float("inf")), tmp_path / "s", quiet)


def test_the_state_of_another_teacher(tmp_path: Path) -> None:
    teach(teacher(), data(), SCHEDULE, tmp_path / "s", quiet)
    with pytest.raises(InputError, match="the training that was interrupted was another one"):
        teach(Teacher(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), (0.0,), (1.0,)), data(), SCHEDULE, tmp_path / "s", quiet)
