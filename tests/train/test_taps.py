"""Taps: what modules answer while a model runs, by path, in a float module and in the graph that was captured from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.errors import InputError
from edgekd.quant.capture import capture_paths
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme
from edgekd.train.distill import Batch, Term
from edgekd.train.taps import Live, Taps, Tutors


class Student(nn.Module):
    """A rectifier in place behind a norm, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stem(x).mean((2, 3)))


def batch(n: int = 3) -> Batch:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 6, 6, 1)).astype(np.uint8)
    x = torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32))
    return Batch((x - 128) / 128, (torch.zeros(n, 2),), (torch.zeros(n, dtype=torch.int64),), torch.arange(n), pixels)


def test_values_are_those_of_the_modules_even_if_overwritten_in_place() -> None:
    model, x = Student().eval(), batch().x
    taps = Taps(model, ["stem.1", "stem", "stem.1"])
    model(x)
    normed = model.stem[1](model.stem[0](x))
    torch.testing.assert_close(taps["stem.1"], normed)
    torch.testing.assert_close(taps["stem"], normed.relu())
    taps["stem"].sum().backward()
    assert model.stem[0].weight.grad is not None
    taps.close()
    assert not model.stem._forward_hooks


def test_the_same_paths_tap_the_captured_graph() -> None:
    model, x = Student().eval(), batch().x
    graph, paths = capture_paths(model, (1, 6, 6))
    module = QatModule(graph, Scheme(), paths)
    module.calibrate([x])
    taps, plain = Taps(module, ["stem", "stem.0"]), Taps(model, ["stem"])
    model(x), module(x)
    assert torch.equal(taps["stem"], taps["stem.0"]) and taps["stem"].requires_grad
    assert (taps["stem"] - plain["stem"]).abs().max() < 0.05 * plain["stem"].max()
    taps.close()
    assert module.watched == () and module.kept == {}


def test_half_precision_comes_as_float32() -> None:
    model = Student()
    taps = Taps(model, ["stem.0"])
    with torch.autocast("cpu", torch.bfloat16):
        model(batch().x)
    assert taps["stem.0"].dtype == torch.float32


def test_the_first_tensor_of_whatever_a_module_answers() -> None:
    class Several(nn.Module):
        def forward(self, x: torch.Tensor) -> object:
            return {"hidden": (None, x * 2), "other": x} if self.training else [x * 3, x]

    class Nothing(nn.Module):
        def forward(self, x: torch.Tensor) -> None:
            return None

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.several, self.nothing, self.unused = Several(), Nothing(), nn.Linear(1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.several(x), self.nothing(x)
            return x

    model, x = Net(), torch.ones(2, 3)
    taps = Taps(model, ["several", "nothing", "unused"], where="recipe, losses[1]")
    model(x)
    assert torch.equal(taps["several"], 2 * x)
    model.eval()(x)
    assert torch.equal(taps["several"], 3 * x)
    for path in ("nothing", "unused"):
        with pytest.raises(InputError, match=rf"recipe, losses\[1\]: module '{path}' of the student answered no tensor"):
            taps[path]


def test_a_wrong_path_names_the_nearest_and_all() -> None:
    with pytest.raises(InputError) as caught:
        Taps(Student(), ["stem.4"], where="recipe, losses[0].student")
    assert str(caught.value) == (
        "recipe, losses[0].student: the student has no module 'stem.4'\n"
        "  expected: one of stem, stem.0, stem.1, stem.2, head\n"
        "  to mend:  perhaps 'stem.2' or 'stem.1' or 'stem.0'"
    )


def test_a_path_that_the_graph_lost() -> None:
    class Padded(Student):
        def __init__(self) -> None:
            super().__init__()
            self.stem.insert(0, nn.ZeroPad2d((0, 1, 0, 1)))

    graph, paths = capture_paths(Padded(), (1, 6, 6))
    with pytest.raises(InputError, match=r"the quantized student has no module 'stem.0', which the captured graph has no tensor for"):
        Taps(QatModule(graph, Scheme(), paths), ["stem.0"])


@dataclass(frozen=True)
class Seen:
    inputs: list[torch.Tensor]


class Teacher(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 5, 3), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(2))
        self.seen = Seen([])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.inputs.append(x)
        return self.body(x)


def term(teacher: str | tuple[str, ...] | None, task: int = 0) -> Term:
    return Term(lambda *_: None, 1.0, {}, "hint", "stem", teacher, task)


def test_live_teachers_run_once_a_batch_without_gradients_and_only_if_tapped() -> None:
    teacher, images = Teacher(), batch()
    teacher(torch.rand(1, 1, 6, 6))
    teacher.seen.inputs.clear()
    tutors = Tutors([term("body.0"), term(("body.0", "body")), term("student:stem"), term(None)], [Live(teacher)])
    taught = tutors(images)
    assert set(taught) == {(0, "body.0"), (0, "body")} and len(teacher.seen.inputs) == 1
    torch.testing.assert_close(teacher.seen.inputs[0], (images.x * 128 + 128) / 255)
    assert not taught[0, "body"].requires_grad and not teacher.training
    assert torch.equal(tutors(images)[0, "body"], taught[0, "body"]), "dropout is off"
    assert Tutors([term("student:stem"), term(None)], [Live(teacher)])(images) == {} and len(teacher.seen.inputs) == 2


def test_a_teacher_in_its_own_precision_and_of_other_readings() -> None:
    teacher = Teacher()
    teacher(torch.rand(1, 1, 6, 6))
    exact, rough = (Tutors([term("body.0")], [Live(teacher, bf16=bf16)])(batch())[0, "body.0"] for bf16 in (False, True))
    assert rough.dtype == torch.float32 and not torch.equal(exact, rough)
    torch.testing.assert_close(exact, rough, rtol=0.05, atol=0.05)
    readings = np.arange(4 * 36, dtype=np.float32).reshape(4, 1, 6, 6)
    Tutors([term("body.0")], [Live(teacher, readings=readings)])(batch())
    assert torch.equal(teacher.seen.inputs[-1], torch.from_numpy(readings[:3]))
    sound = Live(teacher, readings=readings.astype(np.int16)).fed(batch())
    assert sound.dtype == torch.int16  # whose range the teacher itself knows


def test_taps_of_a_teacher_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"the teacher has no module 'layer1'\n  expected: one of body, body.0"):
        Tutors([term("layer1")], [Live(Teacher())])
    with pytest.raises(InputError, match="this task has no teacher that could be run"):
        Tutors([term("body", 1)], [Live(Teacher())])
    with pytest.raises(InputError, match="this task has 2 teachers, and it is not said which is tapped"):
        Tutors([term("body")], [Live(Teacher()), Live(Teacher())])
