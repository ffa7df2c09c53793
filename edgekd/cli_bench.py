"""The command that measures a model on a device: bench. cli.py lists it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekd.errors import InputError, plain
from edgekd.measure import DEVICES

if TYPE_CHECKING:
    from edgekd.bench import Benched
    from edgekd.measure.device import Bench, Row
    from edgekd.records import Figure

#: Figures of the table, in this order, and what they are called there.
LINES = {
    "instructions": "instructions an inference",
    "cycles": "cycles without wait states",
    "latency_ms": "milliseconds",
    "latency_p90_ms": "  90th percentile",
    "latency_p99_ms": "  99th percentile",
    "cold_start_ms": "cold start, milliseconds",
    "sustained_first_ms": "sustained, first, milliseconds",
    "sustained_last_ms": "sustained, last, milliseconds",
    "energy_uj": "energy, µJ",
    "model_bytes": "file, B",
    "flash_bytes": "flash of the model, B",
    "flash_code_bytes": "  code",
    "flash_weights_bytes": "  weights and tables",
    "flash_constants_bytes": "  parameters",
    "peak_ram_bytes": "RAM of the model, B",
    "arena_bytes": "  arena with scratch",
    "stack_bytes": "  stack",
    "static_bytes": "  static",
    "arena_host_bytes": "  arena of a 64-bit host",
    "arena_activations_bytes": "  activations in it",
    "accuracy": "accuracy",
    "bit_equal": "samples equal to the reference",
}
#: Letters of a layer's name in the table.
_NAME = 60
Target = Annotated[
    str,
    typer.Option(
        "--target",
        "-t",
        help="Whose core, clock and memory: a profile (edgekd targets list). A run knows its own, an attached device needs none.",
    ),
]
Device = Annotated[str, typer.Option("--device", help=f"What runs it, KIND or KIND:ADDRESS: {', '.join(DEVICES)}.")]
Kernels = Annotated[str, typer.Option("--kernels", help="Sets of kernels, commas between them: portable, cmsis, cmsis-nn.")]
Samples = Annotated[Path | None, typer.Option("--samples", help="An .npz file with x [N, …], channels last, and perhaps labels y.")]
Seconds = Annotated[
    float,
    typer.Option(
        "--seconds",
        min=0,
        max=86_400,
        help="On an attached device: seconds of timed inferences of each model (12). Emulated: how long accuracy may take (60).",
        show_default=False,
    ),
]
Sustained = Annotated[
    float,
    typer.Option("--sustained", min=0, max=86_400, help="Then run so many seconds without a pause: first minute against last."),
]
Accuracy = Annotated[bool, typer.Option("--accuracy", help="Compare the outputs of all samples, not of the first 200.")]
Threads = Annotated[int, typer.Option("--threads", min=1, max=1024, help="Of an attached device's runtime.")]
Provider = Annotated[str, typer.Option("--provider", help="What the runtime computes on, e.g. CUDAExecutionProvider, GPU.")]
Meter = Annotated[str, typer.Option("--meter", help="A command on the device that prints the joules counted so far (docs/devices.md).")]
Reference = Annotated[Path | None, typer.Option("--reference", help="The model that an OpenVINO file must compute.")]
Fleet = Annotated[
    Path | None,
    typer.Option("--fleet", help="On all devices of this file (fleet.toml), each model by itself, instead of --device and --target."),
]
Again = Annotated[bool, typer.Option("--again", help="Of a fleet: also what is in the store already.")]
Store = Annotated[
    str, typer.Option("--store", help="Where results go: a file (SQLite) or a URL; else $EDGEKD_STORE, else the cache folder.")
]
Keep = Annotated[Path | None, typer.Option("--keep", help="A folder for the firmware: C, ELF, map and linker script.")]


# size: to typer one function is one command, and a parameter is an option.
def bench(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL [RIVAL]",
            help="A run, a folder with graph.json, a .tflite, .onnx or .xml file; or two.",
            show_default=False,
        ),
    ],
    target: Target = "",
    device: Device = "qemu",
    kernels: Kernels = "portable",
    samples: Samples = None,
    seconds: Seconds = 0.0,
    sustained: Sustained = 0.0,
    accuracy: Accuracy = False,
    threads: Threads = 1,
    provider: Provider = "",
    meter: Meter = "",
    reference: Reference = None,
    keep: Keep = None,
    cmsis_nn: Annotated[
        Path | None,
        typer.Option("--cmsis-nn", help="A folder with CMSIS-NN, for --kernels cmsis-nn: else $EDGEKD_CMSIS_NN, else the extra mcu."),
    ] = None,
    fleet: Fleet = None,
    again: Again = False,
    store: Store = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")] = False,
) -> None:
    """What a model costs on a device, emulated or attached, and whether it computes there what it must. Exit code 1 if not.

    \b
    edgekd bench runs/clothes-nucleo-l4r5zi-… --kernels portable,cmsis
    edgekd bench model.tflite --target nrf52840dk --samples data.npz --keep firmware
    edgekd bench model.tflite --target corstone-300 --device vela
    edgekd bench model.tflite --device ssh:pi@raspberrypi.local --samples data.npz --accuracy
    edgekd bench a.tflite b.tflite --device host
    edgekd bench a.tflite b.tflite c.tflite --fleet lab.toml

    qemu builds the model as C for the target's core (M0, M0+, M3, M4, M7, M33, M55), with the target's sizes of flash and RAM, and runs it:
    every output is compared with the reference, instructions are counted one by one, the stack is painted. Milliseconds are predicted from
    the instructions. It needs arm-none-eabi-gcc, and qemu-system-arm (or, for M0+, M3 and M4, the extra mcu).

    vela compiles the model for the target's Ethos-U with Arm's compiler: cycles of each layer, SRAM, flash, and what the processor beside
    it is left with. Nothing runs; all of it is predicted. It needs edgekd's extra ethos-u.

    host, ssh, adb: edgekd puts one Python file on the device, which times the model in the device's own runtime, in fresh processes, block
    by block. The median has its 95 % interval, and is rejected, with the reason, where the device throttled or others kept it busy. Two
    models take turns: the ratio, its interval, and whether the difference is real. serial speaks with a board, arm64-emulated proves
    integers on aarch64.

    What was measured is stored (edgekd results) and teaches the latency model, of another device than this host under the board of
    --target. A fleet's file names devices, which are measured at once;
    one that fails stops no other, and the same command again does only what is missing.
    """
    from edgekd import console
    from edgekd.bench import Wanted
    from edgekd.cli_fleet import bench_fleet, bench_one
    from edgekd.measure.device import Asked

    if fleet is None and len(models) > 2:
        raise InputError(f"{len(models)} models", where="edgekd bench", expected="one, or two to compare")
    if again and fleet is None:
        raise InputError("--again", where="edgekd bench", expected="--fleet beside it: without one everything is measured anew")
    sets = tuple(dict.fromkeys(name.strip() for name in kernels.split(",") if name.strip()))
    asked = Asked(sustained_s=sustained, whole=accuracy, threads=threads, provider=provider, meter=_words(meter))
    rival = models[1] if len(models) == 2 and fleet is None else None
    wanted = [Wanted(one, target, device, sets, samples, seconds, keep, cmsis_nn, rival, reference, asked) for one in models]
    if fleet is not None:
        bench_fleet(wanted, fleet, store, again, as_json)
        return
    with console.bars() as bars:
        done = bench_one(wanted[0], store, bars)
    if as_json:
        typer.echo(json.dumps(done.document(), indent=2, ensure_ascii=False))
    else:
        _print(done)
    for row in done.bench.rows:
        if row.failed:
            typer.echo(plain(f"edgekd: {row.failed}"), err=True)
    if not done.bench.ok:
        raise typer.Exit(1)


def _words(meter: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(meter))
    except ValueError as error:
        raise InputError(f"{meter!r}: {error}", where="--meter", expected="a command as a shell reads it") from error


def _say(text: str) -> None:
    """A line that no name of a file can steer the terminal with."""
    typer.echo(plain(text))


def _print(done: Benched) -> None:
    columns = (*done.bench.rows, *done.bench.baselines)
    name = _short(done.name)
    _say(", ".join(part for part in (f"{name} for {done.target}" if done.target else name, done.inputs) if part))
    rows = [["", *(row.name for row in columns), ""]]
    for name, label in _lines(columns).items():
        figures = [row.measurement.figures.get(name) for row in columns]
        kinds = dict.fromkeys(figure.kind for figure in figures if figure)
        rows.append([label, *map(_cell, figures), ", ".join(kinds)])
    _columns(rows)
    layers = [row for row in done.bench.rows if row.layers]
    if layers:
        _say(f"\n{layers[0].unit} of each layer")
        names = list(dict.fromkeys(layer.name for row in layers for layer in row.layers))
        by_row = [{layer.name: layer for layer in row.layers} for row in layers]
        table = [[_short(name), *(_value(row.get(name), layers[0].unit) for row in by_row)] for name in names]
        _columns([["", *(row.name for row in layers)], *table])
    for row in columns:
        for note in (*row.measurement.notes, *([row.layers_note] if row.layers_note else [])):
            _say(f"note: {row.name}: {note}")
    for note in done.bench.notes:
        _say(f"note: {note}")
    _compared(done.bench)
    for figure in (row.measurement.figures.get("latency_ms") for row in columns):
        if figure and figure.kind == "predicted":
            _say(f"note: milliseconds: {figure.where}")
            break
    if done.record:
        _say(f"{done.record}")


def _compared(bench: Bench) -> None:
    """Of two models, the last word."""
    ratio = bench.figures.get("latency_ratio")
    if ratio is None or bench.different is None:
        return
    a, b = (row.name for row in bench.rows)
    said = f"{b} takes {ratio.value:.3f} times as long as {a} (95 %: {ratio.low:.3f}–{ratio.high:.3f})"
    _say(f"{said}: {'different' if bench.different else 'no difference'}")


def _lines(columns: tuple[Row, ...]) -> dict[str, str]:
    """Those of LINES that any column has, and the further ones by their names."""
    there = dict.fromkeys(name for row in columns for name in row.measurement.figures)
    known = {name: label for name, label in LINES.items() if name in there}
    return known | {name: name.replace("_", " ") for name in there if name not in LINES}


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    if figure.unit == "share" and figure.value == 1 and figure.n:
        return f"{figure.n} of {figure.n}"
    style = ".2%" if figure.unit == "share" else ",.4g" if figure.unit == "ms" else ",.0f"
    value = f"{figure.value:{style}}" + (f" of {figure.n}" if figure.unit == "share" else "")
    return value if figure.low is None or figure.high is None else f"{value} ({figure.low:{style}}–{figure.high:{style}})"


def _value(layer: Any, unit: str) -> str:
    if layer is None:
        return "-"
    value = f"{layer.value:.4g}" if unit == "ms" else f"{layer.value:,.0f}"
    return f"{value} ({layer.note})" if unit == "ms" and layer.note else value


def _short(name: str) -> str:
    """A converter may have put a dozen names into one: its first and last letters. What is no letter must not steer a terminal."""
    name = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return name if len(name) <= _NAME else f"{name[: _NAME // 2]}…{name[1 - _NAME // 2 :]}"


def _columns(rows: list[list[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        head, *rest = row
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        _say("  ".join([head.ljust(widths[0]), *cells]).rstrip())


COMMANDS = {"bench": bench}
