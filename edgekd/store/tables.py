"""The store's tables, and how a store is opened."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sql
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from edgekd import runs
from edgekd.errors import EdgekdError, InputError, MissingDependency
from edgekd.store import VARIABLE

#: Of the tables. A store of another version is not touched.
VERSION = 1
NAME = "results.sqlite"
#: How long to wait for another process that writes to the same SQLite file.
_WAIT_S = 30

METADATA = sql.MetaData()
ABOUT = sql.Table("edgekd_store", METADATA, sql.Column("version", sql.Integer, primary_key=True))
RESULTS = sql.Table(
    "edgekd_results",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("created", sql.String(32), nullable=False, index=True),
    *(sql.Column(name, sql.Text, nullable=False) for name in ("model", "fingerprint", "target", "device")),
    sql.Column("asked", sql.String(64), nullable=False, index=True),
    *(sql.Column(name, sql.Text, nullable=False) for name in ("label", "row", "inputs", "failed")),
    sql.Column("document", sql.JSON, nullable=False),
)
FIGURES = sql.Table(
    "edgekd_figures",
    METADATA,
    sql.Column("result", sql.ForeignKey("edgekd_results.id", ondelete="CASCADE"), primary_key=True),
    sql.Column("name", sql.String(128), primary_key=True),
    sql.Column("value", sql.Double, nullable=False),
    sql.Column("unit", sql.Text, nullable=False),
    sql.Column("kind", sql.String(16), nullable=False),
    sql.Column("where", sql.Text, nullable=False),
    sql.Column("n", sql.Integer),
    sql.Column("low", sql.Double),
    sql.Column("high", sql.Double),
)


def address(asked: str = "") -> str:
    """The URL of the store: ``asked`` (a URL, or a file for SQLite), else $EDGEKD_STORE, else the one in the cache folder."""
    asked = asked or os.environ.get(VARIABLE, "")
    if not asked:
        return f"sqlite:///{runs.cache_folder() / NAME}"
    return asked if "://" in asked else f"sqlite:///{Path(asked).absolute()}"


def connect(asked: str = "") -> sql.Engine:
    """The store, its tables made if it has none. Raises InputError for a URL that is none or another version's store, MissingDependency
    for a database whose driver is not installed, EdgekdError where it cannot be reached."""
    try:
        url = sql.make_url(address(asked))
        wait = {"timeout": _WAIT_S} if url.get_backend_name() == "sqlite" else {}
        engine = sql.create_engine(url, poolclass=NullPool, connect_args=wait)
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        expected = "a file for SQLite, or a URL like postgresql://user@host/name"
        raise InputError(f"{_first(error)}", where="--store", expected=expected) from error
    except ImportError as error:
        driver = f"{error.name or 'the driver'} is not installed, which this database's URL asks for"
        raise MissingDependency(f"--store: {driver}\n  to mend:  pip install 'psycopg[binary]' for PostgreSQL") from error
    shown = engine.url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys=ON"))
        if url.database and url.database != ":memory:":
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    try:
        try:
            versions = _prepare(engine)
        except SQLAlchemyError:
            versions = _prepare(engine)  # another process made the tables at the same time
    except SQLAlchemyError as error:
        raise broken(shown, error) from error
    if versions not in ([], [VERSION]):
        raise InputError(f"a store of version {versions[0]}", where=shown, expected=str(VERSION), mend="name another one with --store")
    return engine


def _prepare(engine: sql.Engine) -> list[int]:
    """Make what tables are missing; the version that the store says it is."""
    with engine.begin() as connection:
        METADATA.create_all(connection)
        versions = list(connection.execute(sql.select(ABOUT.c.version)).scalars())
        if not versions:
            connection.execute(sql.insert(ABOUT).values(version=VERSION))
    return versions


def broken(shown: str, error: SQLAlchemyError) -> EdgekdError:
    """What a database says, as one message. ``shown`` is the store's URL without its password."""
    return EdgekdError(f"{shown}: the store of measurements cannot be used: {_first(error)}\n  to mend:  name another one with --store")


def _first(error: Exception) -> str:
    """The first line of what was said, of a database's own error where one lies beneath."""
    text = str(getattr(error, "orig", None) or error) or type(error).__name__
    return text.strip().splitlines()[0][:300]
