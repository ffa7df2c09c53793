"""What a device told, checked before anything is computed from it: it may be of another version, broken, or not what it says.

Text loses what would steer a terminal; a number that is none, or a list that is a word, is a DeviceError that says where it stands.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgekd.errors import DeviceError, plain
from edgekd.transports import Transport

#: Bytes of RESULT.json, at most: of a day without a pause it has fewer.
MOST = 1 << 28
#: Letters of a text, at most; the rest is cut off.
_LETTERS = 2000
Number = Annotated[float, Field(ge=-1e15, le=1e15)]
Count = Annotated[int, Field(ge=0, lt=1 << 63)]
#: Seconds that something took: nothing takes a year.
Seconds = Annotated[float, Field(ge=0, le=3.2e7)]


class _Told(BaseModel):
    """Further keys may be there: those of a later runner."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Runtime(_Told):
    install: str = ""
    module: str = ""
    version: str = ""
    path: str = ""


class _Opened(_Told):
    error: str = ""
    runs_on: list[str] = []


class _Interpreter(_Told):
    path: str = ""
    version: str = ""
    bits: int = 64
    pip: bool = True
    managed: bool = False


class _Facts(_Told):
    model: str = ""
    os: str = ""
    soc: str = ""
    machine: str = ""
    python: str = ""
    power_mode: str = ""
    interpreter: _Interpreter = _Interpreter()
    cores: Count | None = None
    governors: list[str] = []
    clocks_mhz: dict[str, Number] = {}
    clock_limits_mhz: dict[str, Annotated[list[Number], Field(min_length=2, max_length=2)]] = {}
    temperatures_c: dict[str, Number] = {}
    throttling: dict[str, Number] = {}
    battery: dict[str, dict[str, str]] = {}
    memory: dict[str, Count] = {}
    disk_free_bytes: Count | None = None
    load: list[Number] = []
    runtimes: dict[str, _Runtime] = {}
    opened: dict[str, _Opened] = {}


class _Block(_Told):
    t: Number
    seconds: Annotated[list[Seconds], Field(min_length=1)]
    count: Annotated[Count, Field(ge=1)]
    invocation: int = 0
    phase: str = "repeat"
    ruler: list[Seconds] = []
    interrupted: list[Count] = []
    throttling: dict[str, Number] = {}
    joules: dict[str, Number] = {}
    mhz: Number | None = None
    celsius: Number | None = None
    others: Number = 0.0
    stolen: Number = 0.0


class _Warm(_Told):
    steady: bool = True


class _Layer(_Told):
    name: str
    kind: str
    precision: str
    ms: Number | None


class _Model(_Told):
    name: str
    error: str | None
    file_sha256: str
    version: str
    provider: str
    peak_rss_bytes: Count
    base_rss_bytes: Count = 0
    cold_start_s: list[Seconds]
    blocks: list[_Block]
    outputs: list[Annotated[str, Field(pattern=r"^m[0-9]{1,6}\.y[0-9]{1,6}\.npy$")]]
    warmups: list[_Warm] = []
    layers: list[_Layer] = []


class _Clock(_Told):
    monotonic: Number
    wall: Number


class _Clocks(_Told):
    before: _Clock
    after: _Clock


class _Result(_Told):
    facts_before: _Facts
    facts_after: _Facts
    models: list[_Model]
    clock: _Clocks


def fetch(transport: Transport, name: str, folder: Path, most: int) -> None:
    """The file ``name`` of the work folder into ``folder``. Raises DeviceError where it has more than ``most`` bytes."""
    ran = transport.run(["wc", "-c", name], limit_s=30.0)
    said = (ran.out.split() or [""])[0][:20]
    if ran.code == 0 and said.isdecimal() and int(said) > most:
        raise DeviceError(f"{name} has {int(said):,} bytes", where=transport.where, expected=f"{most:,} at most")
    transport.get(name, folder / name)


def facts(text: str, where: str) -> dict[str, Any] | None:
    """The runner's facts; None where ``text`` is none at all. Raises DeviceError for facts that cannot be."""
    try:
        found = _parsed(text)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    _check(_Facts, found, where, "its state")
    return found


def result(content: bytes, names: Sequence[str], where: str) -> dict[str, Any]:
    """RESULT.json of a job for models with these ``names``. Raises DeviceError for what the runner does not write."""
    try:
        found = _parsed(content.decode("utf-8"))
    except ValueError as error:
        raise DeviceError(f"RESULT.json is not what the runner writes: {error}"[:300], where=where) from error
    _check(_Result, found, where, "RESULT.json is not what the runner writes")
    told = [model["name"] for model in found["models"]]
    if told != [plain(name)[:_LETTERS] for name in names]:
        raise DeviceError(f"RESULT.json is of other models: {', '.join(told) or 'none'}"[:300], where=where, expected=", ".join(names))
    for model in found["models"]:
        if model["error"] is None and not all(np.median(block["seconds"]) > 0 for block in model["blocks"]):
            raise DeviceError(f"its clock stood still while {model['name']} ran", where=where, expected="a clock that counts nanoseconds")
    return found


def _check(schema: type[BaseModel], found: Any, where: str, what: str) -> None:
    try:
        schema.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        at = ".".join(map(str, first["loc"])) or "it"
        raise DeviceError(
            f"{what}: {at} is {repr(first['input'])[:60]}: {first['msg'].lower()}",
            where=where,
            expected="what edgekd_runner.py tells",
            mend="check the device's own clock, sensors and files: edgekd doctor --device …",
        ) from None


def _parsed(text: str) -> Any:
    """As JSON, with clean text. Raises ValueError, also for numbers that are none, and for what is nested too deep."""

    def refused(name: str) -> float:
        raise ValueError(f"{name} is no number")

    try:
        return _clean(json.loads(text, parse_constant=refused, parse_float=_finite))
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no number")
    return value


def _clean(found: Any) -> Any:
    if isinstance(found, str):
        return plain(found)[:_LETTERS]
    if isinstance(found, list):
        return [_clean(one) for one in found]
    if isinstance(found, dict):
        return {_clean(key): _clean(one) for key, one in found.items()}
    return found
