"""A Keras model, a SavedModel and a file of outputs each teach a student, from recipe to verdict, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd import runs
from edgekd.data.load import load_data
from edgekd.data.views import Views
from edgekd.recipe.load import load as load_recipe
from tests.small_builds import LABELS, edgekd, pictures, recipe

TEACHER = 'source = "residual_cnn"\noptions = { width = 4 }\nmean = [0.5]\nstd = [0.25]\n'
#: The order of the teacher's outputs, which is not the data's.
ORDER = ("middle", "Down", "border", "across")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edgekd"


def keras_model() -> Any:
    """A model of pixels 0 to 255 in images of 10x10 that ends in a softmax, taught for seconds with its labels in ORDER."""
    import keras

    keras.utils.set_random_seed(1)
    image = keras.Input((10, 10, 1))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = keras.layers.Conv2D(8, 3, 2, activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dense(len(ORDER), activation="softmax")(keras.layers.Flatten()(x))
    model = keras.Model(image, x)
    pixels, kinds = pictures(256, 50)
    order = [name.lower() for name in ORDER]
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    model.fit(small(pixels), np.array([order.index(LABELS[kind]) for kind in kinds]), epochs=6, verbose=0)
    return model


def small(pixels: np.ndarray) -> np.ndarray:
    """12x12 → 10x10 as documented: the mean of the area, rounded; written out anew."""
    edges = [(int(np.floor(i * 1.2)), int(np.ceil((i + 1) * 1.2))) for i in range(10)]
    rows = np.stack([pixels[:, a:b].astype(np.float64).sum(1) / (b - a) for a, b in edges], 1)
    return np.round(np.stack([rows[:, :, a:b].sum(2) / (b - a) for a, b in edges], 2)).astype(np.float32)


def expected(where: Path, predict: Any) -> np.ndarray:
    """Log-probabilities [views, N, classes] of the recipe's own images, in the order of the data's labels."""
    loaded = load_recipe(where)
    data = load_data(loaded.recipe.data.source, loaded.recipe.data.options, loaded.folder)
    views = Views(**loaded.recipe.views.model_dump())
    order = [[name.lower() for name in ORDER].index(name) for name in data.labels]
    return np.stack([np.log(predict(small(views.all(data.train.x, n)))[:, order]) for n in range(views.count)])


def stored(cache: Path, views: int) -> np.ndarray:
    """The soft targets that a build left in the cache."""
    arrays = [np.load(file) for file in (cache / "soft_targets").glob("*.npy")]
    (found,) = (array for array in arrays if len(array) == views)
    return found


def built(where: Path, target: str, out: Path) -> dict[str, Any]:
    code, text, err = edgekd("build", where, "-t", target, "--runs", out, "--threads", 1, "--json", "--budget", "accuracy_drop_pp=100")
    assert code == 0, (text, err)
    return {"run": next(path for path in out.iterdir() if path.is_dir()), "rows": json.loads(text)}


@pytest.mark.slow
@pytest.mark.parametrize("source", ["keras", "saved_model"])
def test_a_model_of_tensorflow_teaches_a_student(tmp_path: Path, cache: Path, source: str) -> None:
    model = keras_model()
    options = '{ file = "teacher.keras" }' if source == "keras" else '{ folder = "teacher" }'
    text = f'source = "{source}"\noptions = {options}\nscale = 255\noutput = "probabilities"\n'
    where = recipe(tmp_path / "recipe", {TEACHER: text})
    if source == "keras":
        model.save(where / "teacher.keras")
    else:
        model.export(where / "teacher", verbose=False)
    (where / "labels.txt").write_text("\n".join(ORDER))
    run = built(where, "nucleo-u575zi", tmp_path / "runs")["run"]
    verdicts = runs.read(run, "verify").body
    assert [v.runtime for v in verdicts] == ["tflm", "litert_ref", "litert_xnnpack"] and all(v.ok for v in verdicts)
    assert all(v.figures["bit_equal"].value == 1 for v in verdicts)
    soft = expected(where, lambda x: model.predict(x, verbose=0, batch_size=64))
    found = stored(cache, 2)
    assert found.shape == soft.shape == (2, 192, 4)
    np.testing.assert_allclose(found, soft, rtol=2e-3, atol=2e-3)
    accuracy = runs.read(run, "measure").body[0].figures["teacher_accuracy"]
    assert accuracy.value > 0.9 and accuracy.n == 96, accuracy
    code, _, err = edgekd("teach", where)
    assert code == 2 and "there is nothing to train" in err and source in err


@pytest.mark.slow
def test_a_file_of_outputs_teaches_a_student(tmp_path: Path) -> None:
    text = 'source = "soft_targets"\noptions = { file = "outputs.npz" }\n'
    where = recipe(tmp_path / "recipe", {TEACHER: text})
    loaded = load_recipe(where)
    data = load_data(loaded.recipe.data.source, loaded.recipe.data.options, loaded.folder)
    views = Views(**loaded.recipe.views.model_dump())
    outputs = np.eye(4, dtype=np.float32)[np.stack([data.train.y, data.train.y])] * 5
    hashes = {"data_sha256": np.array(data.sha256), "views_sha256": np.array(views.sha256)}
    np.savez(where / "outputs.npz", outputs=outputs, test=np.eye(4)[data.test.y] * 5.0, **hashes)
    run = built(where, "nucleo-u575zi", tmp_path / "runs")["run"]
    assert all(v.ok for v in runs.read(run, "verify").body)
    assert runs.read(run, "measure").body[0].figures["teacher_accuracy"].value == 1
