"""doctor on a phone, over the real adb client: see tests/transports/adb_device.py."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekd.doctor.examine import examine
from tests.transports.adb_device import Device, server

pytestmark = pytest.mark.skipif(shutil.which("adb") is None, reason="adb is not installed")


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    (tmp_path / "device").mkdir()
    (tmp_path / "bin").mkdir()
    with server(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with Device(tmp_path / "device", path=str(tmp_path / "bin")) as there:
            there.only_path = True
            for name in ("sh", "mkdir", "rm", "test", "echo", "cat", "mv", "mktemp", "setsid", "kill", "sleep", "ls", "sed", "dirname"):
                found = shutil.which(name)
                if found:
                    (tmp_path / "bin" / name).symlink_to(found)
            tool(tmp_path, "getprop", "case $1 in ro.product.model) echo Pixel 8;; ro.soc.model) echo Tensor G3;; *) echo 15;; esac")
            yield there


def tool(folder: Path, name: str, script: str) -> None:
    (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / name).chmod(0o755)


def test_a_phone_with_nothing(phone: Device) -> None:
    found = examine(f"adb:{phone.address}")
    assert not found.ok
    states = {check.name: (check.state, check.said) for check in found.checks}
    assert states["device"][1] == "Pixel 8 Tensor G3; Android 15"
    assert states["benchmark_model"][0] == "lacks"
    assert "adb push android_aarch64_benchmark_model" in next(check.mend for check in found.checks if check.name == "benchmark_model")
    assert "Termux" in next(check.mend for check in found.checks if check.name == "python")


def test_a_phone_with_the_tool(phone: Device, tmp_path: Path) -> None:
    tool(tmp_path, "benchmark_model", "exit 0")
    found = examine(f"adb:{phone.address}")
    assert found.ok
    assert any(check.name == "benchmark_model" and check.state == "good" for check in found.checks)
