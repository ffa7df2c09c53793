"""What a release says of a run: judged, its further formats exported and verified, test vectors drawn, licences gathered."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import release_records, runs
from edgekd.convert import COUNT, random_inputs, subjects_of
from edgekd.errors import EdgekdError, InputError, NotReleasable
from edgekd.export import EXPORTERS
from edgekd.importers.check import read_folder
from edgekd.jobs import asked_of, built_from
from edgekd.lazy import load
from edgekd.quant import compare, reference
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.recipe.load import load as load_recipe
from edgekd.records import Artifact, Examination, Figure, Record, Verdict
from edgekd.release import FORMATS, NEEDS
from edgekd.release.facts import Border, Facts, Head, Model, Vectors
from edgekd.report import rows
from edgekd.report.budgets import uses
from edgekd.stages import Progress, device_samples
from edgekd.verify.certificate import Samples, rule_for, verify

#: Test vectors of a release, and the samples that a further format is verified on.
VECTORS, VERIFIED = 8, 200
#: Figures of a verdict that say how long it took to judge, which no two releases would have in common.
_TIMES = ("runtime_cpu_s", "reference_cpu_s")
#: Formats whose border is float32 and channels first, whatever lies within.
_FLOAT_BORDER = ("onnx", "openvino")
#: Format → the runtime of this host that computes as its devices do; where none is named, the run's own.
_RUNS_IN = {"android": "litert_xnnpack", "ios": "litert_xnnpack", "mcu": "c_host", "openvino": "openvino"}
#: Format of the run's file → the runtime by which the Python accessor of the OCI artifact runs it.
_OPENED_BY = {"tflite": "litert_xnnpack", "onnx": "onnxruntime", "openvino": "openvino"}
_NEEDED = ("plan", "freeze", "export", "verify", "measure")


@dataclass(frozen=True, eq=False)
class Inputs:
    """What is fed, and ``said`` in words. ``y`` is None where the labels are not known, because the inputs are random."""

    x: np.ndarray
    y: np.ndarray | None
    said: str


def gather(run: Path, *, version: str, group: str, formats: Sequence[str], progress: Progress) -> Facts:
    """All that a release of ``run`` in ``formats`` says. Files made for it are removed when nothing refers to their models any more.

    Raises InputError for a run that is not finished, an unknown format or one that the model cannot be written in; NotReleasable for a run
    that was judged not good, whose files changed since, or where a further format does not compute what the reference says.
    """
    run = Path(run)
    _check_formats(formats)
    recipe, profile, _ = asked_of(run)
    row = _judged(run)
    graph = read_folder(run / "graph")
    name, own = recipe.name, profile.deploy.exporter
    inputs = _inputs(run, graph)
    measured: Record = runs.read(run, "measure")
    examination: Examination | None = runs.read(run, "examine").body if "examine" in runs.stages(run) else None
    artifact: Artifact = runs.read(run, "export").body[0]
    verdicts = tuple(runs.read(run, "verify").body)
    known, unknown = uses(row)
    folder = runs.inside(run, artifact.path).parent
    files = tuple(str(runs.inside(run, file).relative_to(folder)) for file in (artifact.files or (artifact.path,)))
    models = {own: model_of(graph, replace(artifact, path=Path(artifact.path).name, files=files), folder, verdicts)}
    facts = Facts(
        name, version, group, profile.name, measured.environment.get("created", ""), run.name, graph, models, own,
        Vectors(inputs.x[:0], (), False), figures_of(run, examination), known, examination,
        recipe.model_dump(), profile.model_dump(), measured.environment,
        {stage: run / "records" / f"{stage}.json" for stage in runs.stages(run)},
        licenses=about_of(run),
        front_end=dict(_table(graph.metadata.get("input")).get("front_end", {})), probabilities=recipe.student.softmax,
        notes=(
            *((f"test vectors, and what further formats were verified on: {inputs.said}",) if inputs.y is None else ()),
            *measured.body[0].notes,
            *(f"budget {b['name']} ≤ {b['limit']:g} {b['unit']} ({b['source']}): not judged, nobody knows what is used" for b in unknown),
        ),
    )  # fmt: skip
    wanted = [need for need in needs(formats, own) if need != own]
    for i, need in enumerate(wanted):
        progress(f"export {need}", i, len(wanted))
        models[need] = further(replace(graph, name=facts.identifier) if need == "c" else graph, need, inputs)
    progress("export", len(wanted), len(wanted))
    vectors, by_format = vectors_of(graph, inputs, formats, models[own])
    return replace(facts, models=models, vectors=vectors, vectors_by_format=by_format)


def needs(formats: Sequence[str], own: str) -> tuple[str, ...]:
    """The exporters whose files the bundles of ``formats`` hold, each once; ``own`` is the run's."""
    return tuple(dict.fromkeys(own if need == "own" else need for format in formats for need in NEEDS[format]))


def _check_formats(formats: Sequence[str]) -> None:
    unknown = next((name for name in formats if name not in FORMATS), None)
    if unknown is not None or not formats:
        said = "no format" if unknown is None else f"format {unknown!r}"
        raise InputError(said, where="--format", expected=f"some of {', '.join(FORMATS)}")


def _judged(run: Path) -> dict[str, Any]:
    """The run as the report has it. Raises InputError where it is not finished, NotReleasable where it is not good, or has changed."""
    missing = [stage for stage in _NEEDED if stage not in runs.stages(run)]
    if missing:
        raise InputError(f"the build is not finished: {missing[0]} is not done", where=str(run), mend="edgekd build … --resume finishes it")
    row = rows([run])[0]
    if row["failures"]:
        raise NotReleasable(f"{run} did not pass and is not released:\n  " + "\n  ".join(row["failures"]))
    if not row["runtimes"]:
        raise NotReleasable(f"{run} was verified in no runtime and is not released; edgekd doctor says which can be installed here")
    check_unchanged(run)
    release_records.check(run)
    return row


def check_unchanged(run: Path) -> None:
    """Raises NotReleasable unless every file and record is as the build made it: also while it is released, for that takes its time."""
    for stage in runs.stages(run):
        for file in runs.changed(run, stage) if stage in ("freeze", "export", "examine") else ():
            raise NotReleasable(f"{run / file} is not what the build made: its hash is not the one in records/{stage}.json")
    if edited := runs.unchained(run):
        raise NotReleasable(f"{run}: the record that records/{edited[0]}.json was made from has changed since the build")


def _inputs(run: Path, graph: QuantGraph) -> Inputs:
    """Samples of the test set, one a class of the first task first and then spread over it; random ones where the data is not at hand."""
    integer = graph.tensor(graph.inputs[0]).dtype == "int8"
    try:
        test = built_from(run)[2].test
    except EdgekdError as error:
        return Inputs(random_inputs(graph), None, f"{COUNT} random inputs, because the data is not at hand ({str(error).splitlines()[0]})")
    first = np.unique(test.classes(), return_index=True)[1]
    spread = np.linspace(0, len(test) - 1, min(VERIFIED, len(test))).astype(int)
    order = np.array(list(dict.fromkeys([*first.tolist(), *spread.tolist()])))[: max(VERIFIED, len(first))]
    taken = test.take(order)
    shape = graph.tensor(graph.inputs[0]).shape
    return Inputs(device_samples(taken, (shape[1], shape[2]), integer=integer), taken.y, f"{len(order)} samples of the test set")


def further(graph: QuantGraph, format: str, inputs: Inputs) -> Model:
    """``graph`` exported in one more format, and verified in every runtime of this host that runs it. Its folder lives as long as it.

    Raises InputError where the format cannot state the graph, NotReleasable where no runtime proves it, or one disagrees.
    """
    folder = Path(tempfile.mkdtemp(prefix="edgekd-release-"))
    try:
        made = _verified(graph, format, folder, inputs)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(made, shutil.rmtree, folder, ignore_errors=True)
    return made


def written(graph: QuantGraph, format: str, folder: Path) -> Artifact:
    """``graph`` in ``format``, in ``folder``, as bundles hold it: C has the kernels of every core, and the preprocessor chooses."""
    export = load(EXPORTERS[format])
    return export(graph, folder, kernels="cmsis") if format == "c" else export(graph, folder)


def _verified(graph: QuantGraph, format: str, folder: Path, inputs: Inputs) -> Model:
    artifact = written(graph, format, folder)
    subjects, not_run = subjects_of(graph, [folder / artifact.path])
    if not subjects:
        raise NotReleasable(f"{format}: no runtime of this host proves {artifact.path}: {'; '.join(not_run.values())}")
    verdicts = verify(graph, subjects, Samples(inputs.x, inputs.y))
    if (wrong := next((verdict for verdict in verdicts if not verdict.ok), None)) is not None:
        raise NotReleasable(f"{format}: {wrong.artifact} in {wrong.runtime}: {wrong.reason}; on {inputs.said}")
    return model_of(graph, artifact, folder, verdicts)


def model_of(graph: QuantGraph, artifact: Artifact, folder: Path, verdicts: Sequence[Verdict]) -> Model:
    """An exported file of ``graph`` in ``folder``. What a verdict took to reach is left out: no two releases would have it in common."""
    files = (artifact.path, *sorted(file for file in artifact.files if file != artifact.path))
    kept = tuple(replace(v, figures={name: f for name, f in v.figures.items() if name not in _TIMES}) for v in verdicts)
    sha256 = runs.sha256_file(folder / artifact.path)
    entry = border(graph, graph.tensor(graph.inputs[0]), artifact.format, "input")
    return Model(artifact.format, folder, files, sha256, artifact.figures, entry, heads_of(graph, artifact.format), kept)


def border(graph: QuantGraph, tensor: Tensor, format: str, shown: str) -> Border:
    """How ``tensor`` stands at the border of a file of ``format``; ``shown`` is what ONNX and OpenVINO call it."""
    if format not in _FLOAT_BORDER:
        scale, zero = tensor.quantization.single if tensor.quantization is not None else (None, None)
        return Border(tensor.name, "float32" if tensor.dtype == "float16" else tensor.dtype, tensor.shape, scale, zero)
    shape = tensor.shape
    if len(shape) == 4 and graph.layout == "channels_last":
        shape = (shape[0], shape[3], shape[1], shape[2])
    return Border(shown, "int64" if tensor.dtype in ("int32", "int64") else "float32", shape)


def heads_of(graph: QuantGraph, format: str) -> tuple[Head, ...]:
    """One a task, in the order of the graph's outputs. Classes without a name are numbers."""
    tasks: dict[str, Sequence[str]] = dict(_table(graph.metadata.get("tasks"))) or {"": graph.metadata.get("labels") or ()}
    if len(tasks) != len(graph.outputs):
        tasks = dict.fromkeys(graph.outputs, ())
    found = []
    for output, (task, labels) in zip(graph.outputs, tasks.items(), strict=True):
        tensor = graph.tensor(output)
        names = tuple(map(str, labels)) or tuple(map(str, range(tensor.shape[-1])))
        shown = "output" if len(graph.outputs) == 1 else output
        found.append(Head(task, names, border(graph, tensor, format, shown)))
    return tuple(found)


def vectors_of(graph: QuantGraph, inputs: Inputs, formats: Sequence[str], own: Model) -> tuple[Vectors, dict[str, Vectors]]:
    """VECTORS of the inputs with what holds in every runtime of a release, and by format with what its own runtime answers.

    Those samples come first whose class is the same under all rules of rounding. Integers are promised to a format whose runtime is
    foretold bit by bit, to the release as a whole only where all its runtimes answer the same ones.
    """
    runs_in = {**_RUNS_IN, "oci": _OPENED_BY.get(own.format, "")}
    runtimes = {format: runs_in.get(format) or own.verdicts[0].runtime for format in ("own", *formats)}
    rules = {format: rule_for(graph, runtime) for format, runtime in runtimes.items()}
    answers = {p: _flat(graph, reference.run(graph, inputs.x, p)) for p in dict.fromkeys(rule.profile for rule in rules.values())}
    mine = answers[rules["own"].profile]
    agree = np.ones(len(inputs.x), bool)
    for other in answers.values():
        for a, b in zip(mine, other, strict=True):
            agree &= compare.top1(a) == compare.top1(b)
    order = np.argsort(~agree, kind="stable")[:VECTORS]
    x, outputs = inputs.x[order], {p: tuple(part[order] for part in found) for p, found in answers.items()}
    by_format = {format: Vectors(x, outputs[rule.profile], rule.exact) for format, rule in rules.items()}
    first = by_format.pop("own")
    same = all(v.exact and all(map(np.array_equal, v.outputs, first.outputs)) for v in (first, *by_format.values()))
    return replace(first, exact=same), by_format


def _flat(graph: QuantGraph, found: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [found[name].reshape(len(found[name]), -1) for name in graph.outputs]


def figures_of(run: Path, examination: Examination | None) -> dict[str, Figure]:
    """Every figure of a finished run by its one name: what was measured counts most, then what was verified, examined and planned."""
    figures = {name: f for name, f in runs.read(run, "plan").body.figures.items() if name in ("macs", "parameters")}
    figures |= {} if examination is None else examination.figures
    figures |= {name: f for name, f in runs.read(run, "verify").body[0].figures.items() if name not in _TIMES}
    for measurement in reversed(runs.read(run, "measure").body):
        figures |= measurement.figures
    return figures


def about_of(run: Path) -> dict[str, str]:
    """The recipe's [about] as it stands now, beside the recipe; where that is no longer there, as it stood at the build."""
    name, config = asked_of(run)[0].name, runs.read(run, "measure").config
    recorded = {str(key): str(value) for key, value in _table(config.get("about")).items()}
    try:
        recipe = load_recipe(Path(config["recipe_folder"])).recipe
    except EdgekdError:
        return recorded
    return recorded if recipe.name != name else recipe.about.texts if recipe.about else {}


def _table(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
