"""Realistic inputs for the MLPerf Tiny models, from what is at hand without a network.

They are not the models' own test sets, and no accuracy follows from them; they only look like what those models are fed:

    CIFAR-10 ResNet     crops of the two photographs in scikit-learn (a temple, a flower): every crop from another place, a sixth of the
                        shorter side up to all of it, half of them mirrored, brightness and contrast varied, scaled with antialiasing.
                        Most show none of the ten classes, so leads are narrower than on CIFAR-10
    person detection    the same; into every second one a person is drawn, for neither photograph has one
    keyword spotting    spoken digits (FSDD, six speakers), 8 kHz resampled to 16 kHz and padded or cut to one second, put at another
                        place in it each, every second one in faint noise; digits are no keywords, all are "unknown" to that model

Features for keyword spotting follow the benchmark's reference preprocessing: divided by the largest sample, frames of 30 ms every 20 ms
under a periodic Hann window, an FFT of 512, 40 mel bands from 20 to 4,000 Hz (HTK's scale), log(x + 1e-6), DCT-II over sqrt(2·40),
the first 10 coefficients: [49, 10, 1].
"""

from __future__ import annotations

import io
import wave
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

RATE, FRAME, STRIDE, FFT, BANDS, COEFFICIENTS = 16_000, 480, 320, 512, 40, 10
LOWEST_HZ, HIGHEST_HZ = 20.0, 4000.0


def photographs() -> list[Image.Image]:
    """The two that scikit-learn holds. Raises ImportError where it is not installed."""
    from sklearn.datasets import load_sample_images

    return [Image.fromarray(image) for image in load_sample_images().images]


def crops(size: int, n: int, seed: int = 0) -> np.ndarray:
    """uint8 [n, size, size, 3]: see above. The same seed gives the same crops."""
    photos, rng = photographs(), np.random.default_rng(seed)
    result = np.empty((n, size, size, 3), np.uint8)
    for i in range(n):
        photo = photos[i % len(photos)]
        shorter = min(photo.size)
        side = int(shorter * 6 ** -rng.uniform(0, 1))
        left, top = (int(rng.integers(0, length - side + 1)) for length in photo.size)
        crop = photo.resize((size, size), Image.Resampling.BOX, (left, top, left + side, top + side), reducing_gap=None)
        pixels = np.asarray(crop, np.float32)[:, :: -1 if rng.random() < 0.5 else 1]
        pixels = (pixels - 128) * rng.uniform(0.6, 1.2) + 128 + rng.uniform(-30, 30)
        result[i] = np.clip(np.rint(pixels), 0, 255)
    return result


def with_person(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``image`` with a figure in front: head, hair, torso, arms and legs, 0.6 to 1.6 times as tall as the image, edges blurred."""
    finer, size = 4, len(image)
    canvas = Image.fromarray(image).resize((size * finer, size * finer), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(canvas)
    unit = size * finer * rng.uniform(0.6, 1.6) / 7.5
    middle, top = size * finer * rng.uniform(0.3, 0.7), size * finer * rng.uniform(0.02, 0.2)
    skin, hair = (rng.uniform(*span) * np.array(tint) for span, tint in (((0.45, 1.05), (224, 172, 140)), ((10, 90), (1, 0.8, 0.6))))
    shirt, trousers = rng.uniform(10, 240, (2, 3))

    def at(*places: float) -> list[float]:
        return [(top if i % 2 else middle) + unit * place for i, place in enumerate(places)]

    def colour(rgb: np.ndarray) -> tuple[int, ...]:
        return tuple(int(v) for v in rgb)

    draw.rounded_rectangle(at(-1, 1.2, 1, 3.8), 0.4 * unit, fill=colour(shirt))
    for side in (-1, 1):
        draw.line(at(0.85 * side, 1.5, 1.25 * side, 3.2), fill=colour(shirt), width=int(0.5 * unit))
        draw.line(at(1.25 * side, 3.2, 1.2 * side, 4.1), fill=colour(skin), width=int(0.35 * unit))
        draw.line(at(0.5 * side, 3.7, 0.55 * side, 7.3), fill=colour(trousers), width=int(0.8 * unit))
    draw.rectangle(at(-0.22, 0.8, 0.22, 1.35), fill=colour(skin))
    draw.ellipse(at(-0.48, -0.08, 0.48, 0.9), fill=colour(hair))
    draw.ellipse(at(-0.38, 0.12, 0.38, 1.05), fill=colour(skin))
    for eye in (-0.16, 0.16):
        draw.ellipse(at(eye - 0.06, 0.48, eye + 0.06, 0.58), fill=(30, 20, 20))
    draw.line(at(-0.14, 0.82, 0.14, 0.82), fill=(140, 60, 60), width=max(1, int(0.06 * unit)))
    return np.asarray(canvas.filter(ImageFilter.GaussianBlur(0.6 * finer)).resize((size, size), Image.Resampling.BOX))


def recordings(path: Path, n: int, seed: int = 0) -> np.ndarray:
    """float32 [n, 16000]: ``n`` different recordings of ``path`` (FSDD's zip), among all speakers and digits."""
    from scipy.signal import resample_poly

    rng = np.random.default_rng(seed)
    result = np.zeros((n, RATE), np.float32)
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".wav"))
        for i, chosen in enumerate(rng.choice(len(names), n, replace=False)):
            with wave.open(io.BytesIO(archive.read(names[chosen]))) as file:
                rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
            sound = resample_poly(samples.astype(np.float64), RATE // rate, 1)[:RATE]
            start = int(rng.integers(0, RATE - len(sound) + 1))
            result[i, start : start + len(sound)] = sound
            if i % 2:  # a room is never silent
                result[i] += rng.normal(0, 0.004 * np.abs(sound).max(), RATE).astype(np.float32)
    return result


def mel_weights() -> np.ndarray:
    """float64 [FFT/2 + 1, BANDS]: triangles on HTK's mel scale; the constant part (bin 0) belongs to none."""

    def mel(hertz: np.ndarray | float) -> np.ndarray:
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    edges = np.linspace(mel(LOWEST_HZ), mel(HIGHEST_HZ), BANDS + 2)
    bins = mel(np.linspace(0, RATE / 2, FFT // 2 + 1))[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0, np.minimum(rising, falling))
    weights[0] = 0
    return weights


def mfcc(sound: np.ndarray) -> np.ndarray:
    """``sound`` [n, 16000] → float32 [n, 49, 10, 1]."""
    from scipy.fft import dct

    sound = sound / np.maximum(sound.max(axis=1, keepdims=True), 1e-9)
    frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME, axis=1)[:, ::STRIDE]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    magnitudes = np.abs(np.fft.rfft(frames * window, FFT))
    features = dct(np.log(magnitudes @ mel_weights() + 1e-6), type=2) / np.sqrt(2.0 * BANDS)
    return features[..., :COEFFICIENTS, None].astype(np.float32)


def quantize(real: np.ndarray, scale: float, zero: int) -> np.ndarray:
    """int8, by the file's own input scale."""
    return np.clip(np.rint(real / np.float32(scale)) + zero, -128, 127).astype(np.int8)


def realistic(shape: tuple[int, ...], scale: float, zero: int, n: int, speech: Path) -> np.ndarray:
    """int8 [n, ...] for an input of ``shape`` (one sample's): features of speech for [49, 10, 1], else photographs, of 96x96 with people.

    A scale near 1 means pixels as they are, one near 1/255 pixels divided by 255.
    """
    if shape == (49, 10, 1):
        return quantize(mfcc(recordings(speech, n)), scale, zero)
    pixels, rng = crops(shape[0], n), np.random.default_rng(1)
    if shape == (96, 96, 3):
        pixels[1::2] = [with_person(image, rng) for image in pixels[1::2]]
    pixels = pixels.astype(np.float32)
    return quantize(pixels if scale > 0.5 else pixels / 255, scale, zero)
