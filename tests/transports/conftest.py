"""A device behind OpenSSH's server, for the tests of ssh: see sshd.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgekd.transports.ssh import SshTransport, connect
from tests.transports import sshd


@pytest.fixture(scope="module")
def ssh_started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    if sshd.missing():
        pytest.skip(sshd.missing())
    server = sshd.start(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


@pytest.fixture
def ssh_server(ssh_started: sshd.Server, monkeypatch: pytest.MonkeyPatch) -> sshd.Server:
    """With a home of its own: nobody's real keys and known_hosts are read."""
    monkeypatch.setenv("HOME", str(ssh_started.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    ssh_started.known_hosts.write_text("")
    ssh_started.trust(ssh_started.port)
    return ssh_started


@pytest.fixture
def ssh_device(ssh_server: sshd.Server) -> Iterator[SshTransport]:
    transport = connect(ssh_server.address())
    yield transport
    transport.close()
