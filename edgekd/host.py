"""This machine: what a record stores of it, and how a figure names it."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = (
    "numpy", "torch", "onnx", "onnxruntime", "openvino", "ai-edge-litert", "tflite-micro", "tensorflow-cpu", "transformers", "nncf",
)  # fmt: skip
#: Instruction sets that decide how fast, and in OpenVINO which, integers come out.
FLAGS = ("avx2", "avx512f", "avx512bw", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm", "bf16", "sve")


def environment() -> dict[str, str]:
    """The machine and the installed versions, read without importing any library; ``created`` is the only time stamp."""
    cpu, flags = _cpu()
    found = {"created": datetime.now(UTC).isoformat(timespec="seconds"), "python": platform.python_version(), "os": platform.platform()}
    found |= {"cpu": cpu, "cores": str(cores()), "cpu_flags": " ".join(flag for flag in FLAGS if flag in flags)}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def alike() -> dict[str, str]:
    """What must be the same on machines that make the same students: versions, and a hash of edgekd's own files, whose version may lag."""
    found, folder = environment(), Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py"), key=lambda file: file.relative_to(folder).as_posix()):
        digest.update(f"{file.relative_to(folder).as_posix()} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return {name: found.get(name, "") for name in ("python", "numpy", "torch")} | {"edgekd": digest.hexdigest()[:12]}


def cores() -> int:
    """Cores that this process may use: fewer than the machine has under taskset or in a container's cpuset."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads(asked: int, otherwise: int = 0) -> int:
    """``asked``; for 0 what OMP_NUM_THREADS says (of a list the first, as OpenMP 5.2 has it), or else ``otherwise``, or one a core."""
    stated = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return asked or (int(stated) if stated.isdecimal() else 0) or otherwise or cores()


def threaded(count: int) -> dict[str, str]:
    """For a child: this process's environment with every thread pool of numerical libraries at ``count`` threads, and its import path."""
    each = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), str(count))
    return {**os.environ, **each, "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path)}


def single_threaded() -> dict[str, str]:
    """``threaded`` at one thread."""
    return threaded(1)


def host() -> str:
    """This machine as a figure's ``where`` names it: "host: <CPU model>"."""
    return f"host: {_cpu()[0]}"


def flags() -> frozenset[str]:
    """The processor's instruction sets, as Linux names them; none elsewhere."""
    return _cpu()[1]


def library(name: str) -> str:
    """An installed library as a figure's ``where`` names it: "torch 2.13.0"."""
    return f"{name} {version(name)}"


@cache
def _cpu() -> tuple[str, frozenset[str]]:
    """Model and instruction-set flags of the processor."""
    if sys.platform != "linux":
        return platform.processor() or platform.machine(), frozenset()
    board = Path("/proc/device-tree/model")
    return processor(
        Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"),
        board.read_text(encoding="utf-8", errors="replace") if board.is_file() else "",
    )


def processor(cpuinfo: str, board: str) -> tuple[str, frozenset[str]]:
    """Of Linux's /proc/cpuinfo, and what a device tree calls the board: on Arm that alone tells one from another, whose times differ."""
    model, flags = board.strip("\0\n ") or platform.processor() or platform.machine(), frozenset[str]()
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Hardware") and not board:
            model = value.strip()
        elif key.strip() in ("flags", "Features") and not flags:
            flags = frozenset(value.split())
    return model, flags
