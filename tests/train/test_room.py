"""Out of memory: one message with a batch that fits."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgekd import team
from edgekd.errors import EdgekdError, InputError, OutOfMemory, lacks_memory
from edgekd.losses.cross_entropy import cross_entropy
from edgekd.train.distill import Term
from edgekd.train.loop import Course, first_step
from edgekd.train.room import in_memory
from tests.train.test_loop import PHASE, feed, net, split, train

#: A student whose activations take 4 MiB a sample, under a limit of address space that leaves 600 MiB to what is there when it begins.
LIMITED = """
import re, resource, sys
from pathlib import Path
import torch
from torch import nn
from edgekd.errors import OutOfMemory
from tests.train.test_loop import PHASE, feed, train
torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Upsample(scale_factor=64), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
train(model, Path(sys.argv[1]) / "warm", PHASE, feed=feed(8, 4))  # the optimizer's library, the buffers of the allocator
held = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (held + 600 * 2**20,) * 2)
try:
    train(model, Path(sys.argv[1]) / "s", feed=feed(256, 256))
except OutOfMemory as error:
    print(error.exit_code, error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of address space")
def test_a_real_limit_names_a_batch_that_was_tried(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("2 phase float: out of memory with batches of 256 (this process held "), done.stdout + done.stderr
    assert "it said:" in done.stdout and "lower batch in the recipe's preset to " in done.stdout
    size = int(done.stdout.partition("preset to ")[2].partition(",")[0])
    assert 16 <= size <= 128, done.stdout
    assert not (tmp_path / "s").exists()


def _hungry(most: int) -> Term:
    """A loss that finds no memory for more than ``most`` samples."""

    def loss(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if len(student) > most:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")
        return cross_entropy(student, teacher, labels)

    return Term(loss, 1.0, {}, name="hungry")


def test_in_the_middle_of_a_training_the_last_state_stays(tmp_path: Path) -> None:
    state = tmp_path / "s"
    train(net(), state)
    good = state.read_bytes()
    said = r"(?s)phase float: out of memory with batches of 8 .* lower batch in the recipe's preset to 2, which was tried and fits"
    with pytest.raises(OutOfMemory, match=said):
        train(net(), state, terms=(_hungry(3),), phase=replace(PHASE, epochs=4))
    assert state.read_bytes() == good


def test_before_anything_is_trained() -> None:
    batch = feed().taken(np.arange(8), np.zeros(8, np.int64))
    with pytest.raises(OutOfMemory, match=r"with batches of 8 .*\n.*\n.*to 4, which was tried"):
        first_step(net(), Course(feed(), (_hungry(4),), split(8)), PHASE, batch)
    with pytest.raises(OutOfMemory, match="a smaller network: not even batch in the recipe's preset = 2 fits"):
        first_step(net(), Course(feed(), (_hungry(1),), split(8)), PHASE, batch)


def test_what_counts_as_out_of_memory() -> None:
    inner = RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.")
    outer = InputError("a loss raised RuntimeError")
    outer.__cause__ = inner
    assert lacks_memory(outer) == lacks_memory(inner) == str(inner)
    assert lacks_memory(MemoryError()) == "MemoryError" and lacks_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not lacks_memory(RuntimeError("shapes differ")) and not lacks_memory(EdgekdError("out of memory")) and not lacks_memory(None)


def test_another_error_stays_what_it_is() -> None:
    def wrong() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        in_memory(wrong, "work", 8, lambda size: None, "batch")


class _Two(team.Team):
    """One of two processes, as far as messages go."""

    size = 2


def test_of_several_processes_none_tries_alone(tmp_path: Path) -> None:
    """Also where memory ends in a loss, whatever else that is told as."""
    terms = (_hungry(2),)
    with team.member(_Two()), pytest.raises(OutOfMemory, match=r"batches of 8 in 2 processes: (?s:.*)lower batch .* or more processes"):
        train(net(), tmp_path / "s", terms=terms)
