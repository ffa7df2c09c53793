"""`edgekd bench` with a memory: models on one device, or on every device of a fleet, into the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from edgekd import runs
from edgekd.bench import Benched, Wanted, bench, readable
from edgekd.convert import read_model
from edgekd.errors import EdgekdError, InputError
from edgekd.fleet.file import Fleet, Member
from edgekd.fleet.run import Order, Outcome, Told, Waiting, run
from edgekd.measure.device import Progress
from edgekd.measure.harness import files_of
from edgekd.profile.load import load as load_profile
from edgekd.profile.schema import Profile
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph
from edgekd.store import Result
from edgekd.store.results import save, there
from edgekd.store.tables import connect
from edgekd.stored import learn, results_of

#: Of what was wanted, what a device of the fleet decides, and what changes no result.
_NOT_ASKED = ("model", "target", "device", "keep", "seconds")


@dataclass(frozen=True, eq=False)
class _Model:
    wanted: Wanted
    order: Order
    graph: QuantGraph


def bench_stored(wanted: Wanted, store: str, progress: Progress) -> tuple[Benched, str]:
    """Measure on one device, store it, and let the latency model learn from it. Also why it could not be stored, "" if it was.

    Raises what ``bench`` raises, and what opening the store does, before anything is measured.
    """
    engine = connect(store)
    models = [_model(wanted)] + ([_model(replace(wanted, model=wanted.rival))] if wanted.rival else [])
    profile = load_profile(wanted.target) if wanted.target else None
    done = bench(wanted, progress)
    found = learn(done.bench, [models[min(at, len(models) - 1)].graph for at in range(len(done.bench.rows))], profile, wanted.asked.threads)
    member = Member(name="device", device=wanted.device, target=done.target)
    results: list[Result] = []
    for at, row in enumerate(found.rows):
        order = models[min(at, len(models) - 1)].order
        about = Result("", order.name, order.fingerprint, done.target, wanted.device, order.key(member), inputs=done.inputs)
        results += results_of(replace(found, rows=(row,)), about)
    try:
        save(engine, results)
    except EdgekdError as error:
        return replace(done, bench=found), str(error)
    return replace(done, bench=found), ""


def bench_fleet(wanted: Sequence[Wanted], fleet: Fleet, store: str, again: bool, told: Told, waiting: Waiting) -> list[Outcome]:
    """Measure each of ``wanted`` (whose device and target are the fleet's) on every device; ``again`` also what the store has.

    ``told`` hears every outcome after it has been stored. Raises InputError for a model, samples or store that cannot be read, before any
    device is asked; what a device raises is its outcome.
    """
    engine = connect(store)
    targets = tuple((name, _said(load_profile(name))) for name in dict.fromkeys(member.target for member in fleet.devices) if name)
    models = {one.order: one for one in (_model(each, targets) for each in wanted)}
    if len({(order.fingerprint, order.asked) for order in models}) < len(wanted):
        raise InputError("the same model twice", where="edgekd bench", expected="different models")
    keys = {order.key(member) for order in models for member in fleet.devices}

    def tell(outcome: Outcome) -> None:
        save(engine, outcome.results)
        told(outcome)

    def measure(member: Member, order: Order) -> list[Result]:
        return _measure(models[order], member)

    return run(fleet, list(models), measure, set() if again else there(engine, keys), tell, waiting)


def _measure(model: _Model, member: Member) -> list[Result]:
    wanted = replace(model.wanted, device=member.device, target=member.target)
    if member.options.seconds is not None:
        wanted = replace(wanted, seconds=member.options.seconds)
    done = bench(wanted, _quiet)
    profile = load_profile(member.target) if member.target else None
    found = learn(done.bench, [model.graph] * len(done.bench.rows), profile, wanted.asked.threads)
    order = model.order
    about = Result("", order.name, order.fingerprint, done.target, member.device, order.key(member), label=member.name, inputs=done.inputs)
    return results_of(found, about)


def _said(profile: Profile) -> str:
    """A hash of what the profile says; what it leaves out does not count, so that a key of a later edgekd changes nothing."""
    return hashlib.sha256(profile.model_dump_json(exclude_unset=True).encode()).hexdigest()


def _model(wanted: Wanted, targets: tuple[tuple[str, str], ...] = ()) -> _Model:
    graph = read_model(readable(wanted, wanted.model))
    asked = {field.name: _plain(getattr(wanted, field.name)) for field in fields(wanted) if field.name not in _NOT_ASKED}
    asked["file"] = " ".join(map(_plain, _files(wanted.model)))
    order = Order(wanted.model.resolve().name, io.fingerprint(graph), json.dumps(asked, sort_keys=True), targets, wanted.seconds)
    return _Model(wanted, order, graph)


def _files(model: Path) -> tuple[Path, ...]:
    """What beside its graph decides what is measured: a file with its weights; of a run what was asked of it, its target and its data."""
    if model.is_file():
        return files_of(model)
    return (model / "request.json",) if (model / "request.json").is_file() else ()


def _plain(value: Any) -> str:
    """A file by its content, so that other samples of the same name are another order."""
    return runs.sha256_file(value) if isinstance(value, Path) and value.is_file() else str(value)


def _quiet(what: str, done: int, total: int) -> None:
    """Bars of many devices at once would say nothing: their outcomes are told instead."""
