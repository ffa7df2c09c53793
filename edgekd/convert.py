"""Any quantized model through the waist: read, write in other formats, and prove that every written file computes the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgekd import runs
from edgekd.arrays import BROKEN, read_npz
from edgekd.errors import Disagreement, EdgekdError, InputError
from edgekd.export import EXPORTERS
from edgekd.importers import IMPORTERS
from edgekd.importers.check import read_folder
from edgekd.lazy import load
from edgekd.quant import io
from edgekd.quant.graph import STORAGE, QuantGraph
from edgekd.quant.grid import PIXELS
from edgekd.quant.outputs import check_labels
from edgekd.records import Artifact, Verdict
from edgekd.runtimes import RUNTIMES, c_host
from edgekd.runtimes.lacks_tflm import survey
from edgekd.verify.certificate import Samples, Subject, verify
from edgekd.verify.jobs import Died

#: Of the arrays of a file of samples, unpacked.
MAX_BYTES = 8 << 30
#: Kind of file → the runtimes of this host that run it.
RUNNERS = {
    ".tflite": ("tflm", "litert_ref", "litert_xnnpack"),
    ".onnx": ("onnxruntime",),
    ".xml": ("openvino",),
    ".c": ("c_host",),
}
#: Random inputs where no samples are given.
COUNT = 200
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Verified:
    """Verdicts of files in runtimes, and why a runtime did not run a file, by "file in runtime".

    ``unproven``: files that no runtime ran, and why; ``died``: of what was not run, where the runtime crashed.
    """

    verdicts: tuple[Verdict, ...]
    not_run: dict[str, str] = field(default_factory=dict)
    inputs: str = ""
    unproven: dict[str, str] = field(default_factory=dict)
    died: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every runtime agrees that ran, and none crashed."""
        return all(verdict.ok for verdict in self.verdicts) and not self.died


@dataclass(frozen=True)
class Conversion:
    """What was written. ``seconds`` is reading and writing, without verification; ``verified`` is None where that was not asked."""

    name: str
    artifacts: tuple[Artifact, ...]
    seconds: float
    notes: tuple[str, ...]
    verified: Verified | None = None


def read_model(path: Path) -> QuantGraph:
    """The graph of a model file, of a run, or of a folder where one was saved. Raises InputError for another kind of file."""
    try:
        str(path).encode()  # it goes into records, and to devices
    except UnicodeEncodeError as error:
        raise InputError("its name is no text", where=str(path), expected="a name in UTF-8", mend="rename it") from error
    if path.is_dir():
        return read_folder(path / "graph" if (path / "graph" / io.GRAPH).is_file() else path)
    if path.suffix not in IMPORTERS:
        raise InputError(
            f"a {path.suffix or 'nameless'} file", where=str(path), expected=f"{', '.join(IMPORTERS)}, or a folder with graph.json"
        )
    return load(IMPORTERS[path.suffix])(path)


def convert(
    model: Path, formats: Sequence[str], out: Path, *, kernels: str = "portable", core: str | None = None
) -> tuple[QuantGraph, Conversion]:
    """Write ``model`` into the folder ``out`` in each of ``formats``; ``kernels`` and ``core`` are C's.

    Raises InputError for what cannot be read or stated.
    """
    for name in formats:
        if name not in EXPORTERS:
            raise InputError(f"format {name!r}", where="--to", expected=", ".join(EXPORTERS))
    if not formats:
        raise InputError("no format", where="--to", expected=", ".join(EXPORTERS))
    if "c" in formats:  # before another format is written
        load("edgekd.export.c_sets:check")(kernels, core)
    if model.stem == "model" and model.resolve().parent == out.resolve():
        raise InputError("would be overwritten", where=str(model), expected="another folder", mend=f"--out {out / 'converted'}")
    start = time.perf_counter()
    graph = read_model(model)
    out.mkdir(parents=True, exist_ok=True)
    options = {"c": {"kernels": kernels, "core": core}}
    artifacts = tuple(load(EXPORTERS[name])(graph, out, **options.get(name, {})) for name in formats)
    seconds = time.perf_counter() - start
    source = graph.metadata.get("source")
    notes = tuple(source.get("notes", ())) if isinstance(source, dict) else ()
    return graph, Conversion(graph.name, artifacts, seconds, notes)


def verify_files(
    graph: QuantGraph,
    files: Sequence[Path],
    samples: Path | None = None,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> Verified:
    """Each of ``files`` in each runtime that runs its kind, against the reference of ``graph``.

    Inputs are those of ``samples`` (.npz with x, perhaps y), or random. A runtime that lacks an operator, or does not load a file, gives no
    verdict but a reason; so does C that this host cannot compile. Raises InputError if no runtime ran what it should, or for samples that
    do not fit.
    """
    x, y = random_inputs(graph), None
    inputs = f"{COUNT} random inputs"
    if samples is not None:
        x, y = load_samples(graph, samples)
        inputs = f"{len(x)} samples of {samples.name}"
    subjects, not_run = subjects_of(graph, files)
    verdicts: list[Verdict] = []
    proven: set[Path] = set()
    died: list[str] = []

    def judge(some: list[Subject]) -> None:
        verdicts.extend(verify(graph, some, Samples(x, y), workers=workers or None, progress=progress))
        proven.update(subject.path for subject in some)

    try:
        if subjects:
            judge(subjects)
    except EdgekdError:  # one of them cannot: each by itself says which
        for subject in subjects:
            try:
                judge([subject])
            except EdgekdError as error:
                not_run[where := f"{subject.path.name} in {subject.runtime}"] = str(error)
                died += [where] if isinstance(error, Died) else []
    unproven = {str(path): _said(path, not_run) for path in files if path not in proven}
    if not verdicts and subjects:
        raise _refused(graph, unproven)
    return Verified(tuple(verdicts), not_run, inputs, unproven, tuple(died))


def verify_models(models: Sequence[Path], samples: Path | None = None, *, workers: int = 0, progress: Progress | None = None) -> Verified:
    """Each of ``models`` in its runtimes; the first of them is the graph that all must compute.

    Raises InputError also for one that no runtime runs: it is damaged, or of another model.
    """
    graph = read_model(models[0])
    files = [path for path in models if not path.is_dir()]  # a saved graph is what they must compute
    verified = verify_files(graph, files, samples, workers=workers, progress=progress)
    if verified.unproven:
        raise _refused(graph, verified.unproven)
    return verified


def models_of(paths: Sequence[Path]) -> list[Path]:
    """``paths`` as models: files and saved graphs, or of the one folder that `edgekd quantize` filled its graph and exported files.

    Empty where they are runs of a build. Raises InputError for both at once, Disagreement where such a folder's files have changed.
    """
    if len(paths) == 1 and _is_quantized(paths[0]):
        return _of_quantized(paths[0])
    models = [path for path in paths if (path / io.GRAPH).is_file() or (path.suffix in RUNNERS and not path.is_dir())]
    if models and len(models) < len(paths):
        other = next(path for path in paths if path not in models)
        raise InputError(
            f"{models[0]} is a model file, {other} is not",
            where="edgekd verify",
            expected="either run folders or model files",
            mend=f"edgekd verify {other}" if _is_quantized(other) else "",
        )
    if not models and (other := next(filter(_is_quantized, paths), None)) is not None:
        raise InputError(
            f"{other} is one of several", where="edgekd verify", expected="what `edgekd quantize` filled, one folder at a time"
        )
    return models


def _is_quantized(folder: Path) -> bool:
    """Whether `edgekd quantize` filled the folder."""
    return (folder / "request.json").is_file() and runs.request(folder).get("command") == "quantize"


def _of_quantized(folder: Path) -> list[Path]:
    for stage in ("freeze", "export"):
        for name in runs.changed(folder, stage):
            raise Disagreement(f"{folder / name} is not what `edgekd quantize` made: its hash is not the one in records/{stage}.json")
    return [folder / "graph", *(runs.inside(folder, artifact.path) for artifact in runs.read(folder, "export").body)]


def _refused(graph: QuantGraph, unproven: dict[str, str]) -> InputError:
    path, why = next(iter(unproven.items()))
    return InputError(f"no runtime runs it: {why}", where=path, expected=f"a file of the model {graph.name!r}")


def subjects_of(graph: QuantGraph, files: Sequence[Path]) -> tuple[list[Subject], dict[str, str]]:
    """Each of ``files`` with each runtime of its kind, and why one is left out, by "file in runtime".

    Raises InputError for no files, or another kind.
    """
    if not files:
        raise InputError("no files", where="verify", expected="a file that some runtime runs")
    not_run: dict[str, str] = {}
    subjects: list[Subject] = []
    lacks = survey(graph).lacks
    for path in files:
        if path.suffix not in RUNNERS:
            raise InputError(f"a {path.suffix or 'nameless'} file", where=str(path), expected=", ".join(RUNNERS))
        for runtime in RUNNERS[path.suffix]:
            if runtime == "tflm" and lacks:
                not_run[f"{path.name} in {runtime}"] = f"{lacks[0].kind} {lacks[0].operator}: {lacks[0].reason}"
            elif runtime == "c_host" and (why := c_host.why_not(path)) is not None:
                not_run[f"{path.name} in {runtime}"] = why
            else:
                subjects.append(Subject(runtime, RUNTIMES[runtime], path))
    return subjects, not_run


def _said(path: Path, not_run: dict[str, str]) -> str:
    """What the runtimes themselves said of a file, the first line of each, each once."""
    reasons = [why for what, why in not_run.items() if what.startswith(f"{path.name} in ")]
    said = ((why, why.partition("it said: ")[2]) for why in reasons)
    lines = (why if words in ("", "nothing") else words for why, words in said)
    return "; ".join(dict.fromkeys(line.splitlines()[0] for line in lines if line))


def random_inputs(graph: QuantGraph, count: int = COUNT) -> np.ndarray:
    """Noise [N, ...] for the graph's input, every second sample coarse, so that answers differ; indices within the table they index."""
    tensor, rng = graph.tensor(graph.inputs[0]), np.random.default_rng(0)
    shape = (count, *tensor.shape[1:])
    if tensor.dtype in ("int32", "int64"):
        rows = min((graph.tensor(op.inputs[0]).shape[0] for op in graph.ops if type(op).__name__ == "Gather"), default=2)
        return rng.integers(0, rows, shape).astype(tensor.dtype)
    noise = rng.uniform(-1, 1, shape)
    coarse = rng.uniform(-1, 1, (len(noise[1::2]), *(-(-size // 8) for size in shape[1:])))
    for axis, size in enumerate(shape[1:], start=1):
        coarse = np.take(np.repeat(coarse, 8, axis), np.arange(size), axis)
    noise[1::2] = np.clip(coarse + 0.25 * noise[1::2], -1, 1)
    if tensor.dtype in ("float16", "float32"):
        return noise.astype(np.float32)
    limits = np.iinfo(STORAGE[tensor.dtype])
    return np.clip(np.rint(noise * (limits.max + 1)), limits.min, limits.max).astype(STORAGE[tensor.dtype])


def load_samples(graph: QuantGraph, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """``x`` [N, ...] in the dtype of the graph's input, and the labels ``y`` int64 [N] (of several outputs [N, outputs]) where the file
    has them.

    Float samples of an integer graph are quantized with the input's own scale; 8-bit pixels of a graph that says to be fed such are what it
    says of them. Raises InputError for what does not fit.
    """
    tensor = graph.tensor(graph.inputs[0])
    try:
        arrays, _ = read_npz(path, ("x", "y"), MAX_BYTES)
        x, y = arrays["x"], arrays.get("y")
    except BROKEN as error:
        raise InputError(f"cannot be read: {error}", where=str(path), expected="an .npz file with x, and perhaps y") from error
    expected = f"[N, {', '.join(map(str, tensor.shape[1:]))}] {tensor.dtype}"
    if x.shape[1:] != tensor.shape[1:] or not len(x):
        raise InputError(f"x is {x.dtype} {list(x.shape)}", where=str(path), expected=expected)
    said = graph.metadata.get("input")
    if x.dtype == np.uint8 and isinstance(said, dict) and said.get("value") == PIXELS:
        x = (x.astype(np.float32) - np.float32(128)) / np.float32(128)
    if x.dtype.kind == "f" and np.isnan(x).any():
        raise InputError("x holds values that are no numbers (NaN)", where=str(path), expected=expected)
    if x.dtype.kind == "f" and tensor.quantization is not None:
        scale, zero = tensor.quantization.single
        limits = np.iinfo(STORAGE[tensor.dtype])
        x = np.clip(np.rint(x / np.float32(scale)) + zero, limits.min, limits.max).astype(STORAGE[tensor.dtype])
    elif x.dtype.kind == "f" and tensor.dtype in ("float16", "float32"):
        x = x.astype(np.float32)
    elif x.dtype != STORAGE[tensor.dtype]:
        raise InputError(f"x is {x.dtype} {list(x.shape)}", where=str(path), expected=expected)
    if y is not None:
        check_labels(graph, y, len(x), str(path))
    return x, None if y is None else y.astype(np.int64)
