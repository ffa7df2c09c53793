"""`edgekd gate`: reads runs and releases as the rules see them, and measures both files in turn where a device is named."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgekd import report, runs
from edgekd.bench import FILES, OWN, Wanted, bench
from edgekd.errors import InputError
from edgekd.gate.check import Classes, Limit, Parity, Subject
from edgekd.gate.judge import Interleaved, Judgement, judge
from edgekd.gate.waivers import Waiver
from edgekd.measure.device import Asked, Progress
from edgekd.records import Artifact, BudgetUse, Examination, Figure, Plan, Record, Verdict
from edgekd.released import Released, is_release, load, verify_files
from edgekd.report.budgets import uses

_NEEDED = ("plan", "export", "verify", "measure")
_QUANTIZED = "`edgekd quantize` takes none: a waiver for worst_class says who answers for that"
_ANEW = "delete that record; edgekd build … --resume makes it again"
_EXAMINE = "edgekd build … --resume examines a run of an older edgekd"


def gate(
    subject: Path,
    baseline: Path | None,
    tolerances: dict[str, float],
    waivers: Sequence[Waiver],
    *,
    today: datetime.date,
    interleaved: Interleaved | None = None,
) -> Judgement:
    """Judge a run or a release against another. Raises InputError for a folder that is neither, is not finished, or is damaged."""
    mine, theirs = read(subject), read(baseline) if baseline is not None else None
    if baseline is not None and Path(subject).resolve() == Path(baseline).resolve():
        mine = replace(mine, notes=("the baseline is this very folder: nothing was compared", *mine.notes))
    return judge(mine, theirs, tolerances, waivers, today=today, interleaved=interleaved)


def read(folder: Path) -> Subject:
    """A run or a release as the rules see it. Raises InputError for what is neither, is not finished, or is damaged."""
    folder = Path(folder)
    if is_release(folder):
        return _of_release(load(folder))
    if not (folder / "request.json").is_file():
        found = "there is no such folder" if not folder.is_dir() else "neither request.json nor manifest.json is there"
        raise InputError(found, where=str(folder), expected="a run that `edgekd build` made, or a release that `edgekd release` made")
    return _of_run(folder)


def in_turn(subject: Path, baseline: Path, device: str, seconds: float, progress: Progress) -> Interleaved:
    """Measure both exported files block by block in turn on ``device``: the ratio of their times.

    Raises InputError for a device that cannot compare two files, or a target that is found nowhere, and what the device raises.
    """
    kind = device.partition(":")[0]
    if kind not in FILES:
        raise InputError(f"two models on {device}", where="--device", expected=f"one that runs both files in turn: {', '.join(FILES)}")
    (theirs, target), (mine, _) = _deployed(baseline), _deployed(subject)
    asked = Asked()
    done = bench(Wanted(theirs, target, device, seconds=seconds, rival=mine, asked=asked), progress).bench
    failed = [f"{name}: {row.failed}" for name, row in zip(("the baseline", "this"), done.rows, strict=False) if row.failed]
    return Interleaved(device, done.figures.get("latency_ratio"), f"{device}: {'; '.join(failed)}" if failed else "")


def _deployed(folder: Path) -> tuple[Path, str]:
    """The file to measure, and "" as its target; or the graph and its target of OpenVINO's, which says nothing of its quantization."""
    if is_release(folder):
        released = load(folder)
        paths = [str(path) for path in _own(released).get("paths", []) if str(path).startswith("model/")]
        if not paths or paths[0] not in released.manifest["files"]:
            raise InputError("names no model of its own", where=str(folder / "manifest.json"), expected="a file in model/")
        file, graph, target = folder / paths[0], folder / "graph", str(released.manifest["target"])
    else:
        artifact, plan = runs.read(folder, "export").body[0], runs.read(folder, "plan").body
        file, graph, target = runs.inside(folder, artifact.path), folder / "graph", plan.target
    return (file, "") if file.suffix in OWN and file.suffix != ".xml" else (graph, target)


# ---- a run


def _of_run(run: Path) -> Subject:
    records = {stage: runs.read(run, stage) for stage in runs.stages(run)}
    missing = [stage for stage in _NEEDED if stage not in records]
    if missing:
        raise InputError(f"not finished: the stage {missing[0]} is not done", where=str(run), mend="edgekd build … --resume goes on")
    _check_bodies(run, records)
    request, plan = runs.request(run), records["plan"].body
    artifact: Artifact = records["export"].body[0]
    measured: dict[str, Figure] = dict(records["measure"].body[0].figures)
    verdicts: list[Verdict] = records["verify"].body
    stated = {name: figure for name, figure in verdicts[0].figures.items() if name.partition("_")[0] == "accuracy"} if verdicts else {}
    examined = records["examine"].body if "examine" in records else None
    recipe = request.get("recipe")
    name = recipe.get("name") if isinstance(recipe, dict) else None
    return Subject(
        where=str(run),
        name=str(name or run.name),
        target=plan.target,
        data=records["plan"].inputs.get("data", ""),
        model=artifact.sha256,
        figures=stated | measured,
        limits=_limits(run),
        parity=tuple(_parity(verdict) for verdict in verdicts),
        classes=_classes(examined, str(run / "records" / "examine.json")),
        changed=tuple(_changed(run, records)),
        lacks={} if examined else {"worst_class": _QUANTIZED if request.get("command") == "quantize" else _EXAMINE},
        notes=records["measure"].body[0].notes,
    )


def _check_bodies(run: Path, records: dict[str, Record]) -> None:
    """Whether each record holds what its stage writes: a record of the right form may hold another stage's."""
    wanted: dict[str, tuple[type, bool]] = {"plan": (Plan, False), "export": (Artifact, True), "verify": (Verdict, True)}
    wanted |= {"measure": (object, True), "examine": (Examination, False)}
    for stage, (noun, several) in wanted.items():
        if stage not in records:
            continue
        body = records[stage].body
        first = (body[0] if body else None) if isinstance(body, list) else body
        empty = several and stage == "verify" and body == []
        if not empty and (
            isinstance(body, list) != several or not isinstance(first, noun) or (stage == "measure" and not _has_figures(first))
        ):
            raise InputError(
                "does not hold what its stage writes", where=str(run / "records" / f"{stage}.json"), mend="edgekd build … --resume"
            )


def _has_figures(body: Any) -> bool:
    return isinstance(getattr(body, "figures", None), dict) and isinstance(getattr(body, "notes", None), tuple)


def _changed(run: Path, records: dict[str, Record]) -> list[str]:
    """Files that are not as recorded, and records that are not those from which later ones were made."""
    found = list[str]()
    for stage in records:
        try:
            found += [f"{name} is not what records/{stage}.json says" for name in runs.changed(run, stage)]
        except InputError as error:  # the record was read before: a file is gone
            found.append(f"{Path(error.where).name}, of records/{stage}.json, is missing")
    found += [f"the record that records/{stage}.json was made from has changed since" for stage in runs.unchained(run)]
    return list(dict.fromkeys(found))


def _limits(run: Path) -> tuple[Limit, ...]:
    """The budgets as the report judges them; what a run knows of a limit that only a device can be measured against is None."""
    known, unknown = uses(report.rows([run])[0])
    return (*map(_limit, known), *(Limit(one["name"], one["limit"], one["unit"], one["source"], None) for one in unknown))


def _limit(one: BudgetUse) -> Limit:
    return Limit(one.name, one.limit, one.unit, one.source, one.used, one.kind)


def _parity(verdict: Verdict, own: Collection[str] = ()) -> Parity:
    """``own``: the files of the target itself, none where there are no others."""
    layer = f"; first at {verdict.first_layer}" if verdict.first_layer and not verdict.ok else ""
    return Parity(verdict.runtime, verdict.ok, verdict.reason + layer, further=bool(own) and verdict.artifact not in own)


def _classes(examined: Examination | None, where: str) -> tuple[Classes, ...]:
    if examined is None:
        return ()
    found = list[Classes]()
    for one in examined.tasks:
        rows = one.confusion
        if len(rows) != len(one.labels) or any(len(row) != len(rows) or min(row, default=0) < 0 for row in rows):
            raise InputError(
                f"no confusion matrix of {len(one.labels)} classes", where=where, expected="a square one of counts", mend=_ANEW
            )
        found.append(Classes(one.task, one.labels, tuple(map(sum, rows)), tuple(row[at] for at, row in enumerate(rows))))
    return tuple(found)


# ---- a release


def _of_release(released: Released) -> Subject:
    manifest, examined, own = released.manifest, released.examination, _own(released)
    files = own.get("files")
    return Subject(
        where=str(released.folder),
        name=str(manifest["name"]),
        target=str(manifest["target"]),
        data=str(manifest["data"].get("sha256") or ""),
        model=str(own.get("sha256", "")),
        figures=released.figures,
        limits=tuple(map(_limit, released.budgets)),
        parity=tuple(_parity(verdict, files if isinstance(files, dict) else ()) for verdict in released.parity),
        classes=_classes(examined, str(released.folder)),
        changed=tuple(verify_files(released)),
        lacks={} if examined else {"worst_class": "release it again from a run that was examined"},
        version=str(manifest["version"]),
        notes=tuple(map(str, notes)) if isinstance(notes := manifest.get("notes"), list) else (),
    )


def _own(released: Released) -> dict[str, Any]:
    """What the manifest says of the target's own file."""
    model = released.manifest["models"].get(str(released.manifest.get("own")))
    return model if isinstance(model, dict) else {}
