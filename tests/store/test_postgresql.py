"""The store in PostgreSQL: a server of the test's own on 127.0.0.1, where PostgreSQL and its driver are installed."""

from __future__ import annotations

import glob
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.errors import EdgekdError
from edgekd.store import Query, Result
from edgekd.store.results import find, save, there
from edgekd.store.tables import connect
from tests.store.made import result

BIN = max(glob.glob("/usr/lib/postgresql/*/bin"), default=os.path.dirname(shutil.which("initdb") or ""))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BIN, reason="there is no PostgreSQL: apt-get install postgresql"),
    pytest.mark.skipif(importlib.util.find_spec("psycopg") is None, reason="there is no psycopg: pip install 'psycopg[binary]'"),
]


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Root's server runs as the user postgres, for it refuses to be root's; its folder must be within that user's reach."""
    folder = Path(subprocess.run(["mktemp", "-d", "/tmp/edgekd-pg.XXXXXX"], check=True, capture_output=True, text=True).stdout.strip())
    as_user: list[str] = []
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("there is no user postgres, and root may not run PostgreSQL")
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = ["runuser", "-u", "postgres", "--"]
    (folder / "password").write_text("secret")
    (folder / "password").chmod(0o644)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def call(program: str, *arguments: str) -> None:
        command = [*as_user, f"{BIN}/{program}", "-D", str(folder / "data"), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, timeout=60)

    call("initdb", "-A", "scram-sha-256", "-U", "me", f"--pwfile={folder}/password")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    call("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    yield f"postgresql://me:secret@127.0.0.1:{port}/postgres"
    call("pg_ctl", "-w", "-m", "fast", "stop")
    shutil.rmtree(folder)


def test_many_writers_queries_and_a_wrong_password(url: str) -> None:
    def write(number: int) -> None:
        save(connect(url), [replace(result(f"m{number}"), document={"notes": ["a"]})])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(12)))
    engine = connect(url)
    found: list[Result] = find(engine, Query(newest=True))
    assert sorted(one.model for one in found) == sorted(f"m{number}" for number in range(12))
    assert found[0].document == {"notes": ["a"]} and found[0].figures == result().figures
    assert there(engine, [result("m1").asked, "another"]) == {result("m1").asked}
    with pytest.raises(EdgekdError) as caught:
        connect(url.replace("secret", "guessed"))
    assert "password authentication failed" in str(caught.value) and "guessed" not in str(caught.value)
