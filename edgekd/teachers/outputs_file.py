"""A teacher of which there is only a file: its outputs for the training images, computed elsewhere.

A ``.npy`` file holds one array, float [N, classes] or [views, N, classes]. A ``.npz`` file holds it under the name ``outputs``, and may
hold ``test`` (float [N of the test split, classes]), ``labels`` (text [classes]), ``data_sha256`` and ``views_sha256`` (one text each).

- Order: row i belongs to ``train.x[i]`` of the recipe's dataset as edgekd loads it, after validation was held out:
  ``edgekd.data.load.load_data(source, options, folder).train``. Each source orders its images the same way every time.
- Views: entry 0 is the image itself, entry n ``Views(**recipe.views).all(train.x, n)`` of ``edgekd.data.views``; there are as many as the
  recipe's ``views.count`` (or its preset's). [N, classes] stands for one view.
- Columns: the classes in the data's order, unless ``labels`` here or in the recipe name them.
- Check: the number of views and of images always; where the file has ``data_sha256`` and ``views_sha256``, that they are
  ``dataset.sha256`` and ``Views.sha256``. A file without them is believed.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekd.arrays import BROKEN, read_npz
from edgekd.errors import InputError
from edgekd.recipe.schema import Teacher
from edgekd.teachers.answers import SMALLEST, check_kind, columns
from edgekd.teachers.files import located, sha256_of

MAX_BYTES = 16 << 30  # of all arrays of an .npz file together, unpacked
ARRAYS = ("outputs", "test", "labels", "data_sha256", "views_sha256")


@dataclass(frozen=True)
class StoredOutputs:
    """What the file holds: ``train`` float [views, N, classes], ``test`` float [N, classes] or None; hashes are "" where it has none."""

    file: Path
    sha256: str
    train: np.ndarray
    test: np.ndarray | None = None
    labels: tuple[str, ...] | None = None
    data_sha256: str = ""
    views_sha256: str = ""


@dataclass(frozen=True)
class Wanted:
    """What the outputs must belong to: the data's ``labels`` and hash, the views and their hash, ``images`` of training and ``test``."""

    labels: tuple[str, ...]
    data_sha256: str
    views_sha256: str
    views: int
    images: int
    test: int


def load(*, root: Path, file: str) -> StoredOutputs:
    """The outputs in ``file`` (.npy or .npz). Nothing is unpickled. Raises InputError if there are none."""
    path = located(root, file, "file", "an .npy or .npz file of outputs")
    where = str(path)
    try:
        arrays = (
            read_npz(path, ARRAYS, MAX_BYTES)[0]
            if zipfile.is_zipfile(path)
            else {"outputs": np.load(path, mmap_mode="r", allow_pickle=False)}
        )
    except BROKEN as error:
        raise InputError(f"cannot be read ({error})", where=where, expected="an array of numbers, saved by numpy") from error
    if "outputs" not in arrays:
        raise InputError("holds no array `outputs`", where=where, expected=", ".join(ARRAYS), mend="np.savez(file, outputs=…)")
    train = _floats(arrays["outputs"], "outputs", where)
    if train.ndim == 2:
        train = train[None]
    if train.ndim != 3 or 0 in train.shape:
        raise InputError(f"outputs have the shape {list(train.shape)}", where=where, expected="[N, classes] or [views, N, classes]")
    test = _floats(arrays["test"], "test", where) if "test" in arrays else None
    labels = tuple(str(name) for name in np.atleast_1d(arrays["labels"])) if "labels" in arrays else None
    hashes = {name: str(arrays[name].reshape(-1)[0]) if name in arrays and arrays[name].size else "" for name in ARRAYS[3:]}
    return StoredOutputs(path, sha256_of([path], path.parent), train, test, labels, **hashes)


def matched(stored: StoredOutputs, wanted: Wanted, table: Teacher) -> tuple[np.ndarray, np.ndarray | None]:
    """Logits float16 [views, N, classes] for training, and [N, classes] for the test split or None, in the order of the data's labels.

    ``table`` is the recipe's, of which output and labels count. Raises InputError if the outputs belong to something else.
    """
    where = str(stored.file)
    for what, found, expected in (
        ("data", stored.data_sha256, wanted.data_sha256),
        ("views", stored.views_sha256, wanted.views_sha256),
    ):
        if found and found != expected:
            raise InputError(f"made from other {what} ({what}_sha256 {found[:16]}…)", where=where, expected=f"{expected[:16]}…")
    views, images, outputs = stored.train.shape
    if (views, images) != (wanted.views, wanted.images):
        raise InputError(
            f"outputs of {views} view{'s' * (views > 1)} of {images} images",
            where=where,
            expected=f"{wanted.views} view{'s' * (wanted.views > 1)} of {wanted.images} images, as the recipe has for training",
            mend="count = 1 under [views]" if views == 1 and images == wanted.images else "",
        )
    if stored.test is not None and stored.test.shape != (wanted.test, outputs):
        raise InputError(
            f"test has the shape {list(stored.test.shape)}", where=where, expected=f"[{wanted.test}, {outputs}], the test images"
        )
    order = columns(table.labels or stored.labels, outputs, wanted.labels, where)
    train = np.stack([_logits(view, order, table.output, where) for view in stored.train])
    return train, None if stored.test is None else _logits(stored.test, order, table.output, where)


def _logits(answers: np.ndarray, order: tuple[int, ...] | None, output: str | None, where: str) -> np.ndarray:
    check_kind(answers, output, where)
    found = answers if order is None else answers[:, list(order)]
    if output == "probabilities":
        found = np.log(np.maximum(found, SMALLEST, dtype=np.float64))
    with np.errstate(over="ignore"):  # looked for below
        half = found.astype(np.float16)
    if not np.isfinite(half).all():
        raise InputError("the outputs are not finite in float16", where=where, expected="logits within ±65504")
    return half


def _floats(array: np.ndarray, name: str, where: str) -> np.ndarray:
    if array.dtype.kind != "f":
        raise InputError(f"{name} has the type {array.dtype}", where=where, expected="float16, float32 or float64")
    return array
