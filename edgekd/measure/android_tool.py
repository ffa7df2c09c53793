"""LiteRT's benchmark_model on a device: where it lies, how it is called, what it prints, and what is said where it fails.

Flags and texts: tflite/tools/benchmark of LiteRT 2, and of TensorFlow Lite before it, which printed no medians.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from edgekd.errors import DeviceError, InputError
from edgekd.transports import Transport

VARIABLE = "EDGEKD_BENCHMARK_MODEL"
TOOL = "benchmark_model"
PLACES = (f"/data/local/tmp/{TOOL}", f"/data/local/tmp/android_aarch64_{TOOL}", f"/data/local/tmp/android_arm_{TOOL}")
MEND = (
    "adb push android_aarch64_benchmark_model /data/local/tmp/benchmark_model && adb shell chmod 755 /data/local/tmp/benchmark_model "
    "(from LiteRT's page on benchmark tools)"
)


@dataclass(frozen=True)
class Block:
    """One process of the tool: microseconds. ``middle`` is the median where it prints one, else the mean; ``count`` inferences."""

    middle: float
    p95: float | None
    count: int
    init: float
    first: float
    is_median: bool


def parse(text: str) -> Block:
    """What the tool printed. Raises ValueError where it is not what it prints when all is well."""
    counts = re.findall(r"^(?:INFO: )?count=(\d+)(.*)$", text, re.MULTILINE)
    timings = re.search(r"Inference timings in us: Init: ([\d.e+]+), First inference: ([\d.e+]+)", text)
    if not counts or not timings:
        raise ValueError("no timings")
    count, rest = counts[-1]
    stated = {key: float(value) for key, value in re.findall(r"(\w+)=([\d.e+]+)", rest)}
    middle = stated.get("median", stated.get("curr") if int(count) == 1 else stated.get("avg"))
    if middle is None:
        raise ValueError("neither median nor mean")
    found = Block(middle, stated.get("p95"), int(count), float(timings[1]), float(timings[2]), "median" in stated)
    if not all(map(isfinite, (middle, found.p95 or 0.0, found.init, found.first))) or middle <= 0 or not found.count:
        raise ValueError("times that cannot be")
    return found


def find(transport: Transport) -> str:
    """The tool's path on the device, "" where it is not to be had. Raises InputError for a variable that names nothing."""
    named = os.environ.get(VARIABLE, "")
    if named and Path(named).is_file():
        transport.put(Path(named), TOOL)
        there = posixpath.join(transport.folder, TOOL)
        run(transport, ["chmod", "755", there], 30)
        return there
    for place in (named,) if named else PLACES:
        if transport.run(["test", "-x", place], limit_s=30).code == 0:
            return place
    if named:
        raise InputError(
            f"{named} is no file here and no program on the device", where=f"${VARIABLE}", expected=f"LiteRT's {TOOL}", mend=MEND
        )
    found = transport.run(["sh", "-c", f"command -v {TOOL}"], limit_s=30)
    return found.out.strip() if found.code == 0 else ""


def command(tool: str, graph: str, threads: int) -> list[str]:
    return [tool, f"--graph={graph}", f"--num_threads={threads}"]


def run(transport: Transport, argv: Sequence[str], limit_s: float) -> str:
    ran = transport.run(argv, limit_s=limit_s)
    if ran.code:
        raise odd(transport.where, ran.err + "\n" + ran.out, ran.code)
    return ran.out + "\n" + ran.err


def odd(where: str, text: str, code: int | None = None) -> DeviceError:
    """A program for another processor, or whatever else it said."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if re.search(r"error|fatal|failed|not executable|exec format|syntax", line, re.IGNORECASE)] or lines
    said = wrong[-1][:300] if wrong else "nothing"
    if code == 126 or re.search(r"exec format|not executable|syntax error", said, re.IGNORECASE):
        return DeviceError(f"{TOOL} is of another processor: {said}", where=where, expected="one for `adb shell uname -m`", mend=MEND)
    return DeviceError(
        f"{TOOL} failed{'' if code is None else f' with exit code {code}'}: {said}", where=where, mend="adb shell, and run it by hand"
    )


def lacking(where: str, tool: str) -> DeviceError:
    if tool:
        return DeviceError(
            f"{TOOL} runs .tflite files only, and there is no Python", where=where, expected="a .tflite file", mend="--target pixel-8"
        )
    return DeviceError(
        f"it has neither LiteRT's {TOOL} nor Python",
        where=where,
        expected=f"{TOOL} in /data/local/tmp, or its path here in ${VARIABLE}",
        mend=f"{MEND}; or in Termux: pkg install openssh python, sshd, and --device ssh:USER@HOST:8022",
    )
