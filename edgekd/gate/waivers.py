"""Waivers: a check that fails, or cannot be judged, and that someone answers for until a day.

[[waiver]]
check = "latency_ms"
target = "pixel-8"          # or "*"
owner = "ada@example.com"
reason = "new stem; the next release gets the time back"
expires = 2026-12-31        # the last day, in UTC, on which it holds
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from edgekd.errors import InputError
from edgekd.profile.toml_file import Problem, read_toml

KEYS = ("check", "target", "owner", "reason", "expires")
#: What may be waived; of those that say more behind a point ("parity.tflm"), one or all.
FAMILIES = ("budget", "parity", "accuracy", "worst_class", "latency_ms", "model_bytes", "peak_ram_bytes")
_BLANK = 4096
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
EXAMPLE = '[[waiver]]\ncheck = "latency_ms"\ntarget = "*"\nowner = "who"\nreason = "why"\nexpires = 2026-12-31'


@dataclass(frozen=True)
class Waiver:
    """``check`` of ``target`` ("*": of every one) is waived by ``owner`` to the end of the day ``expires`` (ISO 8601), in UTC."""

    check: str
    target: str
    owner: str
    reason: str
    expires: str

    def covers(self, check: str) -> bool:
        return check == self.check or check.startswith(f"{self.check}.")

    def expired(self, today: datetime.date) -> bool:
        return today > datetime.date.fromisoformat(self.expires)


def today() -> datetime.date:
    """The day in UTC: the same for everybody who runs the gate at one moment."""
    return datetime.datetime.now(datetime.UTC).date()


def load(path: Path) -> tuple[Waiver, ...]:
    """The waivers of a file, in its order. Raises InputError for whatever is not a waiver, and for one that stands twice."""
    if path.is_file() and path.stat().st_size < _BLANK and not path.read_bytes().strip():
        return ()  # the last of them was struck off
    tables = read_toml(path)
    if isinstance(tables, Problem):
        raise InputError(tables.found, where=str(path), expected=tables.expected, mend=tables.mend)
    if unknown := sorted(set(tables) - {"waiver"}):
        raise InputError(f"unknown table or key {unknown[0]!r}", where=str(path), expected="[[waiver]] only", mend=EXAMPLE)
    listed = tables.get("waiver", [])
    if not isinstance(listed, list):
        raise InputError("waiver is one table", where=str(path), expected="a list of tables", mend="[[waiver]], with two brackets")
    found = tuple(_waiver(table, f"{path}, waiver {at}") for at, table in enumerate(listed, 1))
    seen = dict[tuple[str, str], int]()
    for at, one in enumerate(found, 1):
        if (first := seen.setdefault((one.check, one.target), at)) != at:
            raise InputError(
                f"{one.check} for {one.target} stands in waiver {first} already", where=f"{path}, waiver {at}", mend="keep one"
            )
    return found


def _waiver(table: Any, where: str) -> Waiver:
    if not isinstance(table, dict):
        raise InputError(f"{table!r:.40}", where=where, expected="a table", mend=EXAMPLE)
    if unknown := sorted(set(table) - set(KEYS)):
        near = get_close_matches(unknown[0], KEYS, 1)
        raise InputError(f"unknown key {unknown[0]!r}", where=where, expected=", ".join(KEYS), mend=f"perhaps {near[0]}" if near else "")
    for key in KEYS:
        if key not in table:
            raise InputError(f"no {key}", where=where, expected=", ".join(KEYS), mend=EXAMPLE.splitlines()[KEYS.index(key) + 1])
        if key != "expires" and not (isinstance(table[key], str) and table[key].strip()):
            raise InputError(f"{key} = {table[key]!r:.60}", where=where, expected="text")
    check = table["check"].strip()
    if check.partition(".")[0] not in FAMILIES:
        near = get_close_matches(check, FAMILIES, 1)
        wrong = "changed files cannot be waived" if check == "files" else f"no check is called {check!r}"
        raise InputError(wrong, where=where, expected=", ".join(FAMILIES), mend=f"perhaps {near[0]}" if near else "")
    return Waiver(check, table["target"].strip(), table["owner"].strip(), table["reason"].strip(), _day(table["expires"], where))


def _day(value: Any, where: str) -> str:
    try:
        if type(value) is datetime.date:
            return value.isoformat()
        if isinstance(value, str) and _DAY.fullmatch(value):
            return datetime.date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise InputError(f"expires = {value!r:.40}", where=where, expected="a day", mend="expires = 2026-12-31")


def of_target(waivers: Sequence[Waiver], target: str) -> tuple[Waiver, ...]:
    """Those that speak of ``target``; what is meant for this one alone first."""
    return tuple(sorted((one for one in waivers if one.target in (target, "*")), key=lambda one: one.target == "*"))
