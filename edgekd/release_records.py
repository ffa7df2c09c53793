"""Whether the records of a finished run hold what a release reads off them: each its stage's noun, numbers, text and files of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from edgekd import runs
from edgekd.errors import InputError
from edgekd.records import Artifact, Examination, Measurement, Plan, Record, Verdict
from edgekd.report import sane

#: Stage → what its body is, and whether it is a list of them.
_BODIES: dict[str, tuple[type, bool]] = {
    "plan": (Plan, False),
    "export": (Artifact, True),
    "verify": (Verdict, True),
    "measure": (Measurement, True),
    "examine": (Examination, False),
}
_MEND = "delete that record; edgekd build … --resume makes it again"


def check(run: Path) -> None:
    """Raises InputError, naming the record and the mend, for one that no stage writes."""
    records: Mapping[str, Record] = {stage: runs.read(run, stage) for stage in runs.stages(run)}
    sane.check(run, records)
    for stage, record in records.items():
        found = _wrong(run, stage, record)
        if found:
            where = str(run / "records" / f"{stage}.json")
            raise InputError(found, where=where, expected="a record as edgekd writes it", mend=_MEND)


def _wrong(run: Path, stage: str, record: Record) -> str:
    """What is wrong with a record, or ""."""
    noun, several = _BODIES.get(stage, (object, False))
    bodies = record.body if isinstance(record.body, list) else [record.body]
    empty = not bodies and stage != "verify"  # that no runtime verified it is a verdict of its own
    if stage in _BODIES and (isinstance(record.body, list) != several or empty or not all(isinstance(body, noun) for body in bodies)):
        return "does not hold what its stage writes"
    try:
        json.dumps(runs.document(run, stage), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "holds half a character, which is no text"
    if stage == "measure":
        if not isinstance(record.config.get("recipe_folder"), str):
            return "does not say where the recipe was"
        try:
            datetime.fromisoformat(record.environment.get("created", ""))
        except ValueError:
            return f"was made at {record.environment.get('created', '')!r:.40}"
    if stage == "export":
        return _elsewhere(run, bodies[0])
    if stage == "examine":
        return next((f"no confusion matrix of {len(t.labels)} classes" for t in bodies[0].tasks if not _square(t.confusion, t.labels)), "")
    return ""


def _elsewhere(run: Path, artifact: Artifact) -> str:
    model = runs.inside(run, artifact.path)
    strange = [name for name in (artifact.path, *artifact.files) if not runs.inside(run, name).is_relative_to(model.parent)]
    return f"names {strange[0]!r:.80}, which is not beside the model" if strange else ""


def _square(counts: tuple[tuple[int, ...], ...], labels: tuple[str, ...]) -> bool:
    return [len(row) for row in counts] == [len(labels)] * len(labels)
