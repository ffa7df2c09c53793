from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd.errors import InputError
from edgekd.quantize.data import Data, Pixels, open_data
from tests.small_builds import image_folder, recipe


def data(x: np.ndarray, **more: Pixels) -> Data:
    return Data("d", "", x, x, **more)  # type: ignore[arg-type]


ALL = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


@pytest.mark.parametrize(
    ("pixels", "symmetric", "scale", "zero"),
    [
        (Pixels(), True, 1 / 128, 0),
        (Pixels((0.0,), (1.0,), 255.0), False, 1.0, -128),
        (Pixels((0.0,), (1.0,)), False, 1 / 255, -128),
        (Pixels((0.0,), (1.0,)), True, 1 / 127, 0),
        (Pixels((0.5,), (0.5,)), False, 2 / 255, 0),
    ],
)
def test_pixels_are_fed_as_they_are_where_that_can_be(pixels: Pixels, symmetric: bool, scale: float, zero: int) -> None:
    found = data(ALL, pixels=pixels)
    entry = found.entry(symmetric=symmetric)
    assert entry is not None and entry.single == (pytest.approx(scale, rel=1e-6), zero)
    fed = found.fed(ALL, entry)
    assert fed.dtype == np.int8
    if not symmetric and pixels.mean == (0.0,):
        assert np.array_equal(fed, (ALL.astype(int) - 128).astype(np.int8))
    assert np.abs((fed.astype(float) - zero) * scale - found.real(ALL)).max() <= scale


def test_one_value_a_channel() -> None:
    x = np.repeat(ALL, 3, axis=3)
    pixels = Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    real = data(x, pixels=pixels).real(x)
    assert np.allclose(real[0, 15, 15], (1 - np.array(pixels.mean)) / np.array(pixels.std), atol=1e-5)
    entry = data(x, pixels=pixels).entry(symmetric=False)
    assert entry is not None and np.allclose(entry.single[0] * 255, real.max() - real.min(), rtol=1e-5)
    with pytest.raises(InputError, match="3 values"):
        data(ALL, pixels=pixels).real(ALL)


def test_values_and_indices(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=rng.uniform(-3, 1, (30, 7)))
    found = open_data(str(tmp_path / "x.npz"), (7,), count=10, seed=0)
    assert (len(found.calibration), len(found.test), found.test.dtype) == (10, 20, np.float32) and not found.notes
    entry = found.entry(symmetric=False)
    assert entry is not None and entry.single[0] == pytest.approx(4 / 255, rel=0.1) and entry.single[1] > 0
    np.savez(tmp_path / "q.npz", x=rng.integers(-128, 128, (30, 7)).astype(np.float32) / 128)
    assert open_data(str(tmp_path / "q.npz"), None, count=30, seed=0).entry(symmetric=False).single == (1 / 128, 0)  # type: ignore[union-attr]
    np.savez(tmp_path / "t.npz", x=rng.integers(0, 9, (30, 7)), y=np.zeros(30, int))
    found = open_data(str(tmp_path / "t.npz"), None, count=20, seed=0)
    assert found.tokens and found.entry(symmetric=False) is None and found.test.dtype == np.int32
    assert len(found.test) == 30 and "calibrated on" in found.notes[0]


def test_the_seed_chooses(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1))
    chosen = [open_data(str(tmp_path / "x.npz"), None, count=10, seed=seed).calibration.ravel().tolist() for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_images(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "pictures", 40)
    found = open_data(str(folder), (6, 6, 3), count=8, seed=0)
    assert found.calibration.shape == (8, 6, 6, 3) and found.y is not None and len(found.labels) == 4
    with pytest.raises(InputError, match="--shape 96,96,3"):
        open_data(str(folder), (None, None, 3), count=8, seed=0)
    flat = tmp_path / "flat"
    flat.mkdir()
    for at in range(4):
        Image.fromarray(np.full((8, 8, 3), 60 * at, np.uint8)).save(flat / f"{at}.png")
    found = open_data(str(flat), (6, 6, 1), count=2, seed=0)
    assert found.test.shape == (2, 6, 6, 1) and found.y is None


def test_a_recipe(tmp_path: Path) -> None:
    found = open_data(str(recipe(tmp_path / "tiny")), (6, 6, 1), count=50, seed=0)
    assert found.calibration.shape == (50, 6, 6, 1) and found.test.shape == (96, 6, 6, 1) and found.y is not None
    with pytest.raises(InputError, match="as the model takes them"):
        open_data(str(tmp_path / "tiny"), (6, 6, 3), count=50, seed=0)
    found = open_data(str(tmp_path / "tiny" / "data.npz"), None, count=50, seed=0)
    assert found.test.shape == (96, 12, 12, 1)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.zeros(3)}, "holds z"),
        ({"x": np.zeros(3)}, r"x is float64 \[3\]"),
        ({"x": np.zeros((0, 7))}, r"x is float64 \[0, 7\]"),
        ({"x": np.zeros((3, 8))}, r"\[N, 7\]"),
        ({"x": np.full((3, 7), np.nan)}, "not finite"),
        ({"x": np.zeros((3, 7)), "y": np.zeros(3)}, "y is float64"),
        ({"x": np.zeros((3, 7)), "y": np.zeros(2, int)}, r"y is int64 \[2\]"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        open_data(str(tmp_path / "x.npz"), (7,), count=3, seed=0)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", x=np.zeros((30, 7)))
    np.save(tmp_path / "x.npy", np.zeros((30, 7)))
    whole = (tmp_path / "whole.npz").read_bytes()
    for damaged in (whole[:500], whole[:300] + b"\1" * 100 + whole[400:], (tmp_path / "x.npy").read_bytes()):
        (tmp_path / "x.npz").write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read"):
            open_data(str(tmp_path / "x.npz"), (7,), count=3, seed=0)
