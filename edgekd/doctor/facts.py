"""What a device's facts (of the on-device runner) say of it: what it lacks, with the command that installs it, and what disturbs times."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any, Literal

#: A device with less free is one where a job does not fit.
DISK_BYTES, MEMORY_BYTES = 100 << 20, 200 << 20
#: Above these, times are those of a hot or busy device.
HOT_C, LOAD = 80.0, 0.5
#: Bits of a Raspberry Pi's `vcgencmd get_throttled` that hold now (Raspberry Pi documentation, "vcgencmd").
PI_BITS = {
    1: "too little voltage: a power supply of the board's own",
    2: "clock capped",
    4: "throttled",
    8: "at the soft limit of temperature",
}
#: Runtime of the runner → the package on PyPI.
PACKAGES = {"tflite": "ai-edge-litert", "onnxruntime": "onnxruntime", "openvino": "openvino"}
#: A folder on the device whose programs come before the system's, for Pythons that no package may be installed into (PEP 668).
VENV = "~/.edgekd"
#: Of Termux's own packages: wheels of PyPI are for other C libraries than Android's.
TERMUX = {"numpy": "in Termux: pkg install python-numpy", "onnxruntime": "in Termux: pkg install python-onnxruntime"}
#: The wheel on PyPI for aarch64 knows no GPU.
NVIDIA = "python3 -m pip install FILE, NVIDIA's onnxruntime-gpu wheel for this JetPack"


@dataclass(frozen=True)
class Check:
    """``state``: good; lacks (what was asked for cannot work); absent (other things can); note (it works, but times suffer)."""

    name: str
    state: Literal["good", "lacks", "absent", "note"]
    said: str
    mend: str = ""


def judged(facts: dict[str, Any]) -> tuple[Check, ...]:
    """Everything that can be told of a device before something is run there; any one runtime that loads is enough."""
    known = " ".join(filter(None, (str(facts.get("model", "")), str(facts.get("soc", "")), str(facts.get("machine", "")))))
    return (Check("device", "good", f"{known}; {facts.get('os', '')}"), _python(facts), *_runtimes(facts), *_room(facts), *_calm(facts))


def _python(facts: dict[str, Any]) -> Check:
    inner = facts.get("interpreter", {})
    said = f"{inner.get('version', facts.get('python', ''))}, {inner.get('bits', 64)} bits, {inner.get('path', '')}"
    if inner.get("bits", 64) == 32:
        return Check("python", "note", f"{said}: ai-edge-litert and openvino have no wheels for it", "a 64-bit system")
    return Check("python", "good", said)


def _runtimes(facts: dict[str, Any]) -> list[Check]:
    there, opened = facts.get("runtimes", {}), facts.get("opened", {})
    checks = []
    if there.get("numpy"):
        checks.append(Check("numpy", "lacks", "not installed", _pip("numpy", facts)))
    loading = [name for name in PACKAGES if "module" in there.get(name, {}) and "error" not in opened.get(name, {})]
    lack: Literal["absent", "lacks"] = "absent" if loading else "lacks"
    for name, package in PACKAGES.items():
        one, tried = there.get(name, {}), opened.get(name, {})
        if "module" not in one:
            checks.append(Check(name, lack, "not installed", _pip(package, facts)))
        elif "error" in tried:
            checks.append(
                Check(name, lack, f"{one['module']} {one.get('version', '')} does not load: {tried['error']}", _pip(package, facts))
            )
        else:
            on = ", ".join(tried.get("runs_on", ()))
            checks.append(Check(name, "good", f"{one['module']} {one.get('version', '')}" + (f", on {on}" if on else "")))
    return checks + (_jetson_runtimes(there, opened) if _jetson(facts) else [])


def _jetson(facts: dict[str, Any]) -> bool:
    return "L4T" in str(facts.get("os", "")) or "tegra" in str(facts.get("soc", "")).lower()


def _jetson_runtimes(there: dict[str, Any], opened: dict[str, Any]) -> list[Check]:
    checks = []
    trtexec = there.get("trtexec", {})
    if "path" in trtexec:
        checks.append(Check("trtexec", "good", trtexec["path"]))
    else:
        checks.append(Check("trtexec", "absent", "not found: engines of TensorRT (--provider trtexec)", "sudo apt install tensorrt"))
    providers = opened.get("onnxruntime", {}).get("runs_on", ())
    if "onnxruntime" in opened and "CUDAExecutionProvider" not in providers:
        checks.append(Check("onnxruntime", "note", "it runs on the CPU only", f"{NVIDIA}, instead of onnxruntime"))
    return checks


def _pip(package: str, facts: dict[str, Any]) -> str:
    """The command there: for its system, its Python, and the wheels that there are for these."""
    inner = facts.get("interpreter", {})
    numbers = [int(part) for part in re.findall(r"\d+", str(inner.get("version", facts.get("python", ""))))[:2]]
    if "Android" in str(facts.get("os", "")):
        return TERMUX.get(
            package, "none for Termux: .onnx files with pkg install python-onnxruntime, .tflite files by benchmark_model over adb"
        )
    if package == "onnxruntime" and _jetson(facts):
        return NVIDIA
    if inner.get("bits") == 32 and package != "numpy":
        if package != "ai-edge-litert" or numbers > [3, 11]:
            return "none for 32 bits: a 64-bit system"
        package = "tflite-runtime 'numpy<2'"  # its last wheels (2.14, 2023) are of before NumPy 2
    elif package == "ai-edge-litert" and numbers and numbers < [3, 9]:
        package = "tflite-runtime"
    if inner.get("venv"):  # its own: python3 of a login's shell is another one
        path = shlex.quote(str(inner.get("path", "python3")))
        return ("" if inner.get("pip", True) else f"{path} -m ensurepip && ") + f"{path} -m pip install {package}"
    if inner.get("managed"):
        packages = "python3-venv" if inner.get("pip", True) else "python3-venv python3-pip"
        return f"sudo apt install {packages} && python3 -m venv --system-site-packages {VENV} && {VENV}/bin/pip install {package}"
    return ("" if inner.get("pip", True) else "sudo apt install python3-pip && ") + f"python3 -m pip install {package}"


def _room(facts: dict[str, Any]) -> list[Check]:
    checks = []
    disk, memory = facts.get("disk_free_bytes"), facts.get("memory", {}).get("MemAvailable")
    if disk is not None:
        full = disk < DISK_BYTES
        checks.append(
            Check("disk", "lacks" if full else "good", f"{disk / 2**20:,.0f} MiB free", "clear some, or set TMPDIR" if full else "")
        )
    if memory is not None:
        little = memory < MEMORY_BYTES
        checks.append(
            Check("memory", "note" if little else "good", f"{memory / 2**20:,.0f} MiB free", "end what else runs" if little else "")
        )
    return checks


def _calm(facts: dict[str, Any]) -> list[Check]:
    """What would make times waver, or be rejected."""
    checks = []
    slow = [name for name in facts.get("governors", ()) if name != "performance"]
    if slow and not _jetson(facts):
        tee = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        checks.append(Check("governor", "note", f"{', '.join(slow)}: the clock wavers", tee))
    if _jetson(facts):
        mode = facts.get("power_mode", "")
        if mode and not mode.startswith("MAXN") and mode != "mode 0":
            checks.append(Check("power mode", "note", f"{mode}: not the fastest", "sudo nvpmodel -m 0"))
        if any(low < high for low, high in facts.get("clock_limits_mhz", {}).values()):
            checks.append(Check("clocks", "note", "not locked: they waver with the load", "sudo jetson_clocks"))
    flags = int(facts.get("throttling", {}).get("vcgencmd get_throttled", 0))
    checks += [Check("throttling", "note", said, "mend it before measuring") for bit, said in PI_BITS.items() if flags & bit]
    hottest = max(facts.get("temperatures_c", {}).items(), key=lambda pair: pair[1], default=("", 0.0))
    if hottest[1] >= HOT_C:
        checks.append(Check("temperature", "note", f"{hottest[0]}: {hottest[1]:.0f} °C", "let it cool, or give it a fan"))
    load, cores = (facts.get("load") or [0.0])[0], facts.get("cores") or 1
    if load > LOAD * cores:
        checks.append(Check("load", "note", f"{load:.1f} on {cores} cores: others compute", "end them before measuring"))
    for name, one in facts.get("battery", {}).items():
        if str(one.get("capacity", "")).isdecimal() and int(one["capacity"]) < 20:
            checks.append(Check("battery", "note", f"{name}: {one['capacity']} %: many devices slow down", "charge it"))
    return checks
