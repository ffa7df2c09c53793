from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from edgekd.students.family import Family, open_family
from edgekd.train.loop import Phase
from edgekd.train.supernet import DRAWN, SuperNet, _apart
from tests.train.test_loop import feed, train
from tests.watching import Stopped, stop_at

SMALL: dict[str, Any] = {"stem": 4, "widths": [4, 8], "blocks": [1, 1], "strides": [1, 2], "expansion": 1}
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "inverted_residual": [
        {**SMALL},
        {**SMALL, "widths": [8, 8], "blocks": [2, 1], "expansion": [3, 2], "kernel": [5, 3]},
        {**SMALL, "stem": 8, "widths": [4, 12], "blocks": [1, 3], "expansion": [1, 4], "kernel": 7},
    ],
    "ds_cnn": [
        {"channels": 8, "blocks": 1, "stem_kernel": [4, 3]},
        {"channels": 16, "blocks": 2, "stem_kernel": [4, 3]},
        {"channels": 4, "blocks": 3, "stem_kernel": [4, 3]},
    ],
}


def family_and_specs(name: str, options: list[dict[str, Any]] | None = None) -> tuple[Family, list[Any]]:
    family = open_family(name)
    return family, [next(iter(family.candidates(one, {}, (6, 6, 1), 2))) for one in options or OPTIONS[name]]


def supernet(name: str, options: list[dict[str, Any]] | None = None) -> SuperNet:
    family, specs = family_and_specs(name, options)
    torch.manual_seed(0)
    net = SuperNet(family, specs)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 2)
            nn.init.uniform_(part.bias, -1, 1)
    return net


FUSED = [{**SMALL, "fused": 1, "head": 8, "expansion": [2, 1]}, {**SMALL, "fused": 1, "head": 12, "expansion": [3, 1], "widths": [8, 16]}]


@pytest.mark.parametrize(("name", "options"), [("inverted_residual", None), ("ds_cnn", None), ("inverted_residual", FUSED)])
def test_a_student_answers_inside_as_it_does_cut_out(name: str, options: list[dict[str, Any]] | None) -> None:
    net, x = supernet(name, options), torch.randn(4, 1, 6, 6)
    family, specs = family_and_specs(name, options)
    assert family.shared is not None and len({family.shared.kin(spec) for spec in specs}) == 1
    for spec in [*specs, net.largest]:
        student = net.cut(spec, [x])
        assert {k: v.shape for k, v in student.state_dict().items()} == {k: v.shape for k, v in family.build(spec).state_dict().items()}
        torch.testing.assert_close(student.train()(x), net.answer(spec, x))
    torch.testing.assert_close(net.answer(net.largest, x), net.net.train()(x))


def test_only_what_a_student_is_made_of_is_trained_by_it() -> None:
    net = supernet("ds_cnn")
    smallest = net.specs[0]
    assert smallest.channels == 4 or smallest.blocks == 1
    net.answer(smallest, torch.randn(4, 1, 6, 6)).square().sum().backward()
    for name, parameter in net.net.named_parameters():
        inside = torch.zeros_like(parameter, dtype=torch.bool)
        for theirs, where in net._template(smallest)[1].values():
            if theirs == name:
                inside[where] = True
        assert parameter.grad is None or not parameter.grad[~inside].any(), name
        assert parameter.grad is not None or not inside.any(), name


def test_statistics_are_means_over_the_batches_and_momentum_is_as_it_was() -> None:
    net, batches = supernet("ds_cnn"), [torch.randn(6, 1, 6, 6) for _ in range(3)]
    student = net.cut(net.specs[-1], batches)
    first = next(m for m in student.modules() if isinstance(m, nn.Conv2d))
    norm = next(m for m in student.modules() if isinstance(m, nn.BatchNorm2d))
    padded = next(m for m in student.modules() if isinstance(m, nn.Sequential) and any(c is first for c in m.children()))
    seen = []
    for x in batches:
        for layer in padded.children():
            x = layer(x)
            if layer is first:
                break
        seen.append(x)
    assert norm.running_mean is not None and norm.momentum == 0.1 and not student.training
    torch.testing.assert_close(norm.running_mean, torch.stack([y.mean((0, 2, 3)) for y in seen]).mean(0))


def test_the_criterion_by_hand() -> None:
    logits = torch.randn(3, 5, 4)
    p = functional.softmax(logits, -1)
    expected = sum(float((p[0] * (p[0] / p[n]).log()).sum(-1).mean()) for n in (1, 2)) / 2
    assert float(_apart(logits)) == pytest.approx(expected, rel=1e-5)
    one = logits.clone().requires_grad_()
    _apart(one).backward()
    assert one.grad is not None and not one.grad[0].any() and one.grad[1:].any()


def test_it_is_trained_by_the_loop_and_goes_on_where_it_was(tmp_path: Path) -> None:
    phase = Phase("supernet", 4, 0.02, 0.01, seed=1)
    whole, parts = supernet("inverted_residual"), supernet("inverted_residual")
    torch.manual_seed(5)
    history = train(whole, tmp_path / "a", phase, feed=feed(320))
    assert "in_place" in history[0]["losses"] and history[-1]["validation"] > 0.9  # type: ignore[operator]
    with pytest.raises(Stopped):
        train(parts, tmp_path / "b", phase, feed=feed(320), progress=stop_at(100))
    again = supernet("inverted_residual")
    train(again, tmp_path / "b", phase, feed=feed(320))
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))
    # The smallest has learned as well.
    from edgekd.train.judge import evaluate
    from tests.train.test_loop import split

    small = whole.cut(whole.specs[0], [batch.x for batch in feed(320).batches(torch.Generator().manual_seed(0))])
    assert evaluate(small, split(40, 1)) > 0.85


def test_in_training_it_answers_for_several_students() -> None:
    net = supernet("ds_cnn")
    assert net.train()(torch.randn(2, 1, 6, 6)).shape == (2 + DRAWN, 2, 2)
    assert net.eval()(torch.randn(2, 1, 6, 6)).shape == (2, 2)
    sizes = [sum(p.numel() for p in net.cut(spec, [torch.randn(2, 1, 6, 6)]).parameters()) for spec in net.specs]
    assert all(a <= b for a, b in pairwise(sizes))
