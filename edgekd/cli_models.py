"""The commands of the registry: models add, list, show, promote, rollback, path. cli.py lists the group."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgekd.registry.history import Event, Model, Store

app = typer.Typer(no_args_is_help=True, help="The registry of releases: add, list, show, promote, roll back.")

StoreAt = Annotated[str, typer.Option("--store", help="A folder, or mlflow:URI; else $EDGEKD_MODELS, else one in the user's data folder.")]
By = Annotated[str, typer.Option("--by", help="Who does it; else the user's name.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
Which = Annotated[str, typer.Argument(metavar="NAME[@VERSION|@STAGE]", show_default=False)]


@app.command("add")
def models_add(
    release: Annotated[Path, typer.Argument(metavar="RELEASE", help="A folder that `edgekd release` made.", show_default=False)],
    store: StoreAt = "",
    by: By = "",
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Take in a release: every file is verified, and copied. A version that is there never changes.

    \b
    edgekd models add releases/clothes-pixel-8-1.4.0
    """
    from edgekd.registry.history import Who
    from edgekd.released import load

    model, new = _open(store).add(release, Who(by, reason))
    event = model.versions[load(release).manifest["version"]]
    _changed(model, event, new, as_json, f"{model.name} {event.version} added", f"{model.name} {event.version} is there already")


@app.command("list")
def models_list(store: StoreAt = "", as_json: AsJson = False) -> None:
    """All models: their versions, and which is in which stage."""
    found = _open(store).models()
    if as_json:
        typer.echo(json.dumps([_document(model) for model in found], indent=2, ensure_ascii=False))
        return
    rows = [["MODEL", "VERSIONS", "LAST", "STAGING", "PRODUCTION"]]
    for model in found:
        last = next(reversed(model.versions))
        rows.append([model.name, str(len(model.versions)), last, *(model.stages.get(stage, "-") for stage in ("staging", "production"))])
    if found:
        _print(rows)
    else:
        typer.echo("no models; edgekd models add RELEASE")


@app.command("show")
def models_show(which: Which, store: StoreAt = "", as_json: AsJson = False) -> None:
    """A model's versions, stages and history; or one version, verified, with what was measured of it.

    \b
    edgekd models show clothes-pixel-8
    edgekd models show clothes-pixel-8@production
    """
    name, _, wanted = which.partition("@")
    opened = _open(store)
    model = opened.model(name)
    if "@" in which:
        _show_version(opened, model, wanted, as_json)
        return
    if as_json:
        typer.echo(json.dumps(_document(model), indent=2, ensure_ascii=False))
        return
    marks = {version: [stage for stage, there in model.stages.items() if there == version] for version in model.versions}
    typer.echo(model.name)
    _print([["", version, _text(event.at), _text(event.by), ", ".join(marks[version])] for version, event in model.versions.items()])
    typer.echo("history")
    _print([["", _text(event.at), _text(event.by), _said(event), _text(event.reason)] for event in model.events])


@app.command("promote")
# size: to typer one function is one command, and a parameter is an option.
def models_promote(
    name: Name,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Or a stage: what is there now.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="staging or production.", show_default=False)],
    gate: Annotated[
        Path | None, typer.Option("--gate", help="What `edgekd gate … --json` said: it must have passed, for this model.")
    ] = None,
    store: StoreAt = "",
    by: By = "",
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Put a version in a stage. Refused, with exit code 1, where a file of it changed, or where --gate did not pass.

    \b
    edgekd models promote clothes-pixel-8 1.4.0 --to production --gate gate.json --reason "new stem"
    """
    from edgekd.registry.history import Who

    model, new = _open(store).promote(name, version, to, Who(by, reason), gate)
    there = f"{name} {model.stages[to]} is in {to}"
    _changed(model, model.events[-1], new, as_json, there, f"{there} already")


@app.command("rollback")
def models_rollback(
    name: Name,
    stage: Annotated[str, typer.Option("--stage", help="staging or production.")] = "production",
    store: StoreAt = "",
    by: By = "",
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Return to the version that was in the stage before; that is recorded as well."""
    from edgekd.registry.history import Who

    model = _open(store).rollback(name, stage, Who(by, reason))
    event = model.events[-1]
    _changed(model, event, True, as_json, f"{name} {event.version} is in {stage} again; {event.replaced} was", "")


@app.command("path")
def models_path(which: Which, store: StoreAt = "") -> None:
    """Print the folder of a release after verifying every file of it: for scripts.

    \b
    cp -r "$(edgekd models path clothes-pixel-8@production)/android" app/
    """
    from edgekd.errors import InputError

    name, _, wanted = which.partition("@")
    if not wanted:
        raise InputError(which, where="edgekd models path", expected="NAME@VERSION or NAME@STAGE", mend=f"{name}@production")
    typer.echo(_open(store).path(name, wanted))


def _open(store: str) -> Store:
    from edgekd.lazy import load
    from edgekd.registry import FOLDER, STORES
    from edgekd.registry.folder import default_folder

    kind, colon, rest = store.partition(":")
    if colon and kind in STORES:
        return load(STORES[kind])(rest)
    return load(FOLDER)(Path(store) if store else default_folder())


def _show_version(opened: Store, model: Model, wanted: str, as_json: bool) -> None:
    from edgekd.records import digits
    from edgekd.released import load

    version = model.find(wanted)
    released = load(opened.path(model.name, version))
    manifest, figures = released.manifest, released.figures
    stages = [stage for stage, there in model.stages.items() if there == version]
    if as_json:
        document = {"name": model.name, "version": version, "stages": stages, "path": str(released.folder), "manifest": dict(manifest)}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    event = model.versions[version]
    rows = [["release", f"{model.name} {version}"], ["stages", ", ".join(stages) or "-"], ["target", _text(manifest["target"])]]
    rows += [["added", _text(f"{event.at} by {event.by}")], ["formats", _text(", ".join(map(str, manifest["formats"])))]]
    rows += [["signature", "there; edgekd release verify --public-key says whether it is good" if released.signed else "-"]]
    rows += [
        [_text(name), f"{figure.value:.2%}" if figure.unit == "share" else _text(f"{digits(figure.value)} {figure.unit}, {figure.kind}")]
        for name, figure in figures.items()
        if name.startswith(("accuracy", "worst_class", "latency_ms", "model_bytes", "peak_ram_bytes"))
    ]
    rows += [["files", f"{len(manifest['files'])}, as they were released"], ["path", str(released.folder)]]
    _print(rows)


def _changed(model: Model, event: Event, new: bool, as_json: bool, done: str, there: str) -> None:
    if as_json:
        typer.echo(json.dumps({"changed": new, "event": asdict(event), **_document(model)}, indent=2, ensure_ascii=False))
    else:
        typer.echo(done if new else there)


def _document(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "versions": {version: asdict(event) for version, event in model.versions.items()},
        "stages": model.stages,
        "history": [asdict(event) for event in model.events],
    }


def _said(event: Event) -> str:
    if event.kind == "add":
        return f"added {event.version}"
    gate = ", gate passed" if event.gate else ""
    verb = "promoted" if event.kind == "promote" else "rolled back"
    return f"{verb} {event.stage}: {event.replaced or 'nothing'} → {event.version}{gate}"


def _text(text: Any) -> str:
    """What is no letter must not steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in str(text))


def _print(rows: list[list[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
