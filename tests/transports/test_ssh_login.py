"""Who is who: host keys that are unknown or have changed, keys that are refused, hosts that there are not."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from edgekd.errors import DeviceError
from edgekd.transports.ssh import connect
from tests.transports import sshd

needs_sshd = pytest.mark.skipif(bool(sshd.missing()), reason=sshd.missing() or "-")


# Who is who


@needs_sshd
def test_a_host_key_that_is_not_known(ssh_server: sshd.Server) -> None:
    ssh_server.known_hosts.write_text("")
    with pytest.raises(DeviceError, match="the host key is not known: ssh-ed25519 SHA256:") as caught:
        connect(ssh_server.address())
    line = caught.value.mend.splitlines()[-1].strip()
    assert line == f"[127.0.0.1]:{ssh_server.port} {ssh_server.host_key}"
    assert ssh_server.known_hosts.read_text() == "", "nothing is accepted by itself"
    ssh_server.known_hosts.write_text(line + "\n")
    connect(ssh_server.address()).close()


@needs_sshd
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_host_key_that_has_changed_names_the_line(ssh_server: sshd.Server, tmp_path: Path, kind: str) -> None:
    other = sshd.keygen(tmp_path / "other", kind)
    text = f"# a comment\nother.example {ssh_server.host_key}\n[127.0.0.1]:{ssh_server.port} {other}\n"
    ssh_server.known_hosts.write_text(text)
    with pytest.raises(DeviceError, match="the host key has CHANGED: it is ssh-ed25519 SHA256:") as caught:
        connect(ssh_server.address())
    assert f"as {ssh_server.known_hosts} line 3 says" in str(caught.value)
    assert f"ssh-keygen -R '[127.0.0.1]:{ssh_server.port}' -f {ssh_server.known_hosts}" in str(caught.value)
    assert ssh_server.known_hosts.read_text() == text


@needs_sshd
def test_hashed_lines_authorities_and_revoked_keys(ssh_server: sshd.Server) -> None:
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(ssh_server.known_hosts)], check=True, capture_output=True)
    assert ssh_server.known_hosts.read_text().startswith("|1|")
    connect(ssh_server.address()).close()
    ssh_server.known_hosts.write_text(f"garbage\n@revoked * {ssh_server.host_key}\n")
    with pytest.raises(DeviceError, match="revoked") as caught:
        connect(ssh_server.address())
    assert "line 2" in str(caught.value)


@needs_sshd
def test_a_key_that_is_refused(ssh_server: sshd.Server, tmp_path: Path) -> None:
    key = ssh_server.home / ".ssh" / "id_ed25519"
    key.rename(tmp_path / "key")
    try:
        with pytest.raises(DeviceError, match="no key of yours is let in, and passwords are not asked for") as caught:
            connect(ssh_server.address())
        assert f"ssh-copy-id -p {ssh_server.port} " in str(caught.value)
    finally:
        (tmp_path / "key").rename(key)


@needs_sshd
def test_a_key_of_the_agent_and_an_alias_of_the_configuration(
    ssh_server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("ssh-agent") is None:
        pytest.skip("there is no ssh-agent")
    key, config = ssh_server.home / ".ssh" / "id_ed25519", ssh_server.home / ".ssh" / "config"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    try:
        while not (tmp_path / "agent").exists():
            time.sleep(0.02)
        subprocess.run(["ssh-add", "-q", str(key)], check=True, capture_output=True)
        key.rename(tmp_path / "key")
        config.write_text(f"Host board\n  HostName 127.0.0.1\n  Port {ssh_server.port}\n  StrictHostKeyChecking no\n  RequestTTY force\n")
        device = connect("board")
        assert device.where == "ssh board"
        assert device.run(["echo", "hi"], limit_s=5).out == "hi\n"
        device.close()
        ssh_server.known_hosts.write_text("")
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


@pytest.mark.parametrize("host", ["a..b", ".", "a" * 70])
def test_what_no_host_can_be_called(host: str) -> None:
    with pytest.raises(DeviceError, match="is no host's name") as caught:
        connect(f"pi@{host}")
    assert "192.168.1.20" in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("  Port notanumber\n", "config line 2: Invalid Port integer value: notanumber"),
        ("  ProxyJump nowhere.invalid\n", "ProxyJump leads to itself"),
    ],
)
def test_a_configuration_that_cannot_be(ssh_server: sshd.Server, lines: str, said: str) -> None:
    config = ssh_server.home / ".ssh" / "config"
    config.write_text(f"Host *\n{lines}")
    try:
        with pytest.raises(DeviceError, match="~/.ssh/config or a key cannot be read: ") as caught:
            connect("pi@127.0.0.1")
        assert said in str(caught.value)
    finally:
        config.unlink()
