"""LiteRT: batches, borders, errors."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export.tflite import encode, export
from edgekd.runtimes import litert
from tests.runtimes.convnet import images, student

OPEN = {"ref": litert.open_reference, "xnnpack": litert.open_xnnpack}


@pytest.mark.parametrize("kind", OPEN)
def test_the_integers_do_not_depend_on_the_batch(kind, tmp_path, monkeypatch):
    path = tmp_path / export(student(), tmp_path).path
    x = images(2 * litert.BATCH + 5)
    runner = OPEN[kind](path)
    y = runner.run(x)
    assert y.shape == (len(x), 5) and y.dtype == np.int8 and len(np.unique(y)) > 5
    assert np.array_equal(np.concatenate([runner.run(x[i : i + 1]) for i in range(len(x))]), y)
    assert np.array_equal(runner.run(x[:7]), y[:7])
    assert np.array_equal(runner.run(x[::-1])[::-1], y)
    assert np.array_equal(OPEN[kind](path, threads=2).run(x), y)
    first = runner.run(x[:1])
    runner.run(x[1:2])
    assert np.array_equal(first, y[:1])  # a result is not overwritten by the next run


def test_where_names_what_decides_the_integers(tmp_path):
    path = tmp_path / export(student(), tmp_path).path
    assert litert.open_reference(path).where.endswith("reference kernels, 1 thread")
    where = litert.open_xnnpack(path, threads=2).where
    assert where.startswith("LiteRT 2.") and where.endswith("XNNPACK, 2 threads")


@pytest.mark.parametrize("kind", OPEN)
def test_wrong_samples_are_refused(kind, tmp_path):
    runner = OPEN[kind](tmp_path / export(student(), tmp_path).path)
    for wrong in (images(2).astype(np.float32), images(2)[:, :11], images(2)[0], images(0)):
        with pytest.raises(InputError, match=r"input .*\n  expected: int8 \(N, 12, 12, 3\), N at least 1"):
            runner.run(wrong)
    runner.close()
    runner.close()
    with pytest.raises(InputError, match="the model is closed"):
        runner.run(images(1))


@pytest.mark.parametrize("kind", OPEN)
def test_files_that_do_not_load_are_refused(kind, tmp_path, capfd):
    path = tmp_path / "model.tflite"
    with pytest.raises(InputError, match="no such file"):
        OPEN[kind](path)
    for content in (b"", b"nonsense" * 20, encode(student())[:900]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"model\.tflite: LiteRT does not load it"):
            OPEN[kind](path)
    path.write_bytes(encode(student()))
    with pytest.raises(InputError, match="0 threads"):
        OPEN[kind](path, threads=0)
    OPEN[kind](path).run(images(1))
    assert capfd.readouterr().err == ""
