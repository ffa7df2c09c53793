"""The Swift package: a real parser reads its code, its constants are the model's, and hostile labels stay text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.release.facts import Facts
from edgekd.release.ios import pack
from edgekd.release.template import swift
from tests.generated_code import computed, literals, mistakes
from tests.released import facts

KINDS = ("int8", "float", "two_tasks", "sound")
HOSTILE = ('a"b', "\\(exit(1))", "$x ${y}", "line\nbreak\r", "*/ /* //",
           "🐈‍⬛", "tab\t\0\x07", "\u202eright", "'''\"\"\"", "#\"\\#(x)", "\u2028")  # fmt: skip


def accessor(out: Path) -> str:
    return (out / "GoldenPixel8/Sources/GoldenPixel8/GoldenPixel8.swift").read_text(encoding="utf-8")


def with_labels(made: Facts, labels: tuple[str, ...]) -> Facts:
    """The same release with other labels for the first classes."""
    model = made.models["tflite"]
    head = model.heads[0]
    named = replace(head, labels=(*labels, *head.labels[len(labels) :]))
    return replace(made, models={"tflite": replace(model, heads=(named, *model.heads[1:]))})


@pytest.mark.parametrize("kind", KINDS)
def test_swift_parses(tmp_path: Path, kind: str):
    made = facts(tmp_path, kind, formats=("ios",))
    for exact in (False, True):
        for probabilities in (False, True):
            out = tmp_path / f"{exact}{probabilities}"
            files = pack(replace(made, vectors=replace(made.vectors, exact=exact), vectors_by_format={}, probabilities=probabilities), out)
            sources = [name for name in files if name.endswith(".swift")]
            assert len(sources) == 3
            for name in sources:
                assert mistakes((out / name).read_text(encoding="utf-8"), ".swift") == []


@pytest.mark.parametrize(("dtype", "scale"), (("int8", 0.05), ("int16", 1 / 32768)))
def test_other_inputs_parse(tmp_path: Path, dtype: str, scale: float):
    made = facts(tmp_path, "int8", formats=("ios",))
    model = made.models["tflite"]
    odd = replace(model, input=replace(model.input, dtype=dtype, scale=scale, zero_point=0))
    vectors = replace(made.vectors, x=made.vectors.x.astype(dtype))
    for value in ({}, {"input": {"value": "decibels"}}):
        graph = made.graph.with_metadata(**value)
        pack(replace(made, models={"tflite": odd}, vectors=vectors, vectors_by_format={}, graph=graph), tmp_path / "out")
        text = accessor(tmp_path / "out")
        assert mistakes(text, ".swift") == []
        assert f"static func quantized(_ value: Float) -> {dtype.capitalize()}" in text
        assert f"q.isNaN ? {dtype.capitalize()}(input.zeroPoint)" in text  # as the accessors in C, Python and Kotlin have it
        assert ("classify(_ pixels: [UInt8])" in text) is (not value)


@pytest.mark.parametrize("kind", KINDS)
def test_constants_are_the_models(tmp_path: Path, kind: str):
    made = facts(tmp_path, kind, formats=("ios",))
    pack(made, tmp_path / "out")
    text, model = accessor(tmp_path / "out"), made.models["tflite"]
    borders = re.findall(r'Border\(type: "(\w+)", shape: \[([\d, ]+)\], scale: ([\d.e-]+), zeroPoint: (-?\d+)\)', text)
    expected = [model.input, *(head.output for head in model.heads)]
    assert len(borders) == len(expected)
    for (dtype, shape, scale, zero_point), border in zip(borders, expected, strict=True):
        assert (dtype, tuple(int(d) for d in shape.split(","))) == (border.dtype, border.shape)
        assert (np.float32(scale), int(zero_point)) == (np.float32(border.scale or 0), border.zero_point or 0)
    said = literals(text, ".swift")
    assert model.sha256 in said and "1.4.0" in said
    labels = [label for head in model.heads for label in head.labels]
    start = said.index(labels[0])
    assert said[start : start + len(labels)] == labels
    assert ("CGImage" in text) is (kind != "sound")


def test_hostile_labels_stay_text(tmp_path: Path):
    made = facts(tmp_path, "int8", formats=("ios",))
    pack(made, tmp_path / "plain")
    plain = accessor(tmp_path / "plain")
    for labels in (HOSTILE[:6], HOSTILE[5:]):
        pack(with_labels(made, labels), tmp_path / "out")
        text = accessor(tmp_path / "out")
        assert mistakes(text, ".swift") == []
        assert computed(text, ".swift") == computed(plain, ".swift")
        assert text.count("\n") == plain.count("\n")
        said = literals(text, ".swift")
        start = said.index(labels[0])
        assert said[start : start + len(labels)] == list(labels)


def test_half_a_surrogate_pair_has_a_stand_in():
    assert swift("a\ud800b") == '"a\\u{fffd}b"'


def test_same_facts_make_the_same_bytes(tmp_path: Path):
    made = facts(tmp_path, "two_tasks", formats=("ios",))
    files = pack(made, tmp_path / "a")
    assert pack(made, tmp_path / "b") == files == tuple(sorted(files))
    found = sorted(path.relative_to(tmp_path / "a").as_posix() for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert found == list(files)
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_pod_and_package_take_the_same_files(tmp_path: Path):
    made = facts(tmp_path, "int8", formats=("ios",))
    files = pack(made, tmp_path)
    pod = json.loads((tmp_path / "GoldenPixel8/GoldenPixel8.podspec.json").read_text(encoding="utf-8"))
    assert (pod["name"], pod["version"], pod["dependencies"]) == ("GoldenPixel8", "1.4.0", {"TensorFlowLiteC": ["~> 2.14"]})
    resources = pod["resource_bundles"]["GoldenPixel8"]
    assert {f"GoldenPixel8/{name}" for name in resources} < set(files)
    package = (tmp_path / "GoldenPixel8/Package.swift").read_text(encoding="utf-8")
    assert package.startswith("// swift-tools-version:5.7\n")
    assert re.findall(r'\.copy\("([^"]+)"\)', package) == [Path(name).name for name in resources]


def test_readme_says_that_nothing_was_compiled(tmp_path: Path):
    pack(facts(tmp_path, "int8", formats=("ios",)), tmp_path)
    readme = (tmp_path / "GoldenPixel8/README.md").read_text(encoding="utf-8")
    assert "No Swift compiler was there" in readme
    assert "Not compiled" in accessor(tmp_path)
    assert readme.count("\n") <= 32
