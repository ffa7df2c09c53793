"""The Swift package: a real parser reads its code, its constants are the model's, and hostile labels stay text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edgekd.release.facts import Facts
from edgekd.release.ios import pack
from edgekd.release.template import swift
from tests.generated_code import mistakes
from tests.release.bundles import ODD_INPUTS, check_constants, check_hostile_labels, with_other_answers, with_other_inputs
from tests.released import KINDS, facts


def accessor(out: Path) -> str:
    return (out / "GoldenPixel8/Sources/GoldenPixel8/GoldenPixel8.swift").read_text(encoding="utf-8")


def packed(made: Facts, folder: Path) -> str:
    """The accessor of a package."""
    pack(made, folder)
    return accessor(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_swift_parses(tmp_path: Path, kind: str):
    made = facts(tmp_path, kind, formats=("ios",))
    for folder, one in with_other_answers(made):
        files = pack(one, tmp_path / folder)
        sources = [name for name in files if name.endswith(".swift")]
        assert len(sources) == 3
        for name in sources:
            assert mistakes((tmp_path / folder / name).read_text(encoding="utf-8"), ".swift") == []


@pytest.mark.parametrize(("dtype", "scale"), ODD_INPUTS)
def test_other_inputs_parse(tmp_path: Path, dtype: str, scale: float):
    for made, pixels in with_other_inputs(facts(tmp_path, "int8", formats=("ios",)), dtype, scale):
        text = packed(made, tmp_path / "out")
        assert mistakes(text, ".swift") == []
        assert f"static func quantized(_ value: Float) -> {dtype.capitalize()}" in text
        assert f"q.isNaN ? {dtype.capitalize()}(input.zeroPoint)" in text  # as the accessors in C, Python and Kotlin have it
        assert ("classify(_ pixels: [UInt8])" in text) is pixels


@pytest.mark.parametrize("kind", KINDS)
def test_constants_are_the_models(tmp_path: Path, kind: str):
    made = facts(tmp_path, kind, formats=("ios",))
    text = packed(made, tmp_path / "out")
    borders = re.findall(r'Border\(type: "(\w+)", shape: \[([\d, ]+)\], scale: ([\d.e-]+), zeroPoint: (-?\d+)\)', text)
    check_constants(text, ".swift", borders, made)
    assert ("CGImage" in text) is (kind != "sound")


def test_hostile_labels_stay_text(tmp_path: Path):
    check_hostile_labels(packed, ".swift", facts(tmp_path, "int8", formats=("ios",)), tmp_path)


def test_half_a_surrogate_pair_has_a_stand_in():
    assert swift("a\ud800b") == '"a\\u{fffd}b"'


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
