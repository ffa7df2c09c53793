"""Whatever a file holds, the answer is a value or a list of problems, never an exception."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.profile.load import check, find
from edgekd.profile.rules import contradictions
from edgekd.profile.schema import Deploy, Profile, SchemeTable
from edgekd.profile.strict import Problem, dotted, read_toml, refusal, shown, validate
from edgekd.recipe.rules import contradictions as recipe_contradictions
from edgekd.recipe.schema import Recipe

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("strict")


@given(content=st.binary(max_size=200))
def test_any_bytes(content: bytes, scratch: Path) -> None:
    file = scratch / "any.toml"
    file.write_bytes(content)
    profile, problems = check(file)
    assert profile is None and problems
    assert str(file) in str(refusal(file, problems))


@given(key=st.sampled_from(["device", "budgets", "scheme", "deploy", "name", "kind"]), value=VALUES)
def test_any_section_of_a_profile(key: str, value: Any) -> None:
    raw = read_toml(find("orin-nano"))
    assert isinstance(raw, dict)
    _sound(*validate(Profile, raw | {key: value}, contradictions))


@given(section=st.sampled_from(["device", "budgets", "scheme", "deploy"]), value=VALUES, data=st.data())
def test_any_key_of_a_profile(section: str, value: Any, data: st.DataObject) -> None:
    raw = read_toml(find("orin-nano"))
    assert isinstance(raw, dict)
    key = data.draw(st.sampled_from(sorted(raw[section])))
    _sound(*validate(Profile, raw | {section: raw[section] | {key: value}}, contradictions))


@given(key=st.sampled_from(sorted(Recipe.model_fields)), value=VALUES)
def test_any_section_of_a_recipe(key: str, value: Any, repository: Path) -> None:
    raw = read_toml(repository / "models" / "fashion_mnist" / "recipe.toml")
    assert isinstance(raw, dict)
    _sound(*validate(Recipe, raw | {key: value}, recipe_contradictions))


def _sound(value: Any, problems: list[Problem]) -> None:
    assert (value is None) <= bool(problems)
    for problem in problems:
        assert problem.found
        assert problem.expected or problem.mend
        assert len(problem.found) < 300


def test_dotted() -> None:
    assert dotted(("losses", 0, "weight")) == "losses[0].weight"
    assert dotted(("targets", "pixel-8", "model_bytes")) == "targets.pixel-8.model_bytes"


def test_shown_is_short() -> None:
    assert shown(True) == "true"
    assert len(shown("x" * 1000)) == 80


@pytest.mark.parametrize("runtime", ["ethos-u", "litert", "onnxruntime", "openvino", "tensorrt", "tflm"])
def test_four_bits_only_where_there_are_kernels(runtime: str) -> None:
    exporter = {"onnxruntime": "onnx", "tensorrt": "onnx", "openvino": "openvino"}.get(runtime, "tflite")
    scheme = SchemeTable(numeric="int8", weight_bits=4, symmetric_activations=True, input_dtype="int8", output_dtype="int8")
    deploy = Deploy.model_validate({"exporter": exporter, "runtime": runtime, "transport": "host"})
    found = [problem.key for problem in contradictions({"scheme": scheme, "deploy": deploy})]
    assert found == ([] if runtime in ("tflm", "litert") else ["scheme.weight_bits"])
