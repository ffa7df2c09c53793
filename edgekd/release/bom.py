"""The bill of materials: CycloneDX 1.6 as JSON, with the model card that the ML-BOM part of the specification (2024) has.

cyclonedx-python-lib has no model card and no data component (of 11.12), so the document is written here and judged by its validator.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.spdx import is_expression, is_supported_id
from cyclonedx.validation.json import JsonStrictValidator

from edgekd.errors import InputError
from edgekd.host import LIBRARIES
from edgekd.release.card import classes
from edgekd.release.facts import Facts
from edgekd.release.manifest import edgekd_version

#: Which libraries write and run a file of a format.
_OF_FORMAT = {
    "tflite": ("ai-edge-litert", "tflite-micro"),
    "onnx": ("onnx", "onnxruntime"),
    "openvino": ("openvino",),
    "c": ("tflite-micro",),
}


def bom(facts: Facts, listed: Mapping[str, Any], teacher: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The bill of the release of ``facts`` with the files ``listed``; ``teacher`` and ``data`` as the manifest has them.

    Raises InputError where CycloneDX's own strict schema would not take it.
    """
    model, dataset = f"model:{facts.artifact}", f"data:{facts.name}"
    libraries = [_library(name, facts.environment[name]) for name in LIBRARIES if name in facts.environment]
    ran = {f"library:{name}" for format in facts.models for name in _OF_FORMAT.get(format, ())} & {one["bom-ref"] for one in libraries}
    components = [_dataset(dataset, data), *_teachers(teacher), *libraries, *(_file(path, listed[path]) for path in sorted(listed))]
    made: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": facts.created,
            "lifecycles": [{"phase": "post-build"}],
            "tools": {"components": [{"type": "application", "name": "edgekd", "version": edgekd_version()}]},
            "component": {
                "type": "machine-learning-model",
                "bom-ref": model,
                "group": facts.group,
                "name": facts.artifact,
                "version": facts.version,
                "description": facts.licenses.get("description") or f"{facts.name} for {facts.target}",
                "hashes": [_sha256(facts.models[facts.own].sha256)],
                **_licenses(facts.licenses.get("license")),
                "modelCard": _card(facts, dataset),
            },
        },
        "components": components,
        "dependencies": [
            {"ref": model, "dependsOn": sorted({dataset, *(one["bom-ref"] for one in _teachers(teacher)), *ran})},
            *({"ref": one["bom-ref"]} for one in components),
        ],
    }
    content = json.dumps(made, sort_keys=True)
    made = {"serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'urn:edgekd:bom:{content}')}", **made}
    if wrong := problems(encode(made).decode()):
        raise InputError(f"the bill of materials is not as CycloneDX 1.6 demands: {wrong[0]}", where=facts.run)
    return made


def encode(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def problems(text: str) -> list[str]:
    """Everything that CycloneDX's strict schema has against the document."""
    # Its annotation names one error, also for all of them.
    errors: Any = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text, all_errors=True)
    return [" ".join(str(error).split())[:300] for error in errors or ()]


def _card(facts: Facts, dataset: str) -> dict[str, Any]:
    own = facts.models[facts.own]
    family = dict(facts.recipe.get("student") or {}).get("family")
    considerations = {
        "useCases": [facts.licenses["intended_use"]] if facts.licenses.get("intended_use") else [],
        "technicalLimitations": [facts.licenses["limitations"]] if facts.licenses.get("limitations") else [],
    }
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "classification",
            **({"architectureFamily": family} if family else {}),
            "datasets": [{"ref": dataset}],
            "inputs": [{"format": f"{own.input.dtype} {list(own.input.shape)}"}],
            "outputs": [{"format": f"{head.output.dtype} {list(head.output.shape)}"} for head in own.heads],
        },
        "quantitativeAnalysis": {"performanceMetrics": _metrics(facts)},
        "considerations": {key: value for key, value in considerations.items() if value},
    }


def _metrics(facts: Facts) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for name, figure in sorted(facts.figures.items()):
        one: dict[str, Any] = {"type": f"{name} ({figure.unit or 'count'}, {figure.kind})", "value": repr(figure.value)}
        if figure.low is not None and figure.high is not None:
            one["confidenceInterval"] = {"lowerBound": repr(figure.low), "upperBound": repr(figure.high)}
        made.append(one)
    for task in facts.examination.tasks if facts.examination else ():
        kind = next((figure.kind for figure in task.figures.values()), "measured")
        for row in classes(task):
            if row.n:
                sliced = f"{task.task}: {row.label}" if task.task else row.label
                made.append({"type": f"recall (share, {kind})", "value": repr(row.right / row.n), "slice": sliced})
    return made


def _dataset(ref: str, data: Mapping[str, Any]) -> dict[str, Any]:
    hashes = [_sha256(data["sha256"])] if data.get("sha256") else []
    said = {"type": "dataset", "name": data["source"], "contents": {"properties": _properties(data.get("options") or {})}}
    return {"type": "data", "bom-ref": ref, "name": data["source"], "hashes": hashes, **_licenses(data.get("license")), "data": [said]}


def _teachers(teacher: Mapping[str, Any]) -> list[dict[str, Any]]:
    made = []
    for at, source in enumerate(teacher["sources"]):
        name = str(source.get("source", "unknown"))
        # One hash stands for all teachers together: of several, none has it.
        hashes = [_sha256(teacher["sha256"])] if teacher.get("sha256") and len(teacher["sources"]) == 1 else []
        made.append(
            {"type": "machine-learning-model", "bom-ref": f"teacher:{at}:{name}", "name": name, "hashes": hashes, "scope": "excluded",
             "description": "teacher", **_licenses(teacher.get("license"))}
        )  # fmt: skip
    return made


def _library(name: str, version: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": f"library:{name}", "name": name, "version": version, "scope": "excluded",
            "purl": f"pkg:pypi/{name}@{version.replace('+', '%2B')}"}  # fmt: skip


def _file(path: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "file", "bom-ref": f"file:{path}", "name": path, "hashes": [_sha256(entry["sha256"])],
            "properties": _properties({"edgekd:by": entry["from"]["by"], "edgekd:bytes": entry["bytes"]})}  # fmt: skip


def _sha256(value: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": value}


def _licenses(said: str | None) -> dict[str, Any]:
    """As an SPDX identifier or expression where it is one, else by its name."""
    if not said:
        return {}
    if is_supported_id(said):
        return {"licenses": [{"license": {"id": said}}]}
    return {"licenses": [{"expression": said} if is_expression(said) else {"license": {"name": said}}]}


def _properties(table: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"name": str(key), "value": value if isinstance(value, str) else json.dumps(value)} for key, value in sorted(table.items())]
