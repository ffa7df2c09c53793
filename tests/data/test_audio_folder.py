"""Folders of recordings become log-mel features, the same each time."""

from __future__ import annotations

import wave
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from edgekd.data.audio_folder import DEFAULTS, load
from edgekd.data.logmel import LogMel, features_of
from edgekd.errors import InputError


def write(path: Path, samples: np.ndarray, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.astype("<i2").tobytes())


def tone(hz: float, n: int, rate: int = 8000) -> np.ndarray:
    return np.rint(8000 * np.sin(2 * np.pi * hz * np.arange(n) / rate))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for at in range(10):
        write(tmp_path / "d" / "high" / f"{at}.wav", tone(2000 + 20 * at, 3000))
        write(tmp_path / "d" / "low" / f"{at}.WAV", tone(300 + 10 * at, 1500 + 500 * at))
    (tmp_path / "d" / ".DS_Store").write_text("x")
    return tmp_path / "d"


FEATURES = {"rate": 8000, "frame": 256, "hop": 160, "mels": 20, "high_hz": 3800.0}


def test_shares_are_held_out_class_by_class(folder: Path) -> None:
    data = load(folder, length_ms=500, validation=0.2, test=0.3, raw=True, features=FEATURES)
    assert data.labels == ("high", "low") and data.shape == (24, 20, 1)
    assert [np.bincount(s.y).tolist() for s in (data.train, data.validation, data.test)] == [[5, 5], [2, 2], [3, 3]]
    for split in (data.train, data.validation, data.test):
        assert split.more["wave"].shape == (len(split), 4000) and split.more["wave"].dtype == np.int16
        kind = LogMel(rate=8000, frame=256, hop=160, mels=20, high_hz=3800.0)
        assert np.array_equal(kind.apply(split.more["wave"]), split.x[..., 0]), "wave and features are of the same sample"
        loudest = split.x[:, 12, :, 0].argmax(1)
        assert (loudest[split.y == 0] > 11).all() and (loudest[split.y == 1] < 8).all()
    assert load(folder, length_ms=500, validation=0.2, test=0.3, raw=True, features=FEATURES).sha256 == data.sha256
    assert not load(folder, length_ms=500, features=FEATURES).train.more


def test_rates_are_made_one(tmp_path: Path) -> None:
    """The same tone recorded at three rates gives the same features, but for the last bits."""
    for label, hz in (("a", 500), ("b", 1500)):
        for at, rate in enumerate((8000, 16000, 44100)):
            write(tmp_path / label / f"{at}.wav", tone(hz, rate, rate), rate)
    data = load(tmp_path, length_ms=600, features={"rate": 8000, "frame": 256, "mels": 16, "high_hz": 3800.0})
    whole = np.concatenate([s.x[..., 0][s.y == 0] for s in (data.train, data.validation, data.test)]).astype(int)
    loud = whole[0] > whole[0].max() - 80
    assert len(whole) == 3 and abs(whole - whole[0])[:, loud].max() <= 2


def test_given_splits_and_defaults(tmp_path: Path) -> None:
    for split, n in (("train", 4), ("test", 2)):
        for label in ("a", "b"):
            for at in range(n):
                write(tmp_path / split / label / f"{at}.wav", tone(400, 16000, 16000), 16000)
    data = load(tmp_path, validation=0.25)
    assert data.shape == (49, 32, 1) and (len(data.train), len(data.validation), len(data.test)) == (6, 2, 4)
    assert data.front_end == {"kind": "log-mel", **asdict(features_of({}, **DEFAULTS))}  # a device computes the same


@pytest.mark.parametrize(("length", "features", "message"), [
    (20, {}, r"length_ms = 20.*32 \(one frame\) to 60000"),
    (61_000, {}, "length_ms = 61000"),
    (500, {"mells": 3}, "'mells' is not known"),
])  # fmt: skip
def test_options_that_make_no_features(length: int, features: dict[str, int | float], message: str, folder: Path) -> None:
    with pytest.raises(InputError, match=f"(?s){message}"):
        load(folder, length_ms=length, features=features)
