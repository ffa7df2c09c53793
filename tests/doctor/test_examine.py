from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edgekd.cli import app
from edgekd.doctor.examine import PURPOSES, Diagnosis, examine
from edgekd.doctor.facts import Check, judged
from edgekd.errors import InputError
from edgekd.lazy import EXTRAS
from tests.transports import sshd

GOOD: dict[str, Any] = {
    "model": "Raspberry Pi 5 Model B Rev 1.0",
    "soc": "brcm,bcm2712",
    "machine": "aarch64",
    "os": "Debian GNU/Linux 12 (bookworm), kernel 6.12",
    "python": "3.11.2",
    "interpreter": {"path": "/usr/bin/python3", "version": "3.11.2", "bits": 64, "pip": True, "managed": True},
    "cores": 4,
    "governors": ["performance"],
    "throttling": {"vcgencmd get_throttled": 0.0},
    "temperatures_c": {"cpu-thermal/0": 51.0},
    "load": [0.1, 0.1, 0.1],
    "memory": {"MemAvailable": 6 << 30},
    "disk_free_bytes": 20 << 30,
    "runtimes": {
        "tflite": {"module": "ai_edge_litert", "version": "2.3.0"},
        "onnxruntime": {"install": "pip install onnxruntime"},
        "openvino": {"install": "pip install openvino"},
        "trtexec": {"install": "…"},
    },
    "opened": {"tflite": {"runs_on": []}},
}


def of(checks: tuple[Check, ...], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_one_runtime_is_enough() -> None:
    checks = judged(GOOD)
    assert Diagnosis("ssh:pi", "pi", checks).ok
    assert of(checks, "tflite").said == "ai_edge_litert 2.3.0"
    assert of(checks, "onnxruntime").state == "absent"
    assert not any(check.name == "trtexec" for check in checks), "only a Jetson is asked for it"
    assert not any(check.state == "note" for check in checks)


def test_no_runtime_that_loads_is_a_lack_with_the_command_that_mends_it() -> None:
    broken = {**GOOD, "opened": {"tflite": {"error": "ImportError: libstdc++.so.6: version GLIBCXX_3.4.32 not found"}}}
    checks = judged(broken)
    assert not Diagnosis("ssh:pi", "pi", checks).ok
    check = of(checks, "tflite")
    assert check.said == "ai_edge_litert 2.3.0 does not load: ImportError: libstdc++.so.6: version GLIBCXX_3.4.32 not found"
    assert check.mend == (
        "sudo apt install python3-venv && python3 -m venv --system-site-packages ~/.edgekd && ~/.edgekd/bin/pip install ai-edge-litert"
    )


@pytest.mark.parametrize(
    ("change", "command"),
    [
        ({"managed": False}, "python3 -m pip install ai-edge-litert"),
        ({"managed": False, "pip": False}, "sudo apt install python3-pip && python3 -m pip install ai-edge-litert"),
        ({"managed": False, "version": "3.8.10"}, "python3 -m pip install tflite-runtime"),
        ({"managed": False, "bits": 32}, "python3 -m pip install tflite-runtime 'numpy<2'"),
        ({"bits": 32, "version": "3.13.1"}, "none for 32 bits: a 64-bit system"),
        (
            {"managed": False, "venv": True, "path": "/srv/pi/.edgekd/bin/python3"},
            "/srv/pi/.edgekd/bin/python3 -m pip install ai-edge-litert",
        ),
        (
            {"managed": False, "venv": True, "path": "/my env/python", "pip": False},
            "'/my env/python' -m ensurepip && '/my env/python' -m pip install ai-edge-litert",
        ),
    ],
)
def test_the_command_is_that_device_s(change: dict[str, Any], command: str) -> None:
    bare = {**GOOD, "interpreter": {**GOOD["interpreter"], **change}, "runtimes": {}, "opened": {}}
    assert of(judged(bare), "tflite").mend == command


def test_android_means_termux() -> None:
    bare = {**GOOD, "os": "Android 15, kernel 6.1", "runtimes": {}, "opened": {}}
    checks = judged({**bare, "runtimes": {"numpy": {"install": "…"}}})
    assert of(checks, "numpy").mend == "in Termux: pkg install python-numpy"
    assert of(checks, "onnxruntime").mend == "in Termux: pkg install python-onnxruntime"
    assert of(checks, "tflite").mend.startswith("none for Termux: ") and "benchmark_model" in of(checks, "tflite").mend


def test_a_jetson_takes_nvidia_s_wheel() -> None:
    jetson = {**GOOD, "os": "Ubuntu 22.04.4 LTS, L4T 36.3.0, kernel 5.15"}
    assert "onnxruntime-gpu wheel for this JetPack" in of(judged(jetson), "onnxruntime").mend


def test_a_jetson_is_asked_for_tensorrt_and_its_gpu() -> None:
    jetson = {
        **GOOD,
        "os": "Ubuntu 22.04.4 LTS, L4T 36.3.0, kernel 5.15",
        "governors": ["schedutil"],
        "power_mode": "15W",
        "clock_limits_mhz": {"cpu0": [729.6, 1510.4]},
        "runtimes": {**GOOD["runtimes"], "onnxruntime": {"module": "onnxruntime", "version": "1.23.0"}},
        "opened": {"tflite": {"runs_on": []}, "onnxruntime": {"runs_on": ["CPUExecutionProvider"]}},
    }
    checks = judged(jetson)
    assert of(checks, "trtexec").mend == "sudo apt install tensorrt"
    assert "NVIDIA's onnxruntime-gpu wheel" in [check.mend for check in checks if check.name == "onnxruntime"][-1]
    assert of(checks, "power mode").mend == "sudo nvpmodel -m 0"
    assert of(checks, "clocks").mend == "sudo jetson_clocks"


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        ({"governors": ["ondemand"]}, "governor", "ondemand"),
        ({"load": [3.0, 1.0, 1.0]}, "load", "3.0 on 4 cores"),
        ({"temperatures_c": {"cpu-thermal/0": 85.0}}, "temperature", "85 °C"),
        ({"memory": {"MemAvailable": 50 << 20}}, "memory", "50 MiB"),
        ({"throttling": {"vcgencmd get_throttled": 1.0}}, "throttling", "too little voltage"),
        ({"interpreter": {**GOOD["interpreter"], "bits": 32}}, "python", "32 bits"),
    ],
)
def test_what_disturbs_is_a_note(change: dict[str, Any], name: str, said: str) -> None:
    check = of(judged({**GOOD, **change}), name)
    assert check.state == "note"
    assert said in check.said
    assert check.mend


def test_a_full_disk_is_a_lack() -> None:
    assert of(judged({**GOOD, "disk_free_bytes": 1 << 20}), "disk").state == "lacks"


def test_this_machine() -> None:
    done = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["ok"]) == (0, True)
    assert {"python", "train", "tflite", "devices", "adb", "ethos-u-vela", "qemu-aarch64"} <= {check["name"] for check in found["checks"]}
    assert all(check["mend"] for check in found["checks"] if check["state"] == "absent")


def test_every_extra_that_a_message_may_name_is_asked_about() -> None:
    assert set(EXTRAS.values()) == set(PURPOSES)


def test_a_tool_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(app, ["doctor", "--device", "qemu"])
    assert done.exit_code == 1
    assert "MISSING arm-none-eabi-gcc" in done.stdout
    assert "→ sudo apt-get install gcc-arm-none-eabi" in done.stdout


def test_serial_ports(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, said in ((tmp_path / "none", "there is no "), (tmp_path / "file", "is no serial port")):
        done = CliRunner().invoke(app, ["doctor", "--device", f"serial:{path}@115200"])
        assert done.exit_code == 1
        assert said in done.stdout
    primary, secondary = os.openpty()
    try:
        assert examine(f"serial:{os.ttyname(secondary)}").ok
    finally:
        os.close(primary)
        os.close(secondary)


def test_a_device_that_there_is_not() -> None:
    with pytest.raises(InputError, match="no device is called 'telnet'"):
        examine("telnet:me@there")


def test_a_device_that_is_this_machine() -> None:
    found = examine("host")
    assert found.ok
    assert found.facts is not None
    assert of(found.checks, "tflite").state == "good"


# Over ssh: a device whose Python has no runtime, one whose Python has, and one that has none


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    if sshd.missing():
        pytest.skip(sshd.missing())
    found = sshd.start(tmp_path_factory.mktemp("sshd"))
    yield found
    found.stop()


def over_ssh(server: sshd.Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HOME", str(server.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return CliRunner().invoke(app, ["doctor", "--device", f"ssh:{server.address()}"])


def install(server: sshd.Server, python: str) -> None:
    (server.programs / "python3").write_text(f"#!/bin/sh\n{python}\n")
    (server.programs / "python3").chmod(0o755)


def test_a_device_whose_runtimes_load(server: sshd.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    install(server, f'exec "{sys.executable}" "$@"')
    done = over_ssh(server, monkeypatch)
    assert done.exit_code == 0, done.output
    assert f"ssh {server.address()}" in done.stdout
    assert "onnxruntime  onnxruntime " in done.stdout


def test_a_device_without_a_runtime(server: sshd.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    install(server, f'exec "{sys.executable}" -S -E "$@"')  # without site-packages
    done = over_ssh(server, monkeypatch)
    assert done.exit_code == 1, done.output
    assert "MISSING numpy" in done.stdout
    assert "MISSING tflite       not installed" in done.stdout
    assert "pip install ai-edge-litert" in done.stdout


def test_a_device_whose_python_is_too_old(server: sshd.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    install(server, "echo '    from __future__ import annotations' >&2; echo 'SyntaxError: future feature is not defined' >&2; exit 1")
    done = over_ssh(server, monkeypatch)
    assert done.exit_code == 2
    assert "its Python does not run edgekd's runner (exit code 1): SyntaxError" in done.stderr
    assert "python3, 3.7 or later" in done.stderr
