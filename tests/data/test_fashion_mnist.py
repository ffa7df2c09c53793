"""Fashion-MNIST: whose labels are kept, and a download that is another."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from edgekd.data import fashion_mnist
from edgekd.errors import InputError


def test_a_share_of_the_labels_of_each_class_is_kept() -> None:
    try:
        whole = fashion_mnist.load()
    except InputError as error:
        pytest.skip(f"no Fashion-MNIST here: {error}")
    few, fewer = fashion_mnist.load(labelled=0.05), fashion_mnist.load(labelled=0.01)
    assert np.array_equal(few.train.x, whole.train.x) and np.array_equal(few.validation.y, whole.validation.y)
    known = few.train.y >= 0
    assert np.array_equal(few.train.y[known], whole.train.y[known]) and (few.train.y[~known] == -1).all()
    assert np.array_equal(np.bincount(few.train.y[known]), np.round(0.05 * np.bincount(whole.train.y)))
    assert not ((fewer.train.y >= 0) & ~known).any()
    with pytest.raises(InputError, match=r"labelled = 0\n +expected: above 0, at most 1"):
        fashion_mnist.load(labelled=0)


def test_a_download_that_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEKD_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "none")
    monkeypatch.setattr(fashion_mnist.urllib.request, "urlopen", lambda *_, **__: io.BytesIO(b"\x1f\x8b, and no more"))
    with pytest.raises(InputError, match="has another SHA-256 than published"):
        fashion_mnist.load()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "nothing of it is kept"
