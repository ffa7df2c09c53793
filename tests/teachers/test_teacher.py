from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgekd.errors import InputError
from edgekd.teachers.residual_cnn import residual_cnn
from edgekd.teachers.teacher import Teacher, load_weights, logits


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 8, 8, 2)).astype(np.uint8)


def test_logits_are_those_of_the_normalized_image_whatever_the_batch() -> None:
    torch.manual_seed(0)
    body = residual_cnn(channels=2, classes=3, width=4)
    teacher, x, seen = Teacher(body, (0.4, 0.5), (0.2, 0.3)), images(7), []
    found = logits(teacher, x, batch=3, bf16=False, progress=seen.append)
    pixels = (x / 255 - np.array([0.4, 0.5])) / np.array([0.2, 0.3])
    with torch.no_grad():
        expected = body(torch.from_numpy(pixels).float().permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert seen == [3, 6, 7] and found.dtype == np.float32


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (28, 28)])
def test_residual_cnn_takes_any_size(size: tuple[int, int]) -> None:
    model = residual_cnn(channels=1, classes=4, width=2).eval()
    assert model(torch.zeros(2, 1, *size)).shape == (2, 4)


def test_weights_come_back(tmp_path: Path) -> None:
    body, other = nn.Linear(2, 3), nn.Linear(2, 3)
    save_file(body.state_dict(), tmp_path / "t.safetensors")
    load_weights(other, tmp_path / "t.safetensors")
    assert torch.equal(other.weight, body.weight)


def test_checkpoint_of_another_module(tmp_path: Path) -> None:
    file = tmp_path / "t.safetensors"
    save_file(nn.Linear(2, 3).state_dict(), file)
    with pytest.raises(
        InputError, match=r"(?s)t.safetensors: the checkpoint belongs to another teacher: .*size mismatch.*teach RECIPE --fresh"
    ):
        load_weights(nn.Linear(2, 4), file)
    with pytest.raises(InputError, match="Missing key"):
        load_weights(nn.Sequential(nn.Linear(2, 3)), file)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\xff" * 100, None])
def test_no_checkpoint(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "t.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"(?s)no readable checkpoint .*expected: a safetensors file.*edgekd teach RECIPE"):
        load_weights(nn.Linear(2, 3), file)
