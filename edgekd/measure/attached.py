"""Attached devices, and this host as one: the runner, put there, times the model and returns outputs, which must be the reference's."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.arrays import BROKEN
from edgekd.errors import DeviceError, InputError
from edgekd.lazy import load
from edgekd.measure import protocol, told
from edgekd.measure.compare import compared
from edgekd.measure.device import SOME, SOMETHING_ELSE, Bench, Layer, Progress, Row, Subject
from edgekd.measure.files import TRTEXEC, ModelFile, model_file
from edgekd.records import Figure, Measurement, Verdict
from edgekd.transports import TRANSPORTS, Transport
from edgekd.transports.lock import held

RUNNER = Path(__file__).resolve().parents[1] / "runner" / "edgekd_runner.py"
JOB, RESULT = "JOB.json", "RESULT.json"
#: How often a job is done again whose interval is too wide.
MORE = 2
#: Seconds that asking a device for its state may take.
FACTS_S = 60.0


@dataclass(frozen=True, eq=False)
class Prepared:
    """One model of the job: the subject whose it is, its file, and how many of its samples come back as outputs."""

    name: str
    subject: Subject
    model: ModelFile
    samples: int

    @property
    def x(self) -> np.ndarray:
        return self.subject.x[: self.samples]

    @property
    def y(self) -> np.ndarray | None:
        return None if self.subject.y is None else self.subject.y[: self.samples]


def host(subject: Subject, progress: Progress) -> Bench:
    """The device `host`: this machine, by the same runner and protocol as any other."""
    return measure(subject, progress, "host", _connected("local"))


def ssh(subject: Subject, progress: Progress) -> Bench:
    """The device `ssh:USER@HOST[:PORT]`."""
    return measure(subject, progress, "ssh", _connected("ssh"))


def arm64_emulated(subject: Subject, progress: Progress) -> Bench:
    """The device `arm64-emulated`: real aarch64 runtimes, an emulated processor. Its times mean nothing, its integers do."""
    quick = replace(subject.asked, seconds=0.2, repeats=6, invocations=1, warmup_s=0.1, sustained_s=0.0)
    return measure(replace(subject, asked=quick), progress, "arm64-emulated", _connected("arm64-emulated"))


def _connected(transport: str) -> Callable[[str], Transport]:
    return load(TRANSPORTS[transport])


def measure(subject: Subject, progress: Progress, kind: str, connect: Callable[[str], Transport]) -> Bench:
    """Measure the model, and its rival where there is one, on the device that ``connect`` reaches at the subject's address.

    Raises DeviceError (and of these Lost, where it may be tried again) for what fails there, InputError for a file that is not for it.
    A model that computes something else than the reference, or whose times are rejected, raises nothing: its row has failed.
    """
    if subject.kernels != ("portable",):
        raise InputError(f"kernels {', '.join(subject.kernels)}", where="--kernels", expected=f"nothing: {kind} has its own runtime")
    progress(kind, 0, 4)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as name:
        folder = Path(name)
        models = _prepared(subject, folder)
        transport = connect(subject.address)
        try:
            with held(transport) as said:
                facts = state(transport)
                for one in models:
                    _demand(one, facts, transport.where)
                progress(kind, 1, 4)
                _put(transport, models, folder, subject)
                progress(kind, 2, 4)
                result = _timed(transport, models, folder, subject, kind)
                progress(kind, 3, 4)
                outputs = [_outputs(transport, one, found, folder) for one, found in zip(models, result["models"], strict=True)]
            bench = _bench(kind, transport.where, models, result, outputs)
        finally:
            transport.close()
    progress(kind, 4, 4)
    return replace(bench, notes=(*said, *bench.notes))


def state(transport: Transport, *, loads: bool = False) -> dict[str, Any]:
    """The device's facts, by the runner, which is put there; with ``loads`` also whether its runtimes load.

    Raises DeviceError where it has no Python, or one that is too old.
    """
    transport.put(RUNNER, RUNNER.name)
    ran = transport.run(["python3", RUNNER.name, "facts", "--json", *(["--open"] if loads else [])], limit_s=FACTS_S * (5 if loads else 1))
    facts = told.facts(ran.out, transport.where) if ran.code == 0 else None
    if facts is None:
        said = (ran.err.strip() or ran.out.strip() or "nothing").splitlines()[-1][:200]
        raise DeviceError(
            f"its Python does not run edgekd's runner (exit code {ran.code}): {said}",
            where=transport.where,
            expected="python3, 3.7 or later",
            mend="sudo apt install python3 python3-pip (Debian, Ubuntu), pkg install python (Termux)",
        )
    return facts


def run_job(transport: Transport, limit_s: float, folder: Path, models: Sequence[Prepared]) -> dict[str, Any]:
    """RESULT.json of the JOB.json that lies there, for ``models``. Raises DeviceError where the runner fails, or a model did, or other
    files were run."""
    ran = transport.run(["python3", RUNNER.name, "run", JOB], limit_s=limit_s)
    if ran.code:
        said = (ran.err.strip() or ran.out.strip() or "nothing").splitlines()[-1][:300]
        raise DeviceError(f"the runner failed with exit code {ran.code}: {said}", where=transport.where)
    told.fetch(transport, RESULT, folder, told.MOST)
    result = told.result((folder / RESULT).read_bytes(), [one.name for one in models], transport.where)
    failed = [(model["name"], model["error"]) for model in result["models"] if model["error"] is not None]
    if failed:
        raise DeviceError(
            "; ".join(f"{name}: {error}" for name, error in failed), where=transport.where, expected="a model that runs there"
        )
    for one, found in zip(models, result["models"], strict=True):
        if found["file_sha256"] != hashlib.sha256(one.model.path.read_bytes()).hexdigest():
            raise DeviceError(f"the file that ran is not {one.model.path.name}", where=transport.where, expected="the one that was put")
    return result


def _prepared(subject: Subject, folder: Path) -> list[Prepared]:
    found = []
    for place, one in enumerate([subject] if subject.rival is None else [subject, subject.rival]):
        inside = folder / f"m{place}"
        inside.mkdir()
        count = len(one.x) if subject.asked.whole else min(SOME, len(one.x))
        name = one.file.name if one.file else one.graph.name
        found.append(Prepared(name, one, model_file(one, inside), count))
    if len(found) == 2 and found[0].name == found[1].name:
        found = [replace(one, name=f"{letter}: {one.name}") for letter, one in zip("AB", found, strict=True)]
    return found


def _demand(one: Prepared, facts: dict[str, Any], where: str) -> None:
    there = facts.get("runtimes", {})
    for name in (one.model.runtime, "numpy"):
        lacking = there.get(name, {}).get("install")
        if lacking:
            raise DeviceError(f"it has no {name}, which runs {one.model.path.name}", where=where, expected=name, mend=f"{lacking} (there)")


def _put(transport: Transport, models: Sequence[Prepared], folder: Path, subject: Subject) -> None:
    """Files, samples and the job; of two models the second has a folder of its own."""
    listed = []
    for place, one in enumerate(models):
        for path in one.model.files:
            transport.put(path, f"m{place}/{path.name}")
        try:
            np.save(folder / f"x{place}.npy", one.x)
        except OSError as error:
            mend = "clear some of the disk, or set TMPDIR to another"
            raise DeviceError(f"{folder}: no room for {one.x.nbytes:,} bytes of samples: {error}", where="here", mend=mend) from error
        transport.put(folder / f"x{place}.npy", f"x{place}.npy")
        listed.append((one.name, one.model, f"x{place}.npy"))
    order = protocol.job(listed, subject.asked, max(one.samples for one in models))
    for place, entry in enumerate(order["models"]):
        entry["file"] = f"m{place}/{entry['file']}"
    (folder / JOB).write_text(json.dumps(order), encoding="utf-8")
    transport.put(folder / JOB, JOB)


def _timed(transport: Transport, models: Sequence[Prepared], folder: Path, subject: Subject, kind: str) -> dict[str, Any]:
    """The job's result; where an interval is wider than it should be, of up to ``MORE`` further jobs too, without outputs."""
    limit = protocol.limit_s([one.model for one in models], subject.asked, max(one.samples for one in models))
    result = run_job(transport, limit, folder, models)
    if kind == "arm64-emulated" or any(one.model.runtime == TRTEXEC for one in models):  # its engines take minutes
        return result
    for _ in range(MORE):
        if all(protocol.enough(result, model) for model in result["models"]):
            break
        order = json.loads((folder / JOB).read_text(encoding="utf-8"))
        order |= {"outputs": False, "protocol": {**order["protocol"], "sustained_s": 0.0}}
        (folder / "again.json").write_text(json.dumps(order), encoding="utf-8")
        transport.put(folder / "again.json", JOB)
        result = protocol.pooled(result, run_job(transport, limit, folder, models))
    return result


def _outputs(transport: Transport, one: Prepared, found: dict[str, Any], folder: Path) -> np.ndarray:
    """As a device would read them, [N, …]. Raises DeviceError for files that are none, or of another number of samples."""
    parts: list[np.ndarray] = []
    values = sum(one.subject.graph.tensor(name).nbytes for name in one.subject.graph.outputs)
    for name in found["outputs"]:
        told.fetch(transport, name, folder, 8 * one.samples * values + 10_000)  # eight bytes a value, and numpy's head
        try:
            with (folder / name).open("rb") as file:
                part = np.lib.format.read_array(file, allow_pickle=False)
        except BROKEN as error:
            raise DeviceError(f"{name} is no array: {error}"[:300], where=transport.where) from error
        if part.dtype.kind not in "iuf":
            raise DeviceError(f"{name} is no array of numbers", where=transport.where)
        parts.append(part)
    if not parts or any(part.shape[:1] != (one.samples,) for part in parts):
        shapes = ", ".join(str(list(part.shape)) for part in parts) or "none"
        raise DeviceError(f"outputs of another number of samples: {shapes}", where=transport.where, expected=f"{one.samples} each")
    try:
        return one.model.leave(parts)
    except (ValueError, IndexError, TypeError) as error:
        shapes = ", ".join(f"{part.dtype} {list(part.shape)}" for part in parts)
        raise DeviceError(f"outputs of another shape: {shapes}", where=transport.where, expected=f"those of {one.name}") from error


def _bench(kind: str, where: str, models: Sequence[Prepared], result: dict[str, Any], outputs: Sequence[np.ndarray]) -> Bench:
    rows, all_judged = [], []
    facts = result["facts_before"]
    device = where if kind == "host" else f"{where}: {facts.get('model') or facts.get('soc', '')}"
    for one, found, answers in zip(models, result["models"], outputs, strict=True):
        asked = one.subject.asked
        at = f"{device}, {found['version']}, {found['provider']}, {asked.threads} thread{'s' if asked.threads > 1 else ''}"
        judged = protocol.judged(result, found, at, emulated=kind == "arm64-emulated")
        all_judged.append(judged)
        rows.append(replace(_row(kind, one, judged, _verdict(one, at, answers)), **_layers(found)))
    settled, figures, differ = compared(rows, all_judged, device)
    known = {"before": facts, "after": result["facts_after"]}
    return Bench(kind, settled, notes=_state_notes(facts), figures=figures, different=differ, state=known)


def _row(kind: str, one: Prepared, judged: protocol.Judged, verdict: Verdict | None) -> Row:
    figures = {**judged.figures, "model_bytes": Figure(one.model.size, "B", "counted", "file")}
    failed = [f"{one.name}: rejected: {judged.rejected}"] if judged.rejected else []
    if verdict is not None:
        figures |= {name: figure for name, figure in verdict.figures.items() if not name.endswith("_cpu_s")}
        if not verdict.ok:
            failed.insert(0, f"{one.name} {SOMETHING_ELSE}: {verdict.reason}")
    return Row(one.name, Measurement(one.model.path.name, kind, figures, judged.notes), failed="; ".join(failed))


def _layers(found: dict[str, Any]) -> dict[str, Any]:
    """Of an engine that tells them: milliseconds of each layer, what it is, and in which precision it computes."""
    listed = [one for one in found.get("layers", ()) if one["ms"] is not None]
    layers = tuple(Layer(one["name"], float(one["ms"]), " ".join(filter(None, (one["kind"], one["precision"])))) for one in listed)
    if not layers:
        return {}
    return {
        "layers": layers,
        "unit": "ms",
        "layers_note": "layers were timed in a run of their own, which is slower than without a profile",
    }


def _verdict(one: Prepared, where: str, outputs: np.ndarray) -> Verdict | None:
    judge = one.subject.judge
    try:
        return None if judge is None else judge(one.subject.graph, one.model.rule, where, outputs, one.x, one.y)
    except InputError as error:  # of outputs that are none of this model's
        raise DeviceError(f"{one.name}: {error.what}", where=where, expected=error.expected) from error


def _state_notes(facts: dict[str, Any]) -> tuple[str, ...]:
    """What the device was like, in a line."""
    parts = [facts.get("os", ""), " ".join(facts.get("governors", ())) and f"governor {' '.join(facts['governors'])}"]
    if facts.get("temperatures_c"):
        parts.append(f"{max(facts['temperatures_c'].values()):.0f} °C")
    if facts.get("load"):
        parts.append(f"load {facts['load'][0]:.1f} on {facts.get('cores')} cores")
    return (", ".join(part for part in parts if part),)
