"""Which weights a training keeps, and what of its losses: averages, patience, peers, losses with a state; all of it resumable."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgekd.data.dataset import Split, Task
from edgekd.losses.cross_entropy import cross_entropy
from edgekd.quant.capture import capture_paths
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme
from edgekd.train.average import Average
from edgekd.train.distill import Feed, Term, student_input
from edgekd.train.judge import best_peer, evaluate, evaluate_each
from edgekd.train.loop import Course, Desk, Phase, fit
from edgekd.train.peers import Peers
from edgekd.train.taps import Live
from tests.train.test_loop import PHASE, feed, net, split, timeless
from tests.watching import Stopped, quiet, stop_at

HARD = Term(cross_entropy, 1.0, {}, "cross_entropy")
VALIDATION = split(40, 1)


class Remember(nn.Module):
    """A loss with a projection that is trained and a memory of each sample's last features."""

    def __init__(self, student: torch.Tensor, teacher: torch.Tensor, samples: int) -> None:
        super().__init__()
        self.project = nn.Linear(student.flatten(1).shape[1], teacher.flatten(1).shape[1])
        self.register_buffer("memory", torch.zeros(samples, teacher.flatten(1).shape[1]))

    def forward(self, student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        found = self.project(student.flatten(1))
        apart = (found - teacher.flatten(1)).square().mean() + 0.1 * (found - self.memory[indices]).square().mean()  # type: ignore[index]
        self.memory[indices] = found.detach()  # type: ignore[index,operator]
        return apart


class Teacher(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.body = nn.Sequential(nn.Conv2d(1, 3, 3, stride=2), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).mean((2, 3))[:, :2]


HINT = Term(Remember, 0.5, {}, "remember", "2", "body.0")
OWN = Term(Remember, 0.5, {}, "remember", "0", "student:2")


def quantized() -> QatModule:
    graph, paths = capture_paths(net().eval(), (1, 6, 6))
    module = QatModule(graph, Scheme(), paths)
    module.calibrate([student_input(split(64).x)])
    return module


def peers() -> Peers:
    torch.manual_seed(11)
    return Peers([net(), nn.Sequential(*[copy.deepcopy(layer) for layer in net()])])  # type: ignore[arg-type]


def train(model: nn.Module, state: Path, phase: Phase = PHASE, *, terms: tuple[Term, ...] = (HARD,), progress: Any = quiet) -> Any:
    course = Course(feed(320), terms, VALIDATION, (Live(Teacher()),))
    return fit(model, course, phase, Desk(state, progress))


CASES = {
    "hint": (net, PHASE, (HARD, HINT)),
    "from itself": (net, PHASE, (HARD, OWN)),
    "average": (net, replace(PHASE, ema=0.9), (HARD,)),
    "patience": (net, replace(PHASE, patience=1), (HARD,)),
    "peers, average, hint": (peers, replace(PHASE, ema=0.9), (HARD, HINT)),
    "quantized, average, hint": (quantized, replace(PHASE, name="qat", ema=0.9, select=True, learning_rate=0.002), (HARD, HINT)),
}


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path, case: str) -> None:
    made, phase, terms = CASES[case]
    whole, again = made(), made()
    history = train(whole, tmp_path / "a", phase, terms=terms)
    for step in (20, 60):  # 40 steps a pass: before anything was stored; in the second pass
        with pytest.raises(Stopped):
            train(made(), tmp_path / "b", phase, terms=terms, progress=stop_at(step))
    torch.manual_seed(99)
    resumed = train(again, tmp_path / "b", phase, terms=terms)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert [timeless(h) for h in resumed] == [timeless(h) for h in history]


def test_the_state_holds_the_losses_memory_and_its_optimizer_slots(tmp_path: Path) -> None:
    train(net(), tmp_path / "s", terms=(HARD, HINT))
    saved = torch.load(tmp_path / "s", weights_only=True)
    assert saved["criterion"]["modules_of_losses.1.memory"].any(1).all(), "every sample was met"
    assert len(saved["optimizer"]["state"]) == len(list(net().parameters())) + 2
    train(net(), tmp_path / "t")
    assert "criterion" not in torch.load(tmp_path / "t", weights_only=True)


def test_the_history_says_losses_agreement_and_speed(tmp_path: Path) -> None:
    (entry, *_) = train(net(), tmp_path / "s", terms=(HARD, HINT, replace(HARD, phase="qat")))
    assert set(entry["losses"]) == {"cross_entropy", "remember"} and 0 < entry["agreement"] <= 1 and entry["images_per_s"] > 0
    assert entry["loss"] == pytest.approx(entry["losses"]["cross_entropy"] + 0.5 * entry["losses"]["remember"], rel=1e-5)


def test_a_projection_is_trained_by_the_same_optimizer(tmp_path: Path) -> None:
    history = train(net(), tmp_path / "s", replace(PHASE, epochs=4), terms=(HARD, HINT))
    assert history[-1]["losses"]["remember"] < 0.8 * history[0]["losses"]["remember"]


def test_average_by_hand_for_weights_statistics_and_integers() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    average = Average(model, 0.5)
    expected = {name: value.clone().double() for name, value in model.state_dict().items()}
    for step, keep in enumerate((1 / 10, 2 / 11, 3 / 12, 4 / 13, 5 / 14)):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        model(torch.randn(3, 1, 2, 2))
        average.update(model, step)
        for name, new in model.state_dict().items():
            expected[name] = keep * expected[name] + (1 - keep) * new.double() if new.dtype.is_floating_point else new.double()
    for name, value in average.model.state_dict().items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
    late = Average(model, 0.5)
    with torch.no_grad():
        model[0].bias.add_(1)  # type: ignore[operator,union-attr]
    late.update(model, 1000)
    torch.testing.assert_close(model[0].bias - late.model[0].bias, torch.full((2,), 0.5))  # type: ignore[index,union-attr,operator]


@pytest.mark.parametrize("select", [False, True])
def test_the_average_is_what_is_judged_and_kept(tmp_path: Path, select: bool) -> None:
    plain, kept = net(), net()
    train(plain, tmp_path / "a")
    history = train(kept, tmp_path / "b", replace(PHASE, ema=0.99, select=select))
    assert evaluate(kept, VALIDATION) == (max if select else lambda h: h[-1])([h["validation"] for h in history])
    assert not torch.equal(plain[0].weight, kept[0].weight)  # type: ignore[index,arg-type]


def test_the_average_under_quantization_is_of_weights_and_steps(tmp_path: Path) -> None:
    plain, kept = quantized(), quantized()
    phase = replace(PHASE, name="qat", learning_rate=0.002)
    train(plain, tmp_path / "a", phase)
    train(kept, tmp_path / "b", replace(phase, ema=0.99))
    differ = [name for name, value in plain.state_dict().items() if not torch.equal(value, kept.state_dict()[name])]
    assert any(name.startswith("steps") for name in differ) and any(name.startswith("weight_steps") for name in differ)
    assert torch.equal(plain.zero_points, kept.zero_points)  # type: ignore[arg-type]
    assert all(p.requires_grad == q.requires_grad for p, q in zip(plain.parameters(), kept.parameters(), strict=True))


def test_patience_ends_a_training_and_keeps_its_best_pass(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    model = net()
    phase = replace(PHASE, epochs=30, learning_rate=0.05, patience=2)
    history = train(model, tmp_path / "s", phase, progress=lambda _, n, total: seen.append((n, total)))
    found = [h["validation"] for h in history]
    assert 3 <= len(history) < 30 and max(found[-2:]) <= max(found[:-2])
    assert all(max(found[n - 2 : n]) > max(found[: n - 2]) for n in range(3, len(found))), "it did not end too late"
    assert evaluate(model, VALIDATION) == max(found) and seen[-1] == (1200, 1200)
    assert train(net(), tmp_path / "s", phase, progress=stop_at(1201)) == history, "a weary training is finished"


def test_peers_learn_from_each_other_and_the_best_is_known(tmp_path: Path) -> None:
    both = peers()
    history = train(both, tmp_path / "s")
    assert set(history[-1]["losses"]) == {"cross_entropy", "mutual"}
    shares = [evaluate(student, VALIDATION) for student in both.students]
    assert history[-1]["validation"] == max(shares) == evaluate(best_peer(both, VALIDATION), VALIDATION) == evaluate(both, VALIDATION)


def test_several_tasks_are_judged_each_and_together() -> None:
    class Two(nn.Module):
        """Task one is always answered 1, task two 2."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([0.0, 9, 0, 0, 9]).expand(len(x), 5)

    x = VALIDATION.x[:4]
    y = torch.tensor([[1, 2], [1, 2], [1, 0], [0, 0]]).numpy()
    heads = (Task("kind", ("a", "b")), Task("size", ("s", "m", "l")))
    assert evaluate_each(Two(), Split(x, y), heads) == {"validation": 0.625, "validation_kind": 0.75, "validation_size": 0.5}
    assert evaluate(Two(), Split(x, y), heads) == 0.625


def test_a_task_without_a_teacher_has_no_agreement(tmp_path: Path) -> None:
    untaught = Feed(feed().split, feed().views, (None,), 8, (6, 6))
    (entry, *_) = fit(net(), Course(untaught, (HARD,), VALIDATION), PHASE, Desk(tmp_path / "s", quiet))
    assert "agreement" not in entry and entry["loss"] > 0
