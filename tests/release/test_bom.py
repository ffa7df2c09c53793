"""The bill of materials: CycloneDX's own validator takes it, and it says what there is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from edgekd.release.bom import bom, encode, problems
from tests.released import KINDS
from tests.releases import facts_of, made, tiny

LISTED = {"model/model.tflite": {"sha256": "0" * 64, "bytes": 1, "from": {"by": "test", "of": []}}}
TEACHER = {"sources": [{"source": "residual_cnn"}], "sha256": "1" * 64, "license": "Apache-2.0"}
DATA = {"source": "numpy", "sha256": "2" * 64, "license": "MIT OR Apache-2.0", "options": {"file": "data.npz", "labels": ["a"]}}


@pytest.mark.parametrize("kind", KINDS)
def test_the_strict_validator_takes_what_is_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    tiny(monkeypatch)
    released = made(tmp_path, kind).released
    text = (released.folder / "bom.cdx.json").read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    files = {one["name"]: one["hashes"][0]["content"] for one in document["components"] if one["type"] == "file"}
    stated = {path: entry["sha256"] for path, entry in released.manifest["files"].items()}
    assert files == {path: sha256 for path, sha256 in stated.items() if path != "bom.cdx.json"}
    refs = [document["metadata"]["component"]["bom-ref"], *(one["bom-ref"] for one in document["components"])]
    assert len(refs) == len(set(refs))
    assert {one["ref"] for one in document["dependencies"]} == set(refs)


def test_what_it_says_of_model_data_and_teacher(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    made = bom(facts, LISTED, TEACHER, DATA)
    model = made["metadata"]["component"]
    assert (model["type"], model["group"], model["name"], model["version"]) == (
        "machine-learning-model", "com.example.models", "golden-pixel-8", "1.4.0"
    )  # fmt: skip
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    latency = next(one for one in metrics if one["type"].startswith("latency_ms"))
    interval = {"lowerBound": "0.24", "upperBound": "0.26"}
    assert latency == {"type": "latency_ms (ms, measured)", "value": "0.25", "confidenceInterval": interval}
    assert {"type": "recall (share, measured)", "value": "0.75", "slice": "drèss"} in metrics
    by_ref = {one["bom-ref"]: one for one in made["components"]}
    assert by_ref["data:golden"]["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert by_ref["data:golden"]["hashes"] == [{"alg": "SHA-256", "content": "2" * 64}]
    assert by_ref["teacher:0:residual_cnn"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert by_ref["library:numpy"]["version"] == "2.4.6"


def test_a_recall_is_of_the_kind_of_its_examination(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    assert facts.examination is not None
    (task,) = facts.examination.tasks
    emulated = replace(task, figures={name: replace(figure, kind="emulated") for name, figure in task.figures.items()})
    made = bom(replace(facts, examination=replace(facts.examination, tasks=(emulated,))), LISTED, TEACHER, DATA)
    metrics = made["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {one["type"] for one in metrics if "slice" in one} == {"recall (share, emulated)"}


def test_the_same_content_has_the_same_number_and_other_content_another(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    one, two = bom(facts, LISTED, TEACHER, DATA), bom(facts, LISTED, TEACHER, DATA)
    assert encode(one) == encode(two)
    assert one["metadata"]["timestamp"] == facts.created
    assert bom(replace(facts, version="1.4.1"), LISTED, TEACHER, DATA)["serialNumber"] != one["serialNumber"]


@pytest.mark.parametrize("license", ["our own words, of 2026", "</licence>", "LicenseRef-Ours"])
def test_a_licence_in_words_is_kept_by_its_name(tmp_path: Path, license: str) -> None:
    data: dict[str, Any] = {**DATA, "license": license, "sha256": None}
    component = next(one for one in bom(facts_of(tmp_path), LISTED, TEACHER, data)["components"] if one["type"] == "data")
    assert license in json.dumps(component["licenses"])


def test_several_teachers_and_none(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    several = bom(facts, LISTED, {**TEACHER, "sources": [{"source": "onnx"}, {"source": "onnx"}]}, DATA)
    teachers = [one["bom-ref"] for one in several["components"] if one["type"] == "machine-learning-model"]
    assert teachers == ["teacher:0:onnx", "teacher:1:onnx"]
    bom(facts, LISTED, {**TEACHER, "sources": [], "sha256": None}, DATA)


def test_the_validator_is_strict() -> None:
    assert problems('{"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "invented": 1}')
