"""The protocol of attached devices: the runner's job, and what its raw blocks say: figures, notes, and why they are rejected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekd.measure.device import Asked
from edgekd.measure.drift import drift
from edgekd.measure.files import TRTEXEC, ModelFile
from edgekd.measure.stats import FEWEST, BlockMedian, block_median
from edgekd.records import Figure

SCHEMA = 1
#: Seconds that one answer of a model's process may take on the device (opening it, a block, warming up), and an inference for its outputs.
ANSWER_S, SAMPLE_S = 120.0, 2.0
#: Share of the inferences that others disturbed from which on it is said, and from which on nothing can be said of the model any more.
#: Those that were disturbed are known one by one, by other signs than their times, and do not count.
NOTED, TOO_MANY = 0.01, 0.9
#: A runner's ruler that is longer than its shortest by more than this was disturbed. Cores that others compute on from which on that is
#: laid to them, and not to a device that slows itself down.
LONGER, OTHERS = 1.15, 0.1
#: A block counts with so many inferences that nobody disturbed, and with such a share of its own: of a few it is not sure.
ENOUGH, SHARE = 5, 0.05
#: A share of time that a hypervisor took away, above which times are not the device's.
STOLEN = 0.05
#: Relative change that is no more the device's usual wavering: of the median from first to last, of the clock.
DRIFTED, SLOWED = 0.05, 0.05
#: Nearest ends of the interval, relative to the median. Two runs on a calm device differ by some 0.3 %, whatever a run sees of itself:
#: where pages and code lie is drawn anew each time (tools/bench_repeat.py measures it).
NEAREST = 0.005
#: An interval that is wider from end to end, relative to the median, says too little; more blocks may help.
WIDEST = 0.10
#: Sensors that see the whole device, or the most of it, come first; their joules are the figure.
SOURCES = ("meter", "VDD_IN", "POM_5V_IN", "battery", "package-0")
#: Rails that together are the whole board: NVIDIA, Jetson Linux Developer Guide, of AGX Orin (its VDDQ is fed by VIN_SYS_5V0), AGX Xavier.
TOGETHER = (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"))
#: Of trtexec: seconds that building its engine may take, and a start, of which every block and every sample is one.
ENGINE_S, START_S = 1800.0, 15.0


@dataclass(frozen=True)
class Judged:
    """Of one model: ``figures``, ``notes``, and ``rejected``, the reason why its times are not to be believed ("": they are).

    ``rounds`` are medians of its blocks in seconds, in the order of time, by (invocation, place in it).
    """

    figures: dict[str, Figure]
    notes: tuple[str, ...] = ()
    rejected: str = ""
    rounds: dict[tuple[int, int], float] = field(default_factory=dict)


def job(models: Sequence[tuple[str, ModelFile, str]], asked: Asked, samples: int) -> dict[str, Any]:
    """JOB.json for models (name, file, the name of its samples on the device), of ``samples`` at most."""
    entries = []
    for place, (name, model, inputs) in enumerate(models):
        options: dict[str, Any] = {"threads": asked.threads, "provider": asked.provider}
        if asked.slow_share and place == len(models) - 1:
            options["slow_share"] = asked.slow_share
        entry = {"name": name, "file": model.path.name, "runtime": model.runtime, "options": options}
        entries.append({**entry, "border": model.border, "inputs": inputs})
    protocol = {
        "warmup_s": asked.warmup_s,
        "seconds": asked.seconds,
        "repeats": asked.repeats,
        "invocations": asked.invocations,
        "interleave": True,
        "sustained_s": asked.sustained_s,
        "limit_s": ANSWER_S,
        "outputs_limit_s": ANSWER_S + _sample_s([model for _, model, _ in models]) * samples,
    }
    outer = {"schema": SCHEMA, "models": entries, "inputs": models[0][2], "protocol": protocol, "outputs": True}
    return {**outer, "meter": list(asked.meter)} if asked.meter else outer


def limit_s(models: Sequence[ModelFile], asked: Asked, samples: int) -> float:
    """Seconds that the whole job may take on the device before something must hang there."""
    once = asked.warmup_s + 60.0
    each = 2 * asked.seconds + 2 * asked.sustained_s + asked.invocations * once + ANSWER_S + _sample_s(models) * samples
    engines = sum(model.runtime == TRTEXEC or "Tensorrt" in asked.provider for model in models) * ENGINE_S
    starts = sum(model.runtime == TRTEXEC for model in models) * START_S * (asked.repeats + 3 * asked.invocations + asked.sustained_s)
    return len(models) * each + engines + starts


def _sample_s(models: Sequence[ModelFile]) -> float:
    return START_S if any(model.runtime == TRTEXEC for model in models) else SAMPLE_S


def judged(result: dict[str, Any], model: dict[str, Any], where: str, emulated: bool = False) -> Judged:
    """What RESULT.json (``result``) says of one of its models. Raises InputError for fewer than six blocks."""
    kind = "emulated" if emulated else "measured"
    repeats = [block for block in model["blocks"] if block.get("phase", "repeat") == "repeat"]
    level = _level(result)
    quiet = [_undisturbed(block, level) for block in repeats]
    share = sum(map(len, quiet)) / max(1, sum(len(block["seconds"]) for block in repeats))
    if sum(map(_counts, repeats, quiet)) < FEWEST:
        quiet = [np.asarray(block["seconds"], np.float64) for block in repeats]
    rounds, places = {}, dict.fromkeys((block.get("invocation", 0) for block in repeats), 0)
    for block, seconds in zip(repeats, quiet, strict=True):
        invocation = block.get("invocation", 0)
        if _counts(block, seconds):
            rounds[invocation, places[invocation]] = float(np.median(seconds))
        places[invocation] += 1
    middle = block_median(list(rounds.values()))
    times = np.concatenate(quiet)
    count = sum(int(block["count"]) for block in repeats)
    p90, p99 = (float(value) for value in np.quantile(times, (0.9, 0.99)))
    ms = middle.median * 1e3
    low, high = min(middle.low * 1e3, (1 - NEAREST) * ms), max(middle.high * 1e3, (1 + NEAREST) * ms)
    figures = {
        "latency_ms": Figure(ms, "ms", kind, where, n=count, low=low, high=high),
        "latency_p90_ms": Figure(p90 * 1e3, "ms", kind, where, n=len(times)),
        "latency_p99_ms": Figure(p99 * 1e3, "ms", kind, where, n=len(times)),
        **_cold(model, kind, where),
        "peak_ram_bytes": _memory(model, kind, where),
        **_sustained(model, kind, where),
        **_energy(model, kind, where),
    }
    if emulated:
        return Judged(figures, ("nothing of its times means anything: the processor is emulated",), "", rounds)
    notes, reasons = _circumstances(result, model, middle, 1 - share)
    moved = drift(list(rounds.values()))
    if moved.real:
        said = f"drift: from the first block to the last it got {'slower' if moved.change > 0 else 'faster'} by {abs(moved.change):.1%}"
        (reasons if abs(moved.change) > DRIFTED else notes).append(f"{said} (p = {moved.p:.2g})")
    return Judged(figures, tuple(notes), "; ".join(reasons), rounds)


def enough(result: dict[str, Any], model: dict[str, Any]) -> bool:
    """Whether more of the same would not help: the interval is no wider than ``WIDEST``, or the times are rejected anyway."""
    found = judged(result, model, "")
    latency = found.figures["latency_ms"]
    assert latency.low is not None
    assert latency.high is not None
    return bool(found.rejected) or latency.high - latency.low <= WIDEST * latency.value


def pooled(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Two results of the same models, one after the other, as one: with the outputs and all else of the first."""
    later = second["clock"]["before"]["monotonic"] - first["clock"]["before"]["monotonic"]
    models = []
    for a, b in zip(first["models"], second["models"], strict=True):
        before = 1 + max((block.get("invocation", 0) for block in a["blocks"]), default=-1)
        blocks = [{**block, "invocation": before + block.get("invocation", 0), "t": block["t"] + later} for block in b["blocks"]]
        cold = [*a["cold_start_s"], *b["cold_start_s"]]
        warm = [*a.get("warmups", ()), *b.get("warmups", ())]
        models.append({**a, "blocks": [*a["blocks"], *blocks], "cold_start_s": cold, "warmups": warm})
    clock = {"before": first["clock"]["before"], "after": second["clock"]["after"]}
    return {**first, "models": models, "facts_after": second["facts_after"], "clock": clock}


def _level(result: dict[str, Any]) -> float:
    """The ruler's length where nobody disturbs it, in seconds: that of the calmest block. Infinite where others do not compute, or the
    device does not say: then a ruler that gets longer is the device's own doing, which belongs to its times.
    """
    blocks = [block for model in result["models"] for block in model["blocks"] if block.get("ruler")]
    if not blocks or np.mean([float(block.get("others", 0)) for block in blocks]) < OTHERS:
        return float("inf")
    return LONGER * min(float(np.quantile(block["ruler"], 0.1)) for block in blocks)


def _undisturbed(block: dict[str, Any], level: float = float("inf")) -> np.ndarray:
    """Seconds of the inferences that nobody interrupted, between two lengths of the ruler that are both below ``level``."""
    seconds = np.asarray(block["seconds"], np.float64)
    kept = np.ones(len(seconds), bool)
    kept[[i for i in block.get("interrupted", ()) if i < len(seconds)]] = False
    if len(block.get("ruler", ())) == len(seconds):
        kept &= np.asarray(block["ruler"], np.float64) <= level
    return seconds[kept]


def _counts(block: dict[str, Any], quiet: np.ndarray) -> bool:
    return len(quiet) >= min(max(ENOUGH, SHARE * len(block["seconds"])), len(block["seconds"])) > 0


def _cold(model: dict[str, Any], kind: Any, where: str) -> dict[str, Figure]:
    """From the start of a process to the end of its first inference, Python and the runtime's libraries included."""
    times = [1e3 * float(value) for value in model["cold_start_s"]]
    if not times:
        return {}
    note = f"{where}, from the start of a process; median and extremes"
    return {"cold_start_ms": Figure(float(np.median(times)), "ms", kind, note, n=len(times), low=min(times), high=max(times))}


def _memory(model: dict[str, Any], kind: Any, where: str) -> Figure:
    grown = max(0, int(model["peak_rss_bytes"]) - int(model.get("base_rss_bytes", 0)))
    return Figure(grown, "B", kind, f"{where}, peak resident growth of a process that opens and runs it", n=1)


def _sustained(model: dict[str, Any], kind: Any, where: str) -> dict[str, Figure]:
    """The first minute without a pause (of a short run, its first quarter) against the last."""
    blocks = [block for block in model["blocks"] if block.get("phase") == "sustained"]
    minute = min(60, len(blocks) // 4)
    if minute < 6:
        return {}
    times = [float(np.median(block["seconds"])) * 1e3 for block in blocks]
    found = {}
    for name, part in (("first", times[:minute]), ("last", times[-minute:])):
        middle = block_median(part)
        note = f"{where}, {name} {minute} s of {len(blocks)} s without a pause"
        found[f"sustained_{name}_ms"] = Figure(middle.median, "ms", kind, note, n=minute, low=middle.low, high=middle.high)
    return found


def _energy(model: dict[str, Any], kind: Any, where: str) -> dict[str, Figure]:
    """Of one inference, by what the best sensor saw while it ran again and again: what the device draws at rest is in it."""
    blocks = [block for block in model["blocks"] if block.get("joules")]
    seen = {name: sum(block["joules"].get(name, 0.0) for block in blocks) for block in blocks for name in block["joules"]}
    # Of rails that nobody knows, the one that draws most.
    alone = next((name for name in SOURCES if seen.get(name)), max(seen, key=lambda name: seen[name], default=""))
    together = next((names for names in TOGETHER if seen.keys() >= set(names)), ())
    source = (alone,) if alone in SOURCES or not together else together
    sums = [(sum(block["joules"].get(name, 0.0) for name in source), block["count"]) for block in blocks]
    each = [1e6 * joules / count for joules, count in sums if joules > 0]
    if len(each) < FEWEST:
        return {}
    middle = block_median(each)
    note = f"{where}, {' + '.join(source)}, with what the device draws at rest"
    return {"energy_uj": Figure(middle.median, "uJ", kind, note, n=len(each), low=middle.low, high=middle.high)}


def _circumstances(result: dict[str, Any], model: dict[str, Any], middle: BlockMedian, disturbed: float) -> tuple[list[str], list[str]]:
    """Notes, and reasons for which the times are rejected; ``disturbed`` is the share of inferences that were."""
    blocks = [block for block in model["blocks"] if block.get("phase", "repeat") == "repeat"]
    notes, reasons = _clock(result), _thermal(result, blocks)
    if model.get("version"):
        cold = [warm for warm in model.get("warmups", ()) if not warm.get("steady", True)]
        if cold:
            notes.append(f"{len(cold)} of {len(model['warmups'])} processes were not steady at the end of their warm-up")
    others = [float(block["others"]) for block in blocks if "others" in block]
    load = f"others computed on {np.mean(others):.1f} cores meanwhile" if others else "others computed meanwhile"
    if disturbed > TOO_MANY:
        reasons.append(f"background load: {disturbed:.0%} of the inferences were disturbed; {load}")
    elif disturbed > NOTED:
        notes.append(f"{disturbed:.0%} of the inferences were disturbed and do not count; {load}")
    elif others and np.mean(others) > 0.25:
        notes.append(load)
    stolen = float(np.mean([float(block.get("stolen", 0)) for block in blocks]))
    if stolen > STOLEN:
        reasons.append(f"background load: the hypervisor took {stolen:.0%} of a core's time away")
    if not middle.settled:
        worth = f"its {middle.n} blocks are worth {middle.effective:.1f} independent ones"
        notes.append(f"{worth}: the interval is nearly all that was seen; longer helps")
    return notes, reasons


def _clock(result: dict[str, Any]) -> list[str]:
    before, after = result["clock"]["before"], result["clock"]["after"]
    ran, wall = after["monotonic"] - before["monotonic"], after["wall"] - before["wall"]
    if abs(wall - ran) <= 1 + 0.005 * ran:
        return []
    return [f"the device's wall clock jumped by {wall - ran:+.1f} s; times are of its monotonic clock, which does not"]


def _thermal(result: dict[str, Any], blocks: list[dict[str, Any]]) -> list[str]:
    """Counters that grew, states that rose, clocks that fell while the model ran."""
    reasons = []
    before, after = (result[name].get("throttling", {}) for name in ("facts_before", "facts_after"))
    seen = [block["throttling"] for block in blocks if block.get("throttling")]
    for name in sorted({*before, *after, *(key for one in seen for key in one)}):
        most = max([after.get(name, 0), *(one.get(name, 0) for one in seen)])
        if most > before.get(name, 0) or ("get_throttled" in name and most):
            reasons.append(f"thermal throttling: {name} went from {before.get(name, 0):g} to {most:g}")
    mhz = [float(block["mhz"]) for block in blocks if block.get("mhz")]
    quarter = len(mhz) // 4
    if quarter:
        first, last = float(np.median(mhz[:quarter])), float(np.median(mhz[-quarter:]))
        if last < (1 - SLOWED) * first:
            heat = [float(block["celsius"]) for block in blocks if block.get("celsius")]
            degrees = f", at {heat[0]:.0f} °C and then {heat[-1]:.0f} °C" if heat else ""
            reasons.append(f"thermal throttling: the clock went from {first:.0f} to {last:.0f} MHz{degrees}")
    return reasons
