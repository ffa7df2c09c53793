"""Commands and files, against OpenSSH's own server on 127.0.0.1."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekd.errors import DeviceError, InputError
from edgekd.transports.ssh import SshTransport, connect, parse
from tests.transports import sshd
from tests.transports.sshd import gone

needs_sshd = pytest.mark.skipif(bool(sshd.missing()), reason=sshd.missing() or "-")


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


@pytest.mark.parametrize("address", ["", "pi@", "pi@host:99999", "pi@host:ssh", "fe80::1", "[::1", "[::1]22", "-oProxyCommand=x",
                                     "-oProxyCommand=x@h", "$(id)@h", "a b@h", "pi@a b", "pi@h\x1b[2J", "pi\n@h"])  # fmt: skip
def test_what_is_no_address_is_refused_with_an_example(address: str) -> None:
    with pytest.raises(InputError, match="is no address") as caught:
        parse(address)
    assert "USER@HOST:PORT" in str(caught.value)


# Commands


@needs_sshd
def test_arguments_arrive_as_they_are(ssh_device: SshTransport) -> None:
    argv = ["a b", "it's", '"$HOME"', "`id`", "; exit 7", "*", "", "-n", "\\n", "ü\ttab\nline"]
    ran = ssh_device.run(["printf", "%s|", *argv], limit_s=10)
    assert ran.out == "|".join(argv) + "|"
    assert (ran.code, ran.err) == (0, "")


@needs_sshd
def test_exit_codes_signals_and_both_outputs(ssh_device: SshTransport) -> None:
    ran = ssh_device.run(["sh", "-c", "echo out; echo err >&2; exit 3"], limit_s=10)
    assert (ran.code, ran.out, ran.err) == (3, "out\n", "err\n")
    assert ssh_device.run(["sh", "-c", "kill -9 $$"], limit_s=10).code == -9
    assert ssh_device.run(["pwd"], limit_s=10).out.strip() == ssh_device.folder
    assert ssh_device.run(["pwd"], limit_s=10, cwd="/").out == "/\n"
    assert ssh_device.run(["cat"], limit_s=10).out == "", "its standard input is empty, and does not hang"


@needs_sshd
def test_much_output_comes_whole(ssh_device: SshTransport) -> None:
    ran = ssh_device.run(["sh", "-c", "seq 200000; printf '\\377'"], limit_s=20)
    assert ran.out.splitlines()[:-1] == [str(i + 1) for i in range(200_000)]
    assert ran.out.endswith("�")


@needs_sshd
def test_a_command_that_is_not_there(ssh_device: SshTransport) -> None:
    with pytest.raises(DeviceError, match="no-such-tool does not start: there is no such command"):
        ssh_device.run(["no-such-tool", "--version"], limit_s=10)
    assert ssh_device.run(["sh", "-c", "exit 127"], limit_s=10).code == 127, "a command's own 127 is its own"


@needs_sshd
def test_a_program_for_another_processor(ssh_device: SshTransport, tmp_path: Path) -> None:
    # The head of an ELF file for s390x (ELF specification: e_machine 22), which nothing here runs.
    header = b"\x7fELF\x02\x02\x01" + bytes(9) + b"\x00\x02\x00\x16\x00\x00\x00\x01" + bytes(40)
    (tmp_path / "tool").write_bytes(header)
    ssh_device.put(tmp_path / "tool", "tool")
    ssh_device.run(["chmod", "+x", "tool"], limit_s=10)
    with pytest.raises(DeviceError, match=r"./tool does not start: it was built for another processor"):
        ssh_device.run(["./tool"], limit_s=10)


@needs_sshd
def test_a_hung_command_is_killed_there_with_its_children(ssh_device: SshTransport) -> None:
    script = "trap '' TERM; echo $$ > parent; (trap '' TERM; sleep 60) & echo $! > child; while :; do sleep 0.2; done"
    with pytest.raises(DeviceError, match=r"sh took over 0.5 s and was ended"):
        ssh_device.run(["sh", "-c", script], limit_s=0.5)
    for name in ("parent", "child"):
        assert gone(ssh_device.run(["cat", name], limit_s=10).out.strip()), f"the {name} still runs"


@needs_sshd
def test_what_a_command_leaves_behind_ends_with_it(ssh_device: SshTransport) -> None:
    assert ssh_device.run(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"], limit_s=10).code == 0
    pid = ssh_device.run(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"], limit_s=10).out.strip()
    assert gone(pid)


# Files


@needs_sshd
def test_files_there_and_back(ssh_device: SshTransport, tmp_path: Path) -> None:
    data = os.urandom(1_000_003)
    (tmp_path / "x").write_bytes(data)
    ssh_device.put(tmp_path / "x", "a folder/it's/x.bin")
    ssh_device.put(tmp_path / "x", "a folder/it's/x.bin")
    ssh_device.get("a folder/it's/x.bin", tmp_path / "new" / "y")
    assert (tmp_path / "new" / "y").read_bytes() == data
    assert ssh_device.run(["ls", "-A", "a folder/it's"], limit_s=10).out == "x.bin\n", "no parts are left"
    (tmp_path / "empty").write_bytes(b"")
    ssh_device.put(tmp_path / "empty", f"{ssh_device.folder}/empty")
    ssh_device.get("empty", tmp_path / "e")
    assert (tmp_path / "e").read_bytes() == b""


@needs_sshd
def test_a_file_that_is_not_there(ssh_device: SshTransport, tmp_path: Path) -> None:
    (tmp_path / "keep").write_text("old")
    with pytest.raises(DeviceError, match="nope cannot be got: there is no such file"):
        ssh_device.get("nope", tmp_path / "keep")
    assert (tmp_path / "keep").read_text() == "old", "what was there before stays"
    assert os.listdir(tmp_path) == ["keep"]
    with pytest.raises(DeviceError, match="cannot be put: there is no such file here"):
        ssh_device.put(tmp_path / "nothing", "x")
    with pytest.raises(DeviceError, match="cannot be put"):
        ssh_device.put(tmp_path / "keep", "/proc/x/y")


@needs_sshd
def test_the_work_folder_goes_with_the_connection_and_old_ones_too(ssh_server: sshd.Server) -> None:
    stale = ssh_server.temporary / "edgekd-ssh.stale"
    stale.mkdir()
    os.utime(stale, (0, 0))
    (ssh_server.temporary / "mine").mkdir(exist_ok=True)
    os.utime(ssh_server.temporary / "mine", (0, 0))
    one, other = connect(ssh_server.address()), connect(ssh_server.address())
    assert one.folder != other.folder
    assert not stale.exists()
    assert (ssh_server.temporary / "mine").exists(), "only what edgekd made is cleared"
    one.close()
    assert not Path(one.folder).exists()
    assert Path(other.folder).exists()
    other.close()
    other.close()
