"""The manifest: what a release is, the hash of every file, what was measured and judged, where it comes from. Its schema lies beside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from edgekd.errors import InputError
from edgekd.quant import io
from edgekd.release.evidence import clean, said
from edgekd.release.facts import Facts, Model
from edgekd.released import SCHEMA_VERSION, encode
from edgekd.runs import sha256_file


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a manifest."""
    return json.loads(files("edgekd.release").joinpath("manifest.schema.json").read_text("utf-8"))


def problems(document: Mapping[str, Any]) -> list[str]:
    """Everything in which ``document`` is not as the schema demands, each with its place."""
    found = sorted(
        _validator().iter_errors(_plain(document)), key=lambda error: ([str(part) for part in error.absolute_path], error.message)
    )
    return [f"{'.'.join(map(str, error.absolute_path)) or 'manifest'}: {error.message:.200}" for error in found]


def edgekd_version() -> str:
    try:
        return version("edgekd")
    except PackageNotFoundError:
        return "unknown"


def document(facts: Facts, listed: Mapping[str, Any], formats: Iterable[str]) -> dict[str, Any]:
    """The manifest of ``facts`` with the table of files ``listed``. Raises InputError where it would not be as the schema demands."""
    own, plan = facts.models[facts.own], said(facts, "plan")
    examination = facts.examination and replace(facts.examination, where=clean(facts.examination.where), picture="", sha256="")
    by_hash = {entry["sha256"]: [path for path in sorted(listed) if listed[path]["sha256"] == entry["sha256"]] for entry in listed.values()}
    made: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "name": facts.name,
        "artifact": facts.artifact,
        "group": facts.group,
        "version": facts.version,
        "created": facts.created,
        "edgekd": edgekd_version(),
        "target": facts.target,
        "run": facts.run,
        "fingerprint": io.fingerprint(facts.graph),
        "formats": list(formats),
        "own": facts.own,
        "models": {name: _model(model, by_hash) for name, model in facts.models.items()},
        "contract": {
            "input": asdict(own.input),
            "input_means": str(_table(facts.graph.metadata.get("input")).get("value", "")),
            "heads": [asdict(head) for head in own.heads],
            "answer": "probabilities" if facts.probabilities else "logits",
            "ties": "lowest index",
            "front_end": dict(facts.front_end),
            "vectors": {"file": "vectors.npz", "n": len(facts.vectors.x), "exact": facts.vectors.exact},
        },
        "figures": {name: asdict(figure) for name, figure in facts.figures.items()},
        "budgets": [asdict(budget) for budget in facts.budgets],
        "parity": [asdict(verdict) for model in facts.models.values() for verdict in model.verdicts],
        "accuracy": examination and asdict(examination),
        "teacher": _teacher(facts, plan),
        "data": {
            "source": str(_table(facts.recipe.get("data")).get("source", "unknown")),
            "options": _table(_table(facts.recipe.get("data")).get("options")),
            "sha256": _table(plan.get("inputs")).get("data"),
            "license": facts.licenses.get("data_license"),
        },
        "training": {
            "family": str(_table(facts.recipe.get("student")).get("family", "unknown")),
            "losses": list(facts.recipe.get("losses") or []),
            "scheme": _table(facts.graph.metadata.get("scheme")),
            "config": {key: value for key, value in _table(plan.get("config")).items() if key in ("preset", "schedule", "seed")},
        },
        "licenses": dict(facts.licenses),
        "environment": dict(facts.environment),
        "notes": list(facts.notes),
        "waivers": [],
    }
    # Labels, and names of tensors, are what they are; the rest may tell where something lay on a machine.
    made |= {key: clean(made[key]) for key in ("figures", "budgets", "parity", "teacher", "data", "training", "environment", "notes")}
    made = _plain({**made, "files": listed})
    made = json.loads(encode(made))
    if wrong := problems(made):
        raise InputError(f"the manifest is not as its schema demands: {wrong[0]}", where=facts.run, expected="edgekd release schema")
    return made


def entry(path: Path, by: str, of: Iterable[str] = ()) -> dict[str, Any]:
    """What the manifest says of one file: its hash, its size, what made it, and from what."""
    return {"sha256": sha256_file(path), "bytes": path.stat().st_size, "from": {"by": by, "of": list(of)}}


def _model(model: Model, by_hash: Mapping[str, list[str]]) -> dict[str, Any]:
    return {
        "format": model.format,
        "sha256": model.sha256,
        "files": {name: sha256_file(model.folder / name) for name in model.files},
        "paths": by_hash.get(model.sha256, []),
        "input": asdict(model.input),
        "heads": [asdict(head) for head in model.heads],
        "figures": {name: asdict(figure) for name, figure in model.figures.items()},
    }


def _teacher(facts: Facts, plan: Mapping[str, Any]) -> dict[str, Any]:
    one, several = facts.recipe.get("teacher"), facts.recipe.get("teachers") or []
    accuracy = facts.figures.get("teacher_accuracy")
    return {
        "sources": [one] if isinstance(one, dict) else [dict(each) for each in several],
        "sha256": _table(plan.get("inputs")).get("teacher"),
        "accuracy": accuracy and asdict(accuracy),
        "license": facts.licenses.get("teacher_license"),
    }


def _plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """With lists for tuples, as JSON will have it."""
    return json.loads(json.dumps(document))


def _table(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


@cache
def _validator() -> Any:
    made = schema()
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made, format_checker=Draft202012Validator.FORMAT_CHECKER)
