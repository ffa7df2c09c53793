"""The commands that make students: teach, build, verify, report. cli.py lists them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekd.cli_convert import SamplesFile, verify_layers, verify_models
from edgekd.errors import InputError, plain
from edgekd.lazy import load

if TYPE_CHECKING:
    from edgekd.building import How
    from edgekd.pipeline import Request
    from edgekd.team import Team

RecipePath = Annotated[
    str, typer.Argument(metavar="RECIPE", help="Folder with a recipe.toml, such a file, or the name of one that comes with edgekd.")
]
Targets = Annotated[list[str], typer.Option("--target", "-t", help="A target's name or file; may be repeated. See: edgekd targets list")]
Patterns = Annotated[
    list[str], typer.Option("--target", "-t", help="A target's name, file, or quoted pattern ('mcu/*', 'targets/**'); may be repeated.")
]
PresetName = Annotated[str, typer.Option("--preset", help="Which of the recipe's schedules.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Same seed, same student on the same machine.")]
Seeds = Annotated[
    list[int] | None,
    typer.Option("--seed", min=0, max=2**32 - 1, help="Same seed, same student on the same machine; repeated: one each. [default: 0]"),
]
Budgets = Annotated[
    list[str] | None, typer.Option("--budget", help="NAME=LIMIT: model_bytes, peak_ram_bytes, max_macs, latency_ms or accuracy_drop_pp.")
]
Threads = Annotated[
    int,
    typer.Option(min=0, help="Threads for training, workers for verification. 0: one a core; training heeds OMP_NUM_THREADS first."),
]
RunPaths = Annotated[list[Path], typer.Argument(metavar="RUN…", help="Run folders that `edgekd build` made.", show_default=False)]
Subjects = Annotated[
    list[Path],
    typer.Argument(metavar="RUN… or FILE…", help="Runs of `edgekd build` or `quantize`, or model files, the first of them the model.",
                   show_default=False),
]  # fmt: skip
Root = Annotated[Path, typer.Option("--runs", help="Where run folders lie.")]
StudentFile = Annotated[
    str,
    typer.Option(metavar="PATH", help="Another student than the recipe's: a file with a \\[student], or a folder of them, one a target.",
                 show_default=False),
]  # fmt: skip
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]


def teach(
    recipe: RecipePath,
    fresh: Annotated[
        bool, typer.Option(help="Train anew, even where the teacher is there already or an interrupted training could go on.")
    ] = False,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Train the recipe's teacher, or each of several, and store the checkpoint beside the recipe. An interrupted training goes on."""
    from edgekd import console, pipeline

    with console.bars() as bars:
        try:
            records = pipeline.teach(recipe, bars, fresh=fresh, threads=threads)
        except KeyboardInterrupt as error:
            raise console.interrupted(f"edgekd teach {shlex.quote(recipe)}") from error
    if as_json:
        typer.echo(json.dumps(records[0] if len(records) == 1 else records, indent=2))
        return
    for record in records:
        accuracy = record["figures"]["accuracy"]
        typer.echo(f"{record['config']['checkpoint']}: {accuracy['value']:.2%} of {accuracy['n']} test images")


# size: to typer one function is one command, and a parameter is an option.
def build(
    recipe: RecipePath,
    target: Patterns,
    preset: PresetName = "demo",
    seed: Seeds = None,
    budget: Budgets = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a build that was begun before, at its first stage that is not done.")
    ] = False,
    student: StudentFile = "",
    runs: Root = Path("runs"),
    threads: Threads = 0,
    jobs: Annotated[
        int, typer.Option(min=0, help="Targets at once, each in a process of its own, with one thread if --threads says no other.")
    ] = 0,
    engine: Annotated[str, typer.Option(help="local: on this machine; ray: on a cluster that shares folders.")] = "local",
    ray_address: Annotated[str, typer.Option(metavar="A", help="Of the Ray cluster; none: one of this machine.", show_default=False)] = "",
    mlflow: Annotated[
        str, typer.Option(metavar="URI", help="Log trainings in this MLflow server, database or folder too.", show_default=False)
    ] = "",
    as_json: Json = False,
) -> None:
    """Plan, train, export, verify and measure one student a target. Exit code 1 if a runtime disagrees or a budget is exceeded.

    edgekd build RECIPE --target nucleo-u575zi --target raspberry-pi-5 --budget model_bytes=100000

    edgekd build RECIPE --target 'targets/**' --jobs 4

    One target that fails stops no other; one that a pattern found and that cannot be built is left out. Both are said at the end.
    """
    from edgekd import building, console
    from edgekd.profile.pattern import expand

    with _team() as here, console.bars(silent=not here.leads) as bars:
        targets, optional = here.first(lambda: expand(target))
        seeds = tuple(dict.fromkeys(seed or [0]))
        how = building.How(optional, resume, jobs, engine, ray_address, seeds)
        request = replace(request_of(recipe, list(targets), preset, seeds[0], budget, threads), mlflow=mlflow, student=student)
        ways = {"progress": bars, "detail": bars.detail, "warning": lambda text: bars.say(f"edgekd: {bars.prefix}{text}")}

        def tell(name: str, kind: str, values: tuple[Any, ...]) -> None:
            bars.prefix = f"{name}: " if name else ""
            ways[kind](*values)

        try:
            outcomes = building.build(request, runs, how, tell)
        except KeyboardInterrupt as error:
            raise console.interrupted(_command(replace(request, targets=tuple(target)), runs, how)) from error
    if not here.leads:
        return
    failed, worst = [outcome for outcome in outcomes if outcome.said], 0
    try:
        if done := [outcome.run for outcome in outcomes if outcome.run is not None and not outcome.said]:
            _show(done, as_json)
        elif as_json:
            typer.echo("[]")
    except typer.Exit as verdict:  # of those that were built
        worst = verdict.exit_code
    finally:
        for outcome in failed:
            typer.echo(plain(f"edgekd: {outcome.target}: {'left out: ' if outcome.run is None else ''}{outcome.said}"), err=True)
    if worst := max([worst, *(outcome.exit_code if outcome.run else 1 for outcome in failed)]):
        raise typer.Exit(worst)


@contextmanager
def _team() -> Generator[Team]:
    """This process alone, or one of those that torchrun has started; of these one says what went wrong."""
    from edgekd import team

    if not team.asked():
        yield team.here()
        return
    try:
        with load("edgekd.train.ranks:joined")() as here:
            yield here
    except team.Parted as error:
        raise typer.Exit(error.exit_code) from error


def verify(
    run: Subjects,
    samples: SamplesFile = None,
    layers: Annotated[bool, typer.Option("--layers", help="Compare every tensor, layer by layer, on a few samples.")] = False,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Run exported files in their runtimes, against the reference: those of runs over the whole test set, or any files over samples.

    edgekd verify runs/clothes-nucleo-1a2b3c     edgekd verify model.qdq.onnx model.tflite model.xml --samples data.npz

    Of files the first (.tflite, .onnx or a saved graph) is the model, and every one must compute the same; so must the files in a folder
    that `edgekd quantize` filled. Without samples, inputs are random. Exit code 1 if a runtime disagrees.
    """
    from edgekd import console, pipeline
    from edgekd.convert import models_of

    models = models_of(run)
    if layers:
        verify_layers(models or run, samples, threads, as_json, files=bool(models))
        return
    if models:
        verify_models(models, samples, threads, as_json)
        return
    if samples is not None:
        raise InputError(f"--samples {samples}", where="edgekd verify", expected="model files with it; a run has its recipe's test set")
    with console.bars() as bars:
        verdicts = {str(folder): pipeline.verify_again(folder, bars, threads=threads) for folder in run}
    if as_json:
        typer.echo(json.dumps({name: [asdict(v) for v in found] for name, found in verdicts.items()}, indent=2))
    else:
        for name, found in verdicts.items():
            for v in found:
                first = f"; first at {v.first_layer}" if v.first_layer else ""
                typer.echo(f"{name}  {v.runtime:<15} {'ok' if v.ok else 'NO'}  {v.reason}{first}")
    if not all(v.ok for found in verdicts.values() for v in found):
        raise typer.Exit(1)


def report(
    run: RunPaths,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page too: one file that holds all it shows.", show_default=False)
    ] = None,
    store: Annotated[
        str, typer.Option(help="The page's store of measurements: a file (SQLite) or a URL; else $EDGEKD_STORE, else the usual one.")
    ] = "",
    as_json: Json = False,
) -> None:
    """The table of runs again, from their records alone; with --html a page, too.

    edgekd report runs/clothes-* --html report.html
    """
    if html is not None:
        size = load("edgekd.report.page:write")(run, html, store)
        typer.echo(f"{html}: {size / 1e6:.2f} MB", err=True)
    _show(run, as_json)


def _show(folders: list[Path], as_json: bool) -> None:
    from rich.console import Console

    from edgekd.report import documents, rows, table

    if as_json:
        found = documents(folders)
        typer.echo(json.dumps(found, indent=2))
    else:
        found = rows(folders)
        Console(width=None if Console().is_terminal else 160).print(table(folders))
        for folder in folders:
            typer.echo(plain(str(folder)))
    if any(row["ok"] is False for row in found):
        raise typer.Exit(1)


def request_of(recipe: str, target: list[str], preset: str, seed: int, budget: list[str] | None, threads: int) -> Request:
    """What a command line asks for. Raises InputError for a budget that is none."""
    from edgekd.pipeline import Request

    return Request(recipe, tuple(dict.fromkeys(target)), preset, seed, _limits(budget or []), threads)


def _limits(texts: list[str]) -> dict[str, float]:
    limits: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            limits[name] = float(value.replace("_", ""))
        except ValueError:
            equals = ""
        if not equals or not name:
            raise InputError(f"--budget {text!r}", where="command line", expected="NAME=LIMIT", mend="--budget model_bytes=65536")
    return limits


def _command(request: Request, runs: Path, how: How | None = None) -> str:
    """The command that goes on with a build."""
    words = ["edgekd", "build", request.recipe]
    for target in request.targets:
        words += ["--target", target]
    words += ["--preset", request.preset]
    words += [word for seed in (how and how.seeds) or (request.seed,) for word in ("--seed", str(seed))]
    words += ["--runs", str(runs), "--resume"]
    # Every digit: another limit would be another build.
    words += [word for name, limit in request.overrides.items() for word in ("--budget", f"{name}={limit!r}")]
    words += ["--threads", str(request.threads)] if request.threads else []
    words += ["--mlflow", request.mlflow] if request.mlflow else []
    words += ["--student", request.student] if request.student else []
    if how is not None:
        words += ["--jobs", str(how.jobs)] if how.jobs else []
        words += ["--engine", how.engine] if how.engine != "local" else []
        words += ["--ray-address", how.address] if how.address else []
    return load("edgekd.team:launcher")() + shlex.join(words)


COMMANDS: dict[str, Any] = {"teach": teach, "build": build, "verify": verify, "report": report}
