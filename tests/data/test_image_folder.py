"""Class folders become the same dataset each time, in the shape that was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd.data.image_folder import load


def _write(path: Path, value: int | tuple[int, ...], mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    for at in range(10):
        _write(tmp_path / "d" / "dark" / f"{at}.png", (at, at, at))
        _write(tmp_path / "d" / "light" / f"{at}.jpg", (200, 200, 200))
    (tmp_path / "d" / ".DS_Store").write_text("x")
    (tmp_path / "d" / "dark" / "Thumbs.db").write_text("x")
    return tmp_path / "d"


def test_shares_are_held_out_class_by_class(flat: Path) -> None:
    data = load(flat, size=[8, 12], channels=3, validation=0.2, test=0.3)
    assert data.labels == ("dark", "light") and data.shape == (8, 12, 3)
    assert [np.bincount(s.y).tolist() for s in (data.train, data.validation, data.test)] == [[5, 5], [2, 2], [3, 3]]
    seen = [s.x[s.y == 0, 0, 0, 0].tolist() for s in (data.train, data.validation, data.test)]
    assert sorted(value for part in seen for value in part) == list(range(10)), "each image is in exactly one split"
    again = load(flat, size=[8, 12], channels=3, validation=0.2, test=0.3)
    assert again.sha256 == data.sha256
    assert load(flat, size=[8, 12], channels=3, validation=0.2, test=0.3, seed=1).sha256 != data.sha256


def test_what_takes_long_tells_how_far_it_is(flat: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "edgekd")
    load(flat, size=[8, 12])
    assert not caplog.records
    monkeypatch.setattr("edgekd.data.class_folders.SLOW_S", 0.0)
    load(flat, size=[8, 12])
    assert [getattr(record, "progress", None) for record in caplog.records] == [("images", 20, 20)]


@pytest.mark.parametrize("validation", ["val", "validation", None])
def test_given_splits(validation: str | None, tmp_path: Path) -> None:
    counts = {"train": 8, "test": 3} | ({validation: 2} if validation else {})
    for split, n in counts.items():
        for label in ("a", "b"):
            for at in range(n):
                _write(tmp_path / split / label / f"{at}.png", 50, "L")
    data = load(tmp_path, size=[4, 4], channels=1, validation=0.25)
    assert len(data.test) == 6 and len(data.validation) == 4
    assert len(data.train) == (16 if validation else 12)


def test_pixels(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for at in range(3):
            _write(tmp_path / label / f"{at}.png", 50, "L")
    _write(tmp_path / "a" / "clear.png", (10, 20, 30, 0), "RGBA")
    _write(tmp_path / "a" / "palette.png", 0, "P")
    _write(tmp_path / "a" / "upright.jpg", (90, 90, 90), size=(2, 8))
    data = load(tmp_path, size=[4, 6], channels=3)
    whole = np.concatenate([data.train.x, data.validation.x, data.test.x])
    assert {tuple(x[0, 0]) for x in whole} == {(50, 50, 50), (10, 20, 30), (0, 0, 0), (90, 90, 90)}, "transparency is dropped"
    assert whole.dtype == np.uint8 and whole.shape[1:] == (4, 6, 3)


def test_exif_orientation(tmp_path: Path) -> None:
    """A sensor that was turned by 90 degrees: white is above once the tag is obeyed."""
    picture = Image.new("L", (16, 16))
    picture.paste(255, (0, 0, 8, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for at in range(3):
            picture.save(tmp_path / label / f"{at}.png", exif=exif)
    x = load(tmp_path, size=[16, 16], channels=1).train.x[0, ..., 0]
    assert x[:6].min() == 255 and x[10:].max() == 0


def test_links_within_the_folder_are_followed(flat: Path) -> None:
    (flat / "dark" / "again.png").symlink_to(flat / "dark" / "3.png")
    data = load(flat, size=[4, 4])
    assert len(data.train) + len(data.validation) + len(data.test) == 21
