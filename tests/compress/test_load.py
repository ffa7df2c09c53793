"""Weights of a trained student, whose shapes or types may be another's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgekd.compress.load import with_weights
from edgekd.errors import InputError


def net(width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.Conv2d(width, 4, 1), nn.Flatten())


def test_a_narrower_student_is_loaded_in_its_own_shapes(tmp_path: Path) -> None:
    save_file(net(5).state_dict(), tmp_path / "student.safetensors")
    made = with_weights(net(), tmp_path / "student.safetensors", torch.zeros(1, 1, 3, 3))
    assert made[0].out_channels == 5 and made(torch.zeros(1, 1, 3, 3)).shape == (1, 4)  # type: ignore[index]


def test_shapes_that_do_not_fit_one_another_are_the_files_fault(tmp_path: Path) -> None:
    save_file({**net().state_dict(), "2.weight": torch.zeros(4, 7, 1, 1)}, tmp_path / "student.safetensors")
    with pytest.raises(InputError, match=r"student\.safetensors: does not fit Sequential"):
        with_weights(net(), tmp_path / "student.safetensors", torch.zeros(1, 1, 3, 3))


def test_integers_are_no_weights(tmp_path: Path) -> None:
    save_file({**net().state_dict(), "2.bias": torch.zeros(4, dtype=torch.int8)}, tmp_path / "student.safetensors")
    with pytest.raises(InputError, match=r"2\.bias is torch\.int8"):
        with_weights(net(), tmp_path / "student.safetensors")
