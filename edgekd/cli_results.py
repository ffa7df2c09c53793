"""The commands that ask the store of measurements: results list, compare, export. cli.py lists the group."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekd.errors import InputError, plain
from edgekd.store import EXPORTS, PREDICTED, Query

if TYPE_CHECKING:
    from edgekd.records import Figure
    from edgekd.store import Result

app = typer.Typer(no_args_is_help=True, help="What was measured: list, compare devices, export.")

Store = Annotated[
    str, typer.Option("--store", help="A file (SQLite) or a database's URL; else $EDGEKD_STORE, else one in the cache folder.")
]
Model = Annotated[str, typer.Option("--model", help="The beginning of a model's name, or of its fingerprint.")]
Device = Annotated[str, typer.Option("--device", help="The beginning of a device as it was asked for, or of its name in the fleet.")]
Target = Annotated[str, typer.Option("--target", "-t", help="Only for this target.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
_THREADS = re.compile(r"\b(\d+) threads?\b")
#: Figures of the list; others by --figure.
_SHOWN = ("latency_ms", "accuracy", "bit_equal", "energy_uj", "peak_ram_bytes")


@app.command("list")
# size: to typer one function is one command, and a parameter is an option.
def results_list(
    model: Model = "",
    device: Device = "",
    target: Target = "",
    figure: Annotated[str, typer.Option("--figure", help="Only results with this figure, and that one shown, e.g. energy_uj.")] = "",
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed, with the whole reason.")] = False,
    newest: Annotated[bool, typer.Option("--newest", help="Only the last of each model on each device.")] = False,
    last: Annotated[int, typer.Option("--last", min=0, help="Only so many of the last; 0: all.")] = 50,
    store: Store = "",
    as_json: AsJson = False,
) -> None:
    """Results, the oldest first.

    \b
    edgekd results list --model keywords --newest
    edgekd results list --device kitchen-pi --failed
    """
    found = _found(store, Query(model, device, target, figure, True if failed else None, newest, last))
    if last and len(found) == last:
        typer.echo(f"edgekd: no more than the last {last}: --last 0 lists all", err=True)
    if as_json:
        typer.echo(json.dumps([_document(result) for result in found], indent=2, ensure_ascii=False))
        return
    if not found:
        typer.echo("no results")
        return
    there = {name for result in found for name in result.figures}
    names = [figure] if figure else [name for name in _SHOWN if name in there]
    rows = [["WHEN", "MODEL", "DEVICE", "TARGET", "WAY", *(name.upper() for name in names), ""]]
    for result in found:
        cells = [_cell(result.figures.get(name)) for name in names]
        reason = "" if failed or not result.failed else f"failed: {result.failed.splitlines()[0][:80]}"
        rows.append([result.created[:16], result.model, result.where, result.target, result.row or "-", *cells, reason])
    _print(rows)
    for result in found if failed else ():
        typer.echo(plain(f"\n{result.where}, {result.model}, {result.created}:\n  {result.failed}"))


@app.command("compare")
def results_compare(
    devices: Annotated[
        list[str] | None, typer.Argument(metavar="DEVICE…", help="Devices, or their names in the fleet; none: all.", show_default=False)
    ] = None,
    model: Model = "",
    target: Target = "",
    figure: Annotated[str, typer.Option("--figure", help="What to compare.")] = "latency_ms",
    store: Store = "",
    as_json: AsJson = False,
) -> None:
    """The last good result of each model on each device, side by side, and its ratio to the first, if the two are alike: both measured,
    with as many threads; shares of the same samples.

    The two were not measured at one time: the interval of the ratio is that of the two, the worst of each. `edgekd bench A B --device D`
    interleaves two models on one device and is sharper.

    \b
    edgekd results compare kitchen-pi desk-jetson --figure latency_ms
    """
    found = _found(store, Query(model, "", target, figure, False, True))
    order = {name: at for at, name in enumerate(devices or [])}
    for name in order:
        if not any(name in (result.label, result.device) for result in found):
            known = ", ".join(dict.fromkeys(result.where for result in found)) or "none has"
            raise InputError(f"no good result with {figure} of {name!r}", where="edgekd results compare", expected=f"devices: {known}")
    chosen = [result for result in found if not order or {result.label, result.device} & order.keys()]
    chosen.sort(
        key=lambda r: (r.model, r.fingerprint, r.row, min(order.get(r.label, len(order)), order.get(r.device, len(order))), r.where)
    )
    document: list[dict[str, Any]] = []
    base: Result | None = None
    for result in chosen:
        if base is None or (base.fingerprint, base.row) != (result.fingerprint, result.row):
            base = result
        unlike = _unlike(result, base, figure)
        ratio, low, high = (None, None, None) if unlike else _ratio(result.figures[figure], base.figures[figure])
        one = {"model": result.model, "fingerprint": result.fingerprint, "row": result.row, "device": result.device, "label": result.label}
        one |= {"target": result.target, "created": result.created, "figure": asdict(result.figures[figure])}
        document.append(one | {"to": base.where, "first": result is base, "ratio": ratio, "low": low, "high": high, "unlike": unlike})
    if as_json:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    if not document:
        typer.echo(f"no results with {figure}")
        return
    ways = Counter((result.fingerprint, result.row) for result in chosen)
    rows = [["MODEL", "WAY", "DEVICE", figure.upper(), "KIND", "RATIO", ""]]
    for one, result in zip(document, chosen, strict=True):
        span = "" if one["low"] is None else f" ({one['low']:.3g}–{one['high']:.3g})"
        alone = ways[result.fingerprint, result.row] == 1
        ratio = "-" if alone or one["ratio"] is None else "1" if one["first"] else f"{one['ratio']:.3g}{span}"
        why = "no other that way" if alone else one["unlike"]
        rows.append([result.model, result.row or "-", result.where, _cell(result.figures[figure]), one["figure"]["kind"], ratio, why])
    _print(rows)


@app.command("calibration")
def results_calibration(
    model: Model = "",
    device: Device = "",
    target: Target = "",
    store: Store = "",
    as_json: AsJson = False,
) -> None:
    """Measured times beside what the latency model had said of them before, from other models' times on the same processor."""
    found = [result for result in _found(store, Query(model, device, target, PREDICTED, False)) if "latency_ms" in result.figures]
    judged = [(result, result.figures[PREDICTED], result.figures["latency_ms"]) for result in found]
    if as_json:
        typer.echo(json.dumps([_calibration(*one) for one in judged], indent=2, ensure_ascii=False))
        return
    if not judged:
        typer.echo("nothing was predicted before it was measured: two models on one device, or more, make a calibration")
        return
    rows = [["WHEN", "MODEL", "DEVICE", "WAY", "PREDICTED", "MEASURED", "ERROR", "IN THE INTERVAL"]]
    for result, said, figure in judged:
        inside = {None: "-", True: "yes", False: "no"}[_inside(said, figure)]
        error = f"{said.value / figure.value - 1:+.0%}"
        rows.append([result.created[:16], result.model, result.where, result.row or "-", _cell(said), _cell(figure), error, inside])
    _print(rows)


@app.command("export")
def results_export(
    file: Annotated[Path, typer.Argument(help=f"Where to: a name that ends in {' or '.join(EXPORTS)}.", show_default=False)],
    model: Model = "",
    device: Device = "",
    target: Target = "",
    newest: Annotated[bool, typer.Option("--newest", help="Only the last of each model on each device.")] = False,
    store: Store = "",
) -> None:
    """All figures of all results, one a line, with what they are of: CSV, or Parquet where pyarrow is installed."""
    from edgekd.lazy import load

    if file.suffix not in EXPORTS:
        raise InputError(f"ending {file.suffix!r}", where=str(file), expected=" or ".join(EXPORTS), mend=f"{file.stem}.csv")
    found = _found(store, Query(model, device, target, newest=newest))
    lines = load(EXPORTS[file.suffix])(found, file)
    typer.echo(f"{file}: {lines} lines of {len(found)} results")


def _found(store: str, query: Query) -> list[Result]:
    from edgekd.lazy import load

    engine = load("edgekd.store.tables:existing")(store)
    return [] if engine is None else load("edgekd.store.results:find")(engine, query)


def _document(result: Result) -> dict[str, Any]:
    return asdict(result) | {"ok": not result.failed}


def _calibration(result: Result, said: Figure, figure: Figure) -> dict[str, Any]:
    about = {"model": result.model, "device": result.where, "row": result.row, "created": result.created}
    judged = {"error": said.value / figure.value - 1, "inside": _inside(said, figure)}
    return {**about, "predicted": asdict(said), "measured": asdict(figure), **judged}


def _inside(said: Figure, figure: Figure) -> bool | None:
    return None if said.low is None or said.high is None else said.low <= figure.value <= said.high


def _unlike(result: Result, base: Result, name: str) -> str:
    """Why the two figures say nothing beside each other; "" if they do. Threads stand at the end of where a time was measured."""
    one, other = result.figures[name], base.figures[name]
    if one.kind != other.kind:
        return f"{one.kind}, not {other.kind}"
    if one.unit != other.unit:
        return f"{one.unit}, not {other.unit}"
    if one.unit == "share" and result.inputs != base.inputs:
        return f"of {result.inputs or 'other samples'}, not {base.inputs or 'of those'}"
    here, there = _THREADS.search(one.where), _THREADS.search(other.where)
    if here and there and here[1] != there[1]:
        return f"{here[1]} threads, not {there[1]}"
    return ""


def _ratio(figure: Figure, base: Figure) -> tuple[float | None, float | None, float | None]:
    """And its interval, where both figures have one."""
    if not base.value:
        return None, None, None
    if figure.low is None or figure.high is None or not base.low or not base.high:
        return figure.value / base.value, None, None
    return figure.value / base.value, figure.low / base.high, figure.high / base.low


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    style = ".2%" if figure.unit == "share" else ",.4g" if figure.unit in ("ms", "µJ") else ",.0f"
    value = f"{figure.value:{style}}" + ("" if figure.unit == "share" else f" {figure.unit}")
    span = "" if figure.low is None or figure.high is None else f" ({figure.low:{style}}–{figure.high:{style}})"
    return f"{value}{span}" + ("" if figure.kind in ("measured", "counted") else f" {figure.kind}")


def _print(rows: list[list[str]]) -> None:
    """A table. Names and messages come from files and devices: they must not steer a terminal."""
    rows = [[" ".join(plain(cell).split("\n")) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
