"""A teacher from a ``.keras`` file, run by TensorFlow on the CPU."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np

from edgekd.errors import InputError
from edgekd.teachers.answers import beside
from edgekd.teachers.files import located, sha256_of
from edgekd.teachers.opened import About, Foreign, Opened, channels_last, chosen, images_of
from edgekd.teachers.tf import share_threads, tf

#: What Keras 3 writes. Anything else, such as a pickle, has no business in there.
MEMBERS = re.compile(r"(config\.json|metadata\.json|model[^/]*\.(weights\.h5|weights\.json)|assets/.*|.*/)")


def load(*, root: Path, channels: int, file: str, output_name: str = "") -> Opened:
    """The model in ``file`` (Keras 3): one input of images [N, H, W, C], one output [N, classes], or that of ``output_name``.

    Nothing in the file is run but layers that Keras itself has (``safe_mode``: no lambda), and its optimizer and losses are left alone.
    Labels: labels.txt beside it. Raises InputError for a file of another kind, or a model with other inputs and outputs.
    """
    path = located(root, file, "file", "a .keras file")
    where = str(path)
    check_archive(path)
    share_threads()
    try:
        model = tf.keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # what a damaged or foreign configuration raises is of any kind
        text = " ".join(str(error).split())[:300]
        raise InputError(
            f"Keras cannot open it ({text})", where=where, expected="a model of Keras's own layers, without lambdas"
        ) from error
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) != 1:
        raise InputError(f"{len(inputs)} inputs", where=where, expected="one, of images [N, H, W, C]")
    shape = images_of(inputs[0].shape, where)
    size = channels_last(shape, channels, where)
    output = chosen(output_name, list(model.output_names), where)
    at = list(model.output_names).index(output)
    dtype = np.dtype("uint8" if "int" in str(inputs[0].dtype) else "float32")

    def run(x: np.ndarray) -> np.ndarray:
        answers = model.predict_on_batch(x)
        if isinstance(answers, dict):
            return np.asarray(answers[output])
        return np.asarray(answers[at] if isinstance(answers, list | tuple) else answers)

    about = About(
        sha256=sha256_of([path], path.parent, output),
        library=f"tensorflow {tf.__version__}, keras {tf.keras.__version__}",
        channels=channels,
        size=size,
        labels=beside(path),
        integer=dtype.kind == "u",
    )
    return Opened(Foreign(run, dtype, channels_last=True, batch=shape[0]), about)


def check_archive(path: Path) -> None:
    """Raises InputError for a file that is not what Keras 3 saves, or that holds anything else."""
    where = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        found = "is an HDF5 file" if path.read_bytes()[:4] == b"\x89HDF" else f"is not a Keras file ({error})"
        raise InputError(found, where=where, expected="what Keras 3 saves as .keras", mend='model.save("teacher.keras")') from error
    if "config.json" not in names:
        raise InputError("is not a Keras file: it holds no config.json", where=where, expected="what Keras 3 saves as .keras")
    if strange := [name for name in names if not MEMBERS.fullmatch(name)]:
        raise InputError(
            f"holds {strange[0]!r}", where=where, expected="config.json, metadata.json and weights", mend='model.save("teacher.keras")'
        )
