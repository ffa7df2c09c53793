"""A device over adb. An Android phone has no Python: LiteRT's own benchmark_model runs there, and the runner where there is a Python.

benchmark_model is taken from $EDGEKD_BENCHMARK_MODEL (a file here, put on the device, or a path there), or from where it usually
lies there.
It prints medians, not single times: each of its processes is one block. Outputs come back by its --output_filepath.
"""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgekd.errors import DeviceError
from edgekd.lazy import load
from edgekd.measure import android_tool, attached
from edgekd.measure.android_tool import TOOL, Block
from edgekd.measure.compare import compared
from edgekd.measure.device import SOME, SOMETHING_ELSE, Bench, Progress, Row, Subject
from edgekd.measure.drift import drift
from edgekd.measure.files import ModelFile, model_file
from edgekd.measure.protocol import DRIFTED, Judged
from edgekd.measure.stats import block_median
from edgekd.records import Figure, Measurement
from edgekd.transports import TRANSPORTS, Transport
from edgekd.transports.lock import held

#: Processes of the tool that each give one block; the fewest of which the median has an interval is six.
BLOCKS = 12
#: Android's thermal status from which on it slows itself down (PowerManager, API 29): 1 light, 2 moderate, 3 severe …
_THROTTLED = 1
_STATE = """\
echo "model=$(getprop ro.product.model)"
echo "soc=$(getprop ro.soc.model)"
echo "android=$(getprop ro.build.version.release)"
echo "thermal=$(dumpsys thermalservice 2>/dev/null | sed -n 's/^Thermal Status: //p')"
dumpsys battery 2>/dev/null | sed -n 's/^ *level: /battery=/p; s/^ *temperature: /battery_temperature=/p'
echo "governor=$(cat /sys/devices/system/cpu/cpufreq/policy*/scaling_governor 2>/dev/null | sort -u | tr '\\n' ' ')"
echo "load=$(cut -d' ' -f1 /proc/loadavg 2>/dev/null)"
"""


@dataclass(frozen=True, eq=False)
class _Model:
    """``at`` is its path on the device."""

    name: str
    subject: Subject
    file: ModelFile
    at: str


def measure(subject: Subject, progress: Progress) -> Bench:
    """See ``Measure``: by benchmark_model where that is to be had and the model is a .tflite file, else by the runner where Python is.

    Raises DeviceError where there is neither.
    """
    transport: Transport = load(TRANSPORTS["adb"])(subject.address)
    try:
        tool = android_tool.find(transport)
        if tool and all(_is_tflite(one) for one in (subject, subject.rival) if one is not None):
            with held(transport) as said:
                bench = _measured(subject, transport, tool, progress)
            return replace(bench, notes=(*said, *bench.notes))
        if transport.run(["sh", "-c", "command -v python3"], limit_s=30).code == 0:
            return attached.measure(subject, progress, "adb", lambda _: transport)
    finally:
        transport.close()
    raise android_tool.lacking(transport.where, tool)


def _measured(subject: Subject, transport: Transport, tool: str, progress: Progress) -> Bench:
    """Blocks of one model, or of two in turn; then outputs and memory."""
    before = _state(transport)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as name:
        models = _put(subject, transport, Path(name))
        blocks: list[list[Block]] = [[] for _ in models]
        for at in range(BLOCKS):
            progress("blocks", at, BLOCKS)
            for place in _turns(len(models), at):
                blocks[place].append(_block(transport, tool, models[place]))
        after = _state(transport)
        rows, all_judged = [], []
        for at, (model, found) in enumerate(zip(models, blocks, strict=True)):
            progress("outputs", at, len(models))
            where = (
                f"{transport.where}: {before.get('model', '')}, {TOOL}, {subject.asked.threads} thread{'s' * (subject.asked.threads > 1)}"
            )
            judged = _judged(found, (before, after), where, _peak(transport, tool, model))
            rows.append(_row(model, judged, where, _outputs(transport, tool, model, Path(name))))
            all_judged.append(judged)
    settled, figures, differ = compared(rows, all_judged, transport.where)
    state = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in before.items() if value)
    return Bench("adb", settled, notes=(state,), figures=figures, different=differ)


def _turns(models: int, at: int) -> range:
    """Which of the models come in round ``at``: what comes second finds a warmer device, so that each is the first in turn."""
    return range(models)[:: -1 if at % 2 else 1]


def _put(subject: Subject, transport: Transport, folder: Path) -> list[_Model]:
    found = []
    for place, one in enumerate((subject, subject.rival)):
        if one is not None:
            inside = folder / f"m{place}"
            inside.mkdir()
            file = model_file(one, inside)
            remote = f"{transport.folder}/m{place}.tflite"
            transport.put(file.path, remote)
            found.append(_Model(one.file.name if one.file else one.graph.name, one, file, remote))
    if len(found) == 2 and found[0].name == found[1].name:
        found = [replace(one, name=f"{letter}: {one.name}") for letter, one in zip("AB", found, strict=True)]
    return found


def _block(transport: Transport, tool: str, model: _Model) -> Block:
    asked = model.subject.asked
    each = max(0.1, asked.seconds / BLOCKS)
    warm = max(0.1, asked.warmup_s / BLOCKS)
    flags = [f"--min_secs={each:g}", "--num_runs=5", f"--warmup_min_secs={warm:g}", "--warmup_runs=1"]
    text = android_tool.run(transport, [*_command(tool, model), *flags], 60 + 20 * (each + warm))
    try:
        return android_tool.parse(text)
    except ValueError as error:
        raise android_tool.odd(transport.where, text) from error


def _peak(transport: Transport, tool: str, model: _Model) -> float | None:
    """Bytes, of a process of its own: watching disturbs the times. None where the tool or the system does not tell."""
    flags = ["--num_runs=5", "--min_secs=0.2", "--report_peak_memory_footprint=true", "--memory_footprint_check_interval_ms=5"]
    text = android_tool.run(transport, [*_command(tool, model), *flags], 120)
    found = re.search(r"Overall peak memory footprint \(MB\) via periodic monitoring: (\d{1,9}(?:\.\d+)?)", text)
    return float(found[1]) * 2**20 if found else None


def _outputs(transport: Transport, tool: str, model: _Model, folder: Path) -> np.ndarray:
    """Of the first samples, [N, …] as a device would read them; all of them where the whole set was asked for.

    A loop on the device feeds them one by one. Raises DeviceError where the tool writes no outputs.
    """
    subject = model.subject
    x = subject.x[: len(subject.x) if subject.asked.whole else min(SOME, len(subject.x))]
    border = load("edgekd.runtimes.tflite_border:border_of")(model.file.path.read_bytes())
    entered = np.ascontiguousarray(border.input.enter(x))
    (folder / "x.bin").write_bytes(entered.tobytes())
    transport.put(folder / "x.bin", "x.bin")
    size, shape = entered[0].nbytes, ",".join(map(str, (1, *entered.shape[1:])))
    at, flags = transport.folder, ["--num_runs=1", "--min_secs=0", "--warmup_runs=0", "--warmup_min_secs=0"]
    flags += [
        "--input_layer=x",
        f"--input_layer_shape={shape}",
        f"--input_layer_value_files=x:{at}/one.bin",
        f"--output_filepath={at}/y.bin",
    ]
    script = (
        f"cd {shlex.quote(at)} || exit 1; : > ys.bin; i=0\n"
        f"while [ $i -lt {len(x)} ]; do dd if=x.bin of=one.bin bs={size} skip=$i count=1 2>/dev/null || exit 1; rm -f y.bin\n"
        f"{shlex.join([*_command(tool, model), *flags])} > said.txt 2>&1 || {{ cat said.txt; exit 2; }}\n"
        "cat y.bin >> ys.bin || { tail -n 5 said.txt; exit 3; }; i=$((i + 1)); done\n"
    )
    (folder / "outputs.sh").write_text(script, encoding="utf-8")
    transport.put(folder / "outputs.sh", "outputs.sh")
    ran = transport.run(["sh", "outputs.sh"], limit_s=60 + 10.0 * len(x))
    if ran.code == 3:
        raise DeviceError(
            f"this {TOOL} writes no outputs, so that nobody knows what it computed",
            where=transport.where,
            expected="one that has --output_filepath (LiteRT, or TensorFlow 2.15 and later)",
            mend=android_tool.MEND,
        )
    if ran.code:
        raise android_tool.odd(transport.where, ran.out + ran.err)
    transport.get("ys.bin", folder / "ys.bin")
    return model.file.leave(_split((folder / "ys.bin").read_bytes(), len(x), border.outputs, subject, transport.where))


def _split(content: bytes, count: int, sides: Sequence[object], subject: Subject, where: str) -> list[np.ndarray]:
    """Each output [N, …] as the file has it: the tool writes those of a sample one after the other."""
    graph, found, at = subject.graph, list[np.ndarray](), 0
    shapes = [graph.tensor(name).shape[1:] for name in graph.outputs]
    dtypes = [np.dtype(side.outer) for side in sides]  # pyright: ignore[reportAttributeAccessIssue]
    each = sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in zip(shapes, dtypes, strict=True))
    if len(content) != count * each:
        raise DeviceError(f"{len(content)} bytes of outputs", where=where, expected=f"{count} samples of {each} bytes")
    rows = np.frombuffer(content, np.uint8).reshape(count, each)
    for shape, dtype in zip(shapes, dtypes, strict=True):
        size = int(np.prod(shape)) * dtype.itemsize
        found.append(np.ascontiguousarray(rows[:, at : at + size]).view(dtype).reshape(count, *shape))
        at += size
    return found


def _judged(blocks: Sequence[Block], states: tuple[dict[str, str], dict[str, str]], where: str, peak: float | None) -> Judged:
    rounds = {(place, 0): block.middle / 1e6 for place, block in enumerate(blocks)}
    middle = block_median(list(rounds.values()))
    count = sum(block.count for block in blocks)
    what = "medians" if all(block.is_median for block in blocks) else "means"
    timed = f"{where}, {what} of {len(blocks)} processes"
    figures = {"latency_ms": Figure(middle.median * 1e3, "ms", "measured", timed, n=count, low=middle.low * 1e3, high=middle.high * 1e3)}
    if all(block.p95 is not None for block in blocks):
        p95 = float(np.median([block.p95 or 0.0 for block in blocks]))
        figures["latency_p95_ms"] = Figure(p95 / 1e3, "ms", "measured", f"{where}, middle of {len(blocks)} processes", n=count)
    cold = [(block.init + block.first) / 1e3 for block in blocks]
    stated = f"{where}, opening and first inference, without the start of the process; median and extremes"
    figures["cold_start_ms"] = Figure(float(np.median(cold)), "ms", "measured", stated, n=len(cold), low=min(cold), high=max(cold))
    if peak is not None:
        figures["peak_ram_bytes"] = Figure(peak, "B", "measured", f"{where}, what the tool's process grew by at most", n=1)
    moved, notes, reasons = drift(list(rounds.values())), list[str](), list[str]()
    if apart := _apart(np.array(list(rounds.values()))):
        reasons.append(
            f"drift: every block of the last third was {'slower' if apart > 0 else 'faster'} than all of the first, by {abs(apart):.1%}"
        )
    elif moved.real:
        said = f"drift: from the first block to the last it got {'slower' if moved.change > 0 else 'faster'} by {abs(moved.change):.1%}"
        (reasons if abs(moved.change) > DRIFTED else notes).append(f"{said} (p = {moved.p:.2g})")
    for when, state in zip(("before", "after"), states, strict=True):
        if state.get("thermal", "").isdecimal() and int(state["thermal"]) >= _THROTTLED:
            reasons.append(f"thermal throttling: status {state['thermal']} {when} the measurement")
    return Judged(figures, tuple(notes), "; ".join(reasons), rounds)


def _apart(seconds: np.ndarray) -> float:
    """By how much, relatively, the last third of the blocks lies off the first where they do not overlap by more than DRIFTED, else 0.

    Twelve blocks are few for a test that must allow for neighbours that are alike: it misses what needs no test to be seen.
    """
    third = len(seconds) // 3
    first, last = seconds[:third], seconds[-third:]
    if last.min() > (1 + DRIFTED) * first.max() or first.min() > (1 + DRIFTED) * last.max():
        return float(np.median(last) / np.median(first)) - 1
    return 0.0


def _row(model: _Model, judged: Judged, where: str, outputs: np.ndarray) -> Row:
    subject = model.subject
    figures = {**judged.figures, "model_bytes": Figure(model.file.size, "B", "counted", "file")}
    failed = [f"{model.name}: rejected: {judged.rejected}"] if judged.rejected else []
    if subject.judge is not None:
        x, y = subject.x[: len(outputs)], None if subject.y is None else subject.y[: len(outputs)]
        verdict = subject.judge(subject.graph, model.file.rule, where, outputs, x, y)
        figures |= {name: figure for name, figure in verdict.figures.items() if not name.endswith("_cpu_s")}
        if not verdict.ok:
            failed.insert(0, f"{model.name} {SOMETHING_ELSE}: {verdict.reason}")
    return Row(model.name, Measurement(model.file.path.name, "adb", figures, judged.notes), failed="; ".join(failed))


def _is_tflite(subject: Subject) -> bool:
    if subject.file is not None:
        return subject.file.suffix == ".tflite"
    return subject.profile is None or subject.profile.deploy.exporter == "tflite"


def _command(tool: str, model: _Model) -> list[str]:
    return android_tool.command(tool, model.at, model.subject.asked.threads)


def _state(transport: Transport) -> dict[str, str]:
    """What Android tells of itself, as far as it does."""
    ran = transport.run(["sh", "-c", _STATE], limit_s=60)
    pairs = (line.partition("=") for line in ran.out.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs if value.strip()}
