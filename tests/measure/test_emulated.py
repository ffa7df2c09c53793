"""A model on an emulated core: figures, the reference, and what is said of one that computes something else or does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.bench import write
from edgekd.errors import DoesNotFit, InputError
from edgekd.measure import cycles
from edgekd.measure.device import Bench, Subject
from edgekd.measure.emulated import COUNTED, as_bytes, measure, values_of
from edgekd.profile.load import find, load
from edgekd.profile.schema import Profile
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph
from edgekd.records import Artifact
from tests.mcu.tools import needs_gcc, needs_qemu


@pytest.fixture(scope="module")
def graph() -> QuantGraph:
    return io.load(Path(__file__).resolve().parent.parent / "golden" / "inverted_residual")


def _profile(**device: Any) -> Profile:
    found = load(find("nrf52840dk"))
    return found.model_copy(update={"device": found.device.model_copy(update=device)})


def _subject(graph: QuantGraph, count: int = 6, **more: Any) -> Subject:
    x = np.random.default_rng(0).integers(-128, 128, (count, *graph.tensor(graph.inputs[0]).shape[1:])).astype(np.int8)
    given = {"profile": _profile(), "x": x, "y": None, "inputs": f"{count} random inputs", "write": write, **more}
    return Subject(graph, **given)


def _measure(subject: Subject) -> Bench:
    return measure(subject, lambda *_: None)


@needs_qemu
def test_every_figure_says_what_it_is(graph: QuantGraph) -> None:
    labels = np.zeros(30, np.int64)
    found = _measure(_subject(graph, 30, y=labels))
    (row,) = found.rows
    figures = row.measurement.figures
    assert found.ok and not row.failed
    kinds = {name: figure.kind for name, figure in figures.items()}
    assert kinds["instructions"] == kinds["stack_bytes"] == kinds["peak_ram_bytes"] == kinds["accuracy"] == kinds["bit_equal"] == "emulated"
    assert kinds["flash_bytes"] == kinds["arena_bytes"] == "counted" and kinds["latency_ms"] == kinds["cycles"] == "predicted"
    assert figures["bit_equal"].value == 1 and figures["bit_equal"].n == 30 and figures["instructions"].n == COUNTED
    parts = ("flash_code_bytes", "flash_weights_bytes", "flash_constants_bytes")
    assert figures["flash_bytes"].value == sum(figures[name].value for name in parts)
    ram = figures["arena_bytes"].value + figures["stack_bytes"].value + figures["static_bytes"].value
    assert figures["peak_ram_bytes"].value == ram and figures["static_bytes"].value == 0
    low, middle, high = figures["latency_ms"].low, figures["latency_ms"].value, figures["latency_ms"].high
    assert low is not None and high is not None and low < middle < high
    assert middle == pytest.approx(figures["cycles"].value * 1.28 / 64e3)
    assert 1 < figures["cycles"].value / figures["instructions"].value < 2
    assert row.unit == "instructions" and sum(layer.value for layer in row.layers) == pytest.approx(figures["instructions"].value, rel=0.01)


@needs_qemu
def test_it_is_the_same_from_run_to_run_and_beside_tflm(graph: QuantGraph) -> None:
    first, second = (_measure(_subject(graph)) for _ in range(2))
    assert first.rows == second.rows
    (tflm,) = first.baselines
    estimate = tflm.measurement.figures["arena_bytes"]
    assert estimate.kind == "predicted" and estimate.low is not None and estimate.high is not None
    assert estimate.low < estimate.value < estimate.high == tflm.measurement.figures["arena_host_bytes"].value
    assert first.rows[0].measurement.figures["arena_bytes"].value <= tflm.measurement.figures["arena_activations_bytes"].value


@needs_qemu
def test_a_model_that_computes_something_else_fails_and_the_layer_is_named(graph: QuantGraph) -> None:
    index = len(graph.ops) // 2
    spoiled = next(name for name in graph.ops[index].inputs if graph.tensor(name).is_constant and graph.tensor(name).dtype == "int8")

    def wrong(fmt: str, given: QuantGraph, out: Path, **options: str) -> Artifact:
        """The exporter, but for one weight."""
        if fmt == "c" and spoiled in given.tensors:
            tensor = given.tensor(spoiled)
            assert tensor.data is not None
            data = tensor.data.copy()
            data.reshape(-1)[: data.size // 2] ^= 64
            given = replace(given, tensors={**given.tensors, spoiled: replace(tensor, data=data)})
        return write(fmt, given, out, **options)

    found = _measure(_subject(graph, write=wrong))
    (row,) = found.rows
    assert not found.ok and set(row.measurement.figures) == {"bit_equal"} and row.measurement.figures["bit_equal"].value < 1
    assert f"of 6 samples differ from the reference; the first layer that does is {graph.ops[index].name}" in row.failed


@needs_gcc
def test_a_target_that_is_too_small(graph: QuantGraph) -> None:
    with pytest.raises(DoesNotFit) as error:
        _measure(_subject(graph, profile=_profile(flash_bytes=8 << 10, ram_bytes=6 << 10)))
    message = str(error.value)
    assert error.value.exit_code == 1
    assert "does not fit nrf52840dk" in message and "flash: " in message and "RAM: " in message and " B too many; " in message
    assert "largest layers, by weights: " in message and "largest layers, by what they read and write: " in message
    assert "nearest fit: nrf52840dk (1048576 B of flash, 262144 B of RAM)" in message


@needs_gcc
def test_nothing_is_large_enough(graph: QuantGraph) -> None:
    flash = sum(tensor.nbytes for tensor in graph.tensors.values() if tensor.is_constant)
    assert flash < 64 << 10
    with pytest.raises(DoesNotFit, match="RAM: .* B too many") as error:
        _measure(_subject(graph, profile=_profile(ram_bytes=5 << 10)))
    assert "largest layers, by weights" not in str(error.value)


@needs_gcc
def test_targets_that_are_no_emulated_microcontrollers(graph: QuantGraph) -> None:
    with pytest.raises(InputError, match="the target has no flash"):
        _measure(_subject(graph, profile=load(find("pixel-8"))))
    with pytest.raises(InputError, match="core 'Cortex-M85' is not emulated"):
        _measure(_subject(graph, profile=_profile(core="Cortex-M85")))


def test_cores_that_are_not_modelled_get_no_milliseconds() -> None:
    assert cycles.latency(1e6, 1e6, "cortex-m7", 280, "board") is None and cycles.latency(1e6, None, "cortex-m55", 32, "board") is None
    found = cycles.latency(1e6, 1.25e6, "cortex-m4f", 100, "board")
    assert found is not None and found.kind == "predicted" and "no measurement" in found.where
    assert (found.low, found.value, found.high) == pytest.approx((11.2, 16.0, 20.8))
    rough = cycles.latency(1e6, None, "cortex-m4f", 100, "board")
    assert rough is not None and rough.low is not None and rough.high is not None
    assert rough.low < 16 * 0.7 and rough.high > 16 * 1.3 and "instructions at 1.4 cycles" in rough.where


def test_bytes_and_values(graph: QuantGraph) -> None:
    x = np.array([[1, -2], [300, -400]], np.int16)
    assert as_bytes(x).tolist() == [[1, 0, 254, 255], [44, 1, 112, 254]]
    shape = graph.tensor(graph.outputs[0]).shape[1:]
    y = np.arange(2 * int(np.prod(shape)), dtype=np.int8).reshape(2, *shape)
    assert (values_of(graph, as_bytes(y)) == y).all()
