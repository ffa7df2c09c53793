"""Sources of data: each is one function of a recipe's ``data.options`` that returns a Dataset."""

from __future__ import annotations

#: Source → function(**options) → Dataset. A parameter annotated ``Path`` gets a path relative to the recipe's folder.
SOURCES = {
    "audio_folder": "edgekd.data.audio_folder:load",
    "fashion_mnist": "edgekd.data.fashion_mnist:load",
    "image_folder": "edgekd.data.image_folder:load",
    "numpy": "edgekd.data.numpy_file:load",
    "spoken_digits": "edgekd.data.spoken_digits:load",
}
