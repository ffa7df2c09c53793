from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.data.dataset import Split
from edgekd.data.views import Views
from edgekd.errors import EdgekdError, InputError, OutOfMemory
from edgekd.losses.cross_entropy import cross_entropy
from edgekd.losses.soft_targets import soft_targets
from edgekd.train.distill import Feed, Term, student_input
from edgekd.train.judge import evaluate
from edgekd.train.loop import Course, Desk, Phase, fit
from edgekd.train.state import load_state
from tests.watching import Stopped, quiet, stop_at

PHASE = Phase("float", 3, 0.02, 0.01, seed=3)
TERMS = (Term(cross_entropy, 0.5, {}), Term(soft_targets, 0.5, {"temperature": 2.0}))  # type: ignore[arg-type]


def split(n: int, seed: int = 0) -> Split:
    """The class is the brighter half."""
    generator = np.random.default_rng(seed)
    x, y = generator.integers(0, 128, (n, 6, 6, 1)), generator.integers(0, 2, n)
    x[np.arange(n), :, :3] += np.where(y == 0, 100, 0)[:, None, None, None].repeat(6, 1).repeat(3, 2)
    x[np.arange(n), :, 3:] += np.where(y == 1, 100, 0)[:, None, None, None].repeat(6, 1).repeat(3, 2)
    return Split(x.astype(np.uint8), y.astype(np.int64))


def feed(n: int = 64, batch: int = 8) -> Feed:
    data = split(n)
    targets = np.where(np.arange(2) == data.y[:, None], 2.0, -2.0).astype(np.float16)
    return Feed(data, Views(2, shift=1), (np.stack([targets, targets]),), batch, (6, 6))


def net() -> nn.Module:
    """Batch norm and dropout: both have a state that a resumed training must find again."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(64, 2))


def train(model: nn.Module, state: Path, phase: Phase = PHASE, **options: object) -> tuple[dict[str, object], ...]:
    given = {"feed": feed(), "progress": quiet} | options
    terms = given.get("terms", TERMS)
    course = Course(given["feed"], terms, split(40, 1), given.get("live", ()))  # type: ignore[arg-type]
    return fit(model, course, phase, Desk(state, given["progress"]))  # type: ignore[arg-type]


def timeless(entry: dict[str, object]) -> dict[str, object]:
    return {**entry, "seconds": 0, "images_per_s": 0}


def test_learns(tmp_path: Path) -> None:
    model = net()
    history = train(model, tmp_path / "s")
    assert len(history) == 3 and history[-1]["validation"] == evaluate(model, split(40, 1)) > 0.9  # type: ignore[operator]
    assert history[-1]["loss"] < history[0]["loss"]  # type: ignore[operator]
    assert {h["phase"] for h in history} == {"float"}
    assert {(h["threads"], h["bf16"]) for h in history} == {(torch.get_num_threads(), False)}


@pytest.mark.parametrize("select", [False, True])
def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path, select: bool) -> None:
    phase = replace(PHASE, select=select)
    undisturbed, interrupted = net(), net()
    batches = feed(320)  # 40 steps a pass: progress is told in the middle of each
    whole = train(undisturbed, tmp_path / "a", phase, feed=batches)
    for step in (20, 60, 100):  # in the first pass, before anything was stored; in the second; in the third
        interrupted = net()
        with pytest.raises(Stopped):
            train(interrupted, tmp_path / "b", phase, feed=batches, progress=stop_at(step))
    interrupted = net()
    torch.manual_seed(99)
    history = train(interrupted, tmp_path / "b", phase, feed=batches)
    for name, value in undisturbed.state_dict().items():
        assert torch.equal(value, interrupted.state_dict()[name]), name
    assert [timeless(h) for h in history] == [timeless(h) for h in whole]


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    model, again = net(), net()
    train(model, tmp_path / "s")
    history = train(again, tmp_path / "s", progress=stop_at(0))
    assert len(history) == 3
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


@pytest.mark.parametrize(("epochs", "passes", "steps"), [(0.5, 1, 4), (1.25, 2, 10), (2.0, 2, 16), (0.01, 1, 1)])
def test_a_fraction_of_a_pass(tmp_path: Path, epochs: float, passes: int, steps: int) -> None:
    seen: list[tuple[int, int]] = []
    history = train(net(), tmp_path / "s", replace(PHASE, epochs=epochs), progress=lambda _, n, total: seen.append((n, total)))
    assert len(history) == passes and seen[-1] == (steps, steps)


@pytest.mark.parametrize(("name", "key"), [("float", "lower learning_rate"), ("qat", "lower qat_learning_rate")])
def test_a_loss_that_is_not_finite_stops_before_it_is_stored(tmp_path: Path, name: str, key: str) -> None:
    model = net()
    nn.init.constant_(model[-1].weight, float("nan"))  # type: ignore[index,arg-type]
    with pytest.raises(
        EdgekdError, match=rf"phase {name}: the loss is not finite at step 1 of 24 \(.+\)\n  to mend:  {key} in the recipe's preset"
    ):
        train(model, tmp_path / "s", replace(PHASE, name=name))
    assert not (tmp_path / "s").exists()


def test_the_step_and_the_losses_that_went_wrong_are_named_and_the_last_good_state_stays(tmp_path: Path) -> None:
    """A loss that is infinite in the 14th step, of 8 a pass: the state after the first pass is kept, and a training that goes on from it
    stops at the same step."""
    calls = 0

    def breaks(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return student.square().mean() * (float("inf") if calls == 14 else 1.0)

    state = tmp_path / "float.state"
    terms = (Term(cross_entropy, 0.5, {}, name="cross_entropy"), Term(breaks, 0.5, {}, name="breaks"))
    said = rf"phase float: the loss is not finite at step 14 of 24 \(breaks\)\n  kept:     the state after the last good pass, {state}\n"
    with pytest.raises(EdgekdError, match=said) as caught:
        train(net(), state, terms=terms)
    assert caught.value.exit_code == 2 and len(torch.load(state, weights_only=True)["history"]) == 1
    good = state.read_bytes()
    calls = 8
    with pytest.raises(EdgekdError, match=said):
        train(net(), state, terms=terms)
    assert state.read_bytes() == good


def test_a_weight_that_is_not_finite_is_never_kept(tmp_path: Path) -> None:
    """The loss of the last step was finite, the gradient was not."""
    steps = 0

    def breaks(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == 8:
            student.register_hook(lambda gradient: gradient * float("nan"))
        return student.square().mean()

    terms = (Term(breaks, 1.0, {}, name="breaks"),)
    with pytest.raises(EdgekdError, match=r"phase float: 0\.weight is not finite after step 8 of 24\n  to mend:  lower learning_rate"):
        train(net(), tmp_path / "s", terms=terms)
    assert not (tmp_path / "s").exists()


class Remembers(nn.Identity):
    def get_extra_state(self) -> dict[str, int]:
        return {"made": 2026}

    def set_extra_state(self, state: dict[str, int]) -> None:
        assert state == {"made": 2026}


def test_a_buffer_that_is_meant_to_be_infinite(tmp_path: Path) -> None:
    """The mask of an attention, for example; and what a module keeps beside its weights need not be numbers."""
    model = nn.Sequential(net(), Remembers())
    model.register_buffer("mask", torch.full((2,), -torch.inf))
    assert len(train(model, tmp_path / "s")) == 3


def test_no_memory_for_a_state_is_not_its_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not put aside, and hours with it: whoever has memory again goes on."""
    with pytest.raises(Stopped):
        train(net(), tmp_path / "s", progress=stop_at(12))

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", full)
        with pytest.raises(OutOfMemory, match="can't allocate memory"):
            train(net(), tmp_path / "s")
    assert [file.name for file in tmp_path.iterdir()] == ["s"]
    assert len(train(net(), tmp_path / "s")) == 3


def test_the_state_of_another_model(tmp_path: Path) -> None:
    train(net(), tmp_path / "s")
    with pytest.raises(InputError, match=r"(?s)the training that was interrupted was another one .*to mend:  rm "):
        train(nn.Sequential(nn.Flatten(), nn.Linear(36, 2)), tmp_path / "s")


@pytest.mark.parametrize("content", [b"PK\x03\x04 half a file", b""])
def test_an_unreadable_state_starts_over_says_so_and_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    state = tmp_path / "float.state"
    state.write_bytes(content)
    assert len(train(net(), state)) == 3
    (said,) = caplog.messages
    assert said.startswith(f"{state} cannot be read (") and said.endswith("starts over; the file is kept as float.state.unreadable")
    assert (tmp_path / "float.state.unreadable").read_bytes() == content
    assert len(train(net(), state, progress=stop_at(0))) == 3 and len(caplog.messages) == 1


def test_a_flipped_bit_of_a_state_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever it is: torch would read weights with flipped bits without a word."""
    state = tmp_path / "float.state"
    with pytest.raises(Stopped):
        train(net(), state, progress=stop_at(12))
    whole = state.read_bytes()
    for at in (len(whole) // 3, len(whole) // 2, len(whole) - 60, len(whole) - 1):
        state.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        caplog.clear()
        assert load_state(state) is None and "the training starts over" in caplog.messages[0], at
    state.write_bytes(whole[: -len(b"edgekd sha256 ") - 32])  # as it was written before there were hashes
    found = load_state(state)
    assert found is not None and len(found["history"]) == 2


def test_select_keeps_the_best_pass(tmp_path: Path) -> None:
    """A rate so high that later passes are worse than the best."""
    for rate in (0.5, 1.0, 3.0):
        phase, model = replace(PHASE, epochs=6, learning_rate=rate, select=True), net()
        history = train(model, tmp_path / f"{rate}", phase)
        assert evaluate(model, split(40, 1)) == max(h["validation"] for h in history)  # type: ignore[type-var]


def test_evaluate_does_not_depend_on_the_batch() -> None:
    model, data = net(), split(23)
    right = (model.eval()(student_input(data.x)).argmax(1).numpy() == data.y).mean()
    assert evaluate(model, data, batch=7) == evaluate(model, data) == pytest.approx(right)
