"""The command that looks at a recipe before anything is trained: advise. cli.py lists it."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekd.cli_build import Json, PresetName, RecipePath, Seed, Threads
from edgekd.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from edgekd.advice import Advice
    from edgekd.advise.measure import Facts

Targets = Annotated[
    list[str] | None,
    typer.Option("--target", "-t", help="A target's name or file, whose student is compared with the teacher; may be repeated."),
]
Samples = Annotated[int, typer.Option(min=2, help="How many training images to look at, at most.")]
Trials = Annotated[int, typer.Option(min=1, help="With --tune: how many trainings in all; those of an earlier search count.")]
Epochs = Annotated[float, typer.Option(min=0.01, help="With --tune: passes over the data of each training.")]


# size: to typer one function is one command, and a parameter is an option.
def advise(
    recipe: RecipePath,
    target: Targets = None,
    samples: Samples = 2000,
    tune: Annotated[
        bool, typer.Option("--tune", help="Search temperatures and weights of the losses by short trainings for the first target.")
    ] = False,
    trials: Trials = 20,
    epochs: Epochs = 3.0,
    preset: PresetName = "demo",
    seed: Seed = 0,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Is this teacher, temperature, student gap sensible? Measures the recipe's teacher and data, and says what to change, and why.

    edgekd advise RECIPE     edgekd advise RECIPE --target nucleo-u575zi --tune --trials 40

    Nothing is written into the recipe. With --tune, what is searched is kept in the cache: the same command goes on where it was.
    """
    from edgekd import advice, console
    from edgekd.jobs import Request

    request = Request(recipe, tuple(dict.fromkeys(target or ())), preset, seed, {}, threads)
    if not tune:
        with console.bars() as bars:
            found = advice.advise(request, samples, bars)
        if as_json:
            typer.echo(json.dumps(found.document(), indent=2, ensure_ascii=False))
        else:
            _show(found, _console())
        return
    from edgekd import tuning

    if not request.targets:
        raise InputError("--tune without --target", where="command line", expected="the target whose student is trained", mend="--target …")
    with console.bars() as bars:
        try:
            tuned = tuning.tune_recipe(request, bars, trials=trials, epochs=epochs)
        except KeyboardInterrupt as error:
            words = ["edgekd", "advise", recipe, "--tune", *(w for t in request.targets for w in ("--target", t)), "--trials", str(trials)]
            words += ["--epochs", f"{epochs!r}", "--preset", preset, "--seed", str(seed), *(["--threads", str(threads)] if threads else [])]
            raise console.interrupted(shlex.join(words)) from error
    if as_json:
        typer.echo(json.dumps(tuned.document(), indent=2, ensure_ascii=False))
    else:
        _show_tuned(tuned, _console())


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if Console().is_terminal else 160, highlight=False, markup=False)


def _show(advice: Advice, console: Console) -> None:
    for facts in advice.facts:
        _show_facts(facts, console)
    _show_tests(advice, console)
    for text in advice.silent:
        console.print(f"not measured: {text}", soft_wrap=True)
    console.print()
    if not advice.findings:
        console.print("nothing to change")
        return
    from rich.table import Table

    table = Table("", "finding", "measured", "what to change", title="findings", show_lines=True)
    for number, f in enumerate(advice.findings, 1):
        name = f"{f.severity}: {f.name}" + (f" ({f.task})" if f.task else "")
        table.add_row(str(number), name, f.measured, f"{f.change} [{f.why}]")
    console.print(table)
    for number, f in enumerate(advice.findings, 1):
        if f.lines:
            # As it is to be copied: no colour, no border, nothing wrapped.
            console.print(f"\n# {number}: {f.name}", *f.lines, sep="\n", soft_wrap=True)


def _show_facts(facts: Facts, console: Console) -> None:
    from rich.table import Table

    from edgekd.advise.finding import shown

    table = Table("figure", "value", "of what", title=f"teacher{f' of {facts.task}' if facts.task else ''}")
    for name, figure in facts.figures.items():
        table.add_row(name.replace("_", " "), shown(figure), figure.where)
    console.print(table)
    if any(c.accuracy for c in facts.classes):
        table = Table("class", "training samples", "accuracy", "taken for", "calibration error", "confidence − accuracy", title="classes")
        for c in facts.classes:
            cells = ["", "", ""]
            if c.accuracy:
                low, high = c.accuracy.interval
                cells[0] = f"{c.accuracy.value:.1%} ({low:.1%}–{high:.1%}, n={c.accuracy.n})"
            if c.calibration:
                cells[1:] = [f"{c.calibration.error:.3f} (by chance {c.calibration.chance:.3f})", f"{c.calibration.gap:+.3f}"]
            table.add_row(c.name, f"{c.samples:,}", cells[0], c.confused, *cells[1:])
        console.print(table)
    for s in facts.suspects:
        said = f"training sample {s.row}: label {s.label} ({s.of_label:.1%}), the teacher says {s.answer} ({s.of_answer:.1%})"
        console.print(said, soft_wrap=True)


def _show_tests(advice: Advice, console: Console) -> None:
    from rich.table import Table

    table = Table("compared", "largest difference", "in", "p", "n", title="shift")
    for key, test in [*(item for facts in advice.facts for item in facts.tests.items()), *advice.images.items()]:
        kind, _, split = key.partition("_")
        first = {"labels": "labels of training", "images": "training images", "views": "training views", "teacher": "teacher on validation"}
        value = f"{test.effect:.1%}" if test.unit == "share" else f"{test.effect:.2f} {test.unit}"
        table.add_row(f"{first[kind]} and {split}", value, test.largest, f"{test.p:.3g}", f"{test.n:,} and {test.m:,}")
    console.print(table)
    if advice.capacity:
        table = Table("student for", "parameters", "teacher's", "MACs", "teacher's", title="sizes")
        for c in advice.capacity:
            sizes = (c.student_parameters, c.teacher_parameters, c.student_macs, c.teacher_macs)
            table.add_row(c.target, *("?" if size is None else f"{size:,}" for size in sizes))
        console.print(table)


def _show_tuned(tuned: Any, console: Console) -> None:
    from rich.table import Table

    found = tuned.found
    table = Table("parameter", "recipe", "searched", "best", f"best {found.top} trials", "importance", title="search")
    for name, p in found.parameters.items():
        r = tuned.space[name]
        importance = "" if p.importance is None else f"{p.importance:.0%}"
        table.add_row(name, f"{r.now:.3g}", f"{r.low:.3g} to {r.high:.3g}", f"{p.best:.3g}", f"{p.low:.3g} to {p.high:.3g}", importance)
    console.print(table)
    for text in tuned.said:
        console.print(text, soft_wrap=True)
    console.print("\n# for the recipe, instead of its losses", *tuned.lines, sep="\n", soft_wrap=True)


COMMANDS: dict[str, Any] = {"advise": advise}
