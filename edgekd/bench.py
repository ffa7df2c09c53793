"""`edgekd bench`: a model on a device of measure.DEVICES, for a target; of a run also its record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import runs
from edgekd.convert import COUNT, load_samples, random_inputs, read_model
from edgekd.errors import InputError
from edgekd.export import EXPORTERS
from edgekd.export.c_sets import SETS
from edgekd.jobs import asked_of, built_from
from edgekd.lazy import load
from edgekd.measure import DEVICES
from edgekd.measure.device import Bench, Progress, Subject
from edgekd.profile.load import find as find_profile
from edgekd.profile.load import load as load_profile
from edgekd.profile.schema import Profile
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph
from edgekd.quant.passes.channels_last import channels_last
from edgekd.records import Artifact, Measurement, Record
from edgekd.stages import device_samples


@dataclass(frozen=True)
class Wanted:
    """What was asked for. ``target`` may be "" for a run, which knows its own; ``keep``: a folder for what is built;
    ``cmsis_nn``: one with CMSIS-NN."""

    model: Path
    target: str
    device: str = "qemu"
    kernels: tuple[str, ...] = ("portable",)
    samples: Path | None = None
    seconds: float = 60.0
    keep: Path | None = None
    cmsis_nn: Path | None = None


@dataclass(frozen=True)
class Benched:
    """``bench`` of the model named ``name`` for ``target``; ``record`` is where it was written, of a run."""

    name: str
    target: str
    inputs: str
    bench: Bench
    record: Path | None = None

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "record": str(self.record) if self.record else None, "ok": self.bench.ok}


def bench(wanted: Wanted, progress: Progress) -> Benched:
    """Measure. Raises InputError for a device, target, kernel set or samples that there are not, DoesNotFit where the target is too small,
    and what else the device raises."""
    if wanted.device not in DEVICES:
        raise InputError(f"no device is called {wanted.device!r}", where="--device", expected=", ".join(DEVICES))
    if not wanted.kernels:
        raise InputError("no set of kernels", where="--kernels", expected="e.g. portable,cmsis")
    if unknown := [name for name in wanted.kernels if name not in SETS]:
        raise InputError(f"kernels {unknown[0]!r}", where="--kernels", expected=", ".join(SETS))
    began = time.monotonic()
    run = wanted.model if _is_run(wanted.model) else None
    profile = _profile(wanted, run)
    graph = channels_last(read_model(wanted.model))
    x, y, inputs = _samples(wanted, graph, run)
    subject = Subject(graph, profile, x, y, inputs, write, wanted.kernels, wanted.seconds, wanted.keep, wanted.cmsis_nn)
    with ExitStack() as opened:
        if wanted.keep is not None:
            _alone(wanted.keep, opened)
        found = load(DEVICES[wanted.device])(subject, progress)
    done = Benched(graph.name, profile.name, inputs, found)
    return done if run is None else replace(done, record=_record(run, wanted, done, time.monotonic() - began))


def write(fmt: str, graph: QuantGraph, out: Path, **options: str) -> Artifact:
    """An exporter by its format."""
    return load(EXPORTERS[fmt])(graph, out, **options)


def _alone(keep: Path, opened: ExitStack) -> None:
    """Nobody else benches in this folder while ``opened`` is open: each would run the other's firmware."""
    keep.mkdir(parents=True, exist_ok=True)
    try:
        opened.enter_context(runs.lock(keep))
    except InputError as error:
        raise InputError("another bench writes there", where=f"--keep {keep}", expected="a folder for each", mend="wait for it") from error


def _is_run(model: Path) -> bool:
    """Whether it is a folder that `edgekd build` made."""
    return model.is_dir() and (model / "request.json").is_file() and (model / "records" / "plan.json").is_file()


def _profile(wanted: Wanted, run: Path | None) -> Profile:
    if wanted.target:
        return load_profile(find_profile(wanted.target))
    if run is None:
        raise InputError("no target", where="--target", expected="whose sizes and core to take", mend="edgekd targets list --kind mcu")
    return asked_of(run)[1]


def _samples(wanted: Wanted, graph: QuantGraph, run: Path | None) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Those of the file; else a run's test set; else random ones."""
    if wanted.samples is not None:
        x, y = load_samples(graph, wanted.samples)
        return x, y, f"{len(x)} samples of {wanted.samples.name}"
    if run is not None:
        test, shape = built_from(run)[2].test, graph.tensor(graph.inputs[0]).shape
        return device_samples(test, (shape[1], shape[2]), integer=True), test.y, "the test set"
    return random_inputs(graph, COUNT), None, f"{COUNT} random inputs"


def _record(run: Path, wanted: Wanted, done: Benched, seconds: float) -> Path:
    """records/bench-<device>.json, and beside it all rows and layers: bench-<device>.json."""
    stage = f"bench-{wanted.device}"
    inputs = {"graph": io.fingerprint(read_model(run))}
    config = {"target": done.target, "device": wanted.device, "kernels": list(wanted.kernels), "inputs": done.inputs}
    body: Sequence[Measurement] = [row.measurement for row in done.bench.rows]
    figures = body[0].figures
    with runs.lock(run):
        return runs.write(run, Record(stage, inputs, config, runs.environment(), list(body), round(seconds, 2), figures=figures))
