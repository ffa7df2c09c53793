"""The manifest: as its schema demands, and a schema that lets nothing through that it does not name."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgekd.errors import InputError
from edgekd.release.manifest import document, problems, schema
from tests.released import KINDS
from tests.releases import facts_of, made, tiny


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    tiny(monkeypatch)
    return dict(made(tmp_path).released.manifest)


def test_the_schema_is_one_and_refuses_what_it_does_not_name() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())

    def objects(at: Any) -> Any:
        if isinstance(at, dict):
            if at.get("type") == "object" and "properties" in at:
                yield at
            for item in at.values():
                yield from objects(item)
        elif isinstance(at, list):
            for item in at:
                yield from objects(item)

    assert all(one["additionalProperties"] is False and one["required"] == sorted(one["properties"]) for one in objects(schema()))


@pytest.mark.parametrize("kind", KINDS)
def test_manifests_of_all_kinds_are_as_the_schema_demands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    tiny(monkeypatch)
    document = made(tmp_path, kind).released.manifest
    jsonschema.Draft202012Validator(schema(), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(dict(document))
    assert len(document["contract"]["heads"]) == (2 if kind == "two_tasks" else 1)
    assert bool(document["contract"]["front_end"]) == (kind == "sound")


def test_what_it_says(manifest: dict[str, Any]) -> None:
    assert manifest["artifact"] == "golden-pixel-8"
    assert manifest["files"]["model/model.tflite"]["sha256"] == manifest["models"]["tflite"]["sha256"]
    assert manifest["models"]["tflite"]["paths"] == ["model/model.tflite", "tiny/assets/model.tflite"]
    assert manifest["files"]["tiny/assets/model.tflite"]["from"] == {"by": "copied", "of": ["models.tflite"]}
    assert manifest["files"]["tiny/bundle.zip"]["from"] == {"by": "tests.release.tiny_packer", "of": ["models.tflite"]}
    assert manifest["files"]["graph/graph.json"]["from"]["by"] == "build: freeze"
    assert manifest["files"]["evidence/verify.json"]["from"] == {"by": "build: verify", "of": ["golden-pixel-8-0123456789"]}
    assert {verdict["runtime"] for verdict in manifest["parity"]} == {"tflm", "litert_ref", "litert_xnnpack"}
    assert manifest["accuracy"]["tasks"][0]["labels"][2] == 'pull"over $x \\(y)'
    assert manifest["data"]["license"] == "MIT" and manifest["waivers"] == []
    assert "manifest.json" not in manifest["files"] and "model.sig" not in manifest["files"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"extra": 1}, "manifest: Additional properties are not allowed"),
        ({"version": "1.4"}, "version: '1.4' does not match"),
        ({"created": "yesterday"}, "created: 'yesterday' is not a 'date-time'"),
        ({"parity": []}, "parity: "),
        ({"figures": {"accuracy": {"value": 1}}}, "figures.accuracy: 'unit' is a required property"),
        ({"figures": {"Accuracy!": None}}, "figures"),
        ({"waivers": [{"check": "size"}]}, "waivers.0: 'expires' is a required property"),
        ({"run": ""}, "run: "),
    ],
)
def test_what_is_not_as_it_demands_is_named(manifest: dict[str, Any], change: dict[str, Any], said: str) -> None:
    assert problems(manifest) == []
    found = problems({**manifest, **change})
    assert any(problem.startswith(said) for problem in found), found


@pytest.mark.parametrize("name", ["/a", "../a", "a/../b", "a//b", "a\\b", "C:a", "./a", "a/", "", "a\nb"])
def test_paths_that_are_none_of_a_release_are_named(manifest: dict[str, Any], name: str) -> None:
    spoilt = copy.deepcopy(manifest)
    spoilt["files"][name] = spoilt["files"]["vectors.npz"]
    assert problems(spoilt)


def test_a_verdict_that_is_no_is_not_written(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    object.__setattr__(facts.models["tflite"].verdicts[0], "ok", False)
    try:
        with pytest.raises(InputError, match=r"parity\.0\.ok: True was expected"):
            document(facts, {"a": {"sha256": "0" * 64, "bytes": 1, "from": {"by": "test", "of": []}}}, ())
    finally:
        object.__setattr__(facts.models["tflite"].verdicts[0], "ok", True)
