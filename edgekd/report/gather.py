"""What the page shows of a run, read from its folder and from the store of measurements; what cannot be read is a note, not an error."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd import lazy, runs
from edgekd.errors import EdgekdError, InputError, MissingDependency
from edgekd.importers.check import read_folder
from edgekd.plan.latency import Prediction, predict, work_of
from edgekd.profile.schema import Profile
from edgekd.quant import arena, io
from edgekd.quant.graph import QuantGraph
from edgekd.records import Checkpoint, Examination, Figure, Measurement, Plan, Record, Verdict
from edgekd.report import sane, searched
from edgekd.report.searched import Trial
from edgekd.report.table import rows as rows_of
from edgekd.store import Query, Result

#: The order in which a build makes them; others come after.
_ORDER = ("plan", "float", "qat", "baseline", "freeze", "export", "verify", "measure", "examine")


@dataclass(frozen=True, eq=False)
class View:
    """One run. ``at`` is its place on the page, ``name`` what it is called there: its target, with more where several have the same.

    ``row`` is its row of the table. ``graph`` is None where the build has not come to it, ``arranged`` where TFLM cannot be given it.
    ``command`` is what does the stages that are missing. ``notes`` say what could not be read.
    """

    at: int
    folder: Path
    recipe: str
    name: str
    row: dict[str, Any]
    records: dict[str, Record]
    graph: QuantGraph | None
    arranged: arena.Arranged | None
    prediction: Prediction
    results: tuple[Result, ...]
    trials: tuple[Trial, ...]
    command: str
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"r{self.at}"

    @property
    def data(self) -> str:
        """The hash of its data set; "" where no record has it."""
        return next((r.inputs["data"] for r in self.records.values() if "data" in r.inputs), "")

    @property
    def examination(self) -> Examination | None:
        found = self.body("examine")
        return found[0] if found and isinstance(found[0], Examination) else None

    @property
    def plan(self) -> Plan | None:
        found = self.body("plan")
        return found[0] if found and isinstance(found[0], Plan) else None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return tuple(body for body in self.body("verify") if isinstance(body, Verdict))

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        return tuple(body for body in self.body("measure") if isinstance(body, Measurement))

    @property
    def trainings(self) -> dict[str, Checkpoint]:
        """Stage → what was trained."""
        found = {stage: self.body(stage) for stage in self.records}
        return {stage: body[0] for stage, body in found.items() if body and isinstance(body[0], Checkpoint)}

    def body(self, stage: str) -> list[Any]:
        if stage not in self.records:
            return []
        body = self.records[stage].body
        return body if isinstance(body, list) else [body]

    def figure(self, name: str) -> Figure | None:
        """The figure under that name which stands for the run: measured before examined before verified before planned."""
        sources = [
            *self.measurements,
            *([self.examination] if self.examination else []),
            *self.verdicts,
            *([self.plan] if self.plan else []),
        ]
        return next((s.figures[name] for s in sources if name in s.figures), None)


def views(folders: Sequence[Path], store: str = "") -> tuple[View, ...]:
    """Each run as the page needs it, in the order given.

    Raises InputError for what is no run folder, a damaged record, and a ``store`` that is not there; EdgekdError where that is broken.
    """
    rows = rows_of(folders)
    paths, targets = [Path(folder) for folder in folders], [row["target"] for row in rows]
    recipes = [_recipe(path, target) for path, target in zip(paths, targets, strict=True)]
    names = _names(targets, recipes, paths)
    return tuple(
        _view(at, path, (recipe, name), row, store)
        for at, (path, recipe, name, row) in enumerate(zip(paths, recipes, names, rows, strict=True))
    )


def _view(at: int, folder: Path, names: tuple[str, str], row: dict[str, Any], store: str) -> View:
    """``names``: the recipe's, and the run's own on the page."""
    request = runs.request(folder)
    there = runs.stages(folder)
    ordered = [stage for stage in _ORDER if stage in there] + [stage for stage in there if stage not in _ORDER]
    records = {stage: runs.read(folder, stage) for stage in ordered}
    sane.check(folder, records)
    notes: list[str] = []
    graph = _attempt(lambda: read_folder(folder / "graph"), notes) if (folder / "graph" / io.GRAPH).is_file() else None
    arranged = _attempt(lambda: arena.arrange(graph), notes) if graph is not None else None
    prediction = _attempt(lambda: _predicted(graph, request), notes) if graph is not None else None
    results: tuple[Result, ...] | None = None
    if graph is not None:  # a store that was asked for must be there; the usual one may be missing or broken
        results = _results(graph, store) if store else _attempt(lambda: _results(graph, store), notes)
    return View(
        at,
        folder,
        *names,
        row,
        records,
        graph,
        arranged,
        prediction or Prediction(reason="there is no graph yet"),
        results or (),
        searched.beside(folder, names[0]),
        _command(records, folder, row),
        tuple(dict.fromkeys(notes)),
    )


def _attempt(read: Any, notes: list[str]) -> Any:
    """What ``read`` gives; None where it cannot, and why among the ``notes``."""
    try:
        return read()
    except EdgekdError as error:
        notes.append(" ".join(str(error).split()))
        return None


def _predicted(graph: QuantGraph, request: dict[str, Any]) -> Prediction:
    try:
        profile = Profile.model_validate(request.get("profile"))
    except ValueError:
        return Prediction(reason="the run's request holds no profile that this version reads")
    return predict(work_of(graph), profile.device, profile.deploy.runtime)


def _results(graph: QuantGraph, store: str) -> tuple[Result, ...]:
    """The newest of this graph on each device. A store that is not there is not made."""
    try:
        address = lazy.load("edgekd.store.tables:address")(store)
        if address.get_backend_name() == "sqlite" and not Path(address.database or "").is_file():
            if store:
                raise InputError("there is no such file", where=f"--store {store}", expected="a store of measurements")
            return ()
        engine = lazy.load("edgekd.store.tables:connect")(store)
        return tuple(lazy.load("edgekd.store.results:find")(engine, Query(model=io.fingerprint(graph), newest=True)))
    except MissingDependency as error:
        raise EdgekdError(f"the store of measurements was not read: {error}") from error


def _names(targets: Sequence[str], recipes: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Targets; where one stands twice, with the recipe, else with what ends the folder's name, else with a number."""
    parts = [(t, r, f.name.rpartition("-")[2][:10]) for t, r, f in zip(targets, recipes, folders, strict=True)]
    ways = ([t for t, _, _ in parts], [f"{t} {r}" for t, r, _ in parts], [f"{t} {end}" for t, _, end in parts])
    named = next((way for way in ways if len(set(way)) == len(way)), ways[-1])
    return [name if named.count(name) == 1 else f"{name} ({at + 1})" for at, name in enumerate(named)]


def _recipe(folder: Path, target: str) -> str:
    """The recipe's name, as the folder has it: recipe-target-id."""
    return folder.name.partition(f"-{target}-")[0] if f"-{target}-" in folder.name else folder.name


def _command(records: dict[str, Record], folder: Path, row: dict[str, Any]) -> str:
    """The command that does what the run lacks, as it was built; "" for a run of `edgekd quantize`, which has no further stages."""
    config: dict[str, Any] = next((r.config for r in records.values() if "recipe_folder" in r.config), {})
    if not config:
        return "" if records else "edgekd build … --resume"
    words = ["edgekd", "build", str(config["recipe_folder"]), "--target", row["target"]]
    words += [word for name in ("preset", "seed") if config.get(name) is not None for word in (f"--{name}", str(config[name]))]
    for budget in row["budgets"]:
        if budget["source"] == "command line":
            words += ["--budget", f"{budget['name']}={budget['limit']!r}"]
    return shlex.join([*words, "--runs", str(folder.parent), "--resume"])


def plain(value: Any) -> str:
    """JSON for people."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
