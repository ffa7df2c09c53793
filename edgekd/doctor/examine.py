"""`edgekd doctor`: what is missing here, or on a device, before anything is run; and the command that installs it."""

from __future__ import annotations

import platform
import posixpath
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Literal

from edgekd.doctor.facts import Check, judged
from edgekd.errors import InputError
from edgekd.lazy import EXTRAS, load
from edgekd.measure import DEVICES

#: Extra → what it is for; ethos-u is asked for by itself.
PURPOSES = {
    "train": "teachers, students: edgekd build",
    "tflite": "TFLite files: written, run, verified",
    "onnx": "ONNX files: written, run, verified",
    "openvino": "OpenVINO files: written, run, verified",
    "tensorflow": "teachers in Keras and SavedModel form",
    "transformers": "teachers in a transformers folder",
    "baseline": "edgekd quantize",
    "search": "edgekd plan --search, advise --tune",
    "release": "edgekd release",
    "scale": "edgekd build, plan --search: --engine ray",
    "mlflow": "edgekd build --mlflow, models --store mlflow:…",
    "devices": "devices over ssh, adb and serial; the store of results",
    "mcu": "--device qemu where there is no QEMU",
}
#: Import name → the distribution that brings it, where they differ.
DISTRIBUTIONS = {"PIL": "pillow", "ai_edge_litert": "ai-edge-litert", "tflite_micro": "tflite-micro", "tensorflow": "tensorflow-cpu",
                 "serial": "pyserial", "mlflow": "mlflow-skinny", "cyclonedx": "cyclonedx-python-lib", "model_signing": "model-signing",
                 "sigstore_models": "sigstore-models"}  # fmt: skip
#: Program → (what it is for, the Debian package that brings it).
TOOLS = {
    "arm-none-eabi-gcc": ("--device qemu: firmware for Cortex-M", "gcc-arm-none-eabi"),
    "qemu-system-arm": ("--device qemu", "qemu-system-arm"),
    "qemu-aarch64": ("--device arm64-emulated", "qemu-user"),
    "adb": ("--device adb:…", "adb"),
    "ssh-keygen": ("keys for --device ssh:…", "openssh-client"),
}
#: Device that needs nothing but programs and libraries of this machine → them; for vela a library alone.
EMULATED = {"qemu": ("arm-none-eabi-gcc", "qemu-system-arm"), "vela": ()}


@dataclass(frozen=True)
class Diagnosis:
    """Of ``device`` ("": this machine as a whole), which is to be found ``where``."""

    device: str
    where: str
    checks: tuple[Check, ...]
    facts: dict[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """Whether it can do what it is for."""
        return not any(check.state == "lacks" for check in self.checks)

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}


def examine(device: str = "") -> Diagnosis:
    """Of KIND[:ADDRESS], "" for what is installed here. Raises InputError for a kind that there is not, DeviceError where it cannot be
    reached, MissingDependency where the library that reaches it is not installed."""
    kind, _, address = device.partition(":")
    if not kind:
        vela = _vela("absent")
        return Diagnosis("", f"this machine: {platform.platform()}", (_python(), *_extras(), vela, *_tools(TOOLS, optional=True)))
    if kind not in DEVICES:
        raise InputError(f"no device is called {kind!r}", where="--device", expected=", ".join(DEVICES))
    if kind in EMULATED:
        libraries = [_vela("lacks")] if kind == "vela" else []
        return Diagnosis(device, "this machine", (*_tools(EMULATED[kind], optional=False), *libraries))
    if kind == "serial":
        return Diagnosis(device, address, load("edgekd.doctor.serial:checks")(address))
    return _attached(device, kind, address)


def _attached(device: str, kind: str, address: str) -> Diagnosis:
    """A device that the runner runs on: it states its facts, and whether its runtimes load."""
    state, transports = load("edgekd.measure.attached:state"), load("edgekd.transports:TRANSPORTS")
    transport = load(transports["local" if kind == "host" else kind])(address)
    try:
        phone = _phone(transport) if kind == "adb" else ()
        if phone and transport.run(["sh", "-c", "command -v python3"], limit_s=30).code:
            return Diagnosis(device, transport.where, phone)
        facts = state(transport, loads=True)
        lock = posixpath.join(posixpath.dirname(transport.folder), load("edgekd.transports.lock:NAME"))
        busy = transport.run(["ls", "-d", lock], limit_s=30).code == 0
        checks = judged(facts)
        if busy:
            checks = (
                *checks,
                Check("lock", "note", "another harness measures there", f"wait; or, if that one is gone: rm -r {lock} (there)"),
            )
        return Diagnosis(device, transport.where, checks, facts)
    finally:
        transport.close()


def _phone(transport: Any) -> tuple[Check, ...]:
    """What an Android device has if it has no Python: LiteRT's own tool, or nothing."""
    told = [
        transport.run(["getprop", name], limit_s=30).out.strip()
        for name in ("ro.product.model", "ro.soc.model", "ro.build.version.release")
    ]
    device = Check("device", "good", f"{told[0]} {told[1]}; Android {told[2]}")
    tool, mend = load("edgekd.measure.android_tool:find")(transport), load("edgekd.measure.android_tool:MEND")
    if tool:
        return device, Check("benchmark_model", "good", tool)
    return (
        device,
        Check("benchmark_model", "lacks", "LiteRT's tool for .tflite files is not there", mend),
        Check(
            "python",
            "absent",
            "not there either",
            "in Termux: pkg install openssh python python-onnxruntime, sshd, and --device ssh:USER@HOST:8022",
        ),
    )


def _python() -> Check:
    there = platform.python_version()
    return Check("python", "good" if sys.version_info >= (3, 11) else "lacks", there, "" if sys.version_info >= (3, 11) else "Python 3.11")


def _extras() -> list[Check]:
    found = []
    for extra, purpose in PURPOSES.items():
        modules = [module for module, brought in EXTRAS.items() if brought == extra]
        lacking = [DISTRIBUTIONS.get(module, module) for module in modules if find_spec(module) is None]
        if lacking:
            found.append(Check(extra, "absent", f"{', '.join(lacking)}: {purpose}", f"pip install 'edgekd[{extra}]'"))
        else:
            names = [DISTRIBUTIONS.get(module, module) for module in modules]
            found.append(Check(extra, "good", ", ".join(f"{name} {_version(name)}" for name in names)))
    return found


def _vela(lack: Literal["absent", "lacks"]) -> Check:
    if find_spec("ethosu") is None:
        return Check("ethos-u-vela", lack, "not installed: --device vela", "pip install 'edgekd[ethos-u]'")
    return Check("ethos-u-vela", "good", _version("ethos-u-vela"))


def _tools(names: Any, *, optional: bool) -> list[Check]:
    found = []
    for name in names:
        purpose, package = TOOLS[name]
        path = shutil.which(name)
        lack = "absent" if optional or (name == "qemu-system-arm" and find_spec("unicorn")) else "lacks"
        found.append(
            Check(name, "good", path) if path else Check(name, lack, f"not installed: {purpose}", f"sudo apt-get install {package}")
        )
    return found


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
