"""Capacity, shift, and recipes that work against themselves."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.advise.circumstances import Capacity, Schedule, judge_capacity, judge_shift, smells
from edgekd.advise.finding import Finding, loss_lines, ordered, rounded, shown, toml
from edgekd.advise.judge import Situation
from edgekd.advise.measure import images
from edgekd.advise.shifted import TwoSample
from edgekd.errors import InputError
from edgekd.records import Figure
from tests.advise.test_judge import accepted, recipe, situation
from tests.small_builds import pictures


def test_capacity():
    made = recipe()
    assert not list(judge_capacity(Capacity("nano", 10_000, 1_000, 100_000, 10_000), made))
    (f,) = judge_capacity(Capacity("nano", 40_000, 1_000, 100_000, 50_000), made)
    assert f.name == "capacity_gap_nano" and "40×" in f.measured and "1 between them, of about 6,325 parameters" in f.change
    accepted(f)
    (f,) = judge_capacity(Capacity("nano", 1_000_000, 1_000, None, 50_000), made)
    assert "2 between them, of about 100,000, 10,000 parameters" in f.change and "MACs" not in f.measured
    # A gap in MACs alone: the recipe's "auto" goes by parameters, so it is not proposed.
    (f,) = judge_capacity(Capacity("nano", 5_000, 1_000, 1_000_000, 10_000), made)
    assert f.lines == () and "100×" in f.measured
    assert not list(judge_capacity(Capacity("nano", None, 1_000, None, 10_000), made))


def test_who_has_assistants_is_not_told_to():
    made = recipe({"[views]": '[intermediates]\nassistants = "auto"\n\n[views]'})
    assert not list(judge_capacity(Capacity("nano", 1_000_000, 1_000, None, 50_000), made))


def shifts(train: np.ndarray, other: np.ndarray, given: Situation | None = None) -> dict[str, Finding]:
    tests = images(train, train, {"test": other})
    return {f.name: f for f in judge_shift(tests, given or situation())}


def test_images_of_one_kind_and_of_two():
    x, z = pictures(200, 1)[0], pictures(150, 2)[0]
    assert shifts(x, z) == {}
    found = shifts(x, (z // 2).astype(np.uint8))
    (f,) = found.values()
    assert f.name == "image_shift_test" and f.severity == "warning" and "n=200 and 150, p=0.002" in f.measured and f.lines == ()


def test_images_that_are_moved_ask_for_views_that_are():
    x = np.zeros((200, 12, 12, 1), np.uint8)
    rng = np.random.default_rng(0)
    for at, (row, column) in enumerate(rng.integers(3, 6, (200, 2))):
        x[at, row : row + 3, column : column + 3] = 200
    found = shifts(x, np.roll(x, 3, axis=2))
    f = found["image_shift_test"]
    assert "centre across" in f.measured and "shift = 2" in f.lines
    accepted(f)


def test_views_that_are_unlike_the_test_images():
    x, z = pictures(200, 1)[0], pictures(150, 2)[0]
    views = x.copy()
    views[:, 2:10, 2:10] = 128
    found = {f.name: f for f in judge_shift(images(x, views, {"test": z}), situation({"shift = 1": "shift = 1\ncutout = 8"}))}
    assert set(found) == {"views_unlike_test"} and "cutout = 4" in found["views_unlike_test"].lines
    accepted(found["views_unlike_test"])


def test_labels_and_teacher():
    far, near = TwoSample(0.3, 0.002, 100, 50, 0.3, "share", "down"), TwoSample(0.04, 0.002, 100, 50, 0.04, "share", "down")
    found = [f.name for f in judge_shift({"labels_validation": far, "labels_test": near, "teacher_test": far}, situation())]
    assert found == ["label_shift_validation", "teacher_shift_test"]
    assert not list(judge_shift({"labels_test": TwoSample(0.3, 0.2, 10, 5, 0.3, "share", "down")}, situation()))


def smelled(changes: dict[str, str] | None = None, **schedule: object) -> dict[str, Finding]:
    made = recipe(changes)
    temperatures = {at: float(loss.options.get("temperature", 4)) for at, loss in enumerate(made.losses) if loss.name == "soft_targets"}
    given = {"native_bf16": True, "integer": True, "train": 50_000, "validation": 5000, **schedule}
    return {f.name: f for f in smells(made, temperatures, Schedule("demo", made.presets["demo"], **given))}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "changes", "schedule"),
    [
        ("cold_targets", {"temperature = 4.0": "temperature = 1.0"}, {}),
        ("heavy_labels", {"weight = 0.9": "weight = 0.05"}, {}),
        ("no_teacher", {'"soft_targets"': '"cross_entropy"', "\noptions = { temperature = 4.0 }": ""}, {}),
        ("bf16_emulated", {"batch = 8": 'batch = 8\nbf16 = "on"'}, {"native_bf16": False}),
        ("qat_rate", {"batch = 8": "batch = 8\nqat_learning_rate = 0.1"}, {}),
        ("batch", {}, {"train": 5}),
        ("int8_softmax", {'family = "inverted_residual"': 'family = "inverted_residual"\nsoftmax = true'}, {}),
        ("small_validation", {}, {"validation": 100}),
    ],
)
def test_smells(name: str, changes: dict[str, str], schedule: dict[str, object]):
    found = smelled(changes, **schedule)
    assert set(found) == {name}, found
    accepted(found[name])


def test_a_recipe_without_smells():
    assert smelled() == {}
    assert smelled({"batch = 8": 'batch = 8\nbf16 = "on"'}) == {}, "this machine has bf16"
    assert smelled({"batch = 8": "batch = 8\nqat_learning_rate = 0.1"}, integer=False) == {}, "no quantized training"


def test_lines_are_toml():
    assert toml({"a": [1, 2.5, True], "b c": 'ü"\n', "d": {}}) == '{ a = [1, 2.5, true], "b c" = "ü\\"\\n", d = {} }'
    loss = recipe().losses[0]
    assert loss_lines(loss, temperature=2.0, weight=0.25) == (
        "[[losses]]", 'name = "soft_targets"', "weight = 0.25", "options = { temperature = 2.0 }",
    )  # fmt: skip
    assert rounded(0.0123456) == 0.012 and rounded(1234.0) == 1200.0


def test_order_and_severity():
    a, b, c = (Finding(name, severity, "", "", "") for name, severity in (("a", "note"), ("b", "warning"), ("c", "note")))  # type: ignore[arg-type]
    assert [f.name for f in ordered([a, b, c])] == ["b", "a", "c"]
    with pytest.raises(InputError, match="expected: warning, advice, note"):
        Finding("a", "grave", "", "", "")  # type: ignore[arg-type]


def test_shown():
    assert shown(Figure(0.5, "share", "measured", "here", 20, 0.3, 0.7)) == "50.0% (30.0%–70.0%, n=20)"
    assert shown(Figure(2.0, "nat", "measured", "here", 20)) == "2 nat (n=20)"
    assert shown(Figure(2.0, "", "counted", "here")) == "2"
