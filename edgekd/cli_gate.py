"""The command `gate`: may this student replace the one before it? cli.py lists it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from edgekd.gate.judge import Interleaved, Judgement
    from edgekd.records import Figure

_COLOURS = {"pass": "green", "fail": "red", "unknown": "yellow", "waived": "cyan"}
_LOG_WIDTH = 160
_SAID = {"pass": "PASS", "fail": "FAIL", "unknown": "NOT JUDGED"}


# size: to typer one function is one command, and a parameter is an option.
def gate(
    subject: Annotated[Path, typer.Argument(metavar="RUN", help="A run, or a release.", show_default=False)],
    baseline: Annotated[
        Path | None,
        typer.Option("--baseline", "-b", help="The run or release before it. Without one nothing can be compared: exit code 2."),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", "-d", help="Judge latency by measuring both files in turn there: host, ssh:…, adb:….")
    ] = "",
    waivers: Annotated[Path | None, typer.Option("--waivers", help="A file of waivers (TOML).")] = None,
    tolerance: Annotated[list[str] | None, typer.Option("--tolerance", help="NAME=VALUE, e.g. latency=0.2; several.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML there as well.")] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, max=86_400, help="With --device: of timing for each file; 0: as bench does.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")] = False,
) -> None:
    """Whether a run or release may replace its baseline. Exit code 0: yes; 1: no; 2: it could not be judged.

    \b
    edgekd gate runs/clothes-pixel-8-… --baseline releases/clothes-pixel-8-1.3.0 --junit gate.xml
    edgekd gate releases/clothes-pixel-8-1.4.0 --baseline releases/clothes-pixel-8-1.3.0 --device adb:SERIAL
    edgekd gate RUN --baseline R --waivers waivers.toml --tolerance latency=0.2

    Judged: files and records unchanged, every runtime computes what it must, budgets; and against the baseline accuracy (−0.3 pp), the
    recall of each class (−2 pp), latency (+10 %, with both intervals), file size and peak RAM (+2 %). See docs/gate.md.
    """
    from edgekd.errors import InputError
    from edgekd.gate import waivers as waiver_file
    from edgekd.gate.check import tolerances
    from edgekd.gating import gate as judged
    from edgekd.outputs import check
    from edgekd.released import is_release

    if junit is not None:
        check(junit, "--junit", b"<testsuites", not_in=[folder for folder in (subject, baseline) if folder and is_release(folder)])
    in_force = tolerances(tolerance or [])
    waived = waiver_file.load(waivers) if waivers is not None else ()
    if device and baseline is None:
        raise InputError("--device without --baseline", where="edgekd gate", expected="two files to measure in turn")
    interleaved = _in_turn(subject, baseline, device, seconds) if device and baseline is not None else None
    found = judged(subject, baseline, in_force, waived, today=waiver_file.today(), interleaved=interleaved)
    if junit is not None:
        _write_junit(found, junit)
    if as_json:
        typer.echo(json.dumps(found.document(), indent=2, ensure_ascii=False))
    else:
        _print(found)
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def _in_turn(subject: Path, baseline: Path, device: str, seconds: float) -> Interleaved:
    from edgekd import console
    from edgekd.gating import in_turn, read

    for folder in (subject, baseline):
        read(folder)  # what is wrong with one is said before a device is kept busy
    with console.bars() as bars:
        return in_turn(subject, baseline, device, seconds, bars)


def _write_junit(found: Judgement, path: Path) -> None:
    from datetime import UTC, datetime

    from edgekd.gate.junit import write
    from edgekd.runs import atomic_write

    atomic_write(path, write(found, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")))


def _print(found: Judgement) -> None:
    """The verdict first, then what led to it, the worst first."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:  # a log has no width; rich would take 80
        console = Console(width=_LOG_WIDTH)
    subject, baseline = found.subject, found.baseline
    colour = _COLOURS[found.verdict]
    which = " ".join(part for part in (subject.name, subject.version) if part)
    against = f"against {baseline.where}" if baseline else "without a baseline"
    _line(console, f"[bold {colour}]{_SAID[found.verdict]}[/]  {escape(_plain(f'{which} for {subject.target}, {against}'))}")
    table = Table(expand=False, pad_edge=False, box=None, padding=(0, 2, 0, 0))
    for heading in ("", "check", "found", "baseline"):
        table.add_column(heading, no_wrap=True)
    table.add_column("", overflow="fold")
    order = {"fail": 0, "unknown": 1, "waived": 2, "pass": 3}
    for check in sorted(found.checks, key=lambda check: order[check.status]):
        status = f"[{_COLOURS[check.status]}]{check.status}[/]"
        table.add_row(status, escape(_plain(check.name)), _figure(check.found), _figure(check.baseline), escape(_plain(check.message)))
    console.print(table, highlight=False)
    for name, value in found.overridden.items():
        _line(console, f"tolerance {name} = {value:g}: set on the command line, the default is {_default(name):g}")
    for one in found.unused:
        _line(
            console, escape(_plain(f"unused waiver: {one.check} of {one.owner}, expires {one.expires}: what it waives passes; delete it"))
        )
    for note in found.notes:
        _line(console, escape(f"note: {_plain(note)}"))


def _line(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)


def _default(name: str) -> float:
    from edgekd.gate.check import TOLERANCES

    return TOLERANCES[name]


def _figure(figure: Figure | None) -> str:
    from rich.markup import escape

    if figure is None:
        return ""
    if figure.unit == "share":
        return f"{figure.value:.2%}" if abs(figure.value) <= 1 else f"{figure.value:.4g}"
    mark = {"emulated": "*", "predicted": "~"}.get(figure.kind, "")
    if figure.unit in ("B", "MAC") and abs(figure.value) < 1e15:  # beyond, no digit is worth its column
        return f"{figure.value:,.0f} {figure.unit}{mark}"
    return escape(_plain(f"{figure.value:,.4g} {figure.unit}{mark}"))


def _plain(text: str) -> str:
    """What is no letter must not steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


COMMANDS = {"gate": gate}
