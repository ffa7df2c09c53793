"""``edgekd verify --layers``: every tensor of model files, or of a run's exported file, against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgekd import runs
from edgekd.convert import Progress, load_samples, random_inputs, read_model, subjects_of
from edgekd.export import EXPORTERS
from edgekd.importers.check import read_folder
from edgekd.jobs import asked_of, built_from
from edgekd.quant.graph import QuantGraph
from edgekd.runtimes import RUNTIMES
from edgekd.stages import HOST_RUNTIMES, device_samples
from edgekd.verify.certificate import Subject
from edgekd.verify.layers import COUNT, MOST, Comparison, compare_layers


@dataclass(frozen=True)
class Layers:
    """``inputs`` says what was fed; ``not_run``: why a runtime was left out, by "file in runtime"."""

    comparisons: tuple[Comparison, ...]
    inputs: str
    not_run: dict[str, str] = field(default_factory=dict)


def of_files(models: Sequence[Path], samples: Path | None = None, *, workers: int = 0, progress: Progress | None = None) -> Layers:
    """Of ``models``, the first of which is the graph. Raises InputError for what cannot be read."""
    graph = read_model(models[0])
    x, inputs = (random_inputs(graph, COUNT), f"{COUNT} random inputs") if samples is None else _given(graph, samples)
    subjects, not_run = subjects_of(graph, [path for path in models if not path.is_dir()])
    return Layers(compare_layers(graph, subjects, x, workers=workers or None, progress=progress), inputs, not_run)


def of_run(run: Path, samples: Path | None = None, *, workers: int = 0, progress: Progress | None = None) -> Layers:
    """Of the exported file of a run, on images spread over its test set where no ``samples`` are given.

    Raises InputError if it is no build of this version, or (without samples) its data changed.
    """
    graph = read_folder(run / "graph")
    _, profile, _ = asked_of(run)
    artifact = runs.read(run, "export").body[0]
    path, exporter = runs.inside(run, artifact.path), EXPORTERS[profile.deploy.exporter]
    integer = profile.scheme.numeric == "int8"
    runtimes = [name for name in HOST_RUNTIMES[profile.deploy.runtime] if integer or name != "tflm"]
    subjects = [Subject(name, RUNTIMES[name], path, exporter) for name in runtimes]
    if samples is not None:
        x, inputs = _given(graph, samples)
    else:
        test = built_from(run)[2].test
        shape = graph.tensor(graph.inputs[0]).shape
        pixels = device_samples(test, (shape[1], shape[2]), integer=integer)
        x = pixels[np.linspace(0, len(pixels) - 1, COUNT).astype(int)]
        inputs = f"{len(x)} images of the test set"
    return Layers(compare_layers(graph, subjects, x, workers=workers or None, progress=progress), inputs)


def _given(graph: QuantGraph, samples: Path) -> tuple[np.ndarray, str]:
    x = load_samples(graph, samples)[0][:MOST]
    return x, f"the first {len(x)} samples of {samples.name}"
