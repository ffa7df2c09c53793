"""What a training step of edgekd costs: quantized and distilled, against the plain float step of the same student and against others.

    nice python tools/bench_step.py [--recipe models/fashion_mnist] [--target nucleo-l4r5zi] [--preset demo] [--batch 64] [--threads 2]
                                    [--rounds 40] [--steps 2] [--only float,edgekd,…] [--most 1.25] [--json]

One process holds all contestants (bench_step_contestants.py says what is in a step of each). A round is a few steps of each, in an order
that rotates from round to round, so that whatever else the machine does meets them all; a round's ratio is that of its own float steps.
The figures are medians over the rounds, with the interval that holds the median at 95 % (order statistics, no assumption on the
distribution). By the clock, and by the CPU time of the process, which sums its threads: where other processes compete for the cores the
second is steadier, but it does not see a thread that waits for another. Threads that wait sleep (OMP_WAIT_POLICY=PASSIVE, unless it is set
otherwise), so that no CPU time is counted for turning in circles.

Exit code 0 if the upper ends of edgekd's intervals, by both, are at most --most; 1 if not; 2 for what cannot be done as asked.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# First, because it keeps nncf from reporting what is done here.
import edgekd  # noqa: F401  # pyright: ignore[reportUnusedImport]

# isort: split
from bench_statistics import median_interval

from edgekd.errors import EdgekdError, InputError

if TYPE_CHECKING:
    from bench_step_contestants import Contest, Step

ROOT = Path(__file__).resolve().parents[1]
BASE, OURS = "float", "edgekd"
DEFAULT = (BASE, OURS, "pt2e", "nncf")
#: Steps of each contestant that do not count.
WARM_UP = 3
VERSIONS = {"pt2e": ("torchao",), "nncf": ("nncf",)}


def measure(steps: Mapping[str, Step], rounds: int, each: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds a step in every round, by the "clock" and by "cpu", of each contestant."""
    names = list(steps)
    found: dict[str, dict[str, list[float]]] = {name: {"clock": [], "cpu": []} for name in names}
    for step in steps.values():
        for _ in range(WARM_UP):
            step()
    for n in range(rounds):
        at = n % len(names)
        for name in names[at:] + names[:at]:
            cpu, clock = time.process_time(), time.perf_counter()
            for _ in range(each):
                steps[name]()
            found[name]["clock"].append((time.perf_counter() - clock) * 1e3 / each)
            found[name]["cpu"].append((time.process_time() - cpu) * 1e3 / each)
    return found


def judged(found: Mapping[str, Mapping[str, Sequence[float]]], most: float) -> dict[str, Any]:
    """Medians, ratios and verdict of what ``measure`` found."""
    rows, base = {}, found[BASE]
    for name, by in found.items():
        ratios = {unit: np.divide(by[unit], base[unit]).tolist() for unit in by}
        rows[name] = {unit: {"ms": median_interval(by[unit]), "ratio": median_interval(ratios[unit])} for unit in by}
    ratio = {unit: {name: row[unit]["ratio"]["median"] for name, row in rows.items() if name != BASE} for unit in ("clock", "cpu")}
    high = max(rows[OURS][unit]["ratio"]["high"] for unit in ("clock", "cpu"))
    demand = {"demand": f"edgekd at most {most:g} times the float step, interval included", "found": high, "ok": high <= most}
    return {"ratio_to_float": ratio["clock"], "ratio_to_float_cpu": ratio["cpu"], "demand": demand, "steps": rows}


def table(result: Mapping[str, Any]) -> str:
    """In Markdown, as docs/performance.md has it."""
    lines = ["| step | ms, clock | ratio to float | ms, CPU | ratio to float, CPU |", "|---|---|---|---|---|"]
    for name, row in result["steps"].items():
        cells = []
        for unit in ("clock", "cpu"):
            ms, r = row[unit]["ms"], row[unit]["ratio"]
            cells += [f"{ms['median']:.1f}", "1" if name == BASE else f"{r['median']:.2f} ({r['low']:.2f} to {r['high']:.2f})"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    how = result["how"]
    lines.append(
        f"\n{how['student']}, batch {how['batch']}, {how['threads']} threads, {how['rounds']} rounds of {how['steps']} steps each,"
    )
    lines.append(f"{how['processor']}; {', '.join(f'{name} {v}' for name, v in result['versions'].items())}.")
    return "\n".join(lines)


def processor() -> str:
    """Its name, and how busy the machine was."""
    try:
        names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores{load}"


def open_contest(options: argparse.Namespace) -> Contest:
    """The target's student as a plan chooses it. Raises InputError where the target wants no integers."""
    import torch
    from bench_step_contestants import Contest

    from edgekd.jobs import Request, load_jobs

    torch.set_num_threads(options.threads)
    job = load_jobs(Request(options.recipe, (options.target,), options.preset, 0, {}, options.threads))[0]
    if not job.scheme.is_integer:
        raise InputError(f"{job.profile.name} wants {job.scheme.numeric}", where="--target", expected="a target of an integer scheme")
    return Contest(job, options.batch)


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Raises InputError for steps that there are not."""
    from bench_step_contestants import CONTESTANTS

    names = [name.strip() for name in options.only.split(",")]
    if not {BASE, OURS} <= set(names) <= set(CONTESTANTS):
        raise InputError(f"{options.only!r}", where="--only", expected=f"float, edgekd, and any of {', '.join(sorted(CONTESTANTS))}")
    contest = open_contest(options)
    found = measure({name: CONTESTANTS[name](contest) for name in names}, options.rounds, options.steps)
    family = contest.job.family
    how = {
        "student": " ".join([family.name, *(f"{name}={value}" for name, value in family.describe(contest.spec).items())]),
        "recipe": contest.job.loaded.recipe.name,
        "target": contest.job.profile.name,
        "bf16": contest.training.bf16,
        **{name: getattr(options, name) for name in ("batch", "threads", "rounds", "steps", "preset")},
        "processor": processor(),
    }
    libraries = ["torch", *(library for name in names for library in VERSIONS.get(name, ()))]
    return {"schema_version": 1, **judged(found, options.most), "how": how, "versions": {name: version(name) for name in libraries}}


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default=str(ROOT / "models" / "fashion_mnist"))
    parser.add_argument("--target", default="nucleo-l4r5zi")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40, help="six or more, for an interval")
    parser.add_argument("--steps", type=int, default=2, help="of each contestant in a round")
    parser.add_argument("--only", default=",".join(DEFAULT), help="the contestants, with commas; float and edgekd among them")
    parser.add_argument("--most", type=float, default=1.25)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(given)
    for name, least in (("batch", 2), ("threads", 1), ("rounds", 6), ("steps", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name} must be {least} or more")
    return options


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for the result
            result = compare(options)
    except EdgekdError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f"error: {error.name or error} is not installed: leave its contestant out by --only", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        demand = result["demand"]
        print(table(result) + f"\n\n{demand['demand']}: found {demand['found']:.2f}, {'ok' if demand['ok'] else 'NOT MET'}")
    return 0 if result["demand"]["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
