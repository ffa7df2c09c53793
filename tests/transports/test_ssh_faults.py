"""What happens to a connection: cuts, restarts, full disks; over a wire that can be cut."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from edgekd.errors import DeviceError, Lost
from edgekd.transports.ssh import connect
from tests.transports import sshd
from tests.transports.sshd import gone, until

needs_sshd = pytest.mark.skipif(bool(sshd.missing()), reason=sshd.missing() or "-")


# Faults


@needs_sshd
def test_a_cut_in_the_middle_of_a_transfer(ssh_server: sshd.Server, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(os.urandom(800_000))
    with sshd.wire(ssh_server) as wire:
        device = connect(ssh_server.address(wire.port))
        (tmp_path / "old").write_text("old")
        device.put(tmp_path / "old", "x")
        wire.cut(after=200_000)
        with pytest.raises(Lost, match="the connection was cut while x was put"):
            device.put(tmp_path / "x", "x")
        assert not [path for path in ssh_server.temporary.glob("*/x") if path.stat().st_size != 3], "whole or not at all"
        with pytest.raises(Lost, match="cut before"):
            device.run(["true"], limit_s=5)
        device.close()
        again = connect(ssh_server.address(wire.port))
        again.put(tmp_path / "x", "x")
        assert Path(again.folder, "x").stat().st_size == 800_000
        again.close()


@needs_sshd
def test_a_cut_while_a_file_comes(ssh_server: sshd.Server, tmp_path: Path) -> None:
    with sshd.wire(ssh_server) as wire:
        device = connect(ssh_server.address(wire.port))
        device.run(["sh", "-c", "head -c 20000000 /dev/zero > big"], limit_s=10)
        wire.cut(after=3000)
        with pytest.raises(Lost, match="the connection was cut while big was got"):
            device.get("big", tmp_path / "big")
        assert os.listdir(tmp_path) == []
        device.close()


@needs_sshd
def test_a_cut_in_the_middle_of_a_run_ends_the_run(ssh_server: sshd.Server) -> None:
    with sshd.wire(ssh_server) as wire:
        device = connect(ssh_server.address(wire.port))
        pid: list[str] = []

        def cut() -> None:
            assert until(lambda: Path(device.folder, "pid").exists())
            pid.append(Path(device.folder, "pid").read_text().strip())
            wire.cut()

        threading.Thread(target=cut).start()
        with pytest.raises(Lost, match="the connection was cut while sh ran"):
            device.run(["sh", "-c", "echo $$ > part; mv part pid; sleep 60"], limit_s=60)
        device.close()
        assert gone(pid[0]), "it would disturb what is measured next"
        assert until(lambda: not Path(device.folder).exists()), "nothing is left there"


@needs_sshd
def test_a_network_that_goes_silent(ssh_server: sshd.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekd.transports.ssh_login.ALIVE_S", 0.2)
    monkeypatch.setattr("edgekd.transports.ssh_login.ANSWER_S", 0.5)
    with sshd.wire(ssh_server) as wire:
        device = connect(ssh_server.address(wire.port))
        wire.silent = True
        with pytest.raises(Lost, match="the connection was cut while sleep ran"):
            device.run(["sleep", "60"], limit_s=60)
        device.close()
        with pytest.raises(Lost, match="no answer within 0.5 s"):
            connect(ssh_server.address(wire.port))


@needs_sshd
def test_a_device_that_restarts(ssh_server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = sshd.start(tmp_path)
    monkeypatch.setenv("HOME", str(own.home))
    with sshd.wire(own) as wire:
        device = connect(own.address(wire.port))
        own.stop()
        wire.cut()
        with pytest.raises(Lost):
            device.run(["true"], limit_s=5)
        with pytest.raises(Lost, match="cut as it began"):
            connect(own.address(wire.port))
        with pytest.raises(Lost, match="no SSH server does at that port") as caught:
            connect(own.address())
        assert "systemctl enable --now ssh" in str(caught.value)
        back = sshd.start(own.folder, port=own.port)
        again = connect(own.address(wire.port))
        assert again.run(["echo", "back"], limit_s=5).out == "back\n"
        again.close()
        device.close()
        back.stop()


@needs_sshd
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="only root may make a small disk")
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=False, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    (tmp_path / "s").mkdir()
    server = sshd.start(tmp_path / "s", temporary=disk)
    monkeypatch.setenv("HOME", str(server.home))
    try:
        device = connect(server.address())
        (tmp_path / "small").write_bytes(bytes(50_000))
        (tmp_path / "model.onnx").write_bytes(bytes(400_000))
        device.put(tmp_path / "small", "model.onnx")
        with pytest.raises(DeviceError, match=r"its disk is full: [\d,]+ bytes are free for .*, and model.onnx has 400,000") as caught:
            device.put(tmp_path / "model.onnx", "model.onnx")
        assert "TMPDIR" in str(caught.value)
        assert os.listdir(device.folder) == ["model.onnx"]
        assert os.path.getsize(f"{device.folder}/model.onnx") == 50_000
        assert device.run(["echo", "alive"], limit_s=5).out == "alive\n"
        device.close()
    finally:
        server.stop()
        subprocess.run(["umount", str(disk)], check=True)


@needs_sshd
def test_a_server_that_takes_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s").mkdir()
    server = sshd.start(tmp_path / "s", sftp=False)
    monkeypatch.setenv("HOME", str(server.home))
    try:
        device = connect(server.address())
        with pytest.raises(DeviceError, match="it takes no files") as caught:
            device.put(server.known_hosts, "x")
        assert "openssh-sftp-server" in str(caught.value)
        device.close()
    finally:
        server.stop()


@needs_sshd
def test_a_shell_that_greets_is_named(ssh_server: sshd.Server) -> None:
    greeting = ssh_server.folder / "there" / ".bashrc"
    greeting.write_text("echo Welcome to the lab!\n")
    try:
        with pytest.raises(DeviceError, match="its shell prints 'Welcome to the lab!' where only a command should speak") as caught:
            connect(ssh_server.address())
        assert "~/.bashrc" in str(caught.value)
    finally:
        greeting.unlink()


@needs_sshd
def test_no_folder_to_work_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = sshd.start(tmp_path, temporary=tmp_path / "not-there")
    monkeypatch.setenv("HOME", str(server.home))
    try:
        with pytest.raises(DeviceError, match="no work folder can be made: .*not-there"):
            connect(server.address())
    finally:
        server.stop()


def test_something_else_than_ssh_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client, _ = listener.accept()
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(DeviceError, match="127.0.0.1"):
            connect(f"me@127.0.0.1:{listener.getsockname()[1]}")


@needs_sshd
def test_a_device_that_talks_for_ever_fills_no_memory(ssh_server: sshd.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekd.transports.heard.MOST", 1 << 20)
    device = connect(ssh_server.address())
    with pytest.raises(DeviceError, match=r"sh said more than 1 MiB and was ended"):
        device.run(["sh", "-c", "echo $$ > pid; exec yes"], limit_s=30)
    assert gone(Path(device.folder, "pid").read_text().strip())
    device.close()


@needs_sshd
def test_an_interrupted_command_is_ended_there(ssh_server: sshd.Server) -> None:
    """By whatever signal raises KeyboardInterrupt, in the middle of asyncio's loop too."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    device = connect(ssh_server.address())
    try:
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
        with pytest.raises(KeyboardInterrupt):
            device.run(["sh", "-c", "echo $$ > pid; sleep 60"], limit_s=60)
        pid = Path(device.folder, "pid").read_text().strip()
        assert device.run(["true"], limit_s=5).code == 0, "what comes last, a lock, can still be given back"
    finally:
        signal.signal(signal.SIGUSR1, before)
        device.close()
    assert gone(pid) and until(lambda: not Path(device.folder).exists())


@needs_sshd
def test_what_is_no_file_is_not_waited_for(ssh_server: sshd.Server, tmp_path: Path) -> None:
    device = connect(ssh_server.address())
    device.run(["sh", "-c", "mkfifo pipe; mkdir folder; ln -s /dev/zero endless"], limit_s=10)
    for name in ("pipe", "folder", "endless"):
        with pytest.raises(DeviceError, match=f"{name} cannot be got: it is no file"):
            device.get(name, tmp_path / name)
    assert os.listdir(tmp_path) == []
    device.close()


@needs_sshd
def test_files_of_a_device_that_hangs_are_given_up(ssh_server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sshd.wire(ssh_server) as wire:
        device = connect(ssh_server.address(wire.port))
        (tmp_path / "x").write_text("x")
        device.put(tmp_path / "x", "x")
        monkeypatch.setattr("edgekd.transports.ssh_files.THINKS_S", 0.3)
        wire.silent = True
        with pytest.raises(Lost, match="x: 1 bytes took over 0 s"):
            device.put(tmp_path / "x", "x")
        with pytest.raises(Lost, match="x: 0 bytes took over 0 s"):
            device.get("x", tmp_path / "y")
        wire.cut()
        device.close()
    assert os.listdir(tmp_path) == ["x"]
