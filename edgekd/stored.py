"""A benchmark as rows of the store, and what it teaches the latency model: its times, beside what had been predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edgekd import host
from edgekd.errors import EdgekdError
from edgekd.measure.device import Bench, Row
from edgekd.measure.files import KINDS
from edgekd.plan.latency import host_device, predict, work_of
from edgekd.plan.latency_store import On, measured, remember
from edgekd.profile.schema import Device, Profile
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph
from edgekd.store import PREDICTED, Result

#: Providers whose time is the processor's: what a GPU or its compiler needs says nothing about it.
_PROCESSOR = frozenset({"XNNPACK", "CPUExecutionProvider", "CPU", "benchmark_model"})  # the last takes XNNPACK unless told otherwise


def results_of(bench: Bench, result: Result) -> list[Result]:
    """Each of its rows as ``result``, which says what model, device and order they are of."""
    environment = host.environment()
    outer = {"notes": list(bench.notes), "environment": environment}
    return [
        replace(
            result,
            created=environment["created"],
            row=_way(row),
            failed=row.failed,
            figures=row.measurement.figures,
            document={**outer, "artifact": row.measurement.artifact, "row_notes": list(row.measurement.notes), "layers": _layers(row)},
        )
        for row in bench.rows
    ]


def _way(row: Row) -> str:
    """The runtime where a file was measured, else what the device calls it: a set of kernels, a compiler's configuration."""
    kind = KINDS.get(Path(row.measurement.artifact).suffix)
    return kind[2] if kind else row.name


def _layers(row: Row) -> list[dict[str, Any]]:
    return [asdict(layer) | {"unit": row.unit} for layer in row.layers]


def learn(bench: Bench, graphs: Sequence[QuantGraph], profile: Profile | None, threads: int = 1) -> Bench:
    """Remember the times of good rows for predictions: of this host under its own name, of another device under that of the board of
    ``profile``, the target that was stated for it (None: none was; a run's own need not be the device that it is measured on).

    ``graphs``: one of each row. Returns the benchmark with PREDICTED beside each time, where something could be said before. What keeps it
    from learning is a note: it must not cost the measurement.
    """
    rows, notes = list(bench.rows), list[str]()
    try:
        for at, (row, graph) in enumerate(zip(bench.rows, graphs, strict=False)):
            figure, runtime = row.measurement.figures.get("latency_ms"), _runtime(row)
            if figure is None or figure.kind != "measured" or row.failed or not runtime:
                continue
            device = host_device() if bench.device == "host" else profile.device if profile else None
            if device is None:
                notes = ["without --target, the board that it is, its times teach the latency model nothing"]
                continue
            work = work_of(graph)
            others = [one for one in measured() if one.timed.work.ops != work.ops]  # its own earlier time would be no prediction
            said = predict(work, device, runtime, measured=others, threads=threads).figures.get("latency_ms")
            if said is not None:
                rows[at] = replace(row, measurement=replace(row.measurement, figures={**row.measurement.figures, PREDICTED: said}))
            remember(work, figure, runtime, io.fingerprint(graph), threads, on=_on(bench, device))
    except (EdgekdError, OSError) as error:
        notes.append(f"its times teach the latency model nothing: {error}")
    return replace(bench, rows=tuple(rows), notes=(*bench.notes, *notes))


def _on(bench: Bench, device: Device) -> On | None:
    """None is this host."""
    return None if bench.device == "host" else On(device.board)


def _runtime(row: Row) -> str:
    """As the store of latencies calls it; "" for what is none of the processor's."""
    figure = row.measurement.figures.get("latency_ms")
    kind = KINDS.get(Path(row.measurement.artifact).suffix)
    providers = set(figure.where.split(", ")) if figure else set[str]()
    return kind[2] if kind and providers & _PROCESSOR else ""
