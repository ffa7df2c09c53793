"""Keras files and SavedModels; in one file, since importing TensorFlow takes long."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd import lazy
from edgekd.errors import InputError, MissingDependency
from edgekd.recipe.schema import Teacher as Table
from edgekd.teachers.assemble import assemble
from edgekd.teachers.opened import Opened
from edgekd.teachers.teacher import logits

pytestmark = pytest.mark.slow

LABELS = ("a", "b", "c")


def image(n: int = 70) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, 6, 6, 2)).astype(np.uint8)


def network(
    shape: tuple[int | None, ...] = (6, 6, 2), *, activation: str | None = None, batch: int | None = None, dtype: str = "float32"
) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    given = keras.Input(shape, batch_size=batch, dtype=dtype)
    x = keras.layers.Rescaling(1 / 255)(given) if dtype == "uint8" else given
    x = keras.layers.Conv2D(4, 3, activation="relu")(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(given, keras.layers.Dense(3, activation=activation)(x))


def keras_file(model: Any, folder: Path, **options: Any) -> Opened:
    from edgekd.teachers.keras import load

    model.save(folder / "m.keras")
    return load(root=folder, channels=2, file="m.keras", **options)


def saved_model(model: Any, folder: Path, **options: Any) -> Opened:
    from edgekd.teachers.saved_model import load

    model.export(folder / "m", verbose=False)
    return load(root=folder, channels=2, folder="m", **options)


BOTH = pytest.mark.parametrize("opened", [keras_file, saved_model])


def answers(body: Opened, labels: tuple[str, ...] = LABELS, **keys: Any) -> np.ndarray:
    table = Table.model_validate({"source": "keras", **keys})
    return logits(assemble(body, table, image()[:8], labels), image(), bf16=False)


@BOTH
@pytest.mark.parametrize("batch", [None, 3])
def test_answers_are_the_models_own(tmp_path: Path, opened: Callable[..., Opened], batch: int | None) -> None:
    model = network(batch=batch)
    body = opened(model, tmp_path)
    pixels = (image() / 255 - [0.25, 0.5]) / [0.5, 0.25]
    own = np.concatenate([model(part).numpy() for part in np.split(pixels.astype(np.float32)[:69], 23)])
    np.testing.assert_allclose(answers(body, mean=[0.25, 0.5], std=[0.5, 0.25])[:69], own, rtol=1e-4, atol=1e-5)
    assert body.about.library.startswith("tensorflow 2") and body.about.size == (6, 6)


@BOTH
def test_probabilities_of_whole_pixels(tmp_path: Path, opened: Callable[..., Opened]) -> None:
    model = network((None, None, 2), activation="softmax", dtype="uint8")
    (tmp_path / "labels.txt").write_text("c\na\nb\n")
    body = opened(model, tmp_path)
    with pytest.raises(InputError, match="takes integers 0 to 255"):
        answers(body)
    with pytest.raises(InputError, match=r"the teacher answers probabilities"):
        answers(body, scale=255.0)
    found = answers(body, scale=255.0, output="probabilities")
    own = model(image()).numpy()[:, [1, 2, 0]]
    np.testing.assert_allclose(found, np.log(own), rtol=1e-4, atol=1e-5)


@BOTH
def test_models_that_are_no_teachers_of_this_data(tmp_path: Path, opened: Callable[..., Opened]) -> None:
    import keras

    with pytest.raises(InputError, match=r"shape \['\?', 6, 6, 3\]\n  expected: \[N, H, W, 2\]"):
        opened(network((6, 6, 3)), tmp_path)
    with pytest.raises(InputError, match=r"3 outputs and does not name them\n  expected: 2 outputs"):
        answers(opened(network(), tmp_path), ("a", "b"))
    flat = keras.Sequential([keras.Input((72,)), keras.layers.Dense(3)])
    with pytest.raises(InputError, match=r"shape \['\?', 72\]\n  expected: one batch of images"):
        opened(flat, tmp_path)
    left, right = keras.Input((6, 6, 2), name="left"), keras.Input((6, 6, 2), name="right")
    with pytest.raises(InputError, match=r"2 inputs.*\n  expected: one, of images"):
        opened(keras.Model({"left": left, "right": right}, keras.layers.Flatten()(left + right)), tmp_path)
    outputs = {"logits": keras.layers.GlobalAveragePooling2D(name="logits")(left), "all": keras.layers.Flatten(name="all")(left)}
    with pytest.raises(InputError, match=r"2 outputs\n  expected: one of "):
        opened(keras.Model(left, outputs), tmp_path)
    two = opened(keras.Model(left, outputs), tmp_path, output_name="logits")
    np.testing.assert_allclose(answers(two, ("a", "b")), (image() / 255).mean((1, 2)), rtol=1e-4)
    model = network()
    model.set_weights([w * np.nan for w in model.get_weights()])
    with pytest.raises(InputError, match="outputs are not finite"):
        answers(opened(model, tmp_path))


@BOTH
def test_the_hash_is_of_the_weights(tmp_path: Path, opened: Callable[..., Opened]) -> None:
    model = network()
    first = opened(model, tmp_path).about.sha256
    model.set_weights([w + 1 for w in model.get_weights()])
    assert opened(model, tmp_path).about.sha256 != first


def test_keras_files_that_are_none(tmp_path: Path) -> None:
    import keras

    from edgekd.teachers.keras import load

    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message):
            load(root=tmp_path, channels=2, file="m.keras")

    file = tmp_path / "m.keras"
    for content, message in ((b"", "is not a Keras file"), (b"\x89HDF\r\n", "is an HDF5 file"), (b"\x80\x04pickle", "is not a Keras file")):
        file.write_bytes(content)
        refused(rf"m.keras: {message}.*\n  expected: what Keras 3 saves as .keras")
    network().save(file)
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    refused("is not a Keras file")
    file.write_bytes(whole)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("model.pkl", b"\x80\x04.")
    refused(r"holds 'model.pkl'")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", json.dumps({"module": "os", "class_name": "system", "config": {}}))
    refused("Keras cannot open it")
    keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Lambda(lambda x: x[:, 0, 0]), keras.layers.Dense(3)]).save(file)
    refused(r"(?s)Keras cannot open it.*without lambdas")


def test_saved_models_that_are_none(tmp_path: Path) -> None:
    import tensorflow as tf

    from edgekd.teachers.saved_model import load

    def refused(message: str, **options: Any) -> None:
        with pytest.raises(InputError, match=message):
            load(root=tmp_path, channels=2, folder="m", **options)

    refused(r"teacher.options.folder: .* does not exist")
    network().export(tmp_path / "m", verbose=False)
    refused(r"it has no signature 'x'\n  expected: one of ", signature="x")
    program = (tmp_path / "m" / "saved_model.pb").read_bytes()
    (tmp_path / "m" / "saved_model.pb").write_bytes(program[: len(program) // 2])
    refused(r"saved_model.pb: cannot be read|TensorFlow cannot open it")
    (tmp_path / "m" / "saved_model.pb").unlink()
    refused("holds no saved_model.pb")

    class Any_(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec(None, tf.float32)])
        def any_rank(self, x: Any) -> Any:
            return tf.reshape(x, [1, -1])

        @tf.function(input_signature=[tf.TensorSpec([None, 6, 6, 2], tf.float32)])
        def reads(self, x: Any) -> Any:
            return tf.reshape(x, [1, -1]) + tf.strings.to_number(tf.io.read_file("/etc/hostname"))

    module = Any_()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.any_rank)
    refused(r"has the operator ReadFile")
    Any_.reads = None  # type: ignore[assignment]
    module = Any_()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.any_rank)
    refused(r"the shape of its input is not known\n  expected: one batch of images")


def test_without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [name for name in sys.modules if name.startswith("edgekd.teachers.") and name.rpartition(".")[2] in ("tf", "keras")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setitem(lazy.EXTRAS, "tensorflow", "tensorflow")
    with pytest.raises(
        MissingDependency, match=r"needs tensorflow, which is not installed\n  to mend:  pip install 'edgekd\[tensorflow\]'"
    ):
        lazy.load("edgekd.teachers.keras:load")
