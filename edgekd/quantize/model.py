"""A float model from anywhere, to be quantized after its training: what it says of its input, its graph, and its own answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import lazy, runs
from edgekd.errors import Disagreement, EdgekdError, InputError
from edgekd.importers import IMPORTERS
from edgekd.plan.compressed import student_family
from edgekd.profile.schema import Profile
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.passes.channels_first import channels_first
from edgekd.recipe.schema import Recipe
from edgekd.runtimes import RUNTIMES

Shape = tuple[int, ...]
Answers = Callable[[np.ndarray], np.ndarray]
KINDS = "a float .onnx or .tflite file, package.module:function, a .keras file, a SavedModel folder, or a run of `edgekd build`"
#: Samples on which graph and original are compared, and how far they may differ, of the largest answer.
COMPARED, TOLERANCE = 8, 1e-3


@dataclass(frozen=True)
class Model:
    """``shape`` is that of one sample, channels last, None where it is open, or nothing is known.

    ``graph(shape, tokens)`` is the float graph for samples of that shape, ``answers(shape)`` the original as a function of samples,
    None where nothing here runs it.
    """

    name: str
    form: str
    sha256: str
    graph: Callable[[Shape, bool], QuantGraph]
    answers: Callable[[Shape], Answers | None]
    shape: tuple[int | None, ...] | None = None


def open_model(text: str, weights: Path | None = None) -> Model:
    """The model that MODEL names (KINDS). Raises InputError for anything else, and for a model that is quantized already."""
    path = Path(text)
    if weights is not None and (":" not in text or path.exists()):
        raise InputError(f"--weights {weights}", where=text, expected="package.module:function, whose module has no weights of its own")
    if path.suffix in IMPORTERS and not path.is_dir():
        return _file(path)
    if path.suffix == ".keras":
        return _keras(path)
    if path.is_dir():
        return _saved_model(path)
    if ":" in text:
        return _module(text, weights)
    raise InputError("is no model" if path.exists() else "does not exist", where=text, expected=KINDS)


def open_student(run: Path, recipe: Recipe, profile: Profile) -> Model:
    """The float student of a finished build. Raises InputError where the run has none."""
    weights, family = run / "float.safetensors", student_family(recipe, run)
    spec = family.restore(runs.read(run, "plan").body.spec)
    if not weights.is_file():
        raise InputError("has no float student yet", where=str(run), mend="edgekd build … --resume")
    module = lazy.load("edgekd.compress.load:with_weights")(family.build(spec), weights).eval()
    name = f"{recipe.name}-{profile.name}"
    return replace(_of_module(module, name, "float student", runs.sha256_file(weights)), shape=(*family.resolution(spec), None))


def _file(path: Path) -> Model:
    graph = _images_last(lazy.load(IMPORTERS[path.suffix])(path))
    _check_float(graph, str(path))
    entry = graph.tensor(graph.inputs[0])
    runtime = "onnxruntime" if path.suffix == ".onnx" else "litert_ref"

    def answers(_: Shape) -> Answers | None:
        try:
            runner = lazy.load(RUNTIMES[runtime])(path, threads=1)
            runner.run(np.zeros((1, *entry.shape[1:]), entry.dtype if entry.dtype in ("int32", "int64") else np.float32))
        except EdgekdError:  # a border that only the importer understands
            return None
        return runner.run

    return Model(path.stem, f"{path.suffix[1:]} file", runs.sha256_file(path), lambda _, __: graph, answers, entry.shape[1:])


def _images_last(graph: QuantGraph) -> QuantGraph:
    """
    Given   x [1, W, C, H] ── Transpose … ──   (a file of TensorFlow's, fed channels last, read as one that is fed channels first)
    Result  x [1, H, W, C] ──

    Only where the Transpose makes exactly that, and alone reads the input.
    """
    name = graph.inputs[0]
    readers = graph.consumers(name)
    x = graph.tensor(name)
    # Channels-first reading of a channels-last input: [H, W, C] taken for [C, H, W] and turned.
    if len(x.shape) != 4 or len(readers) != 1 or not isinstance(readers[0], ops.Transpose) or readers[0].order != (0, 3, 1, 2):
        return graph
    turned = readers[0].outputs[0]
    tensors = {key: tensor for key, tensor in graph.tensors.items() if key != name}
    left = tuple(op for op in graph.ops if op is not readers[0])
    return replace(graph, tensors=tensors, ops=left, inputs=(turned,))


def _module(text: str, weights: Path | None) -> Model:
    open_module = lazy.load("edgekd.ptq.modules:open_module")
    name = text.partition(":")[2].lower().replace("_", "-")
    made: dict[Shape, Model] = {}

    def of(shape: Shape) -> Model:
        if shape not in made:
            made[shape] = _of_module(open_module(text, weights, shape), name, "torch module", "")
        return made[shape]

    stated = {"source": lazy.source_sha256(text), "weights": runs.sha256_file(weights) if weights and weights.is_file() else ""}
    return Model(
        name, "torch module", runs.digest(stated), lambda shape, tokens: of(shape).graph(shape, tokens), lambda s: of(s).answers(s)
    )


def _of_module(module: Any, name: str, form: str, sha256: str) -> Model:
    graph_of, answers_of = lazy.load("edgekd.ptq.modules:graph_of"), lazy.load("edgekd.ptq.modules:answers_of")
    return Model(name, form, sha256, lambda shape, tokens: graph_of(module, shape, tokens=tokens, name=name), lambda _: answers_of(module))


def _keras(path: Path) -> Model:
    if not path.is_file():
        raise InputError("does not exist", where=str(path), expected=KINDS)
    lazy.load("edgekd.teachers.keras:check_archive")(path)
    return _of_tensorflow(lazy.load("edgekd.ptq.keras:open_keras")(path), path.stem, "Keras model", runs.sha256_file(path))


def _saved_model(path: Path) -> Model:
    if not (path / "saved_model.pb").is_file():
        raise InputError("is a folder without a model", where=str(path), expected=KINDS)
    lazy.load("edgekd.teachers.saved_model:check_operators")(path)
    files = lazy.load("edgekd.teachers.files:all_files")(path)
    sha256 = lazy.load("edgekd.teachers.files:sha256_of")(files, path)
    return _of_tensorflow(lazy.load("edgekd.ptq.keras:open_saved_model")(path), path.resolve().name, "SavedModel", sha256)


def _of_tensorflow(opened: Any, name: str, form: str, sha256: str) -> Model:
    read_bytes = lazy.load("edgekd.importers.tflite:read_bytes")

    def graph(shape: Shape, _: bool) -> QuantGraph:
        return read_bytes(opened.tflite(shape), name)

    return Model(name, form, sha256, graph, lambda _: opened.answers, opened.shape)


def _check_float(graph: QuantGraph, where: str) -> None:
    found = sorted({t.dtype for t in graph.tensors.values() if t.quantization is not None})
    if found:
        raise InputError(
            f"is quantized already: it holds {' and '.join(found)}",
            where=where,
            expected="a float model",
            mend="edgekd convert writes a quantized model in other formats",
        )


def float_graph(model: Model, shape: Shape, *, tokens: bool) -> QuantGraph:
    """The graph of ``model``, channels first, in float32, for samples of ``shape``. Raises InputError if it takes other samples, or is not
    float, or has several inputs or outputs.
    """
    graph = model.graph(shape, tokens)
    _check_float(graph, model.name)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise InputError(f"{len(graph.inputs)} inputs, {len(graph.outputs)} outputs", where=model.name, expected="one of each")
    graph = channels_first(graph)
    tensors = {
        name: replace(t, dtype="float32", data=None if t.data is None else t.data.astype(np.float32)) if t.dtype == "float16" else t
        for name, t in graph.tensors.items()
    }
    entry = tensors[graph.inputs[0]]
    takes = (*entry.shape[2:], entry.shape[1]) if len(entry.shape) == 4 else entry.shape[1:]
    if takes != shape:
        raise InputError(
            f"samples of shape {list(shape)}", where="--data", expected=f"{list(takes)}, channels last, as {model.name} takes them"
        )
    if tokens != (entry.dtype in ("int32", "int64")):
        raise InputError(
            f"samples that are {'indices' if tokens else 'values'}", where="--data", expected=f"{entry.dtype}, as the model takes"
        )
    whole = replace(graph, name=model.name, tensors=tensors, metadata={})
    return lazy.load("edgekd.ptq.integers:with_plain_names")(whole)


def check_graph(model: Model, x: np.ndarray, got: np.ndarray) -> str:
    """That ``got`` [n, ...], what the graph answers for ``x``, is what the original answers; returns the sentence that says so.

    Raises Disagreement if it is not: then nothing that was proven of the graph would hold for the model.
    """
    answers = model.answers(x.shape[1:])
    if answers is None:
        return f"the {model.form} itself was not run: nothing here understands its border"
    want = np.asarray(answers(x[:COMPARED]), np.float32).reshape(len(x[:COMPARED]), -1)
    mine = got[:COMPARED].reshape(len(want), -1)
    largest = float(np.abs(want).max(initial=0))
    if mine.shape != want.shape or not np.abs(mine - want).max(initial=0) <= TOLERANCE * max(largest, 1e-3):
        away = f"by up to {np.abs(mine - want).max():g}, of {largest:g}" if mine.shape == want.shape else f"{mine.shape} for {want.shape}"
        raise Disagreement(f"{model.name}: its float graph answers otherwise than the {model.form} itself, {away}")
    return f"float graph and {model.form} agree on {len(want)} samples within {TOLERANCE:g} of the largest answer"
