"""Folders of PNG and JPEG images, one folder a class.

Either ``train/``, ``val/`` or ``validation/``, and ``test/`` with class folders in each, or class folders only, of which validation and
test shares are then held out with a fixed seed, class by class. Without a validation folder, validation is held out of training.
"""

from __future__ import annotations

import logging
import struct
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from edgekd.data.dataset import Dataset, Split, stratified
from edgekd.errors import InputError

LOG = logging.getLogger(__name__)
SLOW_S = 2.0
SUFFIXES = (".png", ".jpg", ".jpeg")
#: Left there by file managers; never meant as images.
IGNORED = ("thumbs.db", "desktop.ini")
SPLITS = ("train", "val", "validation", "test")
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
    if not folder.is_dir():
        found = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"data.options.folder {found}", where=where, expected="a folder of class folders", mend='folder = "…"')
    parts = _parts(folder, where)
    labels, files = _listing(parts, folder.resolve(), where)
    total = sum(len(f) for f in files.values()) * size[0] * size[1] * channels
    if total > MAX_BYTES:
        raise InputError(f"{total >> 30} GiB of pixels", where=where, expected=f"at most {MAX_BYTES >> 30} GiB", mend="a smaller size")
    one_more = _counter(sum(len(f) for f in files.values()))
    splits = {name: _read(f, size, channels, where, one_more) for name, f in files.items()}
    train, val, tests = _complete(splits, validation, test, seed, labels, where)
    return Dataset(folder.name, train, val, tests, labels)


def unlabelled(folder: Path, *, size: list[int], channels: int = 3) -> np.ndarray:
    """The images that lie in ``folder`` itself, of no class: uint8 [N, H, W, C], in the order of their names, scaled as ``load`` does."""
    where = f"image_folder {folder}"
    _check_options(size, channels, where)
    files = [(file, 0) for file in _entries(folder, where, folders=False)]
    if (total := len(files) * size[0] * size[1] * channels) > MAX_BYTES:
        raise InputError(f"{total >> 30} GiB of pixels", where=where, expected=f"at most {MAX_BYTES >> 30} GiB", mend="fewer images")
    return _read(files, size, channels, where, _counter(len(files))).x


def _check_options(size: list[int], channels: int, where: str) -> None:
    if len(size) != 2 or any(side not in SIDE for side in size):
        raise InputError(
            f"data.options.size = {size}", where=where, expected="[height, width] in pixels, 1 to 4096", mend="size = [32, 32]"
        )
    if channels not in (1, 3):
        raise InputError(f"data.options.channels = {channels}", where=where, expected="1 (grey) or 3 (RGB)", mend="channels = 3")


def _parts(folder: Path, where: str) -> dict[str, Path]:
    """Split → its folder; one split called "all" where there are class folders only."""
    names = [entry.name for entry in _entries(folder, where, folders=True)]
    found = [name for name in SPLITS if name in names]
    if not found:
        return {"all": folder}
    if others := [name for name in names if name not in SPLITS]:
        raise InputError(
            f"{others[0]!r} stands beside {found[0]!r}",
            where=where,
            expected="either only train, val (or validation) and test, or only class folders",
            mend=f"move {others[0]} into a split, or rename {found[0]}",
        )
    if "val" in found and "validation" in found:
        raise InputError("both 'val' and 'validation'", where=where, expected="one of them", mend="rename or delete one")
    for needed in ("train", "test"):
        if needed not in found:
            raise InputError(
                f"there is {found[0]!r} but no {needed!r}", where=where, expected="train and test", mend=f"mkdir {folder / needed}"
            )
    return {{"val": "validation"}.get(name, name): folder / name for name in found}


def _entries(folder: Path, where: str, *, folders: bool) -> list[Path]:
    """What is in ``folder`` and not hidden. Raises InputError if something else than folders (or else than images) stands there."""
    try:
        entries = sorted(e for e in folder.iterdir() if not e.name.startswith(".") and e.name.lower() not in IGNORED)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read ({error.strerror})", where=where, expected="a readable folder", mend="check its permissions"
        ) from error
    wrong = [e for e in entries if e.is_dir() != folders or (not folders and e.suffix.lower() not in SUFFIXES)]
    if wrong:
        raise InputError(
            f"{wrong[0]} is {'a folder' if wrong[0].is_dir() else 'a file'}"
            + (f", and {len(wrong) - 1} more like it" if len(wrong) > 1 else ""),
            where=where,
            expected="folders only" if folders else f"files that end in {', '.join(SUFFIXES)}",
            mend="move it out of the dataset, or hide it with a leading dot",
        )
    return entries


def _listing(parts: dict[str, Path], root: Path, where: str) -> tuple[tuple[str, ...], dict[str, list[tuple[Path, int]]]]:
    """The class names in order, and for each split its files with the class of each."""
    classes = {split: [e.name for e in _entries(part, where, folders=True)] for split, part in parts.items()}
    first = next(iter(classes))
    labels = tuple(classes[first])
    for split, names in classes.items():
        if different := sorted(set(names) ^ set(labels)):
            raise InputError(
                f"class {different[0]!r} is only in {split if different[0] in names else first}",
                where=where,
                expected=f"the same class folders in {' and '.join(classes)}",
                mend="add the missing folder with its images, or delete the other",
            )
    if len(labels) < 2:
        raise InputError(
            f"{len(labels)} class folders",
            where=where,
            expected="at least two, one a class",
            mend="put each class's images into its own folder",
        )
    files = {}
    for split, part in parts.items():
        files[split] = []
        for index, label in enumerate(labels):
            members = _entries(part / label, where, folders=False)
            if not members:
                raise InputError(
                    f"{part / label} has no images", where=where, expected="at least one in each class", mend="add images, or delete it"
                )
            for file in members:
                _check_inside(file, root, where)
                files[split].append((file, index))
    return labels, files


def _check_inside(file: Path, root: Path, where: str) -> None:
    try:
        real = file.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{file} is a link to nowhere", where=where, expected="an image", mend=f"rm {file}") from error
    if not real.is_relative_to(root) or not real.is_file():
        raise InputError(
            f"{file} is a link to {real}, outside the dataset"
            if file.is_symlink() or real != file.absolute()
            else f"{file} is no regular file",
            where=where,
            expected="images within the folder",
            mend="copy the image instead of linking it",
        )


def _counter(total: int) -> Callable[[], None]:
    """To be called after each image. What takes over SLOW_S tells how far it is, by the log: a source of data knows no bars."""
    began, done = time.monotonic(), 0

    def one_more() -> None:
        nonlocal done
        done += 1
        if time.monotonic() - began > SLOW_S and (done % 20 == 0 or done == total):
            LOG.info("%d of %d images", done, total, extra={"progress": ("images", done, total)})

    return one_more


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


def _complete(
    splits: dict[str, Split], validation: float, test: float, seed: int, labels: tuple[str, ...], where: str
) -> tuple[Split, Split, Split]:
    """Train, validation and test, held out where the folder does not have them."""
    if "all" in splits:
        whole = splits["all"]
        groups = stratified(whole.y, (validation, test), where=where, labels=labels, seed=seed)
        train, held, tests = (Split(whole.x[group], whole.y[group]) for group in groups)
        return train, held, tests
    if "validation" in splits:
        return splits["train"], splits["validation"], splits["test"]
    whole = splits["train"]
    kept, held = stratified(whole.y, (validation,), where=where, labels=labels, seed=seed)
    return Split(whole.x[kept], whole.y[kept]), Split(whole.x[held], whole.y[held]), splits["test"]
