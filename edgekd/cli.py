"""The command line: one function a command; each imports its stage when it runs, so that ``edgekd --help`` loads none of them.

Exit codes: 0 done and good; 1 done, and the verdict is no; 2 it could not be done as asked, one message on stderr; 130 interrupted
(143 by SIGTERM, 129 by SIGHUP).
With ``--json`` stdout holds one JSON document and nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from edgekd.cli_advise import COMMANDS as ADVISE_COMMANDS
from edgekd.cli_bench import COMMANDS as BENCH_COMMANDS
from edgekd.cli_build import COMMANDS
from edgekd.cli_convert import COMMANDS as CONVERT_COMMANDS
from edgekd.cli_doctor import COMMANDS as DOCTOR_COMMANDS
from edgekd.cli_gate import COMMANDS as GATE_COMMANDS
from edgekd.cli_models import app as models
from edgekd.cli_plan import COMMANDS as PLAN_COMMANDS
from edgekd.cli_quantize import COMMANDS as QUANTIZE_COMMANDS
from edgekd.cli_release import app as release
from edgekd.cli_results import app as results
from edgekd.errors import EdgekdError, InputError, lacks_memory, of_system, plain

if TYPE_CHECKING:
    from edgekd.profile.strict import Problem
    from edgekd.recipe.schema import Recipe

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
Files = Annotated[list[str], typer.Argument(metavar="FILE…", help="Files to check, or names.", show_default=False)]

#: The signal that ended this process, if it was not Ctrl-C's.
_ENDED_BY: list[int] = []


class _Commands(TyperGroup):
    """What edgekd raises on purpose becomes one message on stderr and its exit code; everything else is a bug and shows its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EdgekdError as error:
            typer.echo(plain(f"edgekd: {error}"), err=True)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            typer.echo("edgekd: interrupted", err=True)
            raise typer.Exit(128 + next(iter(_ENDED_BY), signal.SIGINT)) from error
        except BrokenPipeError as error:
            # The reader (head, less) has gone: not an error of ours. Python would complain once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from error
        except OSError as error:
            typer.echo(plain(f"edgekd: {of_system(error)}"), err=True)
            raise typer.Exit(2) from error
        except (MemoryError, RuntimeError) as error:
            if not (said := lacks_memory(error)):
                raise
            typer.echo(plain(f"edgekd: out of memory: {said}\n  to mend:  smaller batches, fewer --threads, or more memory"), err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
targets = typer.Typer(no_args_is_help=True, help="Target profiles: one device, one file.")
recipes = typer.Typer(no_args_is_help=True, help="Recipes: what to distil, from what, on what.")
for _commands in (
    PLAN_COMMANDS, COMMANDS, CONVERT_COMMANDS, QUANTIZE_COMMANDS, BENCH_COMMANDS, DOCTOR_COMMANDS, ADVISE_COMMANDS, GATE_COMMANDS,
):  # fmt: skip
    for _name, _command in _commands.items():
        app.command(_name)(_command)
app.add_typer(targets, name="targets")
app.add_typer(recipes, name="recipes")
app.add_typer(results, name="results")
app.add_typer(models, name="models")
app.add_typer(release, name="release")


def main() -> None:
    """Entry point of ``edgekd``."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has it ignored
            signal.signal(number, _ended)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a file's name need not be text: it is shown somehow rather than not at all
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="edgekd")


def _ended(number: int, frame: FrameType | None) -> None:
    """As Ctrl-C does: what runs on a device ends, its folder and lock go. Whoever asks again, meanwhile, need not."""
    signal.signal(number, signal.SIG_IGN)
    _ENDED_BY.append(number)
    interrupt = signal.getsignal(signal.SIGINT)
    if callable(interrupt):
        interrupt(signal.SIGINT, frame)  # asyncio has one of its own, that ends its tasks first
    else:  # in the background of a shell it is ignored
        raise KeyboardInterrupt


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(version("edgekd"))
        except PackageNotFoundError:
            typer.echo("unknown (not installed)")
        raise typer.Exit


@app.callback()
def edgekd(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """One target profile and one recipe in; a distilled, quantized student out, proven equal on its runtime and measured.

    \b
    edgekd targets list
    edgekd plan RECIPE --target pixel-8
    edgekd build RECIPE --target pixel-8
    """


@targets.command("list")
def targets_list(
    kind: Annotated[str | None, typer.Option(help="Only this class: mcu, phone, jetson, edge.")] = None,
    as_json: Json = False,
) -> None:
    """All targets: those in ./targets, and those that come with edgekd."""
    from edgekd.profile.load import all_profiles

    chosen = all_profiles(kind)
    if as_json:
        _print_json([profile.model_dump() for profile in chosen])
        return
    rows = [("NAME", "KIND", "CORE", "MHZ", "RAM", "FLASH", "RUNTIME", "NUMERIC")]
    for p in sorted(chosen, key=lambda p: (p.kind, p.name)):
        d = p.device
        rows.append(
            (p.name, p.kind, d.core, f"{d.clock_mhz:g}", _size(d.ram_bytes), _size(d.flash_bytes), p.deploy.runtime, p.scheme.numeric)
        )
    _print_rows(rows)


@targets.command("show")
def targets_show(name: Annotated[str, typer.Argument(help="Name or file of a profile.")], as_json: Json = False) -> None:
    """One target: facts, budgets, scheme, deployment."""
    from edgekd.profile.load import find, load

    path = find(name)
    document = load(path).model_dump()
    if as_json:
        _print_json(document)
        return
    typer.echo(f"# {path}")
    _print_rows([(key, "none" if value is None else json.dumps(value, ensure_ascii=False)) for key, value in _flat(document)])


@targets.command("check")
def targets_check(files: Files, as_json: Json = False) -> None:
    """Check profiles: every problem of each file with its cure. Exit code 2 if any is wrong."""
    from edgekd.profile.load import check, find

    _check_each(files, find, lambda path: check(path)[1], as_json)


@targets.command("schema")
def targets_schema() -> None:
    """The JSON Schema of a profile, for editors."""
    from edgekd.profile.load import json_schema

    _print_json(json_schema())


@recipes.command("check")
def recipes_check(
    files: Files,
    data: Annotated[bool, typer.Option("--data", help="Load the dataset as well.")] = False,
    as_json: Json = False,
) -> None:
    """Check recipes (file, folder or name): every problem with its cure. Exit code 2 if any is wrong."""
    from edgekd.recipe.load import find

    _check_each(files, find, lambda path: _recipe_problems(path, data), as_json)


@recipes.command("schema")
def recipes_schema() -> None:
    """The JSON Schema of a recipe, for editors."""
    from edgekd.recipe.load import json_schema

    _print_json(json_schema())


def _recipe_problems(path: Path, data: bool) -> list[Problem]:
    """Problems of the recipe itself, of the names that it uses, and, if asked for, of its data."""
    from edgekd.data.front_end import FrontEnds
    from edgekd.recipe.load import check

    recipe, problems = check(path)
    if recipe is None:
        return problems
    problems = list(_unknown_names(recipe))
    if data and not problems:
        FrontEnds(recipe, path.parent).data(recipe.student.frontend)
    return problems


def _unknown_names(recipe: Recipe) -> Iterator[Problem]:
    """Names that stand in none of the tables; only here are all tables in sight."""
    from edgekd.data import SOURCES
    from edgekd.losses import LOSSES
    from edgekd.profile.strict import unknown_name
    from edgekd.students import STUDENTS
    from edgekd.teachers import TEACHERS
    from edgekd.train import CRITICS, SYNTHESIS

    yield from unknown_name("data.source", recipe.data.source, SOURCES)
    for at, teacher in enumerate(recipe.all_teachers):
        yield from unknown_name("teacher.source" if recipe.teacher else f"teachers[{at}].source", teacher.source, TEACHERS)
    yield from unknown_name("student.family", recipe.student.family, STUDENTS)
    for at, loss in enumerate(recipe.losses):
        yield from unknown_name(f"losses[{at}].name", loss.name, LOSSES)
    for at, critic in enumerate(recipe.curate.critics if recipe.curate else ()):
        yield from unknown_name(f"curate.critics[{at}].name", critic.name, CRITICS)
    if recipe.data_free:
        yield from unknown_name("data_free.method", recipe.data_free.method, SYNTHESIS)


def _check_each(files: Sequence[str], find: Callable[[str], Path], check: Callable[[Path], list[Problem]], as_json: bool) -> None:
    """Check every file, also after a bad one; say of each what is wrong, or that it is good. Exits with 2 if any is wrong."""
    from edgekd.profile.strict import Problem, refusal

    document, bad = [], False
    for file in files:
        path = Path(file)
        try:
            path = find(file)
            problems = check(path)
        except InputError as error:
            problems = [Problem(error.where, error.what, error.expected, error.mend)]
        bad |= bool(problems)
        document.append({"file": str(path), "ok": not problems, "problems": [asdict(p) for p in problems]})
        if problems:
            typer.echo(f"edgekd: {refusal(path, problems)}", err=True)
        elif not as_json:
            typer.echo(f"{path}: ok")
    if as_json:
        _print_json(document)
    if bad:
        raise typer.Exit(2)


def _print_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Columns, aligned; the last is not padded."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _size(count: int | None) -> str:
    if count is None:
        return "-"
    for unit, bytes_ in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if count >= bytes_:
            return f"{count / bytes_:.3g} {unit}"
    return f"{count / 1024:.4g} KiB"


def _flat(document: dict[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        path = f"{at}.{key}" if at else key
        if isinstance(value, dict):
            yield from _flat(value, path)
        else:
            yield path, value
