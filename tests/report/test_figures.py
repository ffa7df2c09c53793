from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.quant import arena, io
from edgekd.records import Bin, ComparedTensor, Examined, Verdict
from edgekd.report import calibration, classes, confusion, curves, layers, memory, pareto, parity, svg
from edgekd.report.gather import View, views
from edgekd.report.page import render
from edgekd.store import Result
from tests import examined_runs

GRAPH = io.load(examined_runs.GOLDEN / "inverted_residual")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[View, ...]:
    root = tmp_path_factory.mktemp("two")
    return views([examined_runs.run(root, "nucleo-l4r5zi"), examined_runs.run(root, "pixel-8", seed=1)])


def said(chart: object) -> list[str]:
    """What each mark of a chart says; the chart is well-formed."""
    return [e.get("aria-label", "") for e in ElementTree.fromstring(str(chart)).iter() if "mark" in e.get("class", "").split()]


@given(st.floats(1e-6, 1e9), st.floats(1.0001, 1e6), st.booleans())
def test_ticks_lie_within_the_scale(low: float, factor: float, log: bool) -> None:
    scale = svg.Scale(low, low * factor, 0, 300, log)
    ticks = scale.ticks()
    assert ticks == sorted(ticks) and len(ticks) < 30
    assert all(-1 <= scale(tick) <= 301 for tick in ticks)


def test_an_element_escapes_what_it_is_given() -> None:
    made = svg.el("text", '<b>"', aria_label='"><script>', data_run="r0", x=1.5)
    assert made == '<text aria-label="&#34;&gt;&lt;script&gt;" data-run="r0" x="1.5">&lt;b&gt;&#34;</text>'


@pytest.mark.parametrize("at", range(9))
def test_each_run_has_a_marker_of_its_own(at: int) -> None:
    ElementTree.fromstring(str(svg.shape(at, 10, 10)))
    assert svg.shape(at, 10, 10) not in [svg.shape(other, 10, 10) for other in range(at % 8)]


def test_pareto_has_each_run_and_its_baseline(two: tuple[View, ...]) -> None:
    for cost in ("model_bytes", "latency_ms"):
        labels = said(pareto.plot(two, cost))
        assert [label.partition(":")[0] for label in labels] == [
            "nucleo-l4r5zi",
            "nucleo-l4r5zi, quantized after training",
            "pixel-8",
            "pixel-8, quantized after training",
        ]
        assert labels[1].endswith("; of the run itself, whose graph it has)") and "of the run itself" not in labels[0]
    assert pareto.plot([], "model_bytes") is None and pareto.search(two) is None


@pytest.mark.parametrize("changes", [{"kind": "predicted"}, {"where": "host: another processor"}])
def test_latencies_that_were_not_taken_alike_are_not_joined(two: tuple[View, ...], changes: dict[str, str]) -> None:
    first, second = two
    measure = second.records["measure"]
    (one, *more) = measure.body if isinstance(measure.body, list) else [measure.body]
    taken = replace(one, figures={**one.figures, "latency_ms": replace(one.figures["latency_ms"], **changes)})
    other = replace(second, records={**second.records, "measure": replace(measure, body=[taken, *more])})
    assert 'points=""' not in str(pareto.plot(two, "latency_ms")) and pareto.comparable(two, "latency_ms")
    assert 'points=""' in str(pareto.plot((first, other), "latency_ms")) and not pareto.comparable((first, other), "latency_ms")
    assert 'points=""' not in str(pareto.plot((first, other), "model_bytes"))
    shown = str(render((first, other)))
    assert "Not joined: these were not taken alike" in shown and "Not joined" not in str(render(two))


def test_curves_go_on_from_float_to_quantization_aware(two: tuple[View, ...]) -> None:
    labels = said(curves.plot(two[:1], "validation"))
    assert [label.partition(":")[0] for label in labels] == [
        f"nucleo-l4r5zi, pass {n} ({'float' if n < 6 else 'qat'})" for n in range(1, 8)
    ]
    assert "dashed" in str(curves.plot(two, "loss"))


def test_layers_say_what_their_values_are(two: tuple[View, ...]) -> None:
    from dataclasses import replace

    predicted, counted = (layers.costs(view) for view in two)
    assert predicted is not None and predicted.unit == "ms" and predicted.how.startswith("Predicted: Cortex-M4F at 120 MHz")
    assert (
        counted is not None
        and counted.unit == "MAC"
        and counted.how.startswith("Counted, not time: multiply-accumulates, since there is no")
    )
    measured = Result(
        "2026-11-22T00:00",
        "m",
        "f",
        "t",
        "qemu",
        "",
        row="cmsis",
        document={"layers": [{"name": "a", "value": 2.0, "unit": "instructions"}]},
    )
    found = layers.costs(replace(two[0], results=(measured,)))
    assert found is not None and found.rows == (("a", "", 2.0),) and found.how == "Measured on qemu, cmsis, 2026-11-22"
    assert len(said(layers.chart(counted, 0, "x"))) == len(GRAPH.ops)
    many = layers.Layers(tuple((f"l{n}", "", float(n % 50)) for n in range(100)), "ms", "")
    labels = said(layers.chart(many, 0, "x"))
    assert len(labels) == 32 and labels[0].startswith("l34: 34") and labels[-1].startswith("69 others: ")


def test_the_memory_map_has_every_buffer_at_its_offset() -> None:
    arranged = arena.arrange(GRAPH)
    buffers = arena.lifetimes(arranged.graph)
    labels = said(memory.chart(arranged, 0, "x"))
    assert sorted(label.partition(":")[0] for label in labels) == sorted(b.name for b in buffers)
    peak = memory.peak_step(arranged)
    assert sum("alive at the peak" in label for label in labels) == sum(b.first <= peak <= b.last for b in buffers)
    assert "Activations and scratch take" in memory.about(arranged)


def test_parity_counts_differences_and_names_the_first_tensor() -> None:
    verdict = Verdict("m", "tflm", "tflm", True, "", {"0": 9990, "-1": 4, "2": 5, "30": 1}, {})
    labels = said(parity.histogram(verdict, "x"))
    assert "9990 of 10000 outputs are equal" in labels and "1 of 10000 outputs differ by 6 LSB" in labels and len(labels) == 8
    tensors = [ComparedTensor("a", "Conv2D", "tflm", 10, 0, 0.0), ComparedTensor("b", "Add", "tflm", 100_000, 1, 2.0)]
    assert parity.first(tensors) == (
        "1 of 2 tensors are equal in every element; b (Add) is the first that is not: 1 of 100000 elements differ (< 0.01 %), by 2 at most."
    )
    assert len(said(parity.strip(tensors, "x"))) == 2
    assert parity.histogram(Verdict("m", "r", "p", True, "", {}, {}), "x") is None


def examined(confusion_: tuple[tuple[int, ...], ...], labels: tuple[str, ...] = ("a", "b")) -> Examined:
    return Examined("class", labels, confusion_, (), {}, None)


def test_classes_without_samples_and_the_worst_first() -> None:
    task = examined(((9, 1), (5, 5), (0, 0)))
    found = classes.rows(task)
    assert [(c.label, c.n, c.student, c.teacher) for c in found] == [("a", 10, 0.9, None), ("b", 10, 0.5, None)]
    assert [label[0] for label in said(classes.chart(found, 0, "x"))] == ["b", "a"]


def test_confusion_of_few_classes_is_drawn_and_of_many_listed() -> None:
    task = examined(((9, 1), (5, 5)))
    assert "b answered as a: 5 of 10 (50.0 %)" in said(confusion.matrix(task, task.confusion, "x"))
    assert confusion.most_confused(task) == [("b", "a", 5, 10, None), ("a", "b", 1, 10, None)]
    size = confusion.MOST + 1
    many = examined(tuple(tuple(1 for _ in range(size)) for _ in range(size)), ())
    assert confusion.matrix(many, many.confusion, "x") is None and confusion.most_confused(many)[0][0] == "class 0"


def test_calibration_leaves_empty_bins_out() -> None:
    bins = [Bin(0.0, 0.5, 0, 0, 0.0), Bin(0.5, 1.0, 10, 8, 0.9)]
    assert said(calibration.diagram(bins, 0, "x")) == ["confidence 50 to 100 % (90.0 % on average): 80.0 % right, 8 of 10"]
    assert calibration.diagram(bins[:1], 0, "x") is None


def test_all_charts_of_a_page_are_well_formed(two: tuple[View, ...]) -> None:
    for view in two:
        assert view.examination is not None and view.arranged is not None
        for task in view.examination.tasks:
            for chart in (confusion.matrix(task, task.confusion, "x"), calibration.diagram(task.calibration, 1, "x")):
                assert said(chart)
        assert said(memory.chart(view.arranged, 1, "x"))


def test_a_folder_of_runs_is_not_needed(tmp_path: Path) -> None:
    (view,) = views([examined_runs.run(tmp_path, examine=False)])
    assert view.examination is None and view.trials == () and view.results == ()
