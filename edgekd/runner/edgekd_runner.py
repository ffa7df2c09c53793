#!/usr/bin/env python3
# size: one file on purpose: it is copied to devices, where nothing else of edgekd is
"""What edgekd runs on a device: its state, and the raw times and outputs of models in the device's own runtime.

    python3 edgekd_runner.py facts --json      the device's state, as JSON; with --open also whether its runtimes load
    python3 edgekd_runner.py run JOB.json      reads JOB.json; writes RESULT.json and outputs beside it; progress on stdout

One file for Python 3.7 and later, with the standard library, NumPy (which every runtime brings) and the device's runtime. It computes no
statistics: the host that reads RESULT.json does. Each model runs in processes of its own, ``invocations`` times anew, one thread unless
the job says otherwise; of several models the blocks alternate, so that what the device does meanwhile meets all of them.
Exit code 0: RESULT.json is written, with an ``error`` for each model that failed; 2: the job cannot be read, or nothing could be written.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import platform
import random
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

SCHEMA = 1
#: Times kept of one block; of more, every second (third, …) is.
KEPT = 400
#: And of a block without a pause, of which only the median is asked for: a day has 86,400 of them.
KEPT_SUSTAINED = 25
#: Runtime → (modules that have it, the first that is there is taken; how it is installed).
INSTALLED_BY = {
    "tflite": (("ai_edge_litert", "tflite_runtime"), "pip install ai-edge-litert"),
    "onnxruntime": (("onnxruntime",), "pip install onnxruntime"),
    "openvino": (("openvino",), "pip install openvino"),
}
TRTEXEC = ("trtexec", "/usr/src/tensorrt/bin/trtexec")
CPU, TENSORRT = "CPUExecutionProvider", "TensorrtExecutionProvider"


class Failed(Exception):
    """A model cannot be measured; its message goes into the result."""


# ------------------------------------------------------------------ runtimes (in a child process)


class Model:
    """An open model: ``once`` runs the sample that was set, ``answer`` returns all outputs of a batch as the file has them."""

    def __init__(self, version: str, provider: str, batch: int, place: Any, once: Any, fetch: Any, nodes: Any = None) -> None:
        self.version, self.provider, self.batch, self.place, self.once, self.fetch = version, provider, batch, place, once, fetch
        self.nodes = nodes

    def ran_on(self, x: Any) -> dict[str, str]:
        """The provider, with what of the model it did not run; nothing where there is no question. Raises Failed where it ran nothing."""
        if self.nodes is None:
            return {}
        self.place(x)
        counts = self.nodes()
        others = sorted(set(counts) - {self.provider})
        if self.provider not in counts:
            raise Failed("{} runs nothing of this model, {} all".format(self.provider, " and ".join(others) or "nobody knows who"))
        whole = sum(counts.values())
        rest = f" ({counts[self.provider]} of {whole} nodes; the rest on {' and '.join(others)})" if others else ""
        return {"provider": self.provider + rest}

    def answer(self, x: Any) -> list[Any]:
        self.place(x)
        self.once()
        return self.fetch()


def open_tflite(path: str, options: dict[str, Any]) -> Model:
    try:
        import ai_edge_litert.interpreter as tflite

        name = "ai-edge-litert"
    except ImportError:
        import tflite_runtime.interpreter as tflite  # type: ignore[import-not-found, no-redef]

        name = "tflite-runtime"
    extra = {}
    if options.get("kernels") == "reference":
        extra["experimental_op_resolver_type"] = tflite.OpResolverType.BUILTIN_REF
    with open(path, "rb") as file:
        interpreter = tflite.Interpreter(model_content=file.read(), num_threads=int(options.get("threads", 1)), **extra)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    outputs = [one["index"] for one in interpreter.get_output_details()]
    provider = "reference kernels" if extra else "XNNPACK"
    return Model(
        name + " " + version_of(name),
        provider,
        int(entry["shape"][0]),  # pyright: ignore[reportIndexIssue, reportArgumentType]
        lambda x: interpreter.set_tensor(entry["index"], x),
        interpreter.invoke,
        lambda: [interpreter.get_tensor(index) for index in outputs],
    )


def open_onnxruntime(path: str, options: dict[str, Any]) -> Model:
    import onnxruntime as ort

    wanted = options.get("provider") or CPU
    available = ort.get_available_providers()
    if wanted not in available:
        raise Failed("onnxruntime here has no {}, only {}".format(wanted, ", ".join(available)))
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = int(options.get("threads", 1))
    settings.inter_op_num_threads = 1
    settings.use_deterministic_compute = True
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.qdqisint8allowed", "1")
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = providers_of(wanted, available, os.path.dirname(os.path.abspath(path)))
    session = ort.InferenceSession(path, settings, providers=providers)
    if session.get_providers()[0] != wanted:  # it fell back in silence
        raise Failed(f"{wanted} was asked for, onnxruntime took {session.get_providers()[0]}")
    entry, feed, found = session.get_inputs()[0], {}, []
    names = [one.name for one in session.get_outputs()]

    def once() -> None:
        found[:] = session.run(names, feed)

    size = entry.shape[0]
    return Model(
        "onnxruntime " + ort.__version__,
        wanted,
        size if isinstance(size, int) and size > 0 else 1,
        lambda x: feed.__setitem__(entry.name, x),
        once,
        lambda: list(found),
        None if wanted == CPU else lambda: nodes_of(ort, path, settings, providers, feed),
    )


def providers_of(wanted: str, available: list[str], folder: str) -> list[Any]:
    """The provider with its options, and CUDA's for what TensorRT's leaves: onnxruntime, documentation of the TensorRT execution provider.

    Int8 is that of the file's own QuantizeLinear; engines are built once, into ``folder``, and not in every process.
    """
    if wanted != TENSORRT:
        return [wanted]
    options = {"trt_int8_enable": "True", "trt_engine_cache_enable": "True", "trt_engine_cache_path": folder}
    cached = {"trt_timing_cache_enable": "True"}
    return [(wanted, dict(options, **cached)), *(["CUDAExecutionProvider"] if "CUDAExecutionProvider" in available else [])]


def nodes_of(ort: Any, path: str, settings: Any, providers: list[Any], feed: dict[str, Any]) -> dict[str, int]:
    """Provider → how many of the nodes that run are its: what it does not support goes to another in silence. By a profile of one run."""
    settings.enable_profiling, settings.profile_file_prefix = True, path + ".profile"
    session = ort.InferenceSession(path, settings, providers=providers)
    session.run(None, feed)
    with open(session.end_profiling()) as file:
        events = [one for one in json.load(file) if one.get("cat") == "Node" and one.get("name", "").endswith("_kernel_time")]
    by = [one.get("args", {}).get("provider", "") for one in events]
    return {provider: by.count(provider) for provider in sorted(set(by))}


def open_openvino(path: str, options: dict[str, Any]) -> Model:
    import openvino as ov

    device = options.get("provider") or "CPU"
    hints: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if device == "CPU":
        hints.update({"INFERENCE_NUM_THREADS": int(options.get("threads", 1)), "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False})
    core = ov.Core()
    if device not in core.available_devices:
        raise Failed("OpenVINO here has no {}, only {}".format(device, ", ".join(core.available_devices)))
    compiled = core.compile_model(core.read_model(path), device, hints)
    request, feed = compiled.create_infer_request(), []
    size = compiled.input(0).get_partial_shape()[0]
    return Model(
        "openvino " + ov.get_version().split("-")[0],
        device + ", INFERENCE_PRECISION_HINT=f32",
        1 if size.is_dynamic else size.get_length(),
        lambda x: feed.__setitem__(slice(None), [x]),
        lambda: request.infer(feed),
        lambda: [request.get_output_tensor(i).data.copy() for i in range(len(compiled.outputs))],
    )


#: Runtime of a job → ``open(path, options)``. trtexec measures by itself: see ``run``.
RUNTIMES = {"tflite": open_tflite, "onnxruntime": open_onnxruntime, "openvino": open_openvino}


def entering(x: Any, border: dict[str, Any]) -> Any:
    """Samples as a device would feed them, channels last → as the file wants them; the host does the way back."""
    import numpy as np

    if border.get("transpose"):
        x = x.transpose(border["transpose"])
    held = border.get("held") or str(x.dtype)
    if held == "uint8" and x.dtype == np.int8:
        x = (x.astype(np.int16) + 128).astype(np.uint8)
    elif held == "float32" and border.get("scale") is not None:
        x = (x.astype(np.float32) - np.float32(border.get("zero", 0))) * np.float32(border["scale"])
    return np.ascontiguousarray(x, held)


def child(order: dict[str, Any]) -> None:
    """Opens one model and obeys its parent, line by line: warm, block, outputs, end."""
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what native libraries say goes to stderr

    def say(**message: Any) -> None:
        own.write(json.dumps(message) + "\n")
        own.flush()

    try:
        if order["runtime"] == "trtexec":
            child_of_trtexec(order, say)
            return
        import numpy as np

        before = peak_rss()
        model = RUNTIMES[order["runtime"]](order["file"], order.get("options", {}))
        samples = np.load(order["inputs"], mmap_mode="r")
        first = entering(padded(np.array(samples[: model.batch]), model.batch), order.get("border", {}))
        model.place(first)
        model.once()
        found = {"ready": time.monotonic(), "version": model.version, "provider": model.provider, "batch": model.batch}
        say(peak_rss_bytes=peak_rss(), base_rss_bytes=before, **found)
        timed = slowed(model.once, float(order.get("options", {}).get("slow_share", 0)))
        for line in sys.stdin:
            command = json.loads(line)
            if command["do"] == "warm":
                say(**warm(timed, command["seconds"]))
            elif command["do"] == "block":
                say(**block(timed, command["seconds"]))
            elif command["do"] == "outputs":
                peak = peak_rss()  # before all the samples and outputs, which are not the model's
                say(peak_rss_bytes=peak, **model.ran_on(first), **outputs(model, samples, order, command, model.batch))
                model.place(first)
            else:
                say(peak_rss_bytes=peak_rss())
                return
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}" if not isinstance(error, Failed) else str(error))


def padded(x: Any, size: int) -> Any:
    import numpy as np

    return x if len(x) == size else np.concatenate([x, np.zeros((size - len(x), *x.shape[1:]), x.dtype)])


def slowed(once: Any, share: float) -> Any:
    """``once``, longer by a share of itself: for tests of the comparison, which must see a slowdown that is known."""
    if not share:
        return once
    clock = time.perf_counter

    def longer() -> None:
        start = clock()
        once()
        end = start + (clock() - start) * (1 + share)
        while clock() < end:
            pass

    return longer


def warm(once: Any, most_s: float) -> dict[str, Any]:
    """Until the median of a batch is no longer over 2 % below that of the batch before, three times in a row; at most ``most_s``."""
    clock, began, calm, before, count = time.perf_counter, time.perf_counter(), 0, float("inf"), 0
    while calm < 3 and clock() - began < most_s:
        times, start = [], clock()
        while clock() - start < most_s / 20 or len(times) < 3:
            at = clock()
            once()
            times.append(clock() - at)
        count += len(times)
        middle = sorted(times)[len(times) // 2]
        calm = calm + 1 if middle > 0.98 * before else 0
        before = middle
    return {"warm_s": clock() - began, "warm_count": count, "steady": calm >= 3}


def ruler() -> float:
    """Seconds of a few microseconds' work that is always the same: longer where another core, or another clock, slows this one down."""
    at = time.perf_counter()
    for _ in range(300):
        pass
    return time.perf_counter() - at


def block(once: Any, seconds: float) -> dict[str, Any]:
    """Inferences one by one for so long, between lengths of the ruler; the first tenth is not counted: another process ran before."""
    clock, began, times = time.perf_counter, time.perf_counter(), []
    while True:
        once()
        if clock() - began >= seconds / 10:
            break
    taken, rulers = [], [ruler()]  # inferences that the kernel took the processor away from, for others to compute; lengths of the ruler
    first = seen = switches()
    cpu, start = time.process_time(), clock()
    while True:
        at = clock()
        once()
        now = clock()
        times.append(now - at)
        switched = switches()
        if switched != seen:
            taken.append(len(times) - 1)
            seen = switched
        rulers.append(ruler())
        if now - start >= seconds:
            break
    wall, cpu = clock() - start, time.process_time() - cpu
    every = -(-len(times) // KEPT)
    kept = [round(value, 9) for value in times[::every]]
    beside = [round(max(rulers[i], rulers[i + 1]), 9) for i in range(0, len(times), every)]
    return {
        "seconds": kept,
        "ruler": beside,
        "count": len(times),
        "every": every,
        "interrupted": [i // every for i in taken if i % every == 0],
        "interruptions": len(taken),
        "wall_s": wall,
        "cpu_s": cpu,
        "switches": seen - first,
    }


def outputs(model: Any, samples: Any, order: dict[str, Any], command: dict[str, Any], batch: int) -> dict[str, Any]:
    """The outputs of all samples, each output of the file in a file of its own."""
    import numpy as np

    parts, began = [], time.perf_counter()
    for at in range(0, len(samples), batch):
        some = np.array(samples[at : at + batch])
        found = model.answer(entering(padded(some, batch), order.get("border", {})))
        parts.append([np.asarray(y)[: len(some)] for y in found])
    names = []
    for i in range(len(parts[0])):
        name = f"{command['stem']}.y{i}.npy"
        temporary = os.path.join(command["folder"], "." + name)
        with open(temporary, "wb") as file:
            np.save(file, np.concatenate([part[i] for part in parts]))
        os.replace(temporary, os.path.join(command["folder"], name))
        names.append(name)
    return {"outputs": names, "outputs_s": time.perf_counter() - began}


def switches() -> int:
    """How often the kernel took the processor away from this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def peak_rss() -> int:
    found = re.search(r"VmHWM:\s+(\d+)", read("/proc/self/status"))
    if found:
        return 1024 * int(found.group(1))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# ------------------------------------------------------------------ TensorRT's own tool, which measures by itself


class Trtexec:
    """NVIDIA's trtexec: builds an engine from a quantized ONNX file, once, and times it; every call is a process of its own.

    Formats: TensorRT 8.4 and later, samples/common/sampleReporting.cpp (times, outputs) and the engine inspector (layers).
    """

    def __init__(self, order: dict[str, Any]) -> None:
        tool = order.get("options", {}).get("tool") or next((path for path in map(shutil.which, TRTEXEC) if path), None)
        if tool is None:
            raise Failed("there is no trtexec here, neither on PATH nor at " + TRTEXEC[1])
        self.tool, self.folder = tool, os.path.dirname(order["file"])
        self.onnx, self.engine = order["file"], order["file"] + ".engine"
        self.version, self.inputs, self.first = "", [], None
        self.limit_s = 1500.0 if not os.path.exists(self.engine) else 300.0

    def call(self, *options: str) -> tuple[str, float]:
        """What it says, and the seconds that it took. Raises Failed with its own first error."""
        began = time.perf_counter()
        try:
            done = subprocess.run(
                [self.tool, *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=self.limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"trtexec took over {self.limit_s:g} s and was ended") from error
        took, text = time.perf_counter() - began, done.stdout.decode(errors="replace")
        stated = re.search(r"TensorRT v(\d+)", text)
        if stated:
            self.version = trt_version(int(stated.group(1)))
        if done.returncode:
            errors = re.findall(r"\[E\]\s*(.+)", text) or text.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise Failed("trtexec: " + errors[0][:300])
        return text, took

    def build(self) -> None:
        """The engine, whole or not at all. Int8 is allowed where the file is quantized; what it leaves in floats stays in float32."""
        if os.path.exists(self.engine):
            return
        part = self.engine + ".part"
        options = ["--onnx=" + self.onnx, "--saveEngine=" + part, "--profilingVerbosity=detailed", "--int8", "--skipInference"]
        # Up to TensorRT 8.5 (JetPack 5) the last has another name; from 11 on the types are always those of the file.
        instead = {"--skipInference": ["--buildOnly"], "--int8": []}
        while True:
            try:
                self.call(*options)
                break
            except Failed as error:
                unknown = re.search(r"Unknown option: (--\w+)", str(error))
                if unknown is None or unknown.group(1) not in instead:
                    raise
                at = options.index(unknown.group(1))
                options[at : at + 1] = instead.pop(unknown.group(1))
        os.replace(part, self.engine)

    def infer(self, seconds: float, warm_ms: int, *options: str) -> tuple[str, float]:
        loaded = [f"--loadInputs={self.inputs[0]}:{self.first}"] if self.first and self.inputs else []
        timing = [f"--duration={seconds:g}", f"--warmUp={warm_ms}", "--iterations=1"]
        return self.call("--loadEngine=" + self.engine, *timing, *loaded, *options)

    def open(self) -> tuple[float, int]:
        """Seconds from nothing to the first answer of an engine that is built, and the size of a batch."""
        text, took = self.infer(0, 0)
        found = re.findall(r"[Ii]nput binding for (\S+) with dimensions (\d+)", text)
        self.inputs = [name for name, _ in found]
        if len(found) != 1:
            raise Failed(f"trtexec speaks of {len(found)} inputs, not of one")
        return took, int(found[0][1])

    def layers(self) -> list[dict[str, Any]]:
        """Of the engine: name, kind, precision of what it computes, and milliseconds (None: it was not timed)."""
        info, profile = self.engine + ".layers.json", self.engine + ".profile.json"
        if not os.path.exists(profile):
            text = ["--profilingVerbosity=detailed", "--exportLayerInfo=" + info, "--dumpProfile", "--exportProfile=" + profile]
            self.infer(0.5, 200, *text, "--separateProfileRun")
        times = {one["name"]: one.get("medianMs", one.get("averageMs")) for one in parsed(profile) if "name" in one}
        found = []
        for one in parsed(info).get("Layers", []):
            whole = one if isinstance(one, dict) else {"Name": one}  # names alone, where the engine knows no more
            name = whole.get("Name", "")
            found.append({"name": name, "kind": whole.get("LayerType", ""), "precision": precision(whole), "ms": times.get(name)})
        return found

    def times(self, seconds: float) -> list[float]:
        """Seconds of each inference: to the GPU, there, and back."""
        path = self.engine + ".times.json"
        self.infer(seconds, 200, "--exportTimes=" + path)
        # Up to TensorRT 8.5 those of the warm-up are listed too.
        return [one["latencyMs"] / 1e3 for one in parsed(path) if one.get("startComputeMs", 1e9) >= 200]

    def answer(self, x: Any) -> list[Any]:
        """All outputs of one batch, in the engine's order."""
        import numpy as np

        before, self.first = self.first, self.engine + ".x.bin"
        x.tofile(self.first)
        path = self.engine + ".y.json"
        try:
            self.infer(0, 0, "--exportOutput=" + path)
        finally:
            self.first = before
        info = parsed(self.engine + ".layers.json")
        order = [one if isinstance(one, str) else one.get("Name", "") for one in info.get("Bindings", [])]
        found = sorted(parsed(path), key=lambda one: order.index(one["name"]) if one["name"] in order else len(order))
        arrays = [np.array(one["values"], held_as(info, one["name"])) for one in found]
        return [array.reshape([int(n) for n in re.findall(r"\d+", one["dimensions"])]) for array, one in zip(arrays, found)]  # noqa: B905


def trt_version(number: int) -> str:
    """8602 → 8.6.2 (up to TensorRT 9: 1000 · major), 100300 → 10.3.0."""
    major = 10000 if number >= 100000 else 1000
    return f"{number // major}.{number % major // 100}.{number % 100}"


def parsed(path: str) -> Any:
    """JSON that trtexec wrote."""
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise Failed(f"trtexec wrote no JSON that can be read to {os.path.basename(path)}: {error}") from error


#: What the engine inspector calls a type ("Row major Int8 format", "Two wide channel vectorized row major FP16 format") → ours.
PRECISIONS = (
    ("int8", "int8"),
    ("fp16", "float16"),
    ("half", "float16"),
    ("bf16", "bfloat16"),
    ("fp8", "float8"),
    ("fp32", "float32"),
    ("float", "float32"),
)


def precision(layer: dict[str, Any]) -> str:
    """Of a layer: what all that enters it has, "" where that is not said. What leaves an int8 layer may be dequantized already."""
    said = [str(one.get("Format/Datatype", one.get("Format", ""))).lower() for one in layer.get("Inputs", []) if isinstance(one, dict)]
    known = [next((ours for theirs, ours in PRECISIONS if theirs in one), "") for one in said]
    return known[0] if known else ""


def held_as(info: dict[str, Any], name: str) -> str:
    """The type of an output of the engine: int8 where the layer that makes it says so, else float32."""
    for layer in info.get("Layers", []):
        for one in layer.get("Outputs", []) if isinstance(layer, dict) else []:
            if one.get("Name") == name and "int8" in str(one.get("Format/Datatype", "")).lower():
                return "int8"
    return "float32"


def summary(layers: list[dict[str, Any]]) -> str:
    """ "int8 14 of 17 layers, float32 3"; reformatting between layers is not counted."""
    work = [one["precision"] for one in layers if one["kind"] not in ("Reformat", "NoOp", "Constant") and one["precision"]]
    counts = sorted({kind: work.count(kind) for kind in work}.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{kind} {count}" + (f" of {len(work)} layers" if i == 0 else "") for i, (kind, count) in enumerate(counts))


def child_of_trtexec(order: dict[str, Any], say: Any) -> None:
    """As ``child`` does for runtimes that are libraries. ``ready`` is as if the engine had been there: building it is no start."""
    import numpy as np

    # What is told to end kills its trtexec first, which else would go on and disturb whoever comes next.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    began, one = time.monotonic(), Trtexec(order)
    one.build()
    took, batch = one.open()
    samples = np.load(order["inputs"], mmap_mode="r")
    first = one.engine + ".first.bin"
    entering(padded(np.array(samples[:batch]), batch), order.get("border", {})).tofile(first)
    one.first, layers = first, one.layers()
    found = {
        "ready": began + took,
        "version": "TensorRT " + one.version,
        "provider": "trtexec, " + (summary(layers) or "GPU"),
        "batch": batch,
    }
    say(peak_rss_bytes=0, base_rss_bytes=0, layers=layers, **found)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] in ("warm", "block"):
            start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            times = one.times(command["seconds"])
            wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
            if not times:
                raise Failed("trtexec timed no inference")
            every = -(-len(times) // KEPT)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            block = {"seconds": times[::every], "count": len(times), "every": every, "wall_s": wall, "cpu_s": cpu, "switches": 0}
            say(**block if command["do"] == "block" else {"warm_s": wall, "warm_count": len(times), "steady": True})
        elif command["do"] == "outputs":
            peak = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            say(peak_rss_bytes=peak, **outputs(one, samples, order, command, batch))
        else:
            say(peak_rss_bytes=1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
            return


# ------------------------------------------------------------------ the device's state


def read(path: str) -> str:
    """A small file's text, "" where it is not there or not for us."""
    try:
        with open(path, errors="replace") as file:
            return file.read(1 << 20).strip("\0\n ")
    except OSError:
        return ""


def number(path: str) -> float | None:
    try:
        return float(read(path))
    except ValueError:
        return None


def said(argv: list[str], root: str = "") -> str:
    """What a tool of the device prints, "" where it is not there or fails."""
    tool = shutil.which(argv[0], path=root + "/usr/bin" if root else None)
    if tool is None:
        return ""
    try:
        done = subprocess.run(
            [tool, *argv[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5, check=False
        )
        return done.stdout.decode(errors="replace").strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def version_of(name: str) -> str:
    try:
        from importlib.metadata import version

        return version(name)
    except Exception:  # Python 3.7 has no such module
        return str(getattr(sys.modules.get(name.replace("-", "_")), "__version__", ""))


def clocks(root: str = "") -> dict[str, float]:
    """Of each core now, in MHz."""
    found = {}
    for path in sorted(glob.glob(root + "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")):
        value = number(path)
        if value is not None:
            found[path.split("/")[-3]] = value / 1e3
    return found


def limits(root: str = "") -> dict[str, list[float]]:
    """The least and the most that each core, and each other unit (a Jetson's GPU), may run at, in MHz; equal where clocks are locked."""
    found = {}
    for folder, least, most in (
        ("/sys/devices/system/cpu/cpu[0-9]*/cpufreq", "scaling_min_freq", "scaling_max_freq"),
        ("/sys/class/devfreq/*", "min_freq", "max_freq"),
    ):
        for path in sorted(glob.glob(root + folder)):
            low, high = number(path + "/" + least), number(path + "/" + most)
            if low is not None and high is not None:
                unit = 1e3 if least.startswith("scaling") else 1e6  # kHz, Hz
                found[path.split("/")[-2] if unit == 1e3 else os.path.basename(path)] = [low / unit, high / unit]
    return found


def temperatures(root: str = "") -> dict[str, float]:
    """Of each thermal zone, in °C."""
    found = {}
    for zone in sorted(glob.glob(root + "/sys/class/thermal/thermal_zone[0-9]*")):
        value = number(zone + "/temp")
        if value is not None and -40e3 < value < 200e3 and value != 0:
            found[(read(zone + "/type") or "zone") + "/" + zone.rpartition("zone")[2]] = value / 1e3
    return found


def throttling(root: str = "") -> dict[str, float]:
    """Signs that the device slows itself down: counters that grow, or states that are not 0."""
    found = {}
    for path in glob.glob(root + "/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count"):
        name = os.path.basename(path)
        found[name] = found.get(name, 0) + (number(path) or 0)
    for cooler in glob.glob(root + "/sys/class/thermal/cooling_device[0-9]*"):
        kind = read(cooler + "/type")
        if re.search("cpu|processor|gpu", kind, re.I):
            found["cooling " + kind] = max(found.get("cooling " + kind, 0), number(cooler + "/cur_state") or 0)
    for path in glob.glob(root + "/sys/class/hwmon/hwmon*/oc[0-9]_event_cnt"):  # Jetson: over-current events, each of which throttles
        found["over-current " + os.path.basename(path)[:3]] = number(path) or 0
    flags = pi_flags(root)
    if flags is not None:
        found["vcgencmd get_throttled"] = float(flags & 0xF)
    return found


def pi_flags(root: str = "") -> int | None:
    """Of a Raspberry Pi: 1 too little voltage, 2 clock capped, 4 throttled, 8 soft limit of temperature; now, and << 16 since boot."""
    found = re.search(r"0x([0-9a-fA-F]+)", said(["vcgencmd", "get_throttled"], root))
    text = found.group(1) if found else next(map(read, glob.glob(root + "/sys/devices/platform/soc*/soc*:firmware/get_throttled")), "")
    try:
        return int(text, 16)
    except ValueError:
        return None


def battery(root: str = "") -> dict[str, Any]:
    found = {}
    for supply in glob.glob(root + "/sys/class/power_supply/*"):
        if read(supply + "/type").lower() == "battery":
            found[os.path.basename(supply)] = {key: read(supply + "/" + key) for key in ("status", "capacity") if read(supply + "/" + key)}
    return found


def memory(root: str = "") -> dict[str, int]:
    lines = dict(line.split(":", 1) for line in read(root + "/proc/meminfo").splitlines() if ":" in line)
    return {key: 1024 * int(lines[key].split()[0]) for key in ("MemTotal", "MemAvailable", "SwapFree") if key in lines}


def busy() -> tuple[float, float] | None:
    """Seconds that all cores together computed, and were taken away by a hypervisor, since boot."""
    fields = read("/proc/stat").split("\n", 1)[0].split()[1:]
    if len(fields) < 8:
        return None
    ticks = [int(field) for field in fields]
    return sum(ticks[i] for i in (0, 1, 2, 5, 6)) / os.sysconf("SC_CLK_TCK"), ticks[7] / os.sysconf("SC_CLK_TCK")


def governors(root: str = "") -> list[str]:
    return sorted({read(path) for path in glob.glob(root + "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")} - {""})


def load() -> list[float]:
    try:
        return list(os.getloadavg())
    except OSError:
        return []


def processor(root: str = "") -> str:
    text = read(root + "/proc/cpuinfo")
    found = re.search(r"^(?:model name|Hardware)\s*:\s*(.+)$", text, re.M) or re.search(r"^CPU part\s*:\s*(.+)$", text, re.M)
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def chip(root: str = "") -> str:
    """The system on chip: as the kernel names it, as the device tree does ("nvidia,tegra234", "brcm,bcm2712"), or the processor."""
    named = " ".join(filter(None, (read(root + "/sys/devices/soc0/" + name) for name in ("family", "soc_id"))))
    compatible = read(root + "/proc/device-tree/compatible").split("\0")[-1]
    return named or said(["getprop", "ro.soc.model"], root) or compatible or processor(root)


def board(root: str = "") -> str:
    named = read(root + "/proc/device-tree/model") or said(["getprop", "ro.product.model"], root)
    return named or read(root + "/sys/devices/virtual/dmi/id/product_name")


def system(root: str = "") -> str:
    pretty = re.search(r'^PRETTY_NAME="?([^"\n]+)', read(root + "/etc/os-release"), re.M)
    android = said(["getprop", "ro.build.version.release"], root)
    name = "Android " + android if android else pretty.group(1) if pretty else platform.system()
    jetson = re.search(r"^# R(\d+) .*?REVISION: ([\d.]+)", read(root + "/etc/nv_tegra_release"))
    return name + (f", L4T {jetson.group(1)}.{jetson.group(2)}" if jetson else "") + ", kernel " + platform.release()


def power_mode(root: str = "") -> str:
    """A Jetson's: what nvpmodel says ("MAXN"), or the number that it has stored."""
    found = re.search(r"NV Power Mode: *(\S+)", said(["nvpmodel", "-q"], root))
    stored = re.search(r"pmode:(\d+)", read(root + "/var/lib/nvpmodel/status"))
    return found.group(1) if found else "mode " + str(int(stored.group(1))) if stored else ""


def interpreter() -> dict[str, Any]:
    """What decides which wheels can be installed, and how."""
    import sysconfig
    from importlib.util import find_spec

    own = sys.prefix != sys.base_prefix
    managed = not own and os.path.exists(os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED"))
    libc = " ".join(platform.libc_ver())
    return {"path": sys.executable, "version": platform.python_version(), "bits": 64 if sys.maxsize > 1 << 32 else 32, "libc": libc,
            "pip": find_spec("pip") is not None, "venv": own, "managed": managed}  # fmt: skip


def opened() -> dict[str, dict[str, Any]]:
    """Of each runtime that is there whether it loads, and on what it can run: in a process of its own, since what is broken may die."""
    found = {}
    for name, (modules, _) in INSTALLED_BY.items():
        module = next((one for one in modules if find(one)), None)
        if module is None:
            continue
        asked = {"onnxruntime": "m.get_available_providers()", "openvino": "m.Core().available_devices"}.get(name, "[]")
        code = f"import importlib, json; m = importlib.import_module({'.'.join((module, 'interpreter')) if name == 'tflite' else module!r})"
        argv = [sys.executable, "-c", f"{code}; print(json.dumps(list({asked})))"]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:
            found[name] = {"error": "it does not load within two minutes"}
            continue
        try:
            found[name] = {"runs_on": json.loads(done.stdout.decode().splitlines()[-1])}
        except (ValueError, IndexError):
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            found[name] = {"error": last[0][:300] if last else f"it died: exit code {done.returncode}"}
    return found


def find(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def runtimes() -> dict[str, dict[str, str]]:
    """Those of a job that are there, with their versions; of the others what installs them."""
    from importlib.util import find_spec

    found = {}
    for name, (modules, install) in INSTALLED_BY.items():
        module = next((one for one in modules if find_spec(one)), None)
        found[name] = {"module": module, "version": version_of(module.replace("_", "-"))} if module else {"install": install}
    where = next((path for path in map(shutil.which, TRTEXEC) if path), None)
    found["trtexec"] = {"path": where} if where else {"install": "TensorRT, which JetPack brings: sudo apt install tensorrt"}
    if find_spec("numpy") is None:
        found["numpy"] = {"install": "pip install numpy"}
    return found


def facts(root: str = "") -> dict[str, Any]:
    """The whole state. What a device does not tell is missing, or empty. ``root``: a folder with another device's /sys, /proc and /etc."""
    return {
        "schema": SCHEMA,
        "model": board(root),
        "os": system(root),
        "soc": chip(root),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "interpreter": interpreter(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "governors": governors(root),
        "power_mode": power_mode(root),
        "clocks_mhz": clocks(root),
        "clock_limits_mhz": limits(root),
        "temperatures_c": temperatures(root),
        "throttling": throttling(root),
        "battery": battery(root),
        "memory": memory(root),
        "disk_free_bytes": shutil.disk_usage(os.path.dirname(os.path.abspath(__file__))).free,
        "load": load(),
        "runtimes": runtimes(),
        "power": sorted(powers(root)),
    }


# ------------------------------------------------------------------ energy


def powers(root: str = "") -> dict[str, Any]:
    """Rail → function that reads its watts now: INA sensors (a Jetson's), and the battery where it is being emptied."""
    found = {}
    # in1 to in3 are the voltages of the rails; of an INA3221 in4 to in7 are those over the shunts, and curr4 is a sum.
    for volts in sorted(glob.glob(root + "/sys/class/hwmon/hwmon*/in[1-3]_input")):
        amperes = os.path.join(os.path.dirname(volts), os.path.basename(volts).replace("in", "curr", 1))
        if read(os.path.dirname(volts) + "/name").startswith("ina") and os.path.exists(amperes):
            label = read(volts.replace("_input", "_label")) or os.path.basename(os.path.dirname(volts)) + " " + os.path.basename(volts)
            found[label] = lambda v=volts, a=amperes: (number(v) or 0) * (number(a) or 0) / 1e6  # mV · mA
    # Jetsons up to Xavier: NVIDIA's older driver, in mW.
    for watts in sorted(glob.glob(root + "/sys/bus/i2c/drivers/ina3221x/*/iio:device*/in_power[0-2]_input")):
        label = read(watts.replace("in_power", "rail_name_").replace("_input", "")) or os.path.basename(watts)
        found[label] = lambda w=watts: (number(w) or 0) / 1e3
    for supply in glob.glob(root + "/sys/class/power_supply/*"):
        now = [supply + "/" + name for name in ("voltage_now", "current_now")]
        if read(supply + "/type").lower() == "battery" and read(supply + "/status") == "Discharging" and number(now[1]) is not None:
            found["battery"] = lambda p=now: abs((number(p[0]) or 0) * (number(p[1]) or 0)) / 1e12  # µV · µA
    return found


class Energy:
    """Joules between two calls of ``spent``: counters of the processor, rails sampled ten times a second, and a meter's own command.

    The meter's command prints the joules that it has counted so far, one number, and exits with 0.
    """

    def __init__(self, meter: list[str]) -> None:
        self.meter, self.rails = meter, powers()
        self.counters = {
            read(os.path.dirname(p) + "/name"): p for p in glob.glob("/sys/class/powercap/intel-rapl:[0-9]/energy_uj") if read(p)
        }
        self.sampled, self.last = dict.fromkeys(self.rails, 0.0), time.monotonic()
        self.before = self.count()

    def count(self) -> dict[str, float]:
        found = {name: (number(path) or 0) / 1e6 for name, path in self.counters.items()}
        if self.meter:
            text = said(self.meter).split()
            try:
                found["meter"] = float(text[0])
                if not abs(found["meter"]) < 1e15:
                    raise ValueError
            except (IndexError, ValueError) as error:
                printed = " ".join(text)[:80] or "nothing"
                raise Failed(f"the meter {' '.join(self.meter)} printed {printed}, no number of joules") from error
        return found

    def sample(self) -> None:
        now = time.monotonic()
        for name, watts in self.rails.items():
            self.sampled[name] += watts() * (now - self.last)
        self.last = now

    def spent(self) -> dict[str, float]:
        """Since the last call; a counter that ran over is left out."""
        self.sample()
        now = self.count()
        found = {name: value - self.before[name] for name, value in now.items() if value >= self.before.get(name, 0)}
        found.update(self.sampled)
        self.before, self.sampled = now, dict.fromkeys(self.rails, 0.0)
        return found


# ------------------------------------------------------------------ the run (the parent)


class Child:
    """A process with one open model."""

    def __init__(self, model: dict[str, Any], inputs: str, log: str, limit_s: float) -> None:
        self.limit_s, self.log, self.spawned, self.buffer = limit_s, log, time.monotonic(), b""
        order = json.dumps(dict(model, inputs=inputs))
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(model.get("options", {}).get("threads", 1)))
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, os.path.abspath(__file__), "child", order],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=dict(os.environ, **one),
            )

    def hear(self, limit_s: float, sample: Any = None) -> dict[str, Any]:
        """Its next answer. Raises Failed where it says an error, dies, or takes too long."""
        end = time.monotonic() + limit_s
        stream = self.process.stdout
        assert stream is not None
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0:
                raise Failed(f"took over {limit_s:g} s and was ended")
            if select.select([stream], [], [], min(0.1, left) if sample else left)[0]:
                part = os.read(stream.fileno(), 1 << 16)
                if not part:
                    raise Failed(self.died())
                self.buffer += part
            elif sample:
                sample()
        line, self.buffer = self.buffer.split(b"\n", 1)
        answer = json.loads(line.decode())
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def ask(self, limit_s: float, sample: Any = None, **command: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise Failed(self.died()) from error
        return self.hear(limit_s, sample)

    def died(self) -> str:
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            return "says nothing any more, and does not end"
        text = read(self.log).splitlines()
        last = "; it said: " + text[-1][:200] if text else ""
        return (f"died of signal {-code}" if code < 0 else f"ended with code {code}") + last

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()


class Run:
    """A job being done. ``results`` has one entry a model, in the job's order."""

    def __init__(self, job: dict[str, Any], folder: str) -> None:
        self.job, self.folder, self.protocol = job, folder, dict(PROTOCOL, **job.get("protocol", {}))
        self.began, self.order = time.monotonic(), random.Random(0)
        self.energy = Energy(list(job.get("meter", [])))
        self.results = [self.result(model) for model in job["models"]]
        self.limit_s = float(self.protocol["limit_s"])

    def result(self, model: dict[str, Any]) -> dict[str, Any]:
        path = os.path.join(self.folder, model["file"])
        digest = ""
        if os.path.isfile(path):
            with open(path, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
        lists = {"cold_start_s": [], "blocks": []}
        return {"name": model["name"], "file_sha256": digest, "runtime": model["runtime"], "version": "", "provider": "", **lists,
                "peak_rss_bytes": 0, "base_rss_bytes": 0, "outputs": [], "error": None}  # fmt: skip

    def all(self) -> None:
        count = int(self.protocol["invocations"])
        for invocation in range(count):
            self.invocation(invocation, count)

    def invocation(self, invocation: int, count: int) -> None:
        """All models that have not failed, each in a fresh process; their blocks alternate, in an order that is drawn for each round."""
        children = {}
        last = invocation == count - 1
        try:
            for i, model in enumerate(self.job["models"]):
                self.attempt(i, lambda i=i, model=model: children.__setitem__(i, self.opened(i, model)))
            for i in list(children):
                self.attempt(i, lambda i=i: self.warmed(i, children[i]))
            rounds = -(-int(self.protocol["repeats"]) // count)
            seconds = float(self.protocol["seconds"]) / (rounds * count)
            for number_of_round in range(rounds):
                order = list(children)
                self.order.shuffle(order)
                for i in order:
                    self.attempt(i, lambda i=i: self.block(i, children[i], seconds, invocation, "repeat"))
                tell("blocks", invocation * rounds + number_of_round + 1, count * rounds)
            if last:
                self.sustained(children)
                for i in children:
                    self.attempt(i, lambda i=i: self.answered(i, children[i]))
            for i in children:
                self.attempt(i, lambda i=i: self.closed(i, children[i]))
        finally:
            for one in children.values():
                one.end()

    def attempt(self, i: int, work: Any) -> None:
        """``work`` for model ``i``, unless it has failed already."""
        if self.results[i]["error"] is None:
            try:
                work()
            except (Failed, OSError, ValueError) as error:
                self.results[i]["error"] = str(error)

    def opened(self, i: int, model: dict[str, Any]) -> Child:
        if model["runtime"] not in (*RUNTIMES, "trtexec"):
            raise Failed("this runner has no runtime {!r}, only {}, trtexec".format(model["runtime"], ", ".join(RUNTIMES)))
        if not self.results[i]["file_sha256"]:
            raise Failed("there is no file " + model["file"])
        one, answer = self.started(i, model)
        if model.get("options", {}).get("provider") == TENSORRT and not self.results[i]["cold_start_s"]:
            one.end()  # it has built the engine, which is no start
            one, answer = self.started(i, model)
        if "layers" in answer:
            self.results[i]["layers"] = answer["layers"]
        self.results[i]["cold_start_s"].append(answer["ready"] - one.spawned)
        for key in ("version", "provider", "batch", "base_rss_bytes"):
            self.results[i][key] = answer[key]
        return one

    def started(self, i: int, model: dict[str, Any]) -> tuple[Child, dict[str, Any]]:
        """A process, and what it says when it is ready."""
        one = Child(
            dict(model, file=os.path.join(self.folder, model["file"])),
            os.path.join(self.folder, model.get("inputs") or self.job["inputs"]),
            os.path.join(self.folder, f"m{i}.log"),
            self.limit_s,
        )
        # An engine is built first, which a small Jetson may take many minutes for.
        builds = model["runtime"] == "trtexec" or model.get("options", {}).get("provider") == TENSORRT
        try:
            return one, one.hear(self.limit_s * (15 if builds else 1))
        except BaseException:
            one.end()
            raise

    def warmed(self, i: int, one: Child) -> None:
        answer = one.ask(self.limit_s, do="warm", seconds=float(self.protocol["warmup_s"]))
        self.results[i].setdefault("warmups", []).append(answer)

    def block(self, i: int, one: Child, seconds: float, invocation: int, phase: str) -> None:
        at, before = time.monotonic() - self.began, busy()
        self.energy.spent()
        start = time.monotonic()
        answer = one.ask(self.limit_s + seconds, self.energy.sample if self.energy.rails else None, do="block", seconds=seconds)
        timed = answer["wall_s"] / (time.monotonic() - start)  # the block's first inferences take energy, and are not counted
        joules = {name: value * timed for name, value in self.energy.spent().items()}
        took, after = time.monotonic() - self.began - at, busy()
        answer.update(t=at, model=self.results[i]["name"], invocation=invocation, phase=phase)
        if before and after and took > 0:  # cores that others computed on
            own = answer["cpu_s"] * took / answer["wall_s"]
            answer.update(others=max(0.0, (after[0] - before[0] - own) / took), stolen=(after[1] - before[1]) / took)
        now = clocks()
        answer.update(mhz=max(now.values()) if now else None, celsius=max(temperatures().values() or [0]) or None)
        # Of a block by trtexec the most goes into its start.
        answer.update({"joules": joules} if joules and self.results[i]["runtime"] != "trtexec" else {}, throttling=throttling())
        if phase == "sustained":
            every = -(-len(answer["seconds"]) // KEPT_SUSTAINED)
            answer.update(seconds=answer["seconds"][::every], ruler=[], interrupted=[], every=answer["every"] * every)
        self.results[i]["blocks"].append(answer)

    def sustained(self, children: dict[int, Child]) -> None:
        """One model after the other without a pause, in blocks of a second."""
        most = float(self.protocol["sustained_s"])
        for i, one in children.items():
            start = time.monotonic()
            while time.monotonic() - start < most and self.results[i]["error"] is None:
                self.attempt(i, lambda i=i, one=one: self.block(i, one, 1.0, -1, "sustained"))
                tell("sustained", int(time.monotonic() - start), int(most))

    def answered(self, i: int, one: Child) -> None:
        if self.job.get("outputs"):
            limit = max(self.limit_s, float(self.protocol["outputs_limit_s"]))
            answer = one.ask(limit, do="outputs", stem=f"m{i}", folder=self.folder)
            self.results[i].update(answer)
            tell("outputs", i + 1, len(self.results))

    def closed(self, i: int, one: Child) -> None:
        answer = one.ask(self.limit_s, do="end")
        if not self.results[i]["outputs"]:
            self.results[i].update(answer)


#: What a job's protocol may leave out; ``seconds`` and ``repeats`` are those of each model, over all invocations.
PROTOCOL = {
    "warmup_s": 2.0,
    "seconds": 10.0,
    "repeats": 30,
    "invocations": 10,
    "sustained_s": 0.0,
    "limit_s": 120.0,
    "outputs_limit_s": 3600.0,
}


def tell(what: str, done: int, total: int) -> None:
    sys.stdout.write(json.dumps({"progress": what, "done": done, "total": total}) + "\n")
    sys.stdout.flush()


def clock() -> dict[str, float]:
    return {"monotonic": time.monotonic(), "wall": time.time()}


def run(path: str) -> int:
    """Raises Failed, OSError, ValueError and what else a job that is none leads to; models that fail are in the result."""
    with open(path) as file:
        job = json.load(file)
    if job.get("schema") != SCHEMA:
        raise ValueError(f"schema {job.get('schema')!r}, this runner has {SCHEMA}")
    folder = os.path.dirname(os.path.abspath(path))
    before, start = facts(), clock()
    doing = Run(job, folder)
    doing.all()
    result = {"schema": SCHEMA, "facts_before": before, "facts_after": facts(), "models": doing.results}
    result["clock"] = {"before": start, "after": clock()}
    temporary = os.path.join(folder, ".RESULT.json")
    with open(temporary, "w") as file:
        json.dump(result, file)
    os.replace(temporary, os.path.join(folder, "RESULT.json"))
    return 0


def main(argv: list[str]) -> int:
    if argv[:1] == ["facts"]:
        found = facts(argv[argv.index("--root") + 1] if "--root" in argv[:-1] else "")
        if "--open" in argv:
            found["opened"] = opened()
        sys.stdout.write(json.dumps(found, indent=None if "--json" in argv else 2) + "\n")
        return 0
    if len(argv) == 2 and argv[0] == "child":
        child(json.loads(argv[1]))
        return 0
    if len(argv) == 2 and argv[0] == "run":
        try:
            return run(argv[1])
        except (Failed, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            sys.stderr.write(f"edgekd_runner: {argv[1]}: {type(error).__name__}: {error}\n")
            return 2
    sys.stderr.write((__doc__ or "") + "\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
