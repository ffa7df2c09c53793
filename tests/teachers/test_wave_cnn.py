from __future__ import annotations

import pytest
import torch

from edgekd.teachers.wave_cnn import FIRST, STRIDE, wave_cnn


@pytest.mark.parametrize("samples", [1, 79, 6400, 8001])
def test_sound_of_any_length(samples: int) -> None:
    x = torch.randn(3, samples)
    assert wave_cnn(classes=6, width=4).eval()(x).shape == (3, 6)


def test_as_published_but_for_its_width() -> None:
    """Dai et al. 2017, table 1, M5: [80/4, 128], pool 4, [3, 128], pool 4, [3, 256], pool 4, [3, 512], mean, softmax; pools of 4."""
    convolutions = [m for m in wave_cnn(classes=10, width=128) if isinstance(m, torch.nn.Conv1d)]
    assert [(c.kernel_size[0], c.stride[0], c.out_channels) for c in convolutions] == [
        (FIRST, STRIDE, 128),
        (3, 1, 128),
        (3, 1, 256),
        (3, 1, 512),
    ]
