"""The files of an aarch64 Linux for qemu-user: Debian's arm64 packages and the runtimes' aarch64 wheels, in the cache folder.

python -m edgekd.transports.sysroot [--sources FILE]      (tools/make_sysroot.py is the same)

The packages come through apt-get with a root of its own (nothing on this machine changes, `dpkg --add-architecture` is not needed), from
the machine's own Debian sources and checked with its keys; the wheels through pip, in the versions that are installed here, so that the
device runs what was verified. 61 MB and the wheels. Made whole or not at all; named by a hash of what was asked for.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import unquote

from edgekd import runs
from edgekd.errors import DeviceError, EdgekdError

#: Changes when what is made of the same packages and wheels changes.
LAYOUT = 2
#: What the runtimes need of Debian, beside what these depend on.
PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6", "libgomp1", "zlib1g")
WHEELS = ("ai-edge-litert", "onnxruntime", "numpy")
#: glibc's minor versions whose wheels may be taken: 2.36 is that of Debian 12.
_GLIBC = range(17, 37)
#: The core that QEMU plays, and what Linux says of it there. Never QEMU's default ("max"): XNNPACK then computes wrong integers, because
#: QEMU's SME is not what XNNPACK takes it for.
CPU = "cortex-a72"
#: Variable of the emulated Python's environment: what starts it.
EXECUTABLE = "EDGEKD_PYTHON"
_CPUINFO = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
"""
#: A script cannot start the emulated interpreter by its own file, which this machine's kernel refuses: by the script that does instead.
_SITECUSTOMIZE = f"""import os, sys
sys.executable = os.environ.get({EXECUTABLE!r}, sys.executable)
"""
_WHERE = "device arm64-emulated"
_MAKE = "python -m edgekd.transports.sysroot"
_LIMIT_S = 900
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_NOT_NEEDED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/info", "var")


@dataclass(frozen=True)
class Sysroot:
    """A sysroot that is whole: ``root`` is what QEMU takes for /, ``versions`` those of Debian's packages and of the wheels."""

    root: Path
    versions: dict[str, str]

    def starter(self, emulator: str, path: Path) -> str:
        """The text of a script at ``path`` that runs the aarch64 Python by ``emulator``; the path stands in it, for children to start."""
        python = [emulator, "-cpu", CPU, "-L", str(self.root), "-U", "PYTHONPATH", "-E", f"{EXECUTABLE}={path}"]
        return f'#!/bin/sh\nexec {shlex.join([*python, str(self.root / "usr/bin/python3"), "-B"])} "$@"\n'


def emulator() -> str:
    """QEMU's user-mode emulator for aarch64. Raises DeviceError if there is none."""
    for name in ("qemu-aarch64", "qemu-aarch64-static"):
        if found := shutil.which(name):
            return found
    raise DeviceError("no qemu-aarch64", where=_WHERE, expected="QEMU's user-mode emulator", mend="sudo apt-get install qemu-user")


def find() -> Sysroot:
    """The sysroot of the runtimes' versions that are installed here. Raises DeviceError if it has not been made."""
    root = _folder(_pins())
    try:
        return Sysroot(root, json.loads((root / "made.json").read_bytes()))
    except FileNotFoundError:
        pass
    except ValueError as error:
        raise DeviceError(f"{root} is damaged ({error})", where=_WHERE, mend=f"delete that folder, then {_MAKE}") from error
    raise DeviceError("there is no aarch64 system to run the runtimes in", where=_WHERE, expected=str(root), mend=_MAKE)


def make(say: Callable[[str], None], sources: Path | None = None) -> Sysroot:
    """Fetch and unpack it, unless it is there; ``sources`` is an apt list of Debian's archives, None: this machine's own.

    Raises DeviceError for what is missing here or cannot be fetched; nothing is then left behind.
    """
    pins = _pins()
    root = _folder(pins)
    root.parent.mkdir(parents=True, exist_ok=True)
    with runs.lock(root.parent, wait=lambda other: say(f"waiting for {other}, which makes it too")):
        for left in root.parent.glob(".making-*"):  # of one that was killed: who makes has the lock
            shutil.rmtree(left, ignore_errors=True)
        if not (root / "made.json").is_file():
            _make(root, pins, sources or _sources(), say)
    return find()


def _make(root: Path, pins: tuple[str, ...], sources: Path, say: Callable[[str], None]) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise DeviceError(f"no {tool}", where=_WHERE, expected="Debian, whose arm64 packages it is made of")
    with tempfile.TemporaryDirectory(prefix=".making-", dir=root.parent) as folder:
        work, new = Path(folder), Path(folder) / "root"
        new.mkdir()
        say("fetching Debian's arm64 packages")
        packages = _packages(work / "apt", sources)
        for package in packages:
            _run(["dpkg-deb", "--extract", str(package), str(new)], "unpacking a package")
        for name in _NOT_NEEDED:
            shutil.rmtree(new / name, ignore_errors=True)
        say(f"fetching wheels: {', '.join(pins)}")
        python = os.readlink(new / "usr/bin/python3")
        wheels = _wheels(work / "wheels", pins, python.removeprefix("python"))
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:  # extractall keeps what it unpacks below the folder
                archive.extractall(new / "usr/lib/python3/dist-packages")
        site = new / "usr/lib" / python / "sitecustomize.py"
        site.unlink(missing_ok=True)  # Debian's is a link to /etc
        site.write_text(_SITECUSTOMIZE, encoding="utf-8")
        _pretend(new)
        made = {name: unquote(its) for name, its in (path.name.split("_")[:2] for path in packages)}
        made |= dict(path.name.split("-")[:2] for path in wheels)
        runs.atomic_write(new / "made.json", json.dumps(made, indent=1, sort_keys=True).encode())
        if root.exists():  # without made.json: somebody deleted parts of it
            shutil.rmtree(root)
        os.rename(new, root)
    say(f"{root}: {len(packages)} packages, {len(wheels)} wheels")


def _packages(private: Path, sources: Path) -> list[Path]:
    """Debian's PACKAGES for arm64 with all that they depend on, fetched by an apt that knows of no installed package."""
    for name in ("lists/partial", "cache/archives/partial"):
        (private / name).mkdir(parents=True)
    (private / "status").touch()
    config = private / "apt.conf"
    config.write_text(
        f'Dir::State "{private}"; Dir::State::lists "{private}/lists"; Dir::State::status "{private}/status";\n'
        f'Dir::Cache "{private}/cache"; Dir::Etc::sourcelist "{sources}"; Dir::Etc::sourceparts "-";\n'
        'APT::Architecture "arm64"; APT::Architectures { "arm64"; }; APT::Sandbox::User "root";\n'
        "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n"
        "#clear DPkg::Post-Invoke;\n",
        encoding="utf-8",
    )
    apt = ["apt-get", "-qq", "-c", str(config), "-o", "APT::Update::Error-Mode=any"]
    _run([*apt, "update"], "fetching the list of Debian's packages")
    _run([*apt, "install", "--download-only", "--yes", "--no-install-recommends", *PACKAGES], "fetching Debian's arm64 packages")
    return sorted((private / "cache/archives").glob("*.deb"))


def _wheels(folder: Path, pins: tuple[str, ...], python: str) -> list[Path]:
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in _GLIBC] + ["--platform=manylinux2014_aarch64"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q", "download", "--only-binary=:all:"]
    _run([*pip, *platforms, f"--python-version={python}", f"--dest={folder}", *pins], "fetching the runtimes' aarch64 wheels")
    return sorted(folder.glob("*.whl"))


def _pretend(root: Path) -> None:
    """What the runtimes read of the processor: QEMU shows this machine's files unless the sysroot has its own, and they crash on those."""
    cpu = root / "sys/devices/system/cpu"
    cpu.mkdir(parents=True)
    (root / "proc").mkdir(exist_ok=True)
    for name in ("possible", "present", "online"):
        (cpu / name).write_text("0\n", encoding="ascii")
    (root / "proc/cpuinfo").write_text(_CPUINFO, encoding="ascii")


def _pins() -> tuple[str, ...]:
    """WHEELS in the versions that are installed here; the newest of what is not."""
    pins: list[str] = []
    for name in WHEELS:
        try:
            pins.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            pins.append(name)
    return tuple(pins)


def _folder(pins: tuple[str, ...]) -> Path:
    asked = json.dumps([LAYOUT, PACKAGES, pins, _CPUINFO, _SITECUSTOMIZE])
    return runs.cache_folder() / "arm64" / hashlib.sha256(asked.encode()).hexdigest()[:16]


def _sources() -> Path:
    for path in _SOURCES:
        if path.is_file() and path.stat().st_size:
            return path
    expected = " or ".join(map(str, _SOURCES))
    raise DeviceError("no list of Debian's archives", where=_WHERE, expected=expected, mend=f"{_MAKE} --sources FILE")


def _run(argv: list[str], doing: str) -> None:
    """Raises DeviceError with the last of what the tool said."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(argv, capture_output=True, env=environment, stdin=subprocess.DEVNULL, timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceError(f"{doing}: {error}"[:500], where=_WHERE) from error
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in said if line.startswith(("E:", "ERROR:", "dpkg-deb: error"))] or said
        raise DeviceError(
            f"{doing} failed: {' '.join(errors[-2:]) or f'exit code {done.returncode}'}"[:700],
            where=_WHERE,
            expected="Debian's archives for arm64, and pip's index, within reach of this machine",
            mend=f"{_MAKE}    (once; it is kept in {runs.cache_folder() / 'arm64'})",
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. 2 with one message for what cannot be fetched."""
    parser = argparse.ArgumentParser(description="Make the aarch64 system that `edgekd bench --device arm64-emulated` runs models in.")
    parser.add_argument("--sources", type=Path, help="an apt list of Debian's archives; default: this machine's own")
    try:
        print(make(lambda text: print(text, file=sys.stderr), parser.parse_args(arguments).sources).root)
    except EdgekdError as error:
        print(f"edgekd: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
