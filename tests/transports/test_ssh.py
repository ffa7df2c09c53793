"""Against OpenSSH's own server on 127.0.0.1, over a wire that can be cut."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgekd.errors import DeviceError, InputError, Lost
from edgekd.transports.ssh import SshTransport, connect, parse
from tests.transports import sshd

needs_sshd = pytest.mark.skipif(bool(sshd.missing()), reason=sshd.missing() or "-")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    server = sshd.start(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


@pytest.fixture
def server(started: sshd.Server, monkeypatch: pytest.MonkeyPatch) -> sshd.Server:
    """With a home of its own: nobody's real keys and known_hosts are read."""
    monkeypatch.setenv("HOME", str(started.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    started.known_hosts.write_text("")
    started.trust(started.port)
    return started


@pytest.fixture
def device(server: sshd.Server) -> Iterator[SshTransport]:
    transport = connect(server.address())
    yield transport
    transport.close()


def alive(pid: str) -> bool:
    """Whether a process runs: it is there, and not only waits for its parent to look."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: str) -> bool:
    """Whether it goes within some seconds."""
    return until(lambda: not alive(pid))


def until(true: Callable[[], bool]) -> bool:
    """Whether it is so within some seconds."""
    for _ in range(200):
        if true():
            return True
        time.sleep(0.05)
    return False


# What an address is


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("pi@raspberrypi.local", ("pi", "raspberrypi.local", 0)),
        ("pi@10.0.0.5:2222", ("pi", "10.0.0.5", 2222)),
        ("nano", ("", "nano", 0)),
        ("me@[fe80::1]:22", ("me", "fe80::1", 22)),
        ("[::1]", ("", "::1", 0)),
    ],
)
def test_addresses(address: str, parts: tuple[str, str, int]) -> None:
    assert parse(address) == parts


@pytest.mark.parametrize("address", ["", "pi@", "pi@host:99999", "pi@host:ssh", "fe80::1", "[::1", "[::1]22", "-oProxyCommand=x"])
def test_what_is_no_address_is_refused_with_an_example(address: str) -> None:
    with pytest.raises(InputError, match="is no address") as caught:
        parse(address)
    assert "USER@HOST:PORT" in str(caught.value)


# Commands


@needs_sshd
def test_arguments_arrive_as_they_are(device: SshTransport) -> None:
    argv = ["a b", "it's", '"$HOME"', "`id`", "; exit 7", "*", "", "-n", "\\n", "ü\ttab\nline"]
    ran = device.run(["printf", "%s|", *argv], limit_s=10)
    assert ran.out == "|".join(argv) + "|"
    assert (ran.code, ran.err) == (0, "")


@needs_sshd
def test_exit_codes_signals_and_both_outputs(device: SshTransport) -> None:
    ran = device.run(["sh", "-c", "echo out; echo err >&2; exit 3"], limit_s=10)
    assert (ran.code, ran.out, ran.err) == (3, "out\n", "err\n")
    assert device.run(["sh", "-c", "kill -9 $$"], limit_s=10).code == -9
    assert device.run(["pwd"], limit_s=10).out.strip() == device.folder
    assert device.run(["pwd"], limit_s=10, cwd="/").out == "/\n"
    assert device.run(["cat"], limit_s=10).out == "", "its standard input is empty, and does not hang"


@needs_sshd
def test_much_output_comes_whole(device: SshTransport) -> None:
    ran = device.run(["sh", "-c", "seq 200000; printf '\\377'"], limit_s=20)
    assert ran.out.splitlines()[:-1] == [str(i + 1) for i in range(200_000)]
    assert ran.out.endswith("�")


@needs_sshd
def test_a_command_that_is_not_there(device: SshTransport) -> None:
    with pytest.raises(DeviceError, match="no-such-tool does not start: there is no such command"):
        device.run(["no-such-tool", "--version"], limit_s=10)
    assert device.run(["sh", "-c", "exit 127"], limit_s=10).code == 127, "a command's own 127 is its own"


@needs_sshd
def test_a_program_for_another_processor(device: SshTransport, tmp_path: Path) -> None:
    # The head of an ELF file for s390x (ELF specification: e_machine 22), which nothing here runs.
    header = b"\x7fELF\x02\x02\x01" + bytes(9) + b"\x00\x02\x00\x16\x00\x00\x00\x01" + bytes(40)
    (tmp_path / "tool").write_bytes(header)
    device.put(tmp_path / "tool", "tool")
    device.run(["chmod", "+x", "tool"], limit_s=10)
    with pytest.raises(DeviceError, match=r"./tool does not start: it was built for another processor"):
        device.run(["./tool"], limit_s=10)


@needs_sshd
def test_a_hung_command_is_killed_there_with_its_children(device: SshTransport) -> None:
    script = "trap '' TERM; echo $$ > parent; (trap '' TERM; sleep 60) & echo $! > child; while :; do sleep 0.2; done"
    with pytest.raises(DeviceError, match=r"sh took over 0.5 s and was ended"):
        device.run(["sh", "-c", script], limit_s=0.5)
    for name in ("parent", "child"):
        assert gone(device.run(["cat", name], limit_s=10).out.strip()), f"the {name} still runs"


@needs_sshd
def test_what_a_command_leaves_behind_ends_with_it(device: SshTransport) -> None:
    assert device.run(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"], limit_s=10).code == 0
    pid = device.run(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"], limit_s=10).out.strip()
    assert gone(pid)


# Files


@needs_sshd
def test_files_there_and_back(device: SshTransport, tmp_path: Path) -> None:
    data = os.urandom(1_000_003)
    (tmp_path / "x").write_bytes(data)
    device.put(tmp_path / "x", "a folder/it's/x.bin")
    device.put(tmp_path / "x", "a folder/it's/x.bin")
    device.get("a folder/it's/x.bin", tmp_path / "new" / "y")
    assert (tmp_path / "new" / "y").read_bytes() == data
    assert device.run(["ls", "-A", "a folder/it's"], limit_s=10).out == "x.bin\n", "no parts are left"
    (tmp_path / "empty").write_bytes(b"")
    device.put(tmp_path / "empty", f"{device.folder}/empty")
    device.get("empty", tmp_path / "e")
    assert (tmp_path / "e").read_bytes() == b""


@needs_sshd
def test_a_file_that_is_not_there(device: SshTransport, tmp_path: Path) -> None:
    (tmp_path / "keep").write_text("old")
    with pytest.raises(DeviceError, match="nope cannot be got: there is no such file"):
        device.get("nope", tmp_path / "keep")
    assert (tmp_path / "keep").read_text() == "old", "what was there before stays"
    assert os.listdir(tmp_path) == ["keep"]
    with pytest.raises(DeviceError, match="cannot be put: there is no such file here"):
        device.put(tmp_path / "nothing", "x")
    with pytest.raises(DeviceError, match="cannot be put"):
        device.put(tmp_path / "keep", "/proc/x/y")


@needs_sshd
def test_the_work_folder_goes_with_the_connection_and_old_ones_too(server: sshd.Server) -> None:
    stale = server.temporary / "edgekd-ssh.stale"
    stale.mkdir()
    os.utime(stale, (0, 0))
    (server.temporary / "mine").mkdir(exist_ok=True)
    os.utime(server.temporary / "mine", (0, 0))
    one, other = connect(server.address()), connect(server.address())
    assert one.folder != other.folder
    assert not stale.exists()
    assert (server.temporary / "mine").exists(), "only what edgekd made is cleared"
    one.close()
    assert not Path(one.folder).exists()
    assert Path(other.folder).exists()
    other.close()
    other.close()


# Faults


@needs_sshd
def test_a_cut_in_the_middle_of_a_transfer(server: sshd.Server, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(os.urandom(800_000))
    with sshd.wire(server) as wire:
        device = connect(server.address(wire.port))
        (tmp_path / "old").write_text("old")
        device.put(tmp_path / "old", "x")
        wire.cut(after=200_000)
        with pytest.raises(Lost, match="the connection was cut while x was put"):
            device.put(tmp_path / "x", "x")
        assert not [path for path in server.temporary.glob("*/x") if path.stat().st_size != 3], "whole or not at all"
        with pytest.raises(Lost, match="cut before"):
            device.run(["true"], limit_s=5)
        device.close()
        again = connect(server.address(wire.port))
        again.put(tmp_path / "x", "x")
        assert Path(again.folder, "x").stat().st_size == 800_000
        again.close()


@needs_sshd
def test_a_cut_while_a_file_comes(server: sshd.Server, tmp_path: Path) -> None:
    with sshd.wire(server) as wire:
        device = connect(server.address(wire.port))
        device.run(["sh", "-c", "head -c 20000000 /dev/zero > big"], limit_s=10)
        wire.cut(after=3000)
        with pytest.raises(Lost, match="the connection was cut while big was got"):
            device.get("big", tmp_path / "big")
        assert os.listdir(tmp_path) == []
        device.close()


@needs_sshd
def test_a_cut_in_the_middle_of_a_run_ends_the_run(server: sshd.Server) -> None:
    with sshd.wire(server) as wire:
        device = connect(server.address(wire.port))
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
def test_a_device_that_restarts(server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


# Who is who


@needs_sshd
def test_a_host_key_that_is_not_known(server: sshd.Server) -> None:
    server.known_hosts.write_text("")
    with pytest.raises(DeviceError, match="the host key is not known: ssh-ed25519 SHA256:") as caught:
        connect(server.address())
    line = caught.value.mend.splitlines()[-1].strip()
    assert line == f"[127.0.0.1]:{server.port} {server.host_key}"
    assert server.known_hosts.read_text() == "", "nothing is accepted by itself"
    server.known_hosts.write_text(line + "\n")
    connect(server.address()).close()


@needs_sshd
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_host_key_that_has_changed_names_the_line(server: sshd.Server, tmp_path: Path, kind: str) -> None:
    other = sshd.keygen(tmp_path / "other", kind)
    text = f"# a comment\nother.example {server.host_key}\n[127.0.0.1]:{server.port} {other}\n"
    server.known_hosts.write_text(text)
    with pytest.raises(DeviceError, match="the host key has CHANGED: it is ssh-ed25519 SHA256:") as caught:
        connect(server.address())
    assert f"as {server.known_hosts} line 3 says" in str(caught.value)
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}' -f {server.known_hosts}" in str(caught.value)
    assert server.known_hosts.read_text() == text


@needs_sshd
def test_hashed_lines_authorities_and_revoked_keys(server: sshd.Server) -> None:
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(server.known_hosts)], check=True, capture_output=True)
    assert server.known_hosts.read_text().startswith("|1|")
    connect(server.address()).close()
    server.known_hosts.write_text(f"garbage\n@revoked * {server.host_key}\n")
    with pytest.raises(DeviceError, match="revoked") as caught:
        connect(server.address())
    assert "line 2" in str(caught.value)


@needs_sshd
def test_a_key_that_is_refused(server: sshd.Server, tmp_path: Path) -> None:
    key = server.home / ".ssh" / "id_ed25519"
    key.rename(tmp_path / "key")
    try:
        with pytest.raises(DeviceError, match="no key of yours is let in, and passwords are not asked for") as caught:
            connect(server.address())
        assert f"ssh-copy-id -p {server.port} " in str(caught.value)
    finally:
        (tmp_path / "key").rename(key)


@needs_sshd
def test_a_key_of_the_agent_and_an_alias_of_the_configuration(server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("ssh-agent") is None:
        pytest.skip("there is no ssh-agent")
    key, config = server.home / ".ssh" / "id_ed25519", server.home / ".ssh" / "config"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    try:
        while not (tmp_path / "agent").exists():
            time.sleep(0.02)
        subprocess.run(["ssh-add", "-q", str(key)], check=True, capture_output=True)
        key.rename(tmp_path / "key")
        config.write_text(f"Host board\n  HostName 127.0.0.1\n  Port {server.port}\n  StrictHostKeyChecking no\n")
        device = connect("board")
        assert device.where == "ssh board"
        assert device.run(["echo", "hi"], limit_s=5).out == "hi\n"
        device.close()
        server.known_hosts.write_text("")
        with pytest.raises(DeviceError, match="the host key is not known"):
            connect("board")
    finally:
        agent.terminate()
        agent.wait(10)
        config.unlink(missing_ok=True)
        if (tmp_path / "key").exists():
            (tmp_path / "key").rename(key)


def test_no_such_host() -> None:
    with pytest.raises(DeviceError, match="there is no host 'nowhere.invalid'"):
        connect("pi@nowhere.invalid")


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
