"""`edgekd bench`: a model on a device of measure.DEVICES, for a target, or two models against each other; of a run also its record."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
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
from edgekd.measure.device import Asked, Bench, Progress, Subject
from edgekd.profile.load import find as find_profile
from edgekd.profile.load import load as load_profile
from edgekd.profile.schema import Profile
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph
from edgekd.quant.passes.channels_last import channels_last
from edgekd.records import Artifact, Measurement, Record
from edgekd.stages import device_samples
from edgekd.verify.returned import judge

#: Devices that need no target: what they are is found by asking them, and a model's own file says which runtime it is for.
ATTACHED = ("host", "ssh", "adb", "serial", "arm64-emulated")
#: Those that take a model's own file, and two models.
FILES = ("host", "ssh", "adb", "arm64-emulated")
#: Kinds of files that are put on a device as they are.
OWN = (".tflite", ".onnx", ".xml")
#: Seconds that accuracy may take on a device that is emulated.
ACCURACY_S = 60.0
#: A fleet's devices write to one run at the same time: they take turns, other processes are refused.
_RECORDING = threading.Lock()


@dataclass(frozen=True)
class Wanted:
    """What was asked for. ``target`` may be "" for a run, which knows its own, and for ATTACHED devices; ``device``: KIND or KIND:ADDRESS.

    ``seconds`` is 0 for the device's own choice; ``keep``: a folder for what is built; ``cmsis_nn``: one with CMSIS-NN. ``rival`` is a
    second model to compare with; ``reference`` is the model that the file must compute where it cannot be read itself (OpenVINO's).
    """

    model: Path
    target: str
    device: str = "qemu"
    kernels: tuple[str, ...] = ("portable",)
    samples: Path | None = None
    seconds: float = 0.0
    keep: Path | None = None
    cmsis_nn: Path | None = None
    rival: Path | None = None
    reference: Path | None = None
    asked: Asked = field(default_factory=Asked)

    @property
    def kind(self) -> str:
        return self.device.partition(":")[0]

    @property
    def address(self) -> str:
        return self.device.partition(":")[2]


@dataclass(frozen=True)
class Benched:
    """``bench`` of the model named ``name`` for ``target``; ``record`` is where it was written, of a run."""

    name: str
    target: str
    inputs: str
    bench: Bench
    record: Path | None = None

    def document(self) -> dict[str, Any]:
        """As JSON. Of two models also whether they differ."""
        different = {} if self.bench.different is None else {"different": self.bench.different}
        return {**asdict(self), "record": str(self.record) if self.record else None, "ok": self.bench.ok, **different}


def bench(wanted: Wanted, progress: Progress) -> Benched:
    """Measure. Raises InputError for a device, target, kernel set or samples that there are not, DoesNotFit where the target is too small,
    and what else the device raises."""
    if wanted.kind not in DEVICES:
        raise InputError(f"no device is called {wanted.kind!r}", where="--device", expected=", ".join(DEVICES))
    if not wanted.kernels:
        raise InputError("no set of kernels", where="--kernels", expected="e.g. portable,cmsis")
    if unknown := [name for name in wanted.kernels if name not in SETS]:
        raise InputError(f"kernels {unknown[0]!r}", where="--kernels", expected=", ".join(SETS))
    if wanted.rival is not None and wanted.kind not in FILES:
        raise InputError("two models", where=f"--device {wanted.device}", expected=f"one; two on {', '.join(FILES)}")
    began = time.monotonic()
    run = wanted.model if _is_run(wanted.model) else None
    subject = _subject(wanted, wanted.model)
    if wanted.rival is not None:
        subject = replace(subject, rival=_subject(wanted, wanted.rival))
    with ExitStack() as opened:
        if wanted.keep is not None:
            _alone(wanted.keep, opened)
        found = load(DEVICES[wanted.kind])(subject, progress)
    names = " and ".join(one.graph.name for one in (subject, subject.rival) if one is not None)
    done = Benched(names, subject.profile.name if subject.profile else "", subject.inputs, found)
    if run is None or wanted.rival is not None:
        return done
    try:
        return replace(done, record=_record(run, wanted, done, time.monotonic() - began))
    except (InputError, OSError) as error:  # another process writes the run, or the disk is full: minutes on a device are not lost for it
        return replace(done, bench=replace(found, notes=(*found.notes, f"not recorded in the run: {error}")))


def write(fmt: str, graph: QuantGraph, out: Path, **options: str) -> Artifact:
    """An exporter by its format."""
    return load(EXPORTERS[fmt])(graph, out, **options)


def _subject(wanted: Wanted, model: Path) -> Subject:
    """One of the models."""
    run = model if _is_run(model) else None
    profile = _profile(wanted, run)
    own = model if wanted.kind in FILES and model.suffix in OWN and model.is_file() else None
    graph = channels_last(read_model(readable(wanted, model)))
    x, y, inputs = _samples(wanted, graph, run)
    asked = _within(wanted.asked, wanted.seconds) if wanted.seconds else wanted.asked
    return Subject(
        graph, profile, x, y, inputs, write, wanted.kernels, wanted.seconds or ACCURACY_S, wanted.keep, wanted.cmsis_nn,
        wanted.address, own, judge, asked,
    )  # fmt: skip


def _within(asked: Asked, seconds: float) -> Asked:
    """So many seconds of timing; where they are few, fewer processes and shorter warm-ups, which else would take longer than the timing.

    Of a second and more there are six processes: of fewer no interval holds the median often enough, as each of them is a draw of its own.
    """
    invocations = min(asked.invocations, max(2, round(6 * seconds)))
    return replace(asked, seconds=seconds, invocations=invocations, warmup_s=min(asked.warmup_s, max(0.1, seconds / 2)))


def readable(wanted: Wanted, model: Path) -> Path:
    """Whose graph the file must compute: its own, or that of ``reference``. Raises InputError for OpenVINO's without one."""
    if wanted.reference is not None:
        return wanted.reference
    if model.suffix == ".xml" and model.is_file():
        raise InputError(
            "an OpenVINO file says nothing of its quantization",
            where=str(model),
            expected="the model that it must compute",
            mend="--reference RUN, or the .onnx or .tflite file that it was made from",
        )
    return model


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


def _profile(wanted: Wanted, run: Path | None) -> Profile | None:
    if wanted.target:
        return load_profile(find_profile(wanted.target))
    if run is not None:
        return asked_of(run)[1]
    if wanted.kind in ATTACHED:
        return None
    raise InputError("no target", where="--target", expected="whose sizes and core to take", mend="edgekd targets list --kind mcu")


def _samples(wanted: Wanted, graph: QuantGraph, run: Path | None) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Those of the file; else a run's test set; else random ones."""
    if wanted.samples is not None:
        x, y = load_samples(graph, wanted.samples)
        return x, y, f"{len(x)} samples of {wanted.samples.name}"
    if run is not None:
        test, tensor = built_from(run)[2].test, graph.tensor(graph.inputs[0])
        x = device_samples(test, (tensor.shape[1], tensor.shape[2]), integer=not tensor.dtype.startswith("float"))
        return x, test.y, "the test set"
    return random_inputs(graph, COUNT), None, f"{COUNT} random inputs"


def _record(run: Path, wanted: Wanted, done: Benched, seconds: float) -> Path:
    """records/bench-<device>.json: a measurement of each row. One that failed says why, and its figures are not the run's."""
    stage = "bench-" + re.sub(r"[^A-Za-z0-9._-]+", "-", wanted.device).strip("-")
    inputs = {"graph": io.fingerprint(read_model(run))}
    config: dict[str, Any] = {"target": done.target, "device": wanted.device, "kernels": list(wanted.kernels), "inputs": done.inputs}
    config |= {"state": done.bench.state} if done.bench.state else {}
    failed = {row.name: row.failed for row in done.bench.rows if row.failed}
    config |= {"failed": failed} if failed else {}
    body: Sequence[Measurement] = [
        replace(row.measurement, notes=(*row.measurement.notes, f"failed: {row.failed}")) if row.failed else row.measurement
        for row in done.bench.rows
    ]
    figures = {} if done.bench.rows[0].failed else body[0].figures
    with _RECORDING, runs.lock(run):
        return runs.write(run, Record(stage, inputs, config, runs.environment(), list(body), round(seconds, 2), figures=figures))
