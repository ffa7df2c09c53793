"""Whether what the records of a run say can be drawn: a figure beyond all measure would stop a page in its middle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from edgekd.errors import InputError
from edgekd.records import Examination, Record

#: More than any count, time or size of a run. Floats still tell neighbours apart there.
LARGEST = 10**15
_MEND = "delete that record; edgekd build … --resume makes it again"


def check(folder: Path, records: Mapping[str, Record]) -> None:
    """Raises InputError, naming the record, for a number beyond LARGEST, and for counts of classes that are none."""
    for stage, record in records.items():
        where = str(folder / "records" / f"{stage}.json")
        said = (record.body, record.seconds, record.config.get("budgets"))
        if (wrong := next((n for n in _numbers(said) if not abs(n) <= LARGEST), None)) is not None:
            raise InputError(f"{wrong!r:.40} is no figure of a run", where=where, expected=f"at most {LARGEST:.0e}", mend=_MEND)
        if isinstance(record.body, Examination):
            _check_counts(record.body, where)


def _check_counts(found: Examination, where: str) -> None:
    for task in found.tasks:
        theirs = task.teacher_confusion or task.confusion
        if [len(row) for row in theirs] != [len(row) for row in task.confusion]:
            raise InputError("the teacher's confusion matrix is of other classes", where=where, expected="the student's", mend=_MEND)
        if any(not 0 <= one.correct <= one.n for one in (*task.calibration, *task.teacher_calibration)):
            raise InputError("more answers of a bin are right than it has", where=where, expected="counts of samples", mend=_MEND)
        if any(count < 0 for row in (*task.confusion, *theirs) for count in row):
            raise InputError("a confusion matrix holds a negative count", where=where, expected="counts of samples", mend=_MEND)


def _numbers(value: Any) -> Iterator[int | float]:
    if is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    if isinstance(value, Mapping):
        value = value.values()
    elif isinstance(value, int | float):
        yield value
        return
    elif not isinstance(value, list | tuple):
        return
    for item in value:
        yield from _numbers(item)
