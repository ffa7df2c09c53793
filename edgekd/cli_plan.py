"""The command that says which student fits a target, and searches for a better one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekd import host
from edgekd.cli_build import Budgets, Json, PresetName, RecipePath, Root, Seed, StudentFile, Targets, Threads, request_of
from edgekd.errors import InputError, plain
from edgekd.lazy import load

if TYPE_CHECKING:
    from rich.console import Console

    from edgekd.jobs import Request
    from edgekd.plan.halving import Rungs
    from edgekd.plan.search import Candidate
    from edgekd.records import Plan
    from edgekd.searching import Searched
    from edgekd.worker import Outcome

PASSES = "0.5,1.5"
Trials = Annotated[int, typer.Option(min=1, help="With --search: students to count and score, none of them trained.")]
Trained = Annotated[
    int, typer.Option(min=2, max=100_000, help="With --search: students that are trained for one target; for six 2.5 times as many.")
]
Passes = Annotated[
    str | None,
    typer.Option(
        metavar="P,P,…", show_default=PASSES, help="With --search: passes of the short trainings; a third of each round goes into the next."
    ),
]

Supernet = Annotated[
    float,
    typer.Option(min=0, max=1e5, help="With --search: passes of one supernet; students are cut out of it, not trained. 0: none."),
]

Engine = Annotated[str, typer.Option(help="With --search: local: this process; ray: also tasks on a cluster that shares folders.")]
RayAddress = Annotated[str, typer.Option(metavar="A", help="Of the Ray cluster; none: one of this machine.", show_default=False)]


# size: to typer one function is one command, and a parameter is an option.
def plan(
    recipe: RecipePath,
    target: Targets,
    search: Annotated[bool, typer.Option("--search", help="Search for students that are more accurate under the same budgets.")] = False,
    trials: Trials = 300,
    trained: Trained = 12,
    passes: Passes = None,
    supernet: Supernet = 0.0,
    preset: PresetName = "demo",
    seed: Seed = 0,
    budget: Budgets = None,
    student: StudentFile = "",
    runs: Root = Path("runs"),
    threads: Threads = 0,
    engine: Engine = "local",
    ray_address: RayAddress = "",
    as_json: Json = False,
) -> None:
    """Which student fits, and what it uses of each budget. Exit code 1 if none fits, or if one that a pattern found is left out.

    edgekd plan RECIPE --target pixel-8     edgekd plan RECIPE --target 'mcu/*' --target pixel-8 --search

    With --search, students of the recipe's families are drawn, counted and scored for all targets at once, and the most promising trained
    briefly. What is found is kept: the same command goes on where it was, and `edgekd build … --student FOLDER` builds what it found.
    """
    from edgekd import building, console
    from edgekd.profile.pattern import expand

    targets, optional = expand(target)
    request = replace(request_of(recipe, list(targets), preset, seed, budget, threads), student=student)
    if not search:
        if engine != "local" or ray_address:
            raise InputError("--engine or --ray-address", where="command line", expected="--search with it: a plan alone is made here")
        with console.bars() as bars:
            plans, left_out = building.planned(request, optional, bars)
        _tell([plan for _, _, plan in plans], left_out, as_json)
        return
    from edgekd import searching

    if supernet and passes is not None:
        raise InputError(
            "--passes beside --supernet",
            where="command line",
            expected="one of the two",
            mend="delete --passes: no student is trained by itself",
        )
    if engine not in ("local", "ray") or (ray_address and engine == "local"):
        raise InputError(f"--engine {engine}", where="command line", expected="local, or ray, with or without --ray-address")
    if engine == "ray":
        request = replace(request, threads=host.threads(request.threads, 1))  # whoever trains, the same bits
    rungs = _rungs(trained, PASSES if passes is None else passes)
    with console.bars() as bars:
        try:
            asked = {"request": asdict(request), "root": str(runs), "trials": trials, **asdict(rungs), "supernet": supernet}
            with load("edgekd.cluster:along")(json.dumps(asked), request.threads, 0, ray_address) if engine == "ray" else nullcontext():
                found = searching.search(request, runs, bars, trials=trials, rungs=rungs, supernet=supernet)
        except KeyboardInterrupt as error:
            how = ("--supernet", f"{supernet:g}") if supernet else ("--passes", ",".join(f"{p:g}" for p in rungs.passes))
            how += ("--engine", engine, *(("--ray-address", ray_address) if ray_address else ())) if engine == "ray" else ()
            raise console.interrupted(shlex.join([*_command(request, runs, trials, rungs.first), *how])) from error
    if as_json:
        typer.echo(json.dumps(found.document(), indent=2))
    else:
        _show(found)


def _tell(plans: Sequence[Plan], left_out: Sequence[Outcome], as_json: bool) -> None:
    from edgekd.plan.choose import explain

    typer.echo(json.dumps([asdict(plan) for plan in plans], indent=2) if as_json else "\n".join(map(explain, plans)))
    for outcome in left_out:
        typer.echo(plain(f"edgekd: {outcome.target}: left out: {outcome.said}"), err=True)
    if left_out:
        raise typer.Exit(1)


def _rungs(trained: int, passes: str) -> Rungs:
    from edgekd.plan.halving import Rungs

    try:
        each = tuple(float(text) for text in passes.split(","))
    except ValueError:
        each = ()
    if not each or any(not 0 < p < 1e6 for p in each) or sorted(set(each)) != list(each):
        raise InputError(f"--passes {passes!r}", where="command line", expected="rising numbers above 0", mend="--passes 0.5,1.5")
    return Rungs(trained, each)


def _command(request: Request, runs: Path, trials: int, trained: int) -> list[str]:
    words = ["edgekd", "plan", request.recipe, *(word for target in request.targets for word in ("--target", target)), "--search"]
    words += ["--trials", str(trials), "--trained", str(trained)]
    words += ["--preset", request.preset, "--seed", str(request.seed), "--runs", str(runs)]
    words += [word for name, limit in request.overrides.items() for word in ("--budget", f"{name}={limit!r}")]
    words += ["--student", request.student] if request.student else []
    return [*words, *(["--threads", str(request.threads)] if request.threads else [])]


def _show(found: Searched) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "target",
        "student",
        "validation, %",
        "passes",
        "MAC",
        "parameters",
        title=f"searched: validation of {found.n:,} samples, float, seed {found.seed}",
        show_lines=True,
    )
    for one in found.found:
        for name, t in (("as planned", one.own), ("found", one.best)):
            if t is None:
                table.add_row(one.target, f"{name}: of other kin than the supernet", "not compared", "", "", "")
                continue
            passes, accuracy = t.last
            kept = " (nothing better)" if name == "found" and one.own and one.best.candidate.name == one.own.candidate.name else ""
            cells = (f"{100 * accuracy:.2f}", f"{passes:g}", f"{t.candidate.macs:,}", f"{t.candidate.parameters:,}")
            table.add_row(one.target, f"{name}: {t.candidate.family} {t.candidate.name}{kept}{_fed(t.candidate)}", *cells)
    console = _wide(Console)
    console.print(table)
    agrees = "not known" if found.score_agrees is None else f"{found.score_agrees:+.2f}"
    console.print(f"{found.counted} students counted, {found.trained} trained; rank correlation of score and accuracy: {agrees}")
    console.print("one seed, float, short, the best of many: by itself too high. Builds of both over several seeds tell.")
    targets = " ".join(f"--target {one.target}" for one in found.found)
    console.print(f"\nedgekd build {shlex.quote(found.recipe)} {targets} --student {shlex.quote(str(found.folder))}", soft_wrap=True)


def _fed(candidate: Candidate) -> str:
    """The features that a student is fed, and what they cost beside it."""
    if not candidate.front_end_work:
        return ""
    changed = ", ".join(f"{name} {value:g}" for name, value in candidate.front_end.items()) or "the recipe's own"
    return f"\nfront-end: {changed}; {candidate.front_end_work:,} multiplications"


def _wide(console: type[Console]) -> Console:
    return console(width=None if console().is_terminal else 160, highlight=False, markup=False)


COMMANDS: dict[str, Any] = {"plan": plan}
