"""Samples to quantize with and to judge by, of a recipe, a folder of images or an .npz file; and the integers that a device would feed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgekd import lazy
from edgekd.arrays import BROKEN, read_npz
from edgekd.data.dataset import Dataset
from edgekd.data.front_end import FrontEnds
from edgekd.data.load import load_data
from edgekd.errors import InputError
from edgekd.quant.graph import Quantization
from edgekd.recipe.load import load as load_recipe

#: Of the arrays of an .npz file, unpacked.
MAX_BYTES = 8 << 30
Shape = tuple[int | None, ...]
KINDS = "a recipe, a folder of images, or an .npz file with x (and perhaps y), or x_train, y_train, x_test and y_test"


@dataclass(frozen=True)
class Pixels:
    """What a model is fed of 8-bit pixels p: scale · (p/255 − mean)/std, one value or one a channel. As it stands: (p − 128)/128."""

    mean: tuple[float, ...] = (128 / 255,)
    std: tuple[float, ...] = (128 / 255,)
    scale: float = 1.0

    def __post_init__(self) -> None:
        finite = np.isfinite([*self.mean, *self.std, self.scale]).all()
        if not finite or min(self.std, default=0) <= 0 or self.scale <= 0 or not self.mean:
            raise InputError(
                f"mean {self.mean}, std {self.std}, scale {self.scale}",
                where="command line",
                expected="one value or one a channel; std, scale > 0",
            )

    def grid(self, *, symmetric: bool) -> Quantization | None:
        """Scale and zero point under which p − 128 is the quantized input, exactly; None where there are none."""
        steps = {self.scale / (255 * std) for std in self.std}
        zeros = {255 * mean - 128 for mean in self.mean}
        zero = round(min(zeros))
        if len(steps) > 1 or max(abs(z - zero) for z in zeros) > 1e-6 or not -128 <= zero <= 127 or (symmetric and zero):
            return None
        return Quantization.per_tensor(min(steps), zero)

    def real(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] → float32. Raises InputError for another number of channels than the values are for."""
        for values in (self.mean, self.std):
            if len(values) not in (1, pixels.shape[-1]):
                raise InputError(f"{len(values)} values", where="--mean, --std", expected=f"one, or {pixels.shape[-1]}, one a channel")
        if (grid := self.grid(symmetric=False)) is not None:
            scale, zero = grid.single
            return (pixels.astype(np.float32) - np.float32(128 + zero)) * np.float32(scale)
        mean, std = np.float32(255) * np.array(self.mean, np.float32), np.float32(255) * np.array(self.std, np.float32)
        return (pixels.astype(np.float32) - mean) / std * np.float32(self.scale)


@dataclass(frozen=True, eq=False)
class Data:
    """``calibration`` and ``test`` [n, ...] as they lie in the source: uint8 images [n, H, W, C], float32 values, or int32 indices."""

    name: str
    sha256: str
    calibration: np.ndarray
    test: np.ndarray
    y: np.ndarray | None = None
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    pixels: Pixels = field(default_factory=Pixels)

    @property
    def tokens(self) -> bool:
        return self.test.dtype.kind == "i"

    def real(self, x: np.ndarray) -> np.ndarray:
        """As a float model is fed them."""
        return self.pixels.real(x) if x.dtype == np.uint8 else x

    def entry(self, *, symmetric: bool) -> Quantization | None:
        """Scale and zero point of the input: the exact ones of pixels where there are any, else of the samples' range; None for indices."""
        if self.tokens:
            return None
        if self.test.dtype == np.uint8 and (grid := self.pixels.grid(symmetric=symmetric)) is not None:
            return grid
        x = self.real(self.calibration)
        steps = x * np.float32(128)
        if np.array_equal(steps, np.rint(steps)) and steps.min() >= -128 and np.abs(steps).max() > 64 and steps.max() <= 127:
            return Pixels().grid(symmetric=symmetric)  # 8-bit pixels, normalized as edgekd does
        low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
        if symmetric:
            return Quantization.per_tensor(max(-low / 128, high / 127) or 1 / 128)
        scale = (high - low) / 255 or 1 / 128
        return Quantization.per_tensor(scale, min(127, max(-128, round(-128 - low / scale))))

    def fed(self, x: np.ndarray, entry: Quantization | None) -> np.ndarray:
        """What a device would feed: int8 under ``entry``, or the real values (indices) where that is None."""
        if entry is None or self.tokens:
            return self.real(x)
        scale, zero = entry.single
        return np.clip(np.rint(self.real(x) / np.float32(scale)) + zero, -128, 127).astype(np.int8)


def open_data(text: str, shape: Shape | None, *, count: int, seed: int) -> Data:
    """At most ``count`` samples to calibrate with, drawn with ``seed``, and those to judge by.

    ``shape`` is what the model says of a sample, channels last: images of another size are scaled to it. Raises InputError for data that is
    not there or does not fit.
    """
    if count < 1:
        raise InputError(f"--samples {count}", where="command line", expected="at least 1")
    path = Path(text)
    if path.suffix == ".npz":
        return _npz(path, shape, count, seed)
    if path.is_dir() and not (path / "recipe.toml").is_file():
        return _folder(path, shape, count, seed)
    if not path.exists() and (path.suffix not in ("", ".toml") or "/" in text):
        raise InputError("does not exist", where=f"--data {text}", expected=KINDS)
    loaded = load_recipe(text)
    recipe = loaded.recipe
    return of_dataset(FrontEnds(recipe, loaded.folder).data(recipe.student.frontend), shape, count=count, seed=seed)


def of_dataset(data: Dataset, shape: Shape | None, *, count: int, seed: int) -> Data:
    """Calibrated on its training images, judged by its test set."""
    if shape is not None and (len(shape) != 3 or shape[2] not in (None, data.shape[2])):
        raise InputError(f"images {list(data.shape)}", where=f"--data {data.name}", expected=f"{_open(shape)}, as the model takes them")
    size = tuple(mine or theirs for mine, theirs in zip((shape or (None,) * 3)[:2], data.shape, strict=False))

    def fitted(x: np.ndarray) -> np.ndarray:
        return x if x.shape[1:3] == size else lazy.load("edgekd.data.resize:resize")(x, *size)

    chosen = data.train.x[_draw(len(data.train), count, seed)]
    return Data(data.name, data.sha256, fitted(chosen), fitted(data.test.x), data.test.y, data.labels)


def _folder(path: Path, shape: Shape | None, count: int, seed: int) -> Data:
    if shape is None or len(shape) != 3 or None in shape:
        raise InputError(
            f"the model says {_open(shape) if shape else 'nothing'} of the size of an image",
            where=f"--data {path}",
            expected="a height, a width and channels",
            mend="--shape 96,96,3",
        )
    height, width, channels = shape
    images = sorted(e for e in path.iterdir() if e.suffix.lower() in (".png", ".jpg", ".jpeg") and not e.name.startswith("."))
    if not images:
        options = {"folder": ".", "size": [height, width], "channels": channels}
        return of_dataset(load_data("image_folder", options, path), shape, count=count, seed=seed)
    x = lazy.load("edgekd.data.image_folder:unlabelled")(path, size=[height, width], channels=channels)
    return _halves(path.name, x, None, count, seed)


def _npz(path: Path, shape: Shape | None, count: int, seed: int) -> Data:
    where = f"--data {path}"
    try:
        arrays, names = read_npz(path, ("x", "y"), MAX_BYTES)
    except BROKEN as error:
        raise InputError(f"cannot be read ({error})", where=where, expected=KINDS) from error
    x, y = arrays.get("x"), arrays.get("y")
    if "x_train" in names:
        return of_dataset(load_data("numpy", {"file": path.name}, path.parent), shape, count=count, seed=seed)
    if x is None or x.ndim < 2 or not x.size or x.dtype.kind not in "fiu":
        found = f"holds {', '.join(names)}" if x is None else f"x is {x.dtype} {list(x.shape)}"
        raise InputError(found, where=where, expected="numbers x [N, …], channels last")
    if shape is not None and (len(shape) != x.ndim - 1 or any(m not in (None, d) for m, d in zip(shape, x.shape[1:], strict=True))):
        raise InputError(
            f"x is {x.dtype} {list(x.shape)}", where=where, expected=f"[N, {_open(shape)[1:]}, channels last, as the model takes it"
        )
    if y is not None and (y.shape != (len(x),) or y.dtype.kind not in "iu" or y.min() < 0):
        raise InputError(f"y is {y.dtype} {list(y.shape)}", where=where, expected="one label a sample, counted from 0")
    if x.dtype == np.int8:  # what a device would feed: p − 128
        x = (x.astype(np.int16) + 128).astype(np.uint8)
    elif x.dtype != np.uint8:
        x = x.astype(np.float32 if x.dtype.kind == "f" else np.int32)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise InputError("x has values that are not finite", where=where, expected="finite values")
    return _halves(path.stem, x, None if y is None else y.astype(np.int64), count, seed)


def _halves(name: str, x: np.ndarray, y: np.ndarray | None, count: int, seed: int) -> Data:
    """Calibrated on some, judged by the others, where there are enough; else both on all."""
    digest = hashlib.sha256(np.ascontiguousarray(x).data)
    digest.update(b"" if y is None else y.tobytes())
    chosen = _draw(len(x), count, seed)
    if len(x) < 2 * count:
        return Data(name, digest.hexdigest(), x[chosen], x, y, notes=("judged by the samples that it was calibrated on, too",))
    rest = np.setdiff1d(np.arange(len(x)), chosen)
    return Data(name, digest.hexdigest(), x[chosen], x[rest], None if y is None else y[rest])


def _draw(n: int, count: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).permutation(n)[:count])


def _open(shape: Shape) -> str:
    return f"[{', '.join('?' if d is None else str(d) for d in shape)}]"
