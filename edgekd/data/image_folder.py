"""Folders of PNG and JPEG images, one folder a class: class_folders.py says how they may lie, and what is held out."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from edgekd.data.class_folders import Kind, complete, counter, entries, listing, parts_of
from edgekd.data.dataset import Dataset, Split
from edgekd.errors import InputError

IMAGES = Kind("image", "images", (".png", ".jpg", ".jpeg"))
MAX_PIXELS = 64 << 20  # of one image: 64 megapixels, more than any camera that feeds an edge device
MAX_BYTES = 8 << 30  # of the whole dataset in memory
SIDE = range(1, 4097)
# What Pillow's decoders are known to raise on broken files, besides OSError.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error, OverflowError)


def load(folder: Path, *, size: list[int], channels: int = 3, validation: float = 0.1, test: float = 0.1, seed: int = 0) -> Dataset:
    """Images of ``folder`` scaled to ``size`` [height, width] (bilinear, aspect not kept), grey (channels 1) or RGB (3).

    Rotated as their EXIF says; transparency is dropped. ``validation`` and ``test`` are the shares held out where the folder has no such
    split. Raises InputError for anything that is not a clean set of class folders.
    """
    where = f"image_folder {folder}"
    _check_options(size, channels, where)
    labels, files = listing(parts_of(folder, where), folder.resolve(), where, IMAGES)
    total = sum(len(f) for f in files.values()) * size[0] * size[1] * channels
    if total > MAX_BYTES:
        raise InputError(f"{total >> 30} GiB of pixels", where=where, expected=f"at most {MAX_BYTES >> 30} GiB", mend="a smaller size")
    one_more = counter(sum(len(f) for f in files.values()), IMAGES)
    splits = {name: _read(f, size, channels, where, one_more) for name, f in files.items()}
    train, val, tests = complete(splits, validation, test, seed, labels, where)
    return Dataset(folder.name, train, val, tests, labels)


def unlabelled(folder: Path, *, size: list[int], channels: int = 3) -> np.ndarray:
    """The images that lie in ``folder`` itself, of no class: uint8 [N, H, W, C], in the order of their names, scaled as ``load`` does."""
    where = f"image_folder {folder}"
    _check_options(size, channels, where)
    files = [(file, 0) for file in entries(folder, where, IMAGES)]
    if (total := len(files) * size[0] * size[1] * channels) > MAX_BYTES:
        raise InputError(f"{total >> 30} GiB of pixels", where=where, expected=f"at most {MAX_BYTES >> 30} GiB", mend="fewer images")
    return _read(files, size, channels, where, counter(len(files), IMAGES)).x


def _check_options(size: list[int], channels: int, where: str) -> None:
    if len(size) != 2 or any(side not in SIDE for side in size):
        raise InputError(
            f"data.options.size = {size}", where=where, expected="[height, width] in pixels, 1 to 4096", mend="size = [32, 32]"
        )
    if channels not in (1, 3):
        raise InputError(f"data.options.channels = {channels}", where=where, expected="1 (grey) or 3 (RGB)", mend="channels = 3")


def _read(files: list[tuple[Path, int]], size: list[int], channels: int, where: str, one_more: Callable[[], None]) -> Split:
    x = np.empty((len(files), size[0], size[1], channels), np.uint8)
    for at, (file, _) in enumerate(files):
        x[at] = _pixels(file, size, channels, where)
        one_more()
    return Split(x, np.array([index for _, index in files], np.int64))


def _pixels(file: Path, size: list[int], channels: int, where: str) -> np.ndarray:
    """One image as uint8 [H, W, C]."""
    try:
        with warnings.catch_warnings():
            # Above its own limit Pillow only warns; MAX_PIXELS is below that limit and refuses.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(file, formats=("PNG", "JPEG"))
        with opened as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{image.width}x{image.height}")
            if image.mode.startswith(("I", "F")):
                raise InputError(
                    f"{file} has 16 bits a pixel",
                    where=where,
                    expected="8 bits a channel",
                    mend="convert it to 8-bit PNG with the range you want",
                )
            upright = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
            small = upright.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{file} is too large ({error})", where=where, expected=f"at most {MAX_PIXELS} pixels", mend="scale it down, or remove it"
        ) from error
    except BROKEN as error:
        raise InputError(
            f"{file} cannot be decoded ({error})", where=where, expected="a whole PNG or JPEG image", mend="replace or remove the file"
        ) from error
    return np.asarray(small, np.uint8).reshape(size[0], size[1], channels)
