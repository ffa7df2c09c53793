"""Sounds small enough for tests: tones that rise, fall or stay, as folders of recordings, and a recipe of their log-mel features."""

from __future__ import annotations

import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np

RATE, SAMPLES = 8000, 2000
#: Class → the tone's first and last frequency in Hz.
KINDS = {"up": (400, 2400), "down": (2400, 400), "low": (400, 400), "high": (2400, 2400)}

RECIPE = """\
schema_version = 1
name = "tones"

[data]
source = "audio_folder"

[data.options]
folder = "sounds"
length_ms = 240
validation = 0.2
test = 0.2
features = { rate = 8000, frame = 256, hop = 160, mels = 16, high_hz = 3800.0 }

[teacher]
source = "residual_cnn"
options = { width = 4 }
mean = [0.3]
std = [0.25]

[student]
family = "ds_cnn"
options = { stem_kernel = [4, 4] }

[student.space]
channels = [4, 8]
blocks = [1]

[[losses]]
name = "soft_targets"
weight = 0.1

[[losses]]
name = "cross_entropy"
weight = 0.9

[views]
count = 2
shift_time = 2
cutout = 2

[presets.demo]
float_epochs = 4.0
qat_epochs = 1.0
batch = 8
learning_rate = 0.02
"""


def tones(folder: Path, each: int = 30, seed: int = 0) -> Path:
    """``each`` recordings of each kind, with noise."""
    rng = np.random.default_rng(seed)
    for kind, (first, last) in KINDS.items():
        (folder / kind).mkdir(parents=True)
        for at in range(each):
            hz = np.linspace(first, last, SAMPLES) * rng.uniform(0.9, 1.1)
            sound = rng.uniform(2400, 8000) * np.sin(2 * np.pi * np.cumsum(hz) / RATE) + rng.normal(0, 400, SAMPLES)
            with wave.open(str(folder / kind / f"{at}.wav"), "wb") as out:
                out.setnchannels(1)
                out.setsampwidth(2)
                out.setframerate(RATE)
                out.writeframes(np.rint(sound).clip(-32768, 32767).astype("<i2").tobytes())
    return folder


def recipe(folder: Path, changes: Mapping[str, str] | None = None, each: int = 30) -> Path:
    """A folder with recipe.toml and sounds. ``changes``: text of RECIPE → what stands there instead."""
    text = RECIPE
    for old, new in (changes or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(text)
    tones(folder / "sounds", each)
    return folder
