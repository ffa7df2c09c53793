"""TensorFlow Lite Micro beside what was measured: the arena that its interpreter recorded, and what that is with 32-bit pointers."""

from __future__ import annotations

from pathlib import Path

from edgekd.errors import EdgekdError
from edgekd.lazy import load
from edgekd.measure.device import Row, Subject
from edgekd.records import Figure, Measurement

#: TfLiteEvalTensor and NodeAndRegistration (tflite-micro, micro_allocator, 2024) hold two and eight pointers: 24 and 64 bytes on this
#: host, 12 and 32 on a microcontroller. Of what else is kept, at most half (pointers only) of the interpreter's 648 bytes.
_TENSOR, _NODE, _ELSE = 12, 32, 324


def baseline(subject: Subject, folder: Path) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """The row of TFLM, and why there is none where it does not run the model or is not installed."""
    graph = subject.graph
    try:
        where = folder / "tflm"
        where.mkdir(parents=True, exist_ok=True)
        artifact = subject.write("tflite", graph, where)
        arena = load("edgekd.runtimes.tflm:arena_bytes")(where / artifact.path)
    except EdgekdError as error:
        return (), (f"no TFLM to compare with: {str(error).splitlines()[0]}",)
    names = {name for op in graph.ops for name in (*op.inputs, *op.outputs)}
    less = _TENSOR * len(names) + _NODE * len(graph.ops)
    host = "TFLM's interpreter on this host, reference kernels (scratch of optimized ones comes on top)"
    estimate = Figure(
        arena.total - less,
        "B",
        "predicted",
        f"the same with 32-bit pointers: {_TENSOR} B less a tensor, {_NODE} B an operator",
        low=arena.total - less - _ELSE,
        high=arena.total,
    )
    figures = {
        "arena_bytes": estimate,
        "arena_host_bytes": Figure(arena.total, "B", "emulated", f"{host}, 64-bit pointers"),
        "arena_activations_bytes": Figure(arena.activations, "B", "emulated", host),
    }
    return (Row("TFLM", Measurement(artifact.path, subject.target.name, figures)),), ()
