"""Results as files for other programs: one line a figure, with the result that it belongs to."""

from __future__ import annotations

import csv as text
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from edgekd import runs
from edgekd.errors import MissingDependency
from edgekd.store import Result

#: The columns, in this order, and the type of each; all but text may be empty.
COLUMNS: dict[str, type] = {
    "result": int, "created": str, "model": str, "fingerprint": str, "target": str, "device": str, "label": str, "row": str, "inputs": str,
    "failed": str, "figure": str, "value": float, "unit": str, "kind": str, "n": int, "low": float, "high": float, "where": str,
}  # fmt: skip


#: With what a cell begins that a spreadsheet takes for a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv(results: Sequence[Result], path: Path) -> int:
    """Comma-separated, UTF-8, with a line of headings (RFC 4180, 2005). How many lines below it.

    Devices and files say what text there is: such as a spreadsheet would compute gets an apostrophe before it. Parquet has it as it is.
    """
    lines = [{name: _inert(value) for name, value in line.items()} for line in _lines(results)]
    out = io.StringIO(newline="")
    writer = text.DictWriter(out, COLUMNS)
    writer.writeheader()
    writer.writerows(lines)
    runs.atomic_write(path, out.getvalue().encode())
    return len(lines)


def parquet(results: Sequence[Result], path: Path) -> int:
    """Apache Parquet; ``created`` is a time in UTC, ``value``, ``low`` and ``high`` are in the line's own ``unit``. How many rows.

    Raises MissingDependency without pyarrow.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependency("Parquet needs pyarrow\n  to mend:  pip install pyarrow, or name a .csv file") from error
    types = {str: pyarrow.string(), float: pyarrow.float64(), int: pyarrow.int64()}
    lines = list(_lines(results))
    columns = {name: pyarrow.array([line[name] for line in lines], types[kind]) for name, kind in COLUMNS.items()}
    created = [datetime.fromisoformat(line["created"]) for line in lines]
    table = pyarrow.table(columns | {"created": pyarrow.array(created, pyarrow.timestamp("ms", "UTC"))})
    buffer = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, buffer)
    runs.atomic_write(path, buffer.getvalue().to_pybytes())
    return len(lines)


def _lines(results: Iterable[Result]) -> Iterable[dict[str, Any]]:
    """A result without figures, one that failed, has one line."""
    nothing = dict.fromkeys(COLUMNS)
    for result in results:
        own = {name: getattr(result, name) for name in COLUMNS if hasattr(result, name) and name != "where"} | {"result": result.id}
        if not result.figures:
            yield {**nothing, **own}
        for name, figure in sorted(result.figures.items()):
            yield {**nothing, **own, **vars(figure), "figure": name}


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
