from __future__ import annotations

import numpy as np

from edgekd.data.resize import resize


def images(n: int, h: int, w: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, h, w, 3)).astype(np.uint8)


def test_the_same_size_is_the_same_array() -> None:
    x = images(2, 6, 5)
    assert resize(x, 6, 5) is x


def test_half_size_is_the_rounded_mean() -> None:
    x = images(7, 8, 6)
    found = resize(x, 4, 3, batch=3)
    expected = np.rint(x.reshape(7, 4, 2, 3, 2, 3).astype(float).mean(axis=(2, 4)))
    assert found.dtype == np.uint8 and found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected)


def test_any_size_and_the_extremes_stay() -> None:
    for h, w in ((3, 7), (20, 4), (1, 1)):
        assert resize(images(2, 9, 8), h, w).shape == (2, h, w, 3)
        for value in (0, 255):
            assert (resize(np.full((1, 9, 8, 3), value, np.uint8), h, w) == value).all()
