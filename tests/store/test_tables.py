"""Where the store lies, what can be one and what cannot: one message, and nothing touched."""

from __future__ import annotations

import importlib.util
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from edgekd.errors import EdgekdError, InputError, MissingDependency
from edgekd.store.tables import METADATA, address, connect, shown


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EDGEKD_STORE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert str(address()) == f"sqlite:///{tmp_path}/edgekd/results.sqlite"
    monkeypatch.setenv("EDGEKD_STORE", "postgresql://me@db/edgekd")
    assert str(address()) == "postgresql://me@db/edgekd" and str(address("/a/b.sqlite")) == "sqlite:////a/b.sqlite"
    monkeypatch.delenv("EDGEKD_STORE")
    connect()
    assert (tmp_path / "edgekd" / "results.sqlite").is_file()


def test_what_is_no_store_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, and longer than the header of one would be, which SQLite looks at " * 3)
    with pytest.raises(EdgekdError, match="cannot be used: file is not a database"):
        connect(str(tmp_path / "text"))
    with pytest.raises(EdgekdError, match="unable to open database file"):
        connect(str(tmp_path))
    with pytest.raises(InputError, match=r"expected: a file for SQLite, or a URL like postgresql://"):
        connect("nosuch://host/name")
    path = tmp_path / "newer.sqlite"
    connect(str(path))
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE edgekd_store SET version = 99")
    with pytest.raises(InputError, match="a store of version 99"):
        connect(str(path))


@pytest.mark.skipif(importlib.util.find_spec("psycopg") is not None, reason="PostgreSQL's driver is installed")
def test_a_driver_that_is_missing_is_named() -> None:
    with pytest.raises(MissingDependency, match=r"psycopg is not installed.*\n.*pip install 'psycopg\[binary\]'"):
        connect("postgresql://me:secret@127.0.0.1/edgekd")


def test_postgresql_can_state_the_tables() -> None:
    text = "\n".join(str(CreateTable(table).compile(dialect=postgresql.dialect())) for table in METADATA.sorted_tables)
    assert "DOUBLE PRECISION" in text and '"where" TEXT' in text and "JSON" in text and "SERIAL" in text


@pytest.mark.parametrize(("version", "said"), [(0, "of an older edgekd"), (99, "of a newer edgekd: update this one")])
def test_another_version_s_store_is_not_touched(tmp_path: Path, version: int, said: str) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE edgekd_store (version INTEGER PRIMARY KEY)")
        raw.execute("INSERT INTO edgekd_store VALUES (?)", (version,))
    with pytest.raises(InputError, match=f"a store of version {version}, {said}"):
        connect(str(path))
    with sqlite3.connect(path) as raw:
        assert [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")] == ["edgekd_store"]


def test_passwords_are_not_said() -> None:
    assert shown(address("postgresql://me:secret@db/x?sslpassword=secret&sslmode=require")) == (
        "postgresql://me:***@db/x?sslmode=require&sslpassword=hidden"
    )
    with pytest.raises(InputError, match="no URL of a database") as caught:
        address("postgresql://me:sec/ret@db:x/name")
    assert "sec" not in str(caught.value) and "%2F for /" in str(caught.value)


def test_a_file_s_name_is_no_part_of_a_url(tmp_path: Path) -> None:
    connect(str(tmp_path / "50% of it?.sqlite"))
    assert (tmp_path / "50% of it?.sqlite").is_file()
