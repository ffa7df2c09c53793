"""The commands for models that were not trained here: convert, inspect, operators; and verify for files. cli.py lists them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgekd.convert import Verified
    from edgekd.inspect_model import Inspection
    from edgekd.layers import Layers
    from edgekd.verify.layers import Difference, LayerRow

Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A .tflite or .onnx file, a run, or a folder with graph.json.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
SamplesFile = Annotated[Path | None, typer.Option("--samples", help="An .npz file with x [N, …], channels last, and perhaps labels y.")]
Threads = Annotated[int, typer.Option(min=0, help="Workers for verification; 0 is one a core.")]


# size: to typer one function is one command, and a parameter is an option.
def convert(
    model: Model,
    to: Annotated[str, typer.Option("--to", help="Formats, commas between them: tflite, onnx, openvino, c.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for what is written.")],
    samples: SamplesFile = None,
    verify: Annotated[bool, typer.Option(help="Run what was written in its runtimes, against the reference.")] = True,
    kernels: Annotated[
        str, typer.Option("--kernels", help="C: portable (any core), cmsis (Cortex-M with DSP or Helium), or cmsis-nn (calls CMSIS-NN).")
    ] = "portable",
    core: Annotated[str | None, typer.Option("--core", help="C: the core that scratch is counted for (cortex-m4); default: any.")] = None,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Write a quantized model in other formats, with the same integers, and prove it. Exit code 1 if a runtime disagrees.

    edgekd convert model.tflite --to onnx,openvino --out converted --samples data.npz
    """
    from edgekd import console
    from edgekd.convert import RUNNERS, verify_files
    from edgekd.convert import convert as run

    formats = tuple(dict.fromkeys(name.strip() for name in to.split(",") if name.strip()))
    graph, done = run(model, formats, out, kernels=kernels, core=core)
    verified = None
    if verify:
        written = [out / artifact.path for artifact in done.artifacts]
        # The original too, where a runtime runs it as it is: then each written file is proven equal to it.
        files = [model, *written] if model.suffix in RUNNERS else written
        with console.bars() as bars:
            verified = verify_files(graph, files, samples, workers=threads, progress=lambda done, total, what: bars("verify", done, total))
    if as_json:
        document = {**asdict(done), "verified": asdict(verified) if verified else None}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{done.name}: {len(graph.ops)} operators, read and written in {done.seconds:.2f} s")
        for note in done.notes:
            typer.echo(f"note: {note}")
        for artifact in done.artifacts:
            typer.echo(f"{out / artifact.path}: {artifact.figures['model_bytes'].value:.0f} B")
            for note in artifact.notes:
                typer.echo(f"  note: {note}")
        if verified:
            show(verified)
    if verified:
        judge(verified)


def inspect(
    model: Model,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="Also say what this target lacks: a profile, or tflm, tensorrt, gpu, ethos-u; or host."),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option("--runtime", "-r", help="Predict latency in this runtime ('X-CUBE-AI', …), not in the target's own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Operators, scales, MACs, bytes and arena of a model, layer by layer; what a target lacks, and its predicted latency and energy.

    edgekd inspect model.tflite     edgekd inspect model.onnx --target nucleo-u575zi --runtime 'X-CUBE-AI' --target ethos-u
    """
    from edgekd.convert import read_model
    from edgekd.inspect_model import inspect as run

    found = run(read_model(model), tuple(dict.fromkeys(target or ())), runtime)
    if as_json:
        typer.echo(json.dumps(found.document(), indent=2, ensure_ascii=False))
        return
    _print(found)


def operators(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The whole document: the table, what runtimes do less, what is read.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Which operator is supported where, read off the tables that the code works by."""
    from edgekd import operators as table

    if as_json:
        typer.echo(json.dumps({"headings": table.HEADINGS, **asdict(table.support())}, indent=2, ensure_ascii=False))
    elif markdown:
        typer.echo(table.markdown(), nl=False)
    else:
        _print_support(table.HEADINGS, table.support().rows)


def verify_models(models: list[Path], samples: Path | None, threads: int, as_json: bool) -> None:
    """Files instead of runs: the first is the graph, and each runs in its runtimes. Exits with 1 if one disagrees."""
    from edgekd import console
    from edgekd.convert import verify_models as run

    with console.bars() as bars:
        verified = run(models, samples, workers=threads, progress=lambda done, total, what: bars("verify", done, total))
    if as_json:
        typer.echo(json.dumps(asdict(verified), indent=2, ensure_ascii=False))
    else:
        show(verified)
    judge(verified)


def verify_layers(paths: list[Path], samples: Path | None, threads: int, as_json: bool, *, files: bool) -> None:
    """Of model ``files``, or of runs: every tensor of each runtime. Exits with 1 if one differs that must not."""
    from edgekd import console
    from edgekd.layers import of_files, of_run

    with console.bars() as bars:

        def progress(done: int, total: int, what: str) -> None:
            bars("layers", done, total)

        if files:
            found = {"": of_files(paths, samples, workers=threads, progress=progress)}
        else:
            found = {str(path): of_run(path, samples, workers=threads, progress=progress) for path in paths}
    if as_json:
        documents = {name: asdict(layers) for name, layers in found.items()}
        typer.echo(json.dumps(documents[""] if files else documents, indent=2, ensure_ascii=False))
    else:
        for name, layers in found.items():
            show_layers(name, layers)
    if any(c.exact and c.differing for layers in found.values() for c in layers.comparisons):
        raise typer.Exit(1)


def show(verified: Verified) -> None:
    """One line a file and runtime."""
    typer.echo(f"against the reference, on {verified.inputs}:")
    for v in verified.verdicts:
        first = f"; first at {v.first_layer}" if v.first_layer else ""
        typer.echo(f"{v.artifact:<24} {v.runtime:<15} {'ok' if v.ok else 'NO'}  {v.reason}{first}")
    for what, why in verified.not_run.items():
        typer.echo(f"{what}: not run: {why}")


def judge(verified: Verified) -> None:
    """Exits with 1 if a runtime disagrees or crashes."""
    if not verified.ok:
        raise typer.Exit(1)


def _print_support(headings: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*(head for head in headings if head != "means"), box=box.SIMPLE)
    for row in rows:
        table.add_row(*(cell for head, cell in zip(headings, row, strict=True) if head != "means"))
    Console(width=None if Console().is_terminal else 180, highlight=False, markup=False).print(table)


def show_layers(name: str, layers: Layers) -> None:
    """A table a runtime, of the layers that differ, or one line where none does."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if Console().is_terminal else 220, highlight=False, markup=False)
    typer.echo(f"{name}{': ' if name else ''}every tensor against the reference, on {layers.inputs}")
    for c in layers.comparisons:
        missing = sum(row.whole is None for row in c.layers)
        counts = f"{len(c.differing)} of {len(c.layers)} tensors differ, {len(c.adding)} layers add a difference of their own"
        typer.echo(f"\n{c.artifact} in {c.runtime}, against {c.profile}: {counts}" + (f", {missing} are not compared" if missing else ""))
        if not c.differing and not missing:
            continue
        table = Table(box=box.SIMPLE)
        for head in ("OPERATOR", "TENSOR", "SCALE", "DIFFER", "LARGEST", "HISTOGRAM", "OWN", "LARGEST", "WHY"):
            words = head in ("OPERATOR", "TENSOR", "HISTOGRAM", "WHY")
            table.add_column(
                head, justify="left" if words else "right", overflow="fold" if head == "WHY" else "ellipsis", no_wrap=head != "WHY"
            )
        for row in c.layers:
            table.add_row(*_cells(row))
        console.print(table)
    for what, why in layers.not_run.items():
        typer.echo(f"{what}: not run: {why}")


def _cells(row: LayerRow) -> tuple[str, ...]:
    unit = "" if row.scale is None else " LSB"

    def said(found: Difference | None) -> tuple[str, str]:
        if found is None:
            return "?", ""
        return (f"{found.share:.3%}", f"{found.largest:g}{unit}") if found.share else ("–", "")

    most = sorted(row.whole.histogram.items(), key=lambda item: -item[1]) if row.whole else []
    histogram = "  ".join(f"{lsb}: {count}" for lsb, count in most[:4]) + (" …" if len(most) > 4 else "")
    why = row.why or ("passes on what it gets" if row.whole and row.whole.share else "")
    scale = "" if row.scale is None else f"{row.scale:.6g}"
    return row.kind, row.tensor[-36:], scale, *said(row.whole), histogram, *said(row.own), why


def _print(found: Inspection) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from edgekd.inspect_model import peak, readable

    table, timed = Table(box=box.SIMPLE), any(layer.latency_ms is not None for layer in found.layers)
    heads = ("OPERATOR", "NAME", "OUTPUT", "WEIGHTS", "SCALE", "ZERO", "MACS", "CONSTANTS B", "OUTPUT B", "LIVE B")
    for head in (*heads, "~MS") if timed else heads:
        words = head in ("OPERATOR", "NAME", "OUTPUT", "WEIGHTS")
        table.add_column(head, justify="left" if words else "right", overflow="ellipsis", no_wrap=True, max_width=36)
    for layer in found.layers:
        table.add_row(
            layer.kind,
            layer.name,
            f"{'×'.join(map(str, layer.shape))} {layer.dtype}",
            layer.weights,
            "" if layer.scale is None else f"{layer.scale:.6g}",
            "" if layer.zero_point is None else str(layer.zero_point),
            *(f"{count:,}" for count in (layer.macs, layer.weight_bytes, layer.output_bytes, layer.live_bytes)),
            *(("" if layer.latency_ms is None else f"{layer.latency_ms:.3g}",) if timed else ()),
        )
    console = Console(width=None if Console().is_terminal else 200, highlight=False, markup=False)
    console.print(table)
    typer.echo(f"input   {found.input}\noutput  {found.output}")
    most = peak(found)
    typer.echo(
        f"{len(found.layers)} operators, {found.macs:,} MACs, {found.parameters:,} parameters ({readable(found.weight_bytes)}), arena "
        f"{readable(found.arena_bytes)} of activations and scratch" + (f", most at {most.name}" if most else "")
    )
    if found.arena_planned_bytes is not None and found.arena_planned_bytes < found.arena_bytes:
        typer.echo(f"the file that edgekd writes has an order or a plan by which TFLM takes {readable(found.arena_planned_bytes)} of them")
    for option in found.patches:
        typer.echo(f"patch-wise, which nothing executes yet: {readable(option.peak_bytes)} in {option}")
    if "tflm" in found.surveys and found.arena_total_bytes is not None:
        typer.echo(f"TFLM's whole arena: {readable(found.arena_total_bytes)}, predicted for the file that edgekd writes on a 64-bit host")
    for name, figure in found.figures.items():
        typer.echo(f"{name}: {figure.value:.4g} {figure.unit} [{figure.low:.4g}, {figure.high:.4g}], {figure.kind}: {figure.where}")
    for note in found.notes:
        typer.echo(f"note: {note}")
    for name, survey in found.surveys.items():
        if not survey.asked:
            typer.echo(f"{name}: not asked: {survey.by}")
        elif not survey.lacks:
            typer.echo(f"{name}: lacks nothing ({survey.by})")
        for lack in survey.lacks:
            typer.echo(f"{name}: {lack.kind} {lack.operator}: {lack.reason}".replace(": :", ":"))
        if survey.lacks:
            typer.echo(f"{name}: said by {survey.by}")


COMMANDS: dict[str, Any] = {"convert": convert, "inspect": inspect, "operators": operators}
