"""What was measured on this machine and on devices, kept for predictions: one JSON document a line in the cache folder, appended by every
build, and by benchmarks of attached devices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from edgekd import host, runs
from edgekd.errors import InputError
from edgekd.plan.latency_roofline import CACHES, Timed
from edgekd.plan.latency_work import OpWork, Work, work_of
from edgekd.quant.graph import QuantGraph
from edgekd.records import Figure

NAME, VERSION = "latency.jsonl", 1
#: The oldest lines beyond so many are dropped.
MOST = 2_000


@dataclass(frozen=True)
class Measured:
    """A time with what it is of. ``model`` is a hash of the file: a later row of the same model on the same ground replaces an earlier."""

    cpu: str
    runtime: str
    model: str
    where: str
    timed: Timed

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.cpu, self.runtime, self.model, self.timed.threads


@dataclass(frozen=True)
class On:
    """Another device than this machine: its processor by a name that a profile's board or core has, and bytes of its caches."""

    cpu: str
    caches: tuple[int, int, int] = CACHES


def path() -> Path:
    return runs.cache_folder() / NAME


def remember(work: Work, figure: Figure, runtime: str, model: str, threads: int = 1, *, on: On | None = None) -> Path:
    """Append what ``figure`` (latency_ms, measured ``on`` a device, None: on this host) says of ``work``.

    Raises InputError for a figure that is no such time.
    """
    if figure.unit != "ms" or figure.kind != "measured" or not (isfinite(figure.value) and figure.value > 0):
        raise InputError(f"{figure.value:g} {figure.unit}, {figure.kind}", where="store of latencies", expected="a measured time in ms")
    on = on or On(host.host().removeprefix("host: "), caches())
    line = {
        "schema_version": VERSION,
        "created": host.environment()["created"],
        "cpu": on.cpu,
        "caches": on.caches,
        "runtime": runtime,
        "threads": threads,
        "model": model,
        "where": figure.where,
        "n": figure.n,
        "latency_ms": figure.value,
        "low": figure.low,
        "high": figure.high,
        "work": asdict(work),
    }
    store = path()
    store.parent.mkdir(parents=True, exist_ok=True)
    with runs.lock(store.parent, f".{NAME}.lock", wait=lambda _: None):
        before = store.read_bytes().splitlines() if store.is_file() else []
        kept = [*before, json.dumps(line, ensure_ascii=False, allow_nan=False).encode()][-MOST:]
        runs.atomic_write(store, b"\n".join(kept) + b"\n")
    return store


def remember_graph(graph: QuantGraph, figure: Figure, runtime: str, model: str) -> Path:
    """As ``remember``, of a graph that ran in one thread."""
    return remember(work_of(graph), figure, runtime, model)


def measured(store: Path | None = None) -> tuple[Measured, ...]:
    """All rows, the newest of each model, processor, runtime and thread count. Raises InputError naming a damaged line."""
    store = store or path()
    if not store.is_file():
        return ()
    found: dict[tuple[str, str, str, int], Measured] = {}
    for number, line in enumerate(store.read_bytes().splitlines(), start=1):
        if line.strip():
            row = _read(line, f"{store}, line {number}")
            found[row.key] = row
    return tuple(found.values())


def caches(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> tuple[int, int, int]:
    """Bytes of this machine's first (data), second and last cache, as Linux tells; common sizes where it does not."""
    sizes: dict[int, int] = {}
    for index in sorted(folder.glob("index*")):
        try:
            kind, level, text = ((index / name).read_text(encoding="ascii").strip() for name in ("type", "level", "size"))
            if kind != "Instruction":
                sizes[int(level)] = int(text.rstrip("KMG")) << {"K": 10, "M": 20, "G": 30}.get(text[-1:], 0)
        except (OSError, ValueError):
            continue
    return (sizes.get(1, CACHES[0]), sizes.get(2, CACHES[1]), sizes.get(3, sizes.get(2, CACHES[2])))


def timed(rows: Sequence[Measured]) -> tuple[Timed, ...]:
    return tuple(row.timed for row in rows)


def _read(line: bytes, where: str) -> Measured:
    mend = "delete that line"
    try:
        raw: dict[str, Any] = json.loads(line)
        if raw["schema_version"] != VERSION:
            raise InputError(f"schema_version {raw['schema_version']!r}", where=where, expected=str(VERSION), mend=mend)
        work = raw["work"]
        ops = tuple(OpWork(**op) for op in work["ops"])
        first, second, last = (int(size) for size in raw["caches"])
        latency, threads = float(raw["latency_ms"]), int(raw["threads"])
        if not (1e-6 < latency < 1e9 and 0 < threads <= 4096 and ops and min(first, second, last) > 0):
            raise ValueError(f"latency_ms {latency}, threads {threads}, {len(ops)} operators, caches {raw['caches']}")
        time = Timed(Work(str(work["name"]), ops, str(work["numeric"])), threads, latency, (first, second, last))
        return Measured(str(raw["cpu"]), str(raw["runtime"]), str(raw["model"]), str(raw["where"]), time)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, AttributeError) as error:
        raise InputError(
            f"is no measurement ({type(error).__name__}: {error})"[:300], where=where, expected="a line as edgekd writes it", mend=mend
        ) from error
