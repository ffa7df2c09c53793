"""Several processes train the same student as one does: on this machine, over loopback, one thread each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn
from torch._C._distributed_c10d import HashStore

from edgekd import team
from edgekd.errors import InputError
from edgekd.team import Parted, Team
from edgekd.train.ranks import Ranks, check_alike, check_batch
from edgekd.train.ranks_norm import norms, one_norm
from tests import ranks_trainings
from tests.ranks_trainings import CASES
from tests.train.test_loop import Remembers


@pytest.mark.parametrize("shape", [(6, 3, 4, 5), (8, 3)])
@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}])
def test_a_batch_norm_of_one_process_is_the_usual_one(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    kind: Any = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    usual, ours = kind(3, **options), kind(3, **options)
    ours.forward = one_norm(ours, lambda x: x)
    x: list[torch.Tensor] = []
    for seed in range(3):
        x = [(torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 3 + 50).requires_grad_() for _ in range(2)]
        y = [norm(one) for norm, one in zip((usual, ours), x, strict=True)]
        weights = torch.randn(shape, generator=torch.Generator().manual_seed(9))
        for one in y:
            (one * weights).sum().backward()
        torch.testing.assert_close(y[1], y[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(x[1].grad, x[0].grad, rtol=1e-4, atol=1e-5)
    for name, value in usual.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, msg=name)
    for one, other in zip(ours.parameters(), usual.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(ours.eval()(x[0]), usual.eval()(x[0]))
    assert norms(nn.Sequential(ours, nn.ReLU())) == [ours]


def test_one_process_is_a_team_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    here, x = team.here(), torch.ones(2, requires_grad=True)
    assert type(here) is Team and here.leads and not team.asked() and here.part(7) is None and here.whole(x) is x
    assert (here.told(lambda: 3), here.first(lambda: 4), team.launcher()) == (3, 4, "")
    for name in team.VARIABLES:
        monkeypatch.setenv(name, "1")
    assert not team.asked()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert team.asked()


def test_nothing_is_left_where_another_does_not_see_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends, and this process with it."""

    class Left(Team):
        def together(self) -> None:
            assert len(list(tmp_path.glob(".together-*"))) == 1
            raise Parted("another process has ended")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with team.member(Left()), pytest.raises(Parted):
        check_alike([8], ["edgekd 1"], tmp_path)
    assert not list(tmp_path.rglob(".together-*"))


def test_a_module_may_keep_what_is_no_tensor() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), Remembers())
    before = {name: value for name, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        Ranks(0, 1, HashStore()).equalize(module)
    finally:
        dist.destroy_process_group()
    assert len(before) == 7 and all(torch.equal(module.state_dict()[name], value) for name, value in before.items())


def test_a_batch_that_cannot_be_dealt() -> None:
    check_batch(8, 4)
    with pytest.raises(InputError, match=r"a batch of 9 samples cannot be dealt to 2 processes(?s:.*)batch = 8 or 10, or another"):
        check_batch(9, 2)


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    """To the order of additions: batch norm, losses that relate or remember samples, unknown labels, moving averages, fake-quantizers,
    peers; also from a state that one process left. Between the processes there is no difference at all."""
    torch.set_num_threads(1)
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tests.ranks_trainings"]
    ranks_trainings.interrupted(tmp_path / "resumed.state")
    done = subprocess.run([*words, str(tmp_path)], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    alone = {name: CASES[name](tmp_path / f"alone-{name}.state").state_dict() for name in CASES}
    for name, weights in alone.items():
        first, second = (load_file(tmp_path / f"{name}-{rank}.safetensors") for rank in range(2))
        for key, value in weights.items():
            assert torch.equal(first[key], second[key]), (name, key)
            torch.testing.assert_close(first[key], value, rtol=1e-5, atol=1e-5, msg=f"{name}, {key}")
    for key, value in alone["plain"].items():  # that the comparison means something: it has moved
        assert not value.is_floating_point() or not torch.allclose(value, ranks_trainings.net().state_dict()[key], atol=1e-3), key
