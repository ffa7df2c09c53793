"""A board that speaks the text protocol of MLPerf Tiny's runner: blocks of inferences between its own time stamps, and its results.

What it prints are real numbers with three decimals, not integers: they are compared with the reference's, as exactly as they are printed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from edgekd.errors import DeviceError, InputError
from edgekd.mcu.mlperf import Text
from edgekd.measure import stats
from edgekd.measure.device import Progress, Row, Subject
from edgekd.measure.emulated import PROFILE, as_bytes, reference_of
from edgekd.measure.serial_figures import latency
from edgekd.quant import compare
from edgekd.quant.graph import QuantGraph
from edgekd.records import Measurement

#: Blocks that are timed, and the shortest: time stamps may be of milliseconds. Ten inferences at least, as MLPerf Tiny demands.
BLOCKS, BLOCK_S, FEWEST = 20, 0.25, 10


@dataclass(frozen=True, eq=False)
class _Outputs:
    """``scale`` and ``zero_point`` of the one output, and the reference's answers int [N, values]."""

    scale: float
    zero_point: int
    want: np.ndarray

    def integers(self, results: np.ndarray, decimals: int) -> np.ndarray | None:
        """Printed reals [N, values] as the integers that they are; None where a step of the output is finer than what is printed."""
        if self.scale < 2 * 10.0**-decimals:
            return None
        return np.rint(results / self.scale + self.zero_point).astype(np.int64)

    def equal(self, results: np.ndarray, decimals: int) -> np.ndarray:
        """Which samples [N] are the reference's, to the last decimal that is printed."""
        reals = (self.want[: len(results)] - self.zero_point) * self.scale
        return np.all(np.abs(reals - results) <= 0.5 * 10.0**-decimals + 1e-6, axis=1)


def row(board: Text, where: str, subject: Subject, progress: Progress) -> tuple[Row, tuple[str, ...]]:
    """Half of the time for outputs, then the timed blocks. Raises DeviceError for what the board refuses, InputError for a model whose
    outputs cannot be read off the text."""
    named = board.begin(10.0)
    if named is None:
        raise DeviceError("the board no longer answers", where=where, mend="reset it")
    where = f"{where}, {named.name}, {named.profile}".removesuffix(", ")
    outputs = _outputs(subject)
    x, flipped = _input(board, subject, outputs)
    results, decimals, longest = _results(board, x, subject, outputs, progress)
    equal = outputs.equal(results, decimals)
    share = compare.Share(int(equal.sum()), len(equal))
    figures = {"bit_equal": share.figure(f"{where}, to {decimals} decimals, against the reference ({PROFILE})")}
    name = "MLPerf Tiny firmware"
    measurement = Measurement(named.model or name, "serial", figures)
    if not equal.all():
        failed = (
            f"{where}: {share.n - share.count} of {share.n} samples differ from the reference; the firmware is of another model, or wrong"
        )
        return Row(name, measurement, failed=failed), ()
    seconds, count = _blocks(board, x, longest, subject, progress)
    figures |= latency(seconds, f"{where}, {len(seconds)} blocks of {count} inferences")
    if subject.y is not None:
        figures["accuracy"] = compare.accuracy(results, subject.y[: len(results)]).figure(f"{where}, {subject.inputs}")
    notes = ["the board takes inputs as uint8, 128 more than int8"] if flipped else []
    if outputs.integers(results, decimals) is None:
        notes.append(f"a step of the output is finer than the {decimals} decimals that the board prints: equal means equal to these")
    if len(results) < len(x):
        notes.append(f"{len(results)} of {len(x)} samples were done in the time; --seconds allows more, --accuracy all")
    return Row(name, measurement), tuple(notes)


def _outputs(subject: Subject) -> _Outputs:
    graph = subject.graph
    tensor = graph.tensor(graph.outputs[0])
    if len(graph.outputs) != 1 or tensor.quantization is None:
        raise InputError(
            f"{len(graph.outputs)} outputs" if len(graph.outputs) != 1 else "an output that is not quantized",
            where=graph.name,
            expected="one quantized output, for a board that speaks MLPerf Tiny's text protocol",
        )
    want = reference_of(graph, subject.x)
    return _Outputs(*tensor.quantization.single, want.reshape(len(want), -1).astype(np.int64))


def _input(board: Text, subject: Subject, outputs: _Outputs) -> tuple[np.ndarray, bool]:
    """The bytes as this board wants them: int8 as they are, or uint8, 128 more (the runner's pictures); whichever gives the reference's
    answer for the first sample, and as they are where neither does."""
    plain = as_bytes(subject.x)
    if subject.x.dtype != np.int8:
        return plain, False
    for x, flipped in ((plain, False), (plain ^ 0x80, True)):
        board.load(x[0].tobytes())
        done = board.infer(1, 0, max(60.0, subject.seconds))
        results = _values(np.array([done.results]), subject.graph)
        if outputs.equal(results, done.decimals).all():
            return x, flipped
    return plain, False


def _results(board: Text, x: np.ndarray, subject: Subject, outputs: _Outputs, progress: Progress) -> tuple[np.ndarray, int, float]:
    """[N, values] of as many samples as half of the time allows, the decimals that were printed, and the longest inference in seconds."""
    until, found, decimals, longest = time.monotonic() + subject.seconds / 2, list[tuple[float, ...]](), 99, 0.0
    for at, sample in enumerate(x):
        if at and not subject.asked.whole and time.monotonic() > until:
            break
        progress("outputs", at, len(x))
        board.load(sample.tobytes())
        done = board.infer(1, 0, max(60.0, subject.seconds))
        found.append(done.results)
        decimals, longest = min(decimals, done.decimals), max(longest, done.seconds)
    if len({len(values) for values in found}) != 1 or len(found[0]) != outputs.want.shape[1]:
        raise DeviceError(
            f"the board gives {len(found[0])} results",
            where=board.where,
            expected=f"{outputs.want.shape[1]}, as {subject.graph.name} has",
            mend="build the firmware for this model and flash it",
        )
    return np.array(found), decimals, longest


def _blocks(board: Text, x: np.ndarray, longest: float, subject: Subject, progress: Progress) -> tuple[np.ndarray, int]:
    """Seconds of an inference in each of BLOCKS blocks, over the first samples in turn, and the inferences of a block."""
    count = max(FEWEST, int(BLOCK_S / longest) + 1)
    warmup, found, until = count, list[float](), time.monotonic() + subject.seconds / 2
    for at in range(BLOCKS):
        if at >= stats.FEWEST and time.monotonic() > until:
            break
        progress("blocks", at, BLOCKS)
        board.load(x[at % len(x)].tobytes())
        found.append(board.infer(count, warmup, max(60.0, 4 * longest * count)).seconds / count)
        warmup = 1
    return np.array(found), count


def _values(results: np.ndarray, graph: QuantGraph) -> np.ndarray:
    """Padded or cut to the graph's outputs with what never equals them, so that a board of another model is compared, not crashed on."""
    size = int(np.prod(graph.tensor(graph.outputs[0]).shape))
    return results if results.shape[1] == size else np.full((len(results), size), np.inf)
