from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.gate.check import TOLERANCES, Check, Classes, Parity, Subject, verdict
from edgekd.gate.relative import against
from edgekd.records import Figure
from tests.gate.subjects import figures, subject, with_figure


def check(name: str, new: Subject, old: Subject | None = None, **more: float) -> Check:
    found = {one.name: one for one in against(new, old or subject(), {**TOLERANCES, **more})}
    return found[name]


def test_the_same_passes() -> None:
    found = against(subject(), subject(), TOLERANCES)
    assert [one.status for one in found] == ["pass"] * 5
    assert [one.name for one in found] == ["accuracy", "worst_class", "latency_ms", "model_bytes", "peak_ram_bytes"]
    assert found[0].message == "+0.00 pp, −0.3 allowed; n = 1000" and found[2].message == "+0.0%, +10% allowed"


@pytest.mark.parametrize(
    ("name", "changes", "status"),
    [
        ("accuracy", {"value": 0.895}, "fail"),
        ("accuracy", {"value": 0.897}, "pass"),  # the limit itself
        ("accuracy", {"value": 0.8969}, "fail"),
        ("accuracy", {"value": 0.95}, "pass"),
        ("accuracy", {"n": 999}, "unknown"),
        ("accuracy", {"kind": "measured"}, "unknown"),
        ("latency_ms", {"value": 2.3, "low": 2.28, "high": 2.32}, "fail"),
        ("latency_ms", {"value": 2.2, "low": 2.18, "high": 2.22}, "pass"),
        ("latency_ms", {"value": 2.3, "low": 1.9, "high": 2.6}, "unknown"),  # it may be no slower at all
        ("latency_ms", {"value": 2.3}, "fail"),  # an interval that does not hold its figure says nothing
        ("latency_ms", {"value": 2.3, "low": None, "high": None}, "fail"),
        ("latency_ms", {"value": 1.0, "low": 0.9, "high": 1.1}, "pass"),
        ("latency_ms", {"where": "host: another CPU"}, "unknown"),
        ("latency_ms", {"kind": "predicted"}, "unknown"),
        ("latency_ms", {"unit": "s"}, "unknown"),
        ("model_bytes", {"value": 105_000}, "fail"),
        ("model_bytes", {"value": 102_000}, "pass"),
        ("peak_ram_bytes", {"value": 20_500}, "fail"),
        ("peak_ram_bytes", {"value": 20_000, "where": "another host, which has computed the same arena"}, "pass"),
        ("peak_ram_bytes", {"value": 20_500, "kind": "measured"}, "unknown"),
    ],
)
def test_one_figure(name: str, changes: dict[str, Any], status: str) -> None:
    found = check(name, with_figure(name, **changes))
    assert found.status == status, found.message
    assert verdict(against(with_figure(name, **changes), subject(), TOLERANCES)) == status


def test_a_loss_is_said_in_samples() -> None:
    found = check("accuracy", with_figure("accuracy", value=0.895))
    assert found.message == "-0.50 pp, −0.3 allowed; n = 1000: 5 more are wrong"


def test_what_cannot_be_judged_says_why_and_what_helps() -> None:
    other = with_figure("latency_ms", where="host: another CPU")
    assert check("latency_ms", other).message == (
        "taken elsewhere: host: another CPU; the baseline's: host: a CPU, LiteRT 2.3.0, 1 thread; "
        "--device D measures both files in turn and judges their ratio"
    )
    wide = with_figure("latency_ms", value=2.3, low=1.9, high=2.6)
    assert check("latency_ms", wide).message == (
        "+15.0%, +10% allowed, but the 95 % intervals overlap; --device D measures both files in turn and judges their ratio"
    )
    predicted = with_figure("latency_ms", kind="predicted")
    assert check("latency_ms", predicted).message.startswith("this is predicted, the baseline's measured; ")


def test_a_class_that_sinks_fails_whichever_it_is() -> None:
    """The average is unchanged, and the worst class got better; yet the other lost 4 pp."""
    new = subject(classes=(Classes("", ("shirt", "shoe"), (500, 500), (440, 460)),))
    found = check("worst_class", new)
    assert found.status == "fail" and found.message == "shoe: -4.00 pp, −2 allowed; n = 500"
    assert check("worst_class", new, worst_class=5.0).status == "pass"
    assert (found.found and found.found.value, found.baseline and found.baseline.value) == (0.92, 0.96)


@pytest.mark.parametrize(
    "classes",
    [
        (),
        (Classes("", ("shirt", "boot"), (500, 500), (420, 480)),),
        (Classes("", ("shirt", "shoe"), (400, 600), (400, 600)),),
        (Classes("", ("shirt", "shoe"), (0, 0), (0, 0)),),
    ],
)
def test_other_classes_are_not_compared(classes: tuple[Classes, ...]) -> None:
    assert check("worst_class", subject(classes=classes)).status == "unknown"
    assert check("worst_class", subject(), subject(classes=classes)).status == "unknown"


def test_every_task_is_judged() -> None:
    tasks = {"accuracy_digit": figures()["accuracy"], "accuracy_speaker": figures()["accuracy"]}
    both = (Classes("digit", ("a", "b"), (500, 500), (420, 480)), Classes("speaker", ("x", "y"), (500, 500), (420, 480)))
    old = subject(figures={**figures(), **tasks}, classes=both)
    new = replace(old, figures={**old.figures, "accuracy_speaker": replace(tasks["accuracy_speaker"], value=0.5)})
    found = {one.name: one.status for one in against(new, old, TOLERANCES)}
    assert found["accuracy.digit"] == "pass" and found["accuracy.speaker"] == "fail" and "accuracy" not in found
    assert found["worst_class.digit"] == found["worst_class.speaker"] == "pass"
    only = subject(figures=figures(), classes=both[:1])
    assert {one.name: one.status for one in against(only, old, TOLERANCES)}["accuracy.speaker"] == "unknown"
    named = subject(classes=both[:1])  # of its only task, whose figure is called accuracy
    assert {one.name: one.status for one in against(named, named, TOLERANCES)}["worst_class.digit"] == "pass"
    assert {one.status for one in against(named, named, TOLERANCES)} == {"pass"}
    half = replace(old, classes=both[:1])
    assert {one.name: one.status for one in against(half, half, TOLERANCES)}["worst_class.speaker"] == "unknown"


@pytest.mark.parametrize(
    ("old", "said"),
    [
        (None, "there is no baseline; --baseline names a run or a release to compare with"),
        (subject(target="pixel-9"), "the baseline is for pixel-9, this is for pixel-8"),
        (
            subject(changed=("export/model.tflite is not what records/export.json says",)),
            "the baseline is not as it was made: export/model",
        ),
    ],
)
def test_a_baseline_that_is_none(old: Subject | None, said: str) -> None:
    found = against(subject(), old, TOLERANCES)
    assert {one.status for one in found} == {"unknown"} and all(one.message.startswith(said) for one in found)


def test_other_data_leave_only_what_does_not_depend_on_it() -> None:
    found = {one.name: one for one in against(subject(), subject(data="e" * 64), TOLERANCES)}
    assert {name for name, one in found.items() if one.status == "unknown"} == {"accuracy", "worst_class"}
    assert found["accuracy"].message.startswith("the baseline was tested on other data (eeeeeeeeee…, this on dddddddddd…)")
    assert check("accuracy", subject(), subject(data="")).message == "runs/a does not say what data it was tested on"


@pytest.mark.parametrize("name", ["accuracy", "latency_ms", "model_bytes", "peak_ram_bytes"])
def test_no_figure(name: str) -> None:
    without = subject(figures={key: figure for key, figure in figures().items() if key != name})
    assert check(name, without).status == check(name, subject(), without).status == "unknown"


@pytest.mark.parametrize("value", [0.0, -1.0])
@pytest.mark.parametrize("name", ["latency_ms", "model_bytes", "peak_ram_bytes"])
def test_what_costs_nothing_was_not_measured(name: str, value: float) -> None:
    broken = with_figure(name, value=value, low=None, high=None)
    assert check(name, subject(), broken).status == check(name, broken).status == "unknown"


def test_a_runtime_of_the_baseline_in_which_this_was_not_verified() -> None:
    """A release says of its further formats' files as well; of these a run has none."""
    both = (*subject().parity, Parity("litert_xnnpack", True, "bit-equal"), Parity("c_host", True, "bit-equal", further=True))
    found = {one.name: one for one in against(subject(), subject(parity=both), TOLERANCES)}
    assert found["parity.litert_xnnpack"].status == "unknown" and "parity.c_host" not in found and "parity.tflm" not in found
    assert found["parity.litert_xnnpack"].message.startswith("the baseline was verified in it, this was not")
    assert not {one.name for one in against(subject(parity=both), subject(), TOLERANCES)} & {"parity.litert_xnnpack", "parity.c_host"}
    assert "parity.tflm" not in {one.name for one in against(subject(parity=()), subject(), TOLERANCES)}  # one check says that already


@pytest.mark.parametrize(
    ("ratio", "rulers", "status"),
    [
        (1.34, (3.3, 2.13), "unknown"),  # the new one on a machine that had other work all the time
        (1.34, (2.15, 2.13), "fail"),
        (1.34, (2.13, 3.3), "fail"),
        (1.05, (2.13, 3.3), "unknown"),  # the baseline was: it may hide a loss
        (1.05, (2.13, 2.15), "pass"),
        (0.8, (3.3, 2.13), "pass"),
    ],
)
def test_a_machine_that_was_slower_itself(ratio: float, rulers: tuple[float, float], status: str) -> None:
    def ruled(made: Subject, value: float) -> Subject:
        return replace(made, figures={**made.figures, "host_ruler_us": Figure(value, "us", "measured", "host: a CPU", n=900)})

    slow = with_figure("latency_ms", value=2 * ratio, low=2 * ratio - 0.05, high=2 * ratio + 0.05)
    found = check("latency_ms", ruled(slow, rulers[0]), ruled(subject(), rulers[1]))
    assert found.status == status
    assert (status == "unknown") == ("but the machine itself was 1.55 times" in found.message)


def test_the_same_file_that_is_slower_fails_and_says_so() -> None:
    slow = with_figure("latency_ms", value=2.6, low=2.5, high=2.7)
    same, other = check("latency_ms", replace(slow, model=subject().model)), check("latency_ms", replace(slow, model="n" * 64))
    assert same.status == other.status == "fail"
    assert "the file is the same, so that runtime or machine changed" in same.message and "the same" not in other.message


@pytest.mark.parametrize(
    ("ratio", "status"),
    [((1.0, 0.98, 1.02), "pass"), ((1.15, 1.12, 1.18), "fail"), ((1.15, 0.95, 1.4), "unknown"), ((1.09, 1.07, 1.12), "pass")],
)
def test_both_measured_in_turn(ratio: tuple[float, float, float], status: str) -> None:
    value, low, high = ratio
    figure = Figure(value, "ratio", "measured", "host, paired rounds", low=low, high=high)
    slow = with_figure("latency_ms", value=9.0, low=8.9, high=9.1)
    found = {one.name: one for one in against(slow, subject(), TOLERANCES, figure)}["latency_ms"]
    assert found.status == status and "measured in turn" in found.message
    rejected = {one.name: one for one in against(slow, subject(), TOLERANCES, figure, "host: this: it throttled")}["latency_ms"]
    assert rejected.status == "unknown" and rejected.message == "host: this: it throttled"


@given(st.sampled_from(["latency_ms", "model_bytes", "peak_ram_bytes"]), st.floats(1e-6, 1e12), st.floats(0, 3), st.floats(0, 1))
def test_costs_fail_from_the_tolerance_on(name: str, value: float, growth: float, tolerance: float) -> None:
    old = with_figure(name, value=value, low=None, high=None)
    new = replace(with_figure(name, value=value * (1 + growth), low=None, high=None), model="o" * 64)
    status = check(name, new, old, **{name: tolerance}).status
    assert status == ("pass" if growth <= tolerance else "fail") or abs(growth - tolerance) < 1e-8


@given(st.integers(0, 1000), st.integers(0, 1000), st.floats(0, 100))
def test_accuracy_fails_from_the_tolerance_on(before: int, after: int, tolerance: float) -> None:
    old, new = with_figure("accuracy", value=before / 1000), with_figure("accuracy", value=after / 1000)
    status = check("accuracy", new, old, accuracy=tolerance).status
    assert status == ("pass" if (before - after) / 10 <= tolerance else "fail") or abs((before - after) / 10 - tolerance) < 1e-8
