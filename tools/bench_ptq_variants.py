"""The students that tools/bench_ptq.py compares, each as top-1 answers on the whole test set.

warm_up        float, trained for float_epochs: what both of the next go on from
qat            warm_up trained on under fake-quantizers by edgekd.train.student, frozen, exported, run in the target's runtime
float          warm_up trained on in float, by the same phase, data order and choice of the best pass
float_tflite   float, its batch norms folded, as a float32 TFLite file: the model that aeq starts from
float_openvino the same as an OpenVINO model: the one that nncf starts from
nncf           float_openvino after nncf.quantize, in OpenVINO with the f32 precision hint
aeq            float_tflite after ai-edge-quantizer's static recipe for int8 weights and activations, in LiteRT with XNNPACK
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flatbuffers
import nncf
import numpy as np
import openvino as ov
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_quantizer import quantizer
from ai_edge_quantizer import recipe as aeq_recipe
from safetensors.torch import load_file, save
from torch import nn

from edgekd import host, lazy, runs
from edgekd.data.resize import resize
from edgekd.export import EXPORTERS, onnx, tflite
from edgekd.jobs import Job
from edgekd.quant.capture import capture
from edgekd.quant.compare import top1
from edgekd.quant.freeze import freeze
from edgekd.quant.graph import QuantGraph
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme
from edgekd.runtimes import RUNTIMES
from edgekd.stages import HOST_RUNTIMES, device_samples
from edgekd.train.distill import student_input
from edgekd.train.lesson import Lesson
from edgekd.train.loop import Desk, Phase, fit
from edgekd.train.student import FLOAT, Training, calibration_samples, frozen, outputs, quantize_aware, second_phase, warm_up

Progress = Callable[[str, int, int], None]
BATCH = 32
SIGNATURE = "serving_default"

#: How the float student is trained. All see as many batches as warm_up and qat together, and keep the pass that is best on validation.
FORMS = {
    "kept": "warm_up trained on by the phase of qat (rate, batches and their order), batch norms kept",
    "folded": "warm_up trained on by the phase of qat (rate, batches and their order), batch norms folded as qat has them",
    "single": "from the start under one cosine over float_epochs + qat_epochs at the float phase's rate, batch norms kept",
}


@dataclass(frozen=True)
class Answer:
    """Top-1 int64 [N] on the test set, where it was computed, and what else a reader must know of the variant."""

    top1: np.ndarray
    where: str
    notes: dict[str, Any]


@dataclass(frozen=True)
class Contest:
    """One seed: what is trained on what, in which folder. ``form`` is a key of FORMS.

    ``preset`` is NNCF's: "mixed" (asymmetric activations) or "performance" (symmetric).
    """

    job: Job
    lesson: Lesson
    spec: Any
    folder: Path
    form: str
    preset: str
    threads: int

    @property
    def seed(self) -> int:
        return self.job.request.seed

    @property
    def training(self) -> Training:
        return Training(self.lesson, self.job.preset, self.job.family.resolution(self.spec), self.seed)

    @property
    def float_weights(self) -> Path:
        return self.folder / f"float_{self.form}.safetensors"

    @property
    def calibration(self) -> np.ndarray:
        """uint8 [n, H, W, C]: the samples that edgekd itself calibrates on."""
        return calibration_samples(self.training)

    def model(self) -> nn.Module:
        """The untrained student, the same for the same seed."""
        torch.manual_seed(self.seed)
        return self.job.family.build(self.spec)

    def samples(self, *, integer: bool) -> np.ndarray:
        return device_samples(self.lesson.data.test, self.training.size, integer=integer)


def train_warm_up(contest: Contest, progress: Progress) -> Answer:
    warm_up(contest.model(), contest.training, contest.folder / "shared", contest.folder, progress)
    return _in_torch(_loaded(contest, FLOAT), contest)


def train_qat(contest: Contest, progress: Progress) -> Answer:
    job, folder = contest.job, contest.folder
    quantize_aware(contest.model(), contest.training, job.scheme, folder / "shared-qat", folder, progress)
    graph = frozen(contest.model(), contest.training, job.scheme, folder)
    exporter = job.profile.deploy.exporter
    artifact = lazy.load(EXPORTERS[exporter])(graph, folder / "export")
    # TFLM and LiteRT differ in the last bit; what ai-edge-quantizer's file is run in is fairer, and ten times as fast.
    runtime = "litert_xnnpack" if exporter == "tflite" else HOST_RUNTIMES[job.profile.deploy.runtime][0]
    runner = lazy.load(RUNTIMES[runtime])(folder / "export" / artifact.path, threads=contest.threads)
    found = runner.run(contest.samples(integer=True))
    notes = {"file": artifact.path, "model_bytes": int(artifact.figures["model_bytes"].value)}
    return Answer(top1(found), f"{host.host()}, {runner.where}", notes)


def train_float(contest: Contest, progress: Progress) -> Answer:
    """The second phase is that of edgekd.train.student.quantize_aware, its seed too: the same batches in the same order, only float."""
    training, p = contest.training, contest.job.preset
    if contest.form == "single":
        model, epochs = contest.model(), p.float_epochs + p.qat_epochs
        phase = Phase("float", epochs, p.learning_rate, p.weight_decay, bf16=training.bf16, select=True, seed=training.seed)
    else:
        model, phase = _float_form(contest, _loaded(contest, FLOAT)), second_phase(training, "float on")
    state = contest.float_weights.with_suffix(".state")
    fit(model, training.course, phase, Desk(state, progress))
    runs.atomic_write(contest.float_weights, save({name: value.contiguous() for name, value in model.state_dict().items()}))
    state.unlink(missing_ok=True)
    return replace(_in_torch(model, contest), notes={"form": FORMS[contest.form]})


def float_tflite(contest: Contest, _: Progress) -> Answer:
    return _in_litert(tflite.encode(_float_graph(contest)), contest)


def float_openvino(contest: Contest, _: Progress) -> Answer:
    return _in_openvino(_openvino_model(contest), contest, {})


def nncf_int8(contest: Contest, _: Progress) -> Answer:
    """``nncf.quantize`` as it comes but for preset and subset_size: batches of one, fast bias correction, its overflow fix."""
    x = student_input(contest.calibration).numpy()
    quantized = nncf.quantize(
        _openvino_model(contest),
        nncf.Dataset([x[n : n + 1] for n in range(len(x))]),
        preset=nncf.QuantizationPreset(contest.preset),
        subset_size=len(x),
        fast_bias_correction=True,
    )
    notes = {"nncf": version("nncf"), "preset": contest.preset, "fast_bias_correction": True, "calibration_samples": len(x)}
    return _in_openvino(quantized, contest, notes)


def aeq_int8(contest: Contest, _: Progress) -> Answer:
    """ai-edge-quantizer's ``static_wi8_ai8``: min and max by moving average over single samples, weights symmetric and per channel."""
    x = contest.calibration.astype(np.float32) / 128 - 1  # (p − 128)/128, exactly
    tool = quantizer.Quantizer(_named(tflite.encode(_float_graph(contest))), aeq_recipe.static_wi8_ai8())
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar; what goes wrong is raised
        ranges = tool.calibrate({SIGNATURE: [{"x": x[n : n + 1]} for n in range(len(x))]}, num_threads=contest.threads)
    content = tool.quantize(ranges, enable_progress_report=False).quantized_model
    assert content is not None
    answer = _in_litert(bytes(content), contest)
    notes = {"ai-edge-quantizer": version("ai-edge-quantizer"), "recipe": "static_wi8_ai8", "calibration_samples": len(x)}
    return replace(answer, notes={**answer.notes, **notes})


#: In the order in which they need one another.
VARIANTS: dict[str, Callable[[Contest, Progress], Answer]] = {
    "warm_up": train_warm_up,
    "float": train_float,
    "float_tflite": float_tflite,
    "float_openvino": float_openvino,
    "nncf": nncf_int8,
    "aeq": aeq_int8,
    "qat": train_qat,
}


def _loaded(contest: Contest, name: str) -> nn.Module:
    model = contest.model()
    model.load_state_dict(load_file(contest.folder / name))
    return model.eval()


def _float_form(contest: Contest, model: nn.Module) -> nn.Module:
    """``model`` as it goes on in float: itself, or captured with its batch norms folded, as the student under fake-quantizers is."""
    if contest.form != "folded":
        return model
    return QatModule(capture(model, (contest.lesson.data.shape[2], *contest.training.size)), Scheme("float32"))


def _float_graph(contest: Contest) -> QuantGraph:
    """The float student trained equally long as a channels-last float32 graph."""
    model = _float_form(contest, contest.model().eval())
    model.load_state_dict(load_file(contest.float_weights))
    if not isinstance(model, QatModule):
        model = QatModule(capture(model, (contest.lesson.data.shape[2], *contest.training.size)), Scheme("float32"))
    return freeze(model)


def _in_torch(model: nn.Module, contest: Contest) -> Answer:
    found = outputs(model.eval(), resize(contest.lesson.data.test.x, *contest.training.size))
    return Answer(top1(found), f"{host.host()}, torch {version('torch')}, float32", {})


def _openvino_model(contest: Contest) -> ov.Model:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        path.write_bytes(onnx.build(_float_graph(contest)).SerializeToString())
        return ov.convert_model(path)


def _in_openvino(model: ov.Model, contest: Contest, notes: dict[str, Any]) -> Answer:
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": contest.threads, "NUM_STREAMS": 1}
    compiled = ov.Core().compile_model(model, "CPU", config)
    request, x = compiled.create_infer_request(), student_input(resize(contest.lesson.data.test.x, *contest.training.size)).numpy()
    found = np.concatenate([np.array(request.infer([x[at : at + BATCH]])[0]) for at in range(0, len(x), BATCH)])
    info = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    kinds = Counter(
        str(i["runtimePrecision"].value) for i in info if str(i["layerType"].value) in ("Convolution", "FullyConnected", "MatMul")
    )
    where = f"{host.host()}, OpenVINO {ov.get_version().partition('-')[0]}, f32 precision hint"
    return Answer(top1(found), where, {**notes, "matrix_kernels": dict(kinds)})


def _in_litert(content: bytes, contest: Contest) -> Answer:
    """Top-1 of a TFLite file whose borders are float32, or int8 with scales of its own choosing."""
    interpreter = Interpreter(model_content=content, num_threads=contest.threads, experimental_op_resolver_type=OpResolverType.AUTO)
    x = contest.samples(integer=False)
    first: dict[str, Any] = interpreter.get_input_details()[0]
    output: Any = interpreter.get_output_details()[0]["index"]
    if first["dtype"] != np.float32:
        scale, zero = first["quantization"]
        limits = np.iinfo(first["dtype"])
        x = np.clip(np.rint(x / np.float32(scale)) + zero, limits.min, limits.max).astype(first["dtype"])
    parts = []
    for at in range(0, len(x), BATCH):
        part = x[at : at + BATCH]
        if at == 0 or len(part) < BATCH:
            interpreter.resize_tensor_input(first["index"], part.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(first["index"], part)
        interpreter.invoke()
        parts.append(interpreter.get_tensor(output))
    return Answer(
        top1(np.concatenate(parts)),
        f"{host.host()}, LiteRT {version('ai-edge-litert')}, XNNPACK",
        {"model_bytes": len(content), "border": np.dtype(first["dtype"]).name, **_float_operators(content)},
    )


def _named(content: bytes) -> bytes:
    """Given edgekd's file → Result: every tensor named and a signature, by which alone ai-edge-quantizer finds things."""
    model = schema.ModelT.InitFromPackedBuf(content)
    graph: Any = (model.subgraphs or [])[0]
    for number, tensor in enumerate(graph.tensors):
        tensor.name = f"tensor_{number}".encode()
    signature: Any = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE.encode(), 0
    for side, key, number in (("inputs", b"x", graph.inputs[0]), ("outputs", b"y", graph.outputs[0])):
        entry: Any = schema.TensorMapT()
        entry.name, entry.tensorIndex = key, int(number)
        setattr(signature, side, [entry])
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(len(content) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _float_operators(content: bytes) -> dict[str, Any]:
    """How many operators a file has, and how many of them write float32."""
    graph: Any = (schema.ModelT.InitFromPackedBuf(content).subgraphs or [])[0]
    written = [graph.tensors[op.outputs[0]].type for op in graph.operators]
    return {"operators": len(written), "float_operators": sum(kind == schema.TensorType.FLOAT32 for kind in written)}
