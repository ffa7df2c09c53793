"""Device arm64-emulated's transport: the aarch64 Python and runtimes are real, and what cannot be fetched is one clear message."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from edgekd.errors import DeviceError, InputError
from edgekd.transports import Ran, Transport, arm64, sysroot
from edgekd.transports.local import LocalTransport
from tests.transports.arm64_system import sysroot_or_skip

#: Nothing listens there.
NOWHERE = "Types: deb\nURIs: http://127.0.0.1:9/debian\nSuites: bookworm\nComponents: main\n"
VERSIONS = """
import json, os, platform, subprocess, sys
import numpy, onnxruntime
from ai_edge_litert.interpreter import Interpreter
child = subprocess.run([sys.executable, "-c", "import platform; print(platform.machine())"], capture_output=True, text=True)
print(json.dumps([platform.machine(), child.stdout.strip(), onnxruntime.__version__, numpy.__version__, os.cpu_count()]))
"""


@pytest.fixture
def device() -> Iterator[Transport]:
    sysroot_or_skip()
    transport = arm64.connect()
    yield transport
    transport.close()


@pytest.mark.slow  # all three runtimes load, on an emulated processor
def test_real_runtimes_on_aarch64_and_their_children_too(device: Transport, tmp_path: Path) -> None:
    import numpy
    import onnxruntime

    (tmp_path / "versions.py").write_text(VERSIONS)
    device.put(tmp_path / "versions.py", "versions.py")
    done = device.run(["python3", "versions.py"], limit_s=60)
    assert done.code == 0, done.err
    assert done.out.strip() == f'["aarch64", "aarch64", "{onnxruntime.__version__}", "{numpy.__version__}", 1]'
    assert "cortex-a72" in device.where and "QEMU" in device.where
    device.close()
    assert not Path(device.folder).exists()


def test_what_hangs_is_ended_with_its_children(device: Transport) -> None:
    hangs = "import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', 'while 1: pass']).pid, file=open('pid', 'w')); "
    with pytest.raises(DeviceError, match=r"arm64-emulated: cortex-a72 under QEMU: .*python3 took over 4.5 s and was ended"):
        device.run(["python3", "-c", hangs + "time.sleep(99)"], limit_s=1.5)
    stat = Path("/proc", Path(device.folder, "pid").read_text().strip(), "stat")
    until = time.monotonic() + 30  # it was killed; a busy machine takes a moment to end it
    while stat.exists() and ") Z " not in stat.read_text():
        assert time.monotonic() < until, stat.read_text()
        time.sleep(0.1)


def test_other_commands_are_this_machines(device: Transport) -> None:
    assert device.run(["uname", "-m"], limit_s=10).out.strip() == os.uname().machine


def test_an_address_is_refused() -> None:
    with pytest.raises(InputError, match="none: it is on this machine"):
        arm64.connect("somewhere")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edgekd" / "arm64"


def test_not_made_yet_names_the_command(empty_cache: Path) -> None:
    with pytest.raises(DeviceError) as caught:
        sysroot.find()
    assert "to mend:  python -m edgekd.transports.sysroot" in str(caught.value) and str(empty_cache) in str(caught.value)


def test_unreachable_archives_are_one_message_and_leave_nothing(
    empty_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apt.conf").write_text('Acquire::Retries "0";\n')  # it waits longer each time
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    (tmp_path / "nowhere.sources").write_text(NOWHERE)
    code = sysroot.main(["--sources", str(tmp_path / "nowhere.sources")])
    err = capsys.readouterr().err
    assert code == 2 and "edgekd: device arm64-emulated: fetching the list of Debian's packages failed" in err, err
    assert "127.0.0.1" in err and "to mend:" in err and "Traceback" not in err
    assert [path.name for path in empty_cache.iterdir()] == [".lock"]


def test_a_damaged_one_says_what_to_delete(empty_cache: Path) -> None:
    with pytest.raises(DeviceError) as caught:
        sysroot.find()
    root = Path(caught.value.expected)
    root.mkdir(parents=True)
    (root / "made.json").write_text("{")
    with pytest.raises(DeviceError, match="delete that folder"):
        sysroot.find()


def test_without_an_emulator_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="sudo apt-get install qemu-user"):
        arm64.connect()


def test_what_hangs_is_waited_for_a_little_longer_only(tmp_path: Path) -> None:
    class Asked(LocalTransport):
        limits: ClassVar[list[float]] = []

        def run(self, argv: Sequence[str], *, limit_s: float, cwd: str = "") -> Ran:
            self.limits.append(limit_s)
            return Ran(0, "", "")

    emulated = arm64.Arm64Transport(Asked(str(tmp_path), "here"), "python3")
    for argv, limit_s in ((["python3"], 10.0), (["python3"], 600.0), (["mkdir"], 10.0)):
        emulated.run(argv, limit_s=limit_s)
    assert Asked.limits == [30.0, 720.0, 10.0]
