"""adb: the real client and server against a device on loopback, whole and with everything that may go wrong."""

from __future__ import annotations

import _thread
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgekd.errors import DeviceError, Lost, MissingDependency
from edgekd.transports import adb
from tests.transports.adb_device import Device, serving

pytestmark = pytest.mark.skipif(shutil.which("adb") is None, reason="adb is not installed")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with serving(tmp_path_factory.mktemp("home")):
        yield


@pytest.fixture
def device(running: None, tmp_path: Path) -> Iterator[Device]:
    root = tmp_path / "device"
    root.mkdir()
    with Device(root) as there:
        yield there
    subprocess.run(["adb", "disconnect"], capture_output=True, timeout=20, check=False)


def test_files_go_both_ways_whole(device: Device, tmp_path: Path) -> None:
    content = bytes(range(256)) * 2000
    (tmp_path / "a").write_bytes(content)
    with closing(adb.connect(device.address)) as transport:
        assert transport.where == f"adb {device.address}" and Path(transport.folder).parent == device.root
        transport.put(tmp_path / "a", "deep/er/name with spaces'")
        assert Path(transport.folder, "deep/er/name with spaces'").read_bytes() == content
        transport.get("deep/er/name with spaces'", tmp_path / "new" / "b")
        assert (tmp_path / "new" / "b").read_bytes() == content
        assert [path.name for path in Path(transport.folder, "deep/er").iterdir()] == ["name with spaces'"]
    assert not list(device.root.iterdir()), "the work folder is gone"


def test_commands_have_their_exit_code_output_and_errors(device: Device) -> None:
    with closing(adb.connect(device.address)) as transport:
        ran = transport.run(["sh", "-c", "echo out; echo 'it is' >&2; pwd; exit 3"], limit_s=10)
        assert (ran.code, ran.out, ran.err) == (3, f"out\n{transport.folder}\n", "it is\n")
        assert transport.run(["printf", "%s|", "a b", "$HOME", "'", "*"], limit_s=10).out == "a b|$HOME|'|*|"
        assert transport.run(["pwd"], limit_s=10, cwd="/").out == "/\n"
        assert transport.run(["no-such-program"], limit_s=10).code == 127
        assert transport.run(["sh", "-c", "kill -9 $$"], limit_s=10).code == 137
        assert transport.run(["pwd"], limit_s=10, cwd="/not/there").code == 97


def test_a_hung_command_is_ended_there_with_its_children(device: Device) -> None:
    with closing(adb.connect(device.address)) as transport:
        with pytest.raises(DeviceError, match="sh took over 1 s and was ended"):
            transport.run(["sh", "-c", "sleep 71 & sleep 71; true"], limit_s=1)
        time.sleep(0.2)
        left = subprocess.run(["pgrep", "-f", "^sleep 71"], capture_output=True, text=True, check=False).stdout
        assert not left, "a child still runs"
        assert transport.run(["true"], limit_s=10).code == 0


def test_a_connection_that_is_cut_while_a_file_goes_leaves_no_half_file(device: Device, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1 << 20))
    transport = adb.connect(device.address)
    transport.put(tmp_path / "a", "a")
    device.cut_after = 200_000
    with pytest.raises(Lost, match="the connection was cut|bytes arrived"):
        transport.put(tmp_path / "a", "b")
    assert not Path(transport.folder, "b").exists()
    device.cut_after = None
    again = _again(device)
    device.cut_after = 200_000
    with pytest.raises(Lost, match="the connection was cut|bytes arrived"):
        again.get(f"{transport.folder}/a", tmp_path / "b")
    assert not (tmp_path / "b").exists() and not list(tmp_path.glob(".edgekd-*"))
    device.cut_after = None
    with closing(_again(device)) as once_more:
        once_more.get(f"{transport.folder}/a", tmp_path / "b")
    assert (tmp_path / "b").stat().st_size == 1 << 20
    again.close()
    transport.close()
    assert not list(device.root.iterdir())


def test_a_device_that_starts_anew_while_a_command_runs(device: Device) -> None:
    transport = adb.connect(device.address)
    threading.Timer(0.7, device.hang_up).start()
    with pytest.raises(Lost, match="the connection was cut"):
        transport.run(["sleep", "5"], limit_s=20)
    with closing(_again(device)) as again:
        assert again.run(["echo", "back"], limit_s=10).out == "back\n"


def test_a_full_disk_is_said_and_nothing_is_left(device: Device, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1 << 20))
    with closing(adb.connect(device.address)) as transport:
        device.full_after = 100_000
        with pytest.raises(DeviceError, match="(?s)cannot be put: .*No space left on device.*df /data/local/tmp") as caught:
            transport.put(tmp_path / "a", "a")
        assert not isinstance(caught.value, Lost)
        assert not list(Path(transport.folder).iterdir())


def test_what_a_cut_left_behind_is_removed_after_a_day(device: Device) -> None:
    for name, age_h in (("edgekd-0123456789ab", 60), ("edgekd-0123456789ac", 1), ("edgekd-lock", 60), ("mine", 60)):
        (device.root / name).mkdir()
        os.utime(device.root / name, (time.time() - 3600 * age_h,) * 2)
    adb.connect(device.address).close()
    assert {path.name for path in device.root.iterdir()} == {"edgekd-0123456789ac", "edgekd-lock", "mine"}


def test_what_cannot_be_got_or_put(device: Device, tmp_path: Path) -> None:
    with closing(adb.connect(device.address)) as transport:
        with pytest.raises(DeviceError, match="nothing cannot be got: .*[Nn]o such file"):
            transport.get("nothing", tmp_path / "b")
        with pytest.raises(DeviceError, match="a cannot be put: No such file"):
            transport.put(tmp_path / "a", "a")
        (tmp_path / "a").write_text("x")
        with pytest.raises(DeviceError, match="cannot be put: "):
            transport.put(tmp_path / "a", "/proc/nowhere/a")


def test_several_devices_and_which_is_meant(device: Device, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="(?s)no device is connected.*expected: a device with USB debugging on"):
        adb.connect()
    (tmp_path / "second").mkdir()
    with Device(tmp_path / "second") as second:
        with closing(adb.connect(second.address)), closing(adb.connect()) as only:
            assert only.where == f"adb {second.address}"
        with closing(adb.connect(device.address)):
            with pytest.raises(DeviceError, match=r"(?s)2 devices are connected.*\(device\), .*--device adb:127.0.0.1:"):
                adb.connect()
            with pytest.raises(DeviceError, match=r"(?s)adb R3CN90: no such device is connected.*expected: one of: 127.0.0.1:"):
                adb.connect("R3CN90")


def test_a_device_that_does_not_trust_this_machine(device: Device) -> None:
    device.trusts = False
    with pytest.raises(DeviceError, match="(?s)it does not trust this machine yet.*unlock it and allow USB debugging"):
        adb.connect(device.address)


def test_a_device_that_says_nothing(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("x")
    monkeypatch.setattr(adb, "_SHORT_S", 1.0)
    transport = adb.connect(device.address)
    device.hung = True
    with pytest.raises(Lost, match="(?s)it says nothing in 1 s.*adb reconnect"):
        transport.put(tmp_path / "a", "a")
    with pytest.raises(Lost, match="it says nothing in 1 s"):
        adb.connect(device.address)
    transport.close()


def test_nobody_listens(running: None) -> None:
    with pytest.raises(DeviceError, match="(?s)adb 127.0.0.1:1: nothing answers: failed to connect.*adb tcpip 1"):
        adb.connect("127.0.0.1:1")


def test_states_that_are_not_ready() -> None:
    for state, message in (
        ("offline", "it is offline"),
        ("no permissions (user in plugdev group; are your udev rules wrong?)", "this user may not open its USB port"),
        ("bootloader", "fastboot reboot"),
        ("odd", "it is in the state 'odd'"),
    ):
        with pytest.raises(DeviceError, match=message):
            adb._choose("X", {"X": state})


def test_without_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingDependency, match="apt-get install adb"):
        adb.connect("X")


def _again(device: Device) -> adb.AdbTransport:
    """Once the server has noticed that the connection is gone."""
    until = time.monotonic() + 20
    while True:
        try:
            return adb.connect(device.address)
        except DeviceError:
            if time.monotonic() > until:
                raise
            time.sleep(0.3)


def test_an_interrupted_command_is_ended_there(device: Device) -> None:
    with closing(adb.connect(device.address)) as transport:
        threading.Timer(1.0, _thread.interrupt_main).start()
        with pytest.raises(KeyboardInterrupt):
            transport.run(["sh", "-c", "sleep 72 & sleep 72; true"], limit_s=30)
        time.sleep(0.2)
        left = subprocess.run(["pgrep", "-f", "^sleep 72"], capture_output=True, text=True, check=False).stdout
        assert not left, "a child still runs"


def test_a_device_that_talks_for_ever_fills_no_memory(device: Device) -> None:
    with closing(adb.connect(device.address)) as transport:
        with pytest.raises(DeviceError, match="yes said more than 32 MiB and was ended"):
            transport.run(["yes"], limit_s=60)
        assert transport.run(["true"], limit_s=10).code == 0


def test_names_that_a_client_would_take_for_options(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-model.tflite", "$(id);'\"\n.tflite"):
        Path(name).write_text("x")
        with closing(adb.connect(device.address)) as transport:
            transport.put(Path(name), f"m0/{name}")
            assert Path(transport.folder, "m0", name).read_text() == "x"
            transport.get(f"m0/{name}", Path("got") / name)
            assert Path("got", name).read_text() == "x"
