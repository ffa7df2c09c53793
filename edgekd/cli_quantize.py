"""The command for models that are not to be trained any more: quantize. cli.py lists it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgekd.quantize.data import Pixels

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A float .onnx or .tflite file, package.module:function (torch), a .keras file, a SavedModel folder; or a run of `build`.",
        show_default=False,
    ),
]
DataName = Annotated[
    str,
    typer.Option("--data", help="A recipe, a folder of images, or an .npz file with x [N, …], channels last, and perhaps labels y."),
]
Mean = Annotated[str | None, typer.Option(help="What the model subtracts from pixels p/255 of 0 to 1: one value, or one a channel.")]
Std = Annotated[str | None, typer.Option(help="And what it then divides them by.")]


# size: to typer one function is one command, and a parameter is an option.
def quantize(
    model: ModelName,
    data: DataName = "",
    target: Annotated[str, typer.Option("--target", "-t", help="A target's name or file. See: edgekd targets list")] = "",
    weights: Annotated[Path | None, typer.Option(help="A safetensors file for a torch module.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="How many samples to calibrate with, at most.")] = 300,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Which samples.")] = 0,
    mean: Mean = None,
    std: Std = None,
    scale: Annotated[
        float | None, typer.Option(help="The model is fed scale · (p/255 − mean)/std; without all three (p − 128)/128.")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(help="Height, width, channels of an image, where the model leaves them open: 96,96,3.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder to fill; otherwise one below --runs.", show_default=False)] = None,
    runs: Annotated[Path, typer.Option("--runs", help="Where run folders lie.")] = Path("runs"),
    threads: Annotated[int, typer.Option(min=0, help="Workers for verification; 0 is one a core.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")] = False,
) -> None:
    """Quantize a float model without training (NNCF), export, verify and measure it. Of a run of `edgekd build` its float student,
    as the baseline in that run's report. Exit code 1 if a runtime disagrees or a budget is exceeded."""
    from edgekd import console
    from edgekd.errors import InputError
    from edgekd.quantize.run import Request, baseline, is_run
    from edgekd.quantize.run import quantize as run

    with console.bars() as bars:
        if is_run(model):
            given = {"--data": data, "--target": target, "--weights": weights, "--mean": mean, "--std": std, "--shape": shape, "--out": out}
            if named := [name for name, value in given.items() if value]:
                raise InputError(
                    f"{', '.join(named)} beside a run",
                    where=model,
                    expected="the run's own data and target, and no folder but its own",
                    mend=f"edgekd quantize {model}",
                )
            folder = baseline(Path(model), bars, samples=samples, seed=seed, threads=threads)
        else:
            sizes = _numbers("--shape", shape)
            whole = tuple(map(int, sizes)) if sizes else None
            if whole and (min(whole) < 1 or whole != sizes):
                raise InputError(f"--shape {shape}", where="command line", expected="height,width,channels", mend="--shape 96,96,3")
            request = Request(model, data, target, weights, samples, seed, _pixels(mean, std, scale), whole, threads)
            folder = run(request, runs, out, bars)
    _show(folder, as_json)


def _pixels(mean: str | None, std: str | None, scale: float | None) -> Pixels | None:
    from edgekd.quantize.data import Pixels

    if mean is None and std is None and scale is None:
        return None
    return Pixels(_numbers("--mean", mean) or (0.0,), _numbers("--std", std) or (1.0,), 1.0 if scale is None else scale)


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    from edgekd.errors import InputError

    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise InputError(f"{option} {text}", where="command line", expected="numbers, commas between them") from error


def _show(folder: Path, as_json: bool) -> None:
    from rich.console import Console

    from edgekd.report import documents, rows, table

    (row,) = rows([folder])
    if as_json:
        typer.echo(json.dumps(documents([folder])[0], indent=2))
    else:
        Console(width=None if Console().is_terminal else 160).print(table([folder]))
        for note in row["notes"]:
            typer.echo(f"note: {note}")
        typer.echo(folder)
    if row["ok"] is False:
        raise typer.Exit(1)


COMMANDS: dict[str, Any] = {"quantize": quantize}
