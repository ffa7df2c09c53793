"""Workers and stores: name → (valid seeds, made in a folder; what reads one that was damaged), as in fuzz_files.py."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fuzz_files import GOLDEN, Parse, Seeds, each, placed


def worker_lines(folder: Path) -> list[bytes]:
    return [b'["progress", ["train", 1, 5]]', b'["outcome", ["", 0]]', b'["warning", ["a word"]]', b'["detail", ["loss", "0.5"]]']


def worker_line(content: bytes, folder: Path) -> None:
    from edgekd.worker import heard

    heard(content.decode("utf-8", "replace"))


def latencies(folder: Path) -> list[bytes]:
    from edgekd.plan.latency_work import work_of
    from edgekd.quant import io as graphs

    plain = {"schema_version": 1, "created": "now", "cpu": "a", "caches": [1 << 15, 1 << 20, 1 << 24], "runtime": "litert", "threads": 1}
    line = json.dumps({**plain, "model": "m", "where": "here", "latency_ms": 1.5, "work": asdict(work_of(graphs.load(GOLDEN)))})
    return [line.encode(), f"{line}\n{line.replace(chr(34) + 'm' + chr(34), chr(34) + 'n' + chr(34))}\n".encode()]


def latency(content: bytes, folder: Path) -> None:
    """And a prediction from what was read."""
    from edgekd.plan.latency import host_device, predict
    from edgekd.plan.latency_store import measured

    rows = measured(placed(folder, "latency.jsonl", content))
    if rows:
        predict(rows[0].timed.work, host_device(), "litert", measured=rows)


def stores(folder: Path) -> list[bytes]:
    from edgekd.records import Figure
    from edgekd.store import Result
    from edgekd.store.results import save
    from edgekd.store.tables import connect

    path = folder / "seed.sqlite"
    figures = {"latency_ms": Figure(2.0, "ms", "measured", "there", 40, 1.9, 2.1)}
    plain = Result(
        "2026-11-22T15:00:00+00:00", "kw", "f" * 64, "raspberry-pi-4", "ssh:pi", "asked", figures=figures, document={"notes": ["x"]}
    )
    engine = connect(str(path))
    save(engine, [plain, plain])
    engine.dispose()
    return [path.read_bytes(), json.dumps({"notes": ["x"], "layers": [{"name": "conv", "ms": 1.0}], "environment": {"cpu": "a"}}).encode()]


def store(content: bytes, folder: Path) -> None:
    """The file itself; and one whose rows hold other documents than edgekd writes."""
    from edgekd.store import Query
    from edgekd.store.results import find, there
    from edgekd.store.tables import existing

    path = folder / "store.sqlite"
    for old in folder.glob("store.sqlite*"):
        old.unlink()
    if content[:6] == b"SQLite":
        path.write_bytes(content)
    else:
        path.write_bytes((folder / "seed.sqlite").read_bytes())
        with contextlib.closing(sqlite3.connect(path)) as raw, raw:
            raw.execute("UPDATE edgekd_results SET document = ?", (content.decode("utf-8", "replace"),))
    engine = existing(str(path))
    if engine is None:
        return
    try:
        each(lambda: _exported(find(engine, Query())), lambda: find(engine, Query(newest=True)), lambda: there(engine, ["asked"]))
    finally:
        engine.dispose()


def _exported(found: Sequence[Any]) -> None:
    from edgekd.store.export import csv

    with tempfile.TemporaryDirectory() as folder:
        csv(found, Path(folder) / "results.csv")


PARSERS: dict[str, tuple[Seeds, Parse]] = {
    "worker": (worker_lines, worker_line),
    "latency_store": (latencies, latency),
    "store": (stores, store),
}
