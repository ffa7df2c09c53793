"""Builds small enough for tests: four kinds of 12x12 pictures that are learned in seconds, a recipe, and whatever a recipe may change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from edgekd.cli import app

LABELS = ("across", "down", "middle", "border")
SIDE = 12

RECIPE = """\
schema_version = 1
name = "tiny"

[data]
source = "numpy"
options = { file = "data.npz", labels = ["across", "down", "middle", "border"] }

[teacher]
source = "residual_cnn"
options = { width = 4 }
mean = [0.5]
std = [0.25]

[student]
family = "inverted_residual"
options = { stem = 8, widths = [8, 12], blocks = [1, 2], strides = [1, 2], stem_stride = 2, expansion = 2 }

[student.space]
width = [0.5, 1.0]

[[losses]]
name = "soft_targets"
weight = 0.1

[[losses]]
name = "cross_entropy"
weight = 0.9

[views]
count = 2
shift = 1

[presets.demo]
float_epochs = 3.5
qat_epochs = 1.5
batch = 8
learning_rate = 0.02
"""


def pictures(n: int, seed: int, *, channels: int = 1, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """``n`` pictures uint8 [n, side, side, channels] of four kinds, in turn, with noise; and their kinds int64 [n]."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(-1, 1, side)
    round_ = ramp[:, None] ** 2 + ramp[None, :] ** 2 - 0.7
    kinds = np.stack([np.tile(ramp, (side, 1)), np.tile(ramp[:, None], (1, side)), -round_, round_])
    y = np.arange(n) % len(kinds)
    strength = rng.uniform(40, 90, (n, 1, 1, channels))
    x = 128 + strength * kinds[y][..., None] + rng.normal(0, 12, (n, side, side, channels))
    return x.clip(0, 255).astype(np.uint8), y


def recipe(folder: Path, changes: Mapping[str, str] | None = None, *, seed: int = 7) -> Path:
    """A folder with recipe.toml and data.npz. ``changes``: text of RECIPE → what stands there instead."""
    folder.mkdir(parents=True, exist_ok=True)
    text = RECIPE
    for old, new in (changes or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / "recipe.toml").write_text(text)
    arrays = {}
    for at, (part, n) in enumerate((("train", 192), ("validation", 48), ("test", 96))):
        arrays[f"x_{part}"], arrays[f"y_{part}"] = pictures(n, seed + at)
    np.savez(folder / "data.npz", **arrays)
    return folder


def image_folder(folder: Path, n: int = 240, *, side: int = SIDE) -> Path:
    """Class folders of RGB PNG files."""
    for at, (x, y) in enumerate(zip(*pictures(n, 3, channels=3, side=side), strict=True)):
        path = folder / LABELS[y] / f"{at:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x).save(path)
    return folder


def edgekd(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command, in this process. What is no error of edgekd's own is raised here."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def exported(run: Path) -> dict[str, bytes]:
    """The graph and the exported files of a run."""
    return {f"{p.parent.name}/{p.name}": p.read_bytes() for part in ("graph", "export") for p in sorted((run / part).iterdir())}


#: Two tasks of one picture, a teacher each: what it shows, and whether it is dark or bright.
TWO_TASKS = {
    'options = { file = "data.npz", labels = ["across", "down", "middle", "border"] }': 'options = { file = "data.npz", '
    'tasks = { shape = ["across", "down", "middle", "border"], light = ["dark", "bright"] } }',
    """[teacher]
source = "residual_cnn"
options = { width = 4 }
mean = [0.5]
std = [0.25]
""": """[[teachers]]
task = "shape"
source = "residual_cnn"
options = { width = 4 }
mean = [0.5]
std = [0.25]

[[teachers]]
task = "light"
source = "residual_cnn"
options = { width = 5 }
mean = [0.5]
std = [0.25]
""",
    """[[losses]]
name = "cross_entropy"
weight = 0.9
""": """[[losses]]
name = "cross_entropy"
weight = 0.9

[[losses]]
name = "soft_targets"
task = "light"
weight = 0.1

[[losses]]
name = "cross_entropy"
task = "light"
weight = 0.9
""",
}


def two_tasks(folder: Path, changes: Mapping[str, str] | None = None, *, seed: int = 7) -> Path:
    """A recipe of two tasks, labels int64 [n, 2]; the data's pictures are a little darker or brighter than those of ``recipe``."""
    recipe(folder, {**TWO_TASKS, **(changes or {})}, seed=seed)
    arrays = dict(np.load(folder / "data.npz"))
    for at, part in enumerate(("train", "validation", "test")):
        bright = np.random.default_rng(seed + at).integers(0, 2, len(arrays[f"y_{part}"]))
        x = arrays[f"x_{part}"].astype(np.int16) // 2 + 64 + (30 * (2 * bright - 1))[:, None, None, None]
        arrays[f"x_{part}"] = x.clip(0, 255).astype(np.uint8)
        arrays[f"y_{part}"] = np.stack([arrays[f"y_{part}"], bright], 1)
    np.savez(folder / "data.npz", **arrays)
    return folder


def with_checkpoint(where: Path) -> Path:
    """The recipe in ``where`` with a teacher that `edgekd teach` trains."""
    text = (where / "recipe.toml").read_text()
    schedule = "[teacher.schedule]\nepochs = 2\nbatch = 16\n\n[student]"
    text = text.replace("options = { width = 4 }", 'options = { width = 4 }\ncheckpoint = "teacher.safetensors"').replace(
        "[student]", schedule, 1
    )
    (where / "recipe.toml").write_text(text)
    return where
