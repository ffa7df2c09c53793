"""TFLM: one sample at a time, an arena that grows, and what it reports of it."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export.tflite import encode, export
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.ops import Conv2D, FullyConnected, Mean
from edgekd.runtimes import litert, tflm


def student(size: int = 12) -> QuantGraph:
    """Convolution, mean, fully connected: int8 images [N, size, size, 3] to five logits."""
    rng = np.random.default_rng(0)
    tensors = {
        "x": Tensor("x", "int8", (1, size, size, 3), Quantization.per_tensor(1 / 128)),
        "a": Tensor("a", "int8", (1, size, size, 8), Quantization.per_tensor(0.05, -128)),
        "m": Tensor("m", "int8", (1, 8), Quantization.per_tensor(0.02, -10)),
        "y": Tensor("y", "int8", (1, 5), Quantization.per_tensor(0.02, 4)),
    }
    for name, shape in (("c", (8, 3, 3, 3)), ("f", (5, 8))):
        scale = Quantization.per_channel(rng.uniform(0.002, 0.01, shape[0]), 0)
        tensors[f"{name}.w"] = Tensor(f"{name}.w", "int8", shape, scale, rng.integers(-127, 128, shape).astype(np.int8))
        tensors[f"{name}.b"] = Tensor(f"{name}.b", "int32", shape[:1], None, rng.integers(-500, 500, shape[0]).astype(np.int32))
    ops = (
        Conv2D("conv", ("x", "c.w", "c.b"), ("a",), padding=(1, 1, 1, 1), activation="relu"),
        Mean("mean", ("a",), ("m",), axes=(1, 2)),
        FullyConnected("dense", ("m", "f.w", "f.b"), ("y",)),
    )
    return QuantGraph("student", "channels_last", tensors, ops, ("x",), ("y",))


def images(n: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-128, 128, (n, 12, 12, 3)).astype(np.int8)


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
        with pytest.raises(InputError, match=r"model\.tflite: not a TFLite file, or damaged"):
            tflm.open_model(path)
    path.write_bytes(encode(student()))
    with pytest.raises(InputError, match="0 threads"):
        tflm.open_model(path, threads=0)
    assert capfd.readouterr().err == ""
