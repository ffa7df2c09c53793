"""`edgekd bench` and the store: one device, or what a fleet prints, and its exit code."""

from __future__ import annotations

import json
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from edgekd.bench import Benched, Wanted
    from edgekd.fleet.run import Outcome
    from edgekd.measure.device import Progress

#: Figures of a line, in this order.
_SHOWN = ("latency_ms", "accuracy", "bit_equal")
#: In a URL: between the user's name and the host; behind the ?, what is called a password.
_PASSWORDS = (re.compile(r"(://[^/@:]*:).*(?=@)"), re.compile(r"([?&][^=&]*(?:pass|pwd|secret|token)[^=&]*=)[^&]*", re.IGNORECASE))


def bench_one(wanted: Wanted, store: str, progress: Progress) -> Benched:
    """Measure on one device, and store it. Without the store's library it is measured all the same and said, unless ``store`` names one."""
    from edgekd.bench import bench
    from edgekd.errors import MissingDependency
    from edgekd.lazy import load

    try:
        stored = load("edgekd.fleet.bench:bench_stored")
    except MissingDependency as error:
        if store:
            raise
        typer.echo(f"edgekd: not stored: {error}", err=True)
        return bench(wanted, progress)
    done, lost = stored(wanted, store, progress)
    if lost:
        typer.echo(f"edgekd: not stored: {lost}", err=True)
    return done


def bench_fleet(wanted: Sequence[Wanted], file: Path, store: str, again: bool, as_json: bool) -> None:
    """Measure on all devices of ``file``. Exits with 1 where one failed; its results, and those of all others, are in the store."""
    from edgekd import console
    from edgekd.bench import Wanted
    from edgekd.errors import InputError, plain
    from edgekd.fleet import file as fleet_file
    from edgekd.lazy import load

    if any(one.target or one.device != Wanted.device or one.keep for one in wanted):
        raise InputError("--device, --target or --keep", where="edgekd bench --fleet", expected=f"devices and targets in {file}")
    fleet = fleet_file.load(file)
    run = load("edgekd.fleet.bench:bench_fleet")
    try:
        outcomes = run(wanted, fleet, store, again, lambda outcome: typer.echo(plain(_line(outcome)), err=as_json), _waiting)
    except KeyboardInterrupt as error:
        ended = console.interrupted(_command(sys.argv[1:]))
        ended.exit_code = 128 + (error.args[0] if error.args else signal.SIGINT)
        raise ended from None
    states = [outcome.state for outcome in outcomes]
    if as_json:
        document = {"fleet": fleet.name, "outcomes": [_document(outcome) for outcome in outcomes], "ok": "failed" not in states}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        counts = f"{states.count('done')} measured, {states.count('there')} there already, {states.count('failed')} failed"
        typer.echo(f"{fleet.name}: {len(fleet.devices)} devices: {counts}")
    if "failed" in states:
        same = "the same command without --again" if again else "the same command again"
        typer.echo(f"edgekd: {same} tries what failed, and only that: {', '.join(_failed(outcomes))}", err=True)
        raise typer.Exit(1)


def _waiting(names: Sequence[str]) -> None:
    """A device that is left in the middle would keep its lock, and its times would be lost."""
    if names:
        typer.echo(f"edgekd: nothing more is started; waiting for {', '.join(names)}", err=True)


def _command(arguments: Sequence[str]) -> str:
    """The command line, with the passwords of a store's URL left out."""
    for hidden in _PASSWORDS:
        arguments = [hidden.sub(r"\1***", text) for text in arguments]
    return shlex.join(["edgekd", *arguments])


def _line(outcome: Outcome) -> str:
    name = f"{outcome.member.name}, {outcome.order.name}: "
    if outcome.state == "there":
        return f"{name}in the store already (--again measures it anew)"
    if outcome.state == "failed":
        return f"{name}failed: {outcome.failed}"
    again = f" (tried {outcome.tries} times)" if outcome.tries > 1 else ""
    parts = []
    for result in outcome.results:
        figures = [f"{key} {figure.value:.4g} {figure.unit}" for key in _SHOWN if (figure := result.figures.get(key))]
        parts.append(f"{result.row}: {', '.join(figures) or 'done'}")
    return name + "; ".join(parts) + again


def _failed(outcomes: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(outcome.member.name for outcome in outcomes if outcome.state == "failed"))


def _document(outcome: Outcome) -> dict[str, Any]:
    return {
        "device": outcome.member.name,
        "address": outcome.member.device,
        "target": outcome.member.target,
        "model": outcome.order.name,
        "fingerprint": outcome.order.fingerprint,
        "state": outcome.state,
        "tries": outcome.tries,
        "failed": outcome.failed,
        "results": [asdict(result) for result in outcome.results] if outcome.state == "done" else [],
    }
