"""The store's tables, and how a store is opened."""

from __future__ import annotations

import os
import re
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
_EXPECTED = "a file for SQLite, or a URL like postgresql://user@host/name"
#: How long to wait for another process that writes to the same SQLite file.
_WAIT_S = 30

#: Statements that two processes may both make on a new SQLite file: its tables are not made in one transaction.
_TABLES_AT_ONCE = 6

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


def address(asked: str = "") -> sql.URL:
    """Of the store: ``asked`` (a URL, or a file for SQLite), else $EDGEKD_STORE, else the one in the cache folder.

    Raises InputError for a text with :// that is no URL; it is not repeated, for its parts may be those of a password.
    """
    asked = asked or os.environ.get(VARIABLE, "")
    if "://" not in asked:  # no text of a URL is made of a file's name: it may hold a ? or a %
        return sql.URL.create("sqlite", database=str(Path(asked).absolute() if asked else runs.cache_folder() / NAME))
    try:
        return sql.make_url(asked)
    except (ArgumentError, ValueError) as error:
        mend = "in a password write %40 for @, %3A for :, %2F for /"
        raise InputError("no URL of a database", where="--store", expected=_EXPECTED, mend=mend) from error


def shown(url: sql.URL) -> str:
    """A URL for messages, without passwords: neither in its usual place nor among what a driver takes behind the ?."""
    hidden = {name: "hidden" for name in url.query if re.search("pass|pwd|secret|token", name, re.IGNORECASE)}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def connect(asked: str = "") -> sql.Engine:
    """The store, its tables made if it has none. Raises InputError for a URL that is none or another version's store, MissingDependency
    for a database whose driver is not installed, EdgekdError where it cannot be reached."""
    url = address(asked)
    try:
        wait = {"timeout": _WAIT_S} if url.get_backend_name() == "sqlite" else {}
        engine = sql.create_engine(url, poolclass=NullPool, connect_args=wait)
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise InputError(f"{url.drivername}: no such database", where="--store", expected=_EXPECTED) from error
    except ImportError as error:
        driver = f"{error.name or 'the driver'} is not installed, which this database's URL asks for"
        raise MissingDependency(f"--store: {driver}\n  to mend:  pip install 'psycopg[binary]' for PostgreSQL") from error
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys=ON"))
        if url.database and url.database != ":memory:":
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    version = _prepared(engine, _TABLES_AT_ONCE if url.get_backend_name() == "sqlite" else 1)
    if version != VERSION:
        older = "an older edgekd, whose tables this one cannot read" if version < VERSION else "a newer edgekd: update this one"
        raise InputError(
            f"a store of version {version}, of {older}",
            where=shown(url),
            expected=f"version {VERSION}",
            mend="name another one with --store",
        )
    return engine


def existing(asked: str = "") -> sql.Engine | None:
    """As ``connect``, for reading: where the usual store is not there yet, None. Raises InputError too for a file that was named and is not
    there, rather than make one."""
    url = address(asked)
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:" or Path(url.database).exists():
        return connect(asked)
    if not asked and not os.environ.get(VARIABLE):
        return None
    raise InputError(
        "there is no store", where=url.database, expected="a file that edgekd bench made", mend="correct --store, or $EDGEKD_STORE"
    )


def _prepared(engine: sql.Engine, again: int) -> int:
    """The version. ``again``: how often another process may be ahead that makes the tables at the same time."""
    try:
        return _prepare(engine)
    except (ValueError, TypeError) as error:  # what SQLite's file says of its own tables is no text, or of another type
        raise broken(engine, error) from error
    except SQLAlchemyError as error:
        if not again:
            raise broken(engine, error) from error
    return _prepared(engine, again - 1)


def _prepare(engine: sql.Engine) -> int:
    """Make what tables are missing; the version that the store says it is. One of another version is not touched."""
    with engine.begin() as connection:
        if sql.inspect(connection).has_table(ABOUT.name):
            stated = connection.execute(sql.select(ABOUT.c.version)).scalars().first()
            if stated is not None and type(stated) is not int:
                raise TypeError(f"its version is {stated!r:.40}")
            if stated not in (None, VERSION):
                return stated
        METADATA.create_all(connection)
        if connection.execute(sql.select(ABOUT.c.version)).scalars().first() is None:
            connection.execute(sql.insert(ABOUT).values(version=VERSION))
    return VERSION


def broken(engine: sql.Engine, error: Exception) -> EdgekdError:
    """What a database says, as one message, without its password."""
    said = f"the store of measurements cannot be used: {_first(error)}"
    return EdgekdError(f"{shown(engine.url)}: {said}\n  to mend:  name another one with --store")


def _first(error: Exception) -> str:
    """The first line of what was said, of a database's own error where one lies beneath."""
    text = str(getattr(error, "orig", None) or error) or type(error).__name__
    return text.strip().splitlines()[0][:300]
