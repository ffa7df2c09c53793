"""From recordings to samples of one length, and from these to what a student and its teacher are fed."""

from __future__ import annotations

import numpy as np

from edgekd.data import wav
from edgekd.data.dataset import Split
from edgekd.data.logmel import LogMel
from edgekd.errors import InputError

MOST_MS = 60_000


def samples_of(length_ms: int, features: LogMel, where: str) -> int:
    """How many samples a clip of ``length_ms`` has. Raises InputError if that is less than one frame, or more than a minute."""
    samples = length_ms * features.rate // 1000
    if not (samples >= features.frame and length_ms <= MOST_MS):
        raise InputError(
            f"data.options.length_ms = {length_ms}",
            where=where,
            expected=f"{-(-features.frame * 1000 // features.rate)} (one frame) to {MOST_MS}",
            mend="length_ms = 1000",
        )
    return samples


def clip_of(content: bytes, name: str, where: str, features: LogMel, samples: int) -> np.ndarray:
    """The WAV file ``content`` as int16 [samples] at the features' rate: in the middle, with silence around it, or cut at both ends."""
    found = wav.read(content, name, where)
    # Of a long recording only what stays is resampled, and what a filter needs on both sides.
    kept = samples * found.rate // features.rate + 2 * wav.reach(found.rate, features.rate)
    middle = found.samples if len(found.samples) <= kept else wav.placed(found.samples, kept)
    return wav.placed(wav.resample(middle, found.rate, features.rate), samples)


def split_of(wave: np.ndarray, y: np.ndarray, features: LogMel, *, raw: bool) -> Split:
    """``wave`` int16 [N, samples] with labels ``y`` → features uint8 [N, frames, mels, 1]; the waves are kept as "wave" if ``raw``."""
    return Split(features.apply(wave)[..., None], y, {"wave": wave} if raw else {})
