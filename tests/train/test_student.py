from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.data.dataset import Dataset, Split
from edgekd.data.resize import resize
from edgekd.data.views import Views
from edgekd.losses.cross_entropy import cross_entropy
from edgekd.quant.prepare import QatModule
from edgekd.quant.reference import run as compute
from edgekd.quant.scheme import Scheme
from edgekd.recipe.schema import Preset
from edgekd.train.distill import Term
from edgekd.train.lesson import Lesson
from edgekd.train.student import FLOAT, QAT, Training, frozen, oracle, outputs, quantize_aware, warm_up

NAMED = SimpleNamespace(name="halves", compress=None)
PRESET = Preset(float_epochs=3, qat_epochs=2, batch=8, learning_rate=0.02, qat_learning_rate=0.002, bf16="off")


class Stopped(Exception):
    pass


def data(*, dark: int = 0) -> Dataset:
    """The class is which half is brighter; ``dark`` samples that are all black stand first in training."""
    generator = np.random.default_rng(0)

    def split(n: int) -> Split:
        y = np.arange(n) % 2
        x = generator.integers(0, 100, (n, 8, 8, 1))
        x[y == 0, :, :4] += 120
        x[y == 1, :, 4:] += 120
        return Split(x.astype(np.uint8), y.astype(np.int64))

    train = split(64)
    x, y = np.concatenate([np.zeros((dark, 8, 8, 1), np.uint8), train.x]), np.concatenate([np.zeros(dark, np.int64), train.y])
    return Dataset("halves", Split(x, y), split(24), split(24), ("left", "right"))


def training(*, seed: int = 0, size: tuple[int, int] = (8, 8), dark: int = 0) -> Training:
    """A lesson without a teacher: the loss looks at labels alone."""
    source = data(dark=dark)
    targets = np.zeros((2, len(source.train), 2), np.float16)
    terms = (Term(cross_entropy, 1.0, {}),)  # type: ignore[arg-type]
    lesson = Lesson(NAMED, source, Views(2, shift=1), terms, (targets,), (targets[0, :24],), "")  # type: ignore[arg-type]
    return Training(lesson, PRESET, size, seed)


def student(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU6(), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(2))


def made(side: int = 8) -> nn.Module:
    model = student()
    model(torch.zeros(2, 1, side, side))
    return model


def quiet(_: str, __: int, ___: int) -> None:
    pass


def built(folder: Path, scheme: Scheme, what: Training) -> Path:
    run = folder / "run"
    run.mkdir(parents=True)
    side = what.size[0]
    warm_up(made(side), what, folder / "shared", run, quiet)
    quantize_aware(made(side), what, scheme, folder / "qat", run, quiet)
    return run


@pytest.mark.parametrize("scheme", [Scheme(), Scheme(symmetric_activations=True), Scheme(per_channel_weights=False)])
@pytest.mark.parametrize("side", [8, 6])
def test_the_frozen_student_answers_as_it_was_trained_to(tmp_path: Path, scheme: Scheme, side: int) -> None:
    what = training(size=(side, side))
    run = built(tmp_path, scheme, what)
    graph = frozen(made(side), what, scheme, run)
    test = what.lesson.data.test
    pixels = resize(test.x, side, side)
    logits = compute(graph, (pixels.astype(int) - 128).astype(np.int8), "tflm")[graph.outputs[0]]
    assert (logits.argmax(1) == test.y).mean() >= 0.9
    assert (oracle(made(side), run, pixels).argmax(1) == test.y).mean() >= 0.9


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    runs = [built(tmp_path / name, Scheme(), training(seed=seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert (runs[0] / QAT).read_bytes() == (runs[1] / QAT).read_bytes() != (runs[2] / QAT).read_bytes()
    assert not list(tmp_path.rglob("*.state"))


def test_an_interrupted_quantized_training_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole, what = built(tmp_path / "a", Scheme(), training()), training()
    run = tmp_path / "b"
    run.mkdir()
    warm_up(made(), what, tmp_path / "shared", run, quiet)

    def stop(_: str, done: int, __: int) -> None:
        if done == 16:  # the last of two passes, before its state is stored
            raise Stopped

    with pytest.raises(Stopped):
        quantize_aware(made(), what, Scheme(), tmp_path / "qat", run, stop)
    assert (tmp_path / "qat" / "qat.state").exists()
    quantize_aware(made(), what, Scheme(), tmp_path / "qat", run, quiet)
    assert (run / QAT).read_bytes() == (whole / QAT).read_bytes()


def test_the_float_student_is_trained_once(tmp_path: Path) -> None:
    first = warm_up(made(), training(), tmp_path / "shared", tmp_path, quiet)

    def never(*_: object) -> None:
        raise AssertionError("trained again")

    again = warm_up(made(), training(), tmp_path / "shared", tmp_path, never)
    assert again == first and len(first.history) == 3
    (tmp_path / "shared" / FLOAT).write_bytes(b"damaged")
    assert warm_up(made(), training(), tmp_path / "shared", tmp_path, quiet).sha256 == first.sha256


def test_quantized_training_is_shared_as_well(tmp_path: Path) -> None:
    run = built(tmp_path, Scheme(), training())
    other = tmp_path / "other"
    other.mkdir()
    (other / FLOAT).write_bytes((run / FLOAT).read_bytes())

    def never(*_: object) -> None:
        raise AssertionError("trained again")

    quantize_aware(made(), training(), Scheme(), tmp_path / "qat", other, never)
    assert (other / QAT).read_bytes() == (run / QAT).read_bytes()


def test_the_figure_is_that_of_the_weights_that_were_kept(tmp_path: Path) -> None:
    warm_up(made(), training(), tmp_path / "shared", tmp_path, quiet)
    checkpoint = quantize_aware(made(), training(), Scheme(), tmp_path / "qat", tmp_path, quiet)
    assert checkpoint.figures["validation_accuracy"].value == max(h["validation"] for h in checkpoint.history)


def test_calibration_looks_at_all_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that lie class by class: the first 600 are black, and tell nothing about the others."""
    seen: list[torch.Tensor] = []
    plain = QatModule.calibrate

    def record(module: QatModule, batches: Iterable[torch.Tensor]) -> None:
        seen.extend(batches)
        plain(module, seen)

    monkeypatch.setattr(QatModule, "calibrate", record)
    built(tmp_path, Scheme(), training(dark=600))
    (batch,) = seen
    bright = (batch > -1).flatten(1).any(1)
    assert len(batch) == 512 and 40 < int(bright.sum()) < 64


def test_float16_is_the_float_student(tmp_path: Path) -> None:
    what = training()
    warm_up(made(), what, tmp_path / "shared", tmp_path, quiet)
    graph = frozen(made(), what, Scheme("float16"), tmp_path)
    pixels = what.lesson.data.test.x
    found = compute(graph, (pixels.astype(np.float32) - 128) / 128, "float")[graph.outputs[0]]
    np.testing.assert_allclose(found, oracle(made(), tmp_path, pixels), atol=2e-2)
    np.testing.assert_array_equal(outputs(made().eval(), pixels, batch=5).shape, found.shape)
