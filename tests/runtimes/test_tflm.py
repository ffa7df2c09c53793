"""TFLM: one sample at a time, an arena that grows, and what it reports of it."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export.tflite import encode, export
from edgekd.runtimes import litert, tflm
from tests.runtimes.convnet import images, student


def test_runs_and_equals_litert_reference(tmp_path):
    path = tmp_path / export(student(), tmp_path).path
    runner = tflm.open_model(path, threads=2)
    y = runner.run(images(9))
    assert y.shape == (9, 5) and y.dtype == np.int8 and len(np.unique(y)) > 5
    assert np.array_equal(runner.run(images(9)[3:4]), y[3:4])
    assert abs(y.astype(int) - litert.open_reference(path).run(images(9))).max() <= 1
    assert runner.where.startswith("TFLM ") and runner.where.endswith("reference kernels, 1 thread")
    runner.close()
    runner.close()
    with pytest.raises(InputError, match="the model is closed"):
        runner.run(images(1))


def test_arena_is_what_the_tensors_need(tmp_path, capfd):
    arena = tflm.arena_bytes(tmp_path / export(student(), tmp_path).path)
    # The convolution's input and output live at once; tensors are aligned to 16 bytes.
    assert 12 * 12 * (3 + 8) <= arena.activations <= 12 * 12 * (3 + 8) + 256
    assert arena.total == arena.activations + arena.persistent
    assert capfd.readouterr().err == ""


def test_arena_grows_until_the_model_fits(tmp_path):
    size = 300
    path = tmp_path / export(student(size), tmp_path).path
    assert tflm.arena_bytes(path).activations >= size * size * 11 > tflm.SMALLEST_ARENA
    assert tflm.open_model(path).run(np.zeros((1, size, size, 3), np.int8)).shape == (1, 5)


def test_wrong_samples_are_refused(tmp_path):
    runner = tflm.open_model(tmp_path / export(student(), tmp_path).path)
    for wrong in (images(2).astype(np.float32), images(2)[:, :11], images(2)[0], images(0)):
        with pytest.raises(InputError, match=r"input .*\n  expected: int8 \(N, 12, 12, 3\), N at least 1"):
            runner.run(wrong)


def test_files_that_do_not_load_are_refused(tmp_path, capfd):
    path = tmp_path / "model.tflite"
    with pytest.raises(InputError, match="no such file"):
        tflm.open_model(path)
    for content in (b"", b"nonsense" * 20, encode(student())[:900]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"model\.tflite: LiteRT, which checks files before TFLM, does not load it"):
            tflm.open_model(path)
    path.write_bytes(encode(student()))
    with pytest.raises(InputError, match="0 threads"):
        tflm.open_model(path, threads=0)
    assert capfd.readouterr().err == ""
