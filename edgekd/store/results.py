"""Results into the store, and out of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from math import isfinite
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import SQLAlchemyError

from edgekd.errors import InputError
from edgekd.records import Figure
from edgekd.store import Query, Result
from edgekd.store.tables import FIGURES, RESULTS, broken, shown

_PLAIN = tuple(column.name for column in RESULTS.columns if column.name != "id")
#: Placeholders that a database takes in one statement: SQLite 999 in old versions.
_AT_ONCE = 500


def save(engine: sql.Engine, results: Iterable[Result]) -> None:
    """All of them or none. Raises EdgekdError where the store cannot be written."""
    try:
        with engine.begin() as connection:
            for result in results:
                plain = {name: _text(getattr(result, name)) for name in _PLAIN}
                plain["document"] = json.loads(_text(json.dumps(result.document, ensure_ascii=False)))
                key = connection.execute(sql.insert(RESULTS).values(plain)).inserted_primary_key
                assert key is not None  # every INSERT of one row has one
                rows = [
                    {"result": key[0], "name": name, **_finite(figure)} for name, figure in result.figures.items() if isfinite(figure.value)
                ]
                if rows:
                    connection.execute(sql.insert(FIGURES), rows)
    except SQLAlchemyError as error:
        raise broken(engine, error) from error


def find(engine: sql.Engine, query: Query) -> list[Result]:
    """Those that ``query`` asks for, the oldest first. Raises EdgekdError where the store cannot be read."""
    wanted = sql.select(RESULTS).order_by(RESULTS.c.id.desc())
    if query.model:
        wanted = wanted.where(sql.or_(_begins(RESULTS.c.model, query.model), _begins(RESULTS.c.fingerprint, query.model)))
    if query.device:
        wanted = wanted.where(sql.or_(_begins(RESULTS.c.device, query.device), _begins(RESULTS.c.label, query.device)))
    if query.target:
        wanted = wanted.where(RESULTS.c.target == query.target)
    if query.failures is not None:
        wanted = wanted.where((RESULTS.c.failed != "") if query.failures else (RESULTS.c.failed == ""))
    if query.figure:
        wanted = wanted.where(sql.exists().where(FIGURES.c.result == RESULTS.c.id, FIGURES.c.name == query.figure))
    if query.newest:
        each = (RESULTS.c.fingerprint, RESULTS.c.target, RESULTS.c.device, RESULTS.c.label, RESULTS.c.row)
        good = wanted.with_only_columns(sql.func.max(RESULTS.c.id)).order_by(None).group_by(*each)
        wanted = wanted.where(RESULTS.c.id.in_(good))
    if query.last:
        wanted = wanted.limit(query.last)
    try:
        with engine.connect() as connection:
            rows = list(reversed(connection.execute(wanted).mappings().all()))
            figures = _figures(connection, [row["id"] for row in rows])
        return [Result(**_sound(row), figures=figures.get(row["id"], {})) for row in rows]
    except SQLAlchemyError as error:
        raise broken(engine, error) from error
    except (ValueError, TypeError, RecursionError, InputError) as error:
        raise InputError(
            f"a row of it is damaged: {error}".splitlines()[0][:300],
            where=shown(engine.url),
            expected="what edgekd has written",
            mend="name another one with --store, or restore this one",
        ) from error


def there(engine: sql.Engine, asked: Collection[str]) -> set[str]:
    """Which of these hashes of what was asked need not be asked again. Raises EdgekdError where the store cannot be read.

    Those of which the last result is good in every row (way of running it): a set of kernels that failed beside a good one is missing. A
    failure of no row at all (a device that was not reached) counts until something good comes after it.
    """
    names, found = sorted(asked), dict[str, list[tuple[int, str, bool]]]()
    columns = (RESULTS.c.id, RESULTS.c.asked, RESULTS.c.row, RESULTS.c.failed)
    try:
        with engine.connect() as connection:
            for at in range(0, len(names), _AT_ONCE):
                some = RESULTS.c.asked.in_(names[at : at + _AT_ONCE])
                last = sql.select(sql.func.max(RESULTS.c.id)).where(some).group_by(RESULTS.c.asked, RESULTS.c.row)
                for number, key, row, failed in connection.execute(sql.select(*columns).where(RESULTS.c.id.in_(last))):
                    found.setdefault(key, []).append((number, row, not failed))
    except (SQLAlchemyError, ValueError, TypeError) as error:  # a text of SQLite's may be none
        raise broken(engine, error) from error
    return {key for key, last in found.items() if _done(last)}


def _done(last: Iterable[tuple[int, str, bool]]) -> bool:
    """Of the last result of each row: its number, the row, and whether it is good."""
    listed = list(last)
    newest = max((number for number, _, good in listed if good), default=0)
    return newest > 0 and all(good or (not row and number < newest) for number, row, good in listed)


def _figures(connection: sql.Connection, ids: Sequence[int]) -> dict[int, dict[str, Figure]]:
    found: dict[int, dict[str, Figure]] = {}
    for at in range(0, len(ids), _AT_ONCE):
        wanted = sql.select(FIGURES).where(FIGURES.c.result.in_(ids[at : at + _AT_ONCE]))
        for row in connection.execute(wanted).mappings():
            values: dict[str, Any] = {name: value for name, value in row.items() if name not in ("result", "name")}
            if not all(isinstance(values[name], float | int | None) for name in ("value", "low", "high", "n")):
                raise ValueError(f"{row['name']} is no number")
            found.setdefault(row["result"], {})[row["name"]] = Figure(**values)
    return found


def _sound(row: Mapping[Any, Any]) -> dict[str, Any]:
    """SQLite keeps what it is given, whatever the column's type."""
    for name in _PLAIN:
        if not isinstance(row[name], dict if name == "document" else str):
            raise TypeError(f"{name} is {row[name]!r}")
    datetime.fromisoformat(row["created"])
    return dict(row)


def _begins(column: sql.Column[Any], text: str) -> sql.ColumnElement[bool]:
    return column.startswith(text, autoescape=True)


def _text(value: Any) -> Any:
    """What devices and names of files hold and a database refuses, replaced: NUL, and bytes that are no UTF-8."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _finite(figure: Figure) -> dict[str, Any]:
    """Its columns. JSON has neither NaN nor infinity, and a database none for what must not be empty."""
    return {name: None if isinstance(value, float) and not isfinite(value) else value for name, value in asdict(figure).items()}
