"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): 60,000 + 10,000 grey images of 28x28, ten classes.

Looked for in ``EDGEKD_DATA``/fashion-mnist, then in Debian's package dataset-fashion-mnist, else downloaded into the cache;
wherever they come from, the four files are checked by their SHA-256.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import urllib.request
from pathlib import Path

import numpy as np

from edgekd import runs
from edgekd.data.dataset import Dataset, Split, hold_out, keep_labels
from edgekd.errors import InputError

LABELS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
URL = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
SHA256 = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}


def load(*, validation: int = 5000, labelled: float = 1.0) -> Dataset:
    """The dataset, with ``validation`` of the 60,000 training images held out. Raises InputError if it is not to be had.

    ``labelled`` is the share of the training images of each class that keep their label; the others are for the teacher to answer.
    """
    train = Split(_images("train-images-idx3-ubyte.gz"), _labels("train-labels-idx1-ubyte.gz"))
    test = Split(_images("t10k-images-idx3-ubyte.gz"), _labels("t10k-labels-idx1-ubyte.gz"))
    kept, held = hold_out(train, validation, where="fashion_mnist")
    return Dataset("fashion_mnist", keep_labels(kept, labelled, where="fashion_mnist"), held, test, LABELS)


def _images(name: str) -> np.ndarray:
    return np.frombuffer(_read(name), np.uint8, offset=16).reshape(-1, 28, 28, 1)


def _labels(name: str) -> np.ndarray:
    return np.frombuffer(_read(name), np.uint8, offset=8).astype(np.int64)


def _read(name: str) -> bytes:
    """The decompressed file, from the first place that has it with the right hash."""
    places = [DEBIAN, cache_folder()]
    if own := os.environ.get("EDGEKD_DATA"):
        places.insert(0, Path(own) / "fashion-mnist")
    for place in places:
        file = place / name
        if not file.is_file():
            continue
        packed = file.read_bytes()
        if hashlib.sha256(packed).hexdigest() != SHA256[name]:
            raise InputError(f"{file} is damaged: its SHA-256 is not the published one", where="fashion_mnist", mend=f"rm {file}")
        return gzip.decompress(packed)
    return gzip.decompress(_download(name))


def cache_folder() -> Path:
    """Where downloads are kept: ``$XDG_CACHE_HOME/edgekd/fashion-mnist``."""
    return runs.cache_folder() / "fashion-mnist"


def _download(name: str) -> bytes:
    try:
        with urllib.request.urlopen(URL + name, timeout=60) as reply:
            packed = reply.read(64 << 20)
    except (OSError, http.client.HTTPException) as error:  # refused, cut off, timed out, or no HTTP at all
        raise InputError(
            f"{name} is neither on this machine nor to be downloaded ({error})",
            where="fashion_mnist",
            expected=f"the four .gz files in $EDGEKD_DATA/fashion-mnist, {DEBIAN} or a network",
            mend="apt-get install dataset-fashion-mnist",
        ) from error
    if hashlib.sha256(packed).hexdigest() != SHA256[name]:
        raise InputError(
            f"{URL}{name} has another SHA-256 than published", where="fashion_mnist", mend="apt-get install dataset-fashion-mnist"
        )
    runs.atomic_write(cache_folder() / name, packed)
    return packed
