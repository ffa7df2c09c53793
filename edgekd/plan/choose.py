"""The largest student of a family that fits all budgets, counted on the graphs that the candidates will become."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgekd.errors import DoesNotFit, InputError
from edgekd.plan.budget import Budget
from edgekd.plan.estimate import Cost, cost, estimator, in_arena, in_patches
from edgekd.profile.schema import Profile
from edgekd.quant.graph import QuantGraph
from edgekd.records import BudgetUse, Figure, Plan
from edgekd.students.family import Family

#: How far an estimated file may exceed its budget and still be encoded to see.
SLACK = 1.08
#: Where nothing fits: how many of the nearest by estimate are encoded, to name the nearest indeed.
NEAREST = 8
#: What becomes of a budget that no plan can count.
_NOT_COUNTED = {
    "latency_ms": "latency is not predicted, and what this host takes is reported but not judged: limit",
    "accuracy_drop_pp": "accuracy is not predicted: measured after export against",
}


@dataclass(frozen=True)
class _Candidate:
    cost: Cost
    model_bytes: int
    encoded: bool


def choose(
    profile: Profile,
    family: Family,
    specs: Iterable[Any],
    budgets: Sequence[Budget],
    sketch: Callable[[Any], QuantGraph],
    measure_file: Callable[[QuantGraph], int] | None,
) -> Plan:
    """The plan for one target: of the ``specs`` that fit every budget that can be counted, the one of the highest score (see Cost).

    ``sketch`` makes the channels-last graph of a spec; ``measure_file`` gives the bytes of a graph's exported file (None where the
    exporter is not installed: then they are predicted). Candidates are counted all, but encoded only from the largest down
    to the first that fits. Raises DoesNotFit naming the binding budget and the nearest candidate, InputError if there are no specs.
    """
    costs = [cost(spec, sketch(spec), profile) for spec in specs]
    if not costs:
        raise InputError(
            "no candidate", where=f"family {family.name}", expected="at least one, from the recipe's student.options and space"
        )
    # One order whatever the order of the specs: by score, then by parameters, then by RAM, the least first.
    costs.sort(key=lambda c: (-c.score, -c.parameters, c.ram_bytes, repr(c.spec)))
    estimate = estimator(costs, sketch, measure_file)

    def candidate(c: Cost) -> _Candidate:
        return _Candidate(c, round(estimate(c)) if measure_file is None else measure_file(sketch(c.spec)), measure_file is not None)

    for c in costs:
        if _excess(_Candidate(c, round(estimate(c) / SLACK), False), budgets, profile) <= 1:
            chosen = candidate(c)
            if _excess(chosen, budgets, profile) <= 1:
                return _plan(chosen, len(costs), profile, family, budgets)
    guessed = sorted(costs, key=lambda c: _excess(_Candidate(c, round(estimate(c)), False), budgets, profile))
    nearest = min((candidate(c) for c in guessed[:NEAREST]), key=lambda n: _excess(n, budgets, profile))
    if _excess(nearest, budgets, profile) <= 1:
        return _plan(nearest, len(costs), profile, family, budgets)
    patches = _patches(nearest, profile, budgets, sketch)
    raise DoesNotFit(_refusal(nearest, len(costs), profile, family, budgets, patches))


def largest_use(cost: Cost, model_bytes: int, budgets: Sequence[Budget], profile: Profile) -> float:
    """The largest share of a budget that a candidate of a file of ``model_bytes`` uses; at most 1 where it fits."""
    return _excess(_Candidate(cost, model_bytes, False), budgets, profile)


def uses_of(cost: Cost, model_bytes: int | None, budgets: Sequence[Budget], profile: Profile) -> tuple[BudgetUse, ...]:
    """What a graph of that cost and a file of ``model_bytes`` (None: as good as its constants) use of every budget that can be counted."""
    return _uses(_Candidate(cost, cost.weight_bytes if model_bytes is None else model_bytes, model_bytes is not None), budgets, profile)


def explain(plan: Plan) -> str:
    """The plan in words: the student, its figures, and what it uses of each budget."""
    shown = ", ".join(f"{key} {_short(value)}" for key, value in plan.spec.items())
    noun = "candidate" if plan.considered == 1 else "candidates"
    lines = [f"{plan.target}: {plan.family}, the largest that fits of {plan.considered} {noun}", f"  {shown}"]
    budgeted = {_figure_of(use.name) for use in plan.budgets}
    for use in plan.budgets:
        share = f"({100 * use.used / use.limit:.1f} %)"
        used = f"{_amount(use.used, use.unit):>13} of {_amount(use.limit, use.unit):>13} {use.unit:<3}"
        kind = plan.figures[_figure_of(use.name)].kind
        name = _figure_of(use.name)
        lines.append(f"  {name:<15} {used} {share:>8}  {kind:<9}  limit: {use.source}")
    for name, figure in plan.figures.items():
        if name not in budgeted:
            lines.append(f"  {name:<15} {_amount(figure.value, figure.unit):>13} {figure.unit}  {figure.kind}")
    lines += [
        f"  {name}: {_amount(figure.low, figure.unit)} to {_amount(figure.high, figure.unit)} {figure.unit}; {figure.where}"
        for name, figure in plan.figures.items()
        if figure.low is not None and figure.high is not None
    ]
    return "\n".join([*lines, *(f"  {note}" for note in plan.notes)])


def _uses(candidate: _Candidate, budgets: Sequence[Budget], profile: Profile) -> tuple[BudgetUse, ...]:
    counted = {"model_bytes": candidate.model_bytes, "peak_ram_bytes": _peak_ram(candidate, profile), "max_macs": candidate.cost.macs}
    latency = candidate.cost.prediction.latency_ms
    used: dict[str, float] = {**counted, **({"latency_ms": latency.value} if latency else {})}
    return tuple(BudgetUse(b.name, used[b.name], b.limit, b.unit, b.source) for b in budgets if b.name in used)


def _excess(candidate: _Candidate, budgets: Sequence[Budget], profile: Profile) -> float:
    """The largest share of a budget that is used; at most 1 where all fit."""
    return max((use.used / use.limit for use in _uses(candidate, budgets, profile)), default=0.0)


def _peak_ram(candidate: _Candidate, profile: Profile) -> int:
    """The arena under TFLM, whose weights stay in flash; elsewhere the file is in memory too."""
    return candidate.cost.ram_bytes + (0 if in_arena(profile) else candidate.model_bytes)


def _plan(chosen: _Candidate, considered: int, profile: Profile, family: Family, budgets: Sequence[Budget]) -> Plan:
    exporter = profile.deploy.exporter
    file_where = f"the {exporter} file of this graph" if chosen.encoded else f"{exporter} is not installed: estimated from the graph"
    ram_where = (
        "TFLM's arena with reference kernels on a 64-bit host: placement counted, its own structures modelled"
        f" ({chosen.cost.ram_bytes - chosen.cost.runtime_bytes:,} and {chosen.cost.runtime_bytes:,} B)"
        if in_arena(profile)
        else "activations by greedy placement, and the file; the runtime's own memory not included"
    )
    graph_where = "the graph of the untrained student"
    figures = {
        "model_bytes": Figure(chosen.model_bytes, "B", "counted" if chosen.encoded else "predicted", file_where),
        "peak_ram_bytes": Figure(_peak_ram(chosen, profile), "B", "predicted", ram_where),
        "macs": Figure(chosen.cost.macs, "MAC", "counted", graph_where),
        "parameters": Figure(chosen.cost.parameters, "", "counted", graph_where),
        **chosen.cost.prediction.figures,
    }
    unknown = [b for b in budgets if b.name in _NOT_COUNTED and b.name not in figures]
    notes = tuple(f"{_NOT_COUNTED[b.name]} {b.limit:g} {b.unit} ({b.source})" for b in unknown)
    spec = family.describe(chosen.cost.spec)
    return Plan(profile.name, family.name, spec, figures, _uses(chosen, budgets, profile), considered, notes)


def _refusal(
    nearest: _Candidate, considered: int, profile: Profile, family: Family, budgets: Sequence[Budget], patches: tuple[str, ...]
) -> str:
    uses = sorted(_uses(nearest, budgets, profile), key=lambda use: -use.used / use.limit)
    binding = uses[0]
    over = binding.used - binding.limit
    spec = ", ".join(f"{key} {_short(value)}" for key, value in family.describe(nearest.cost.spec).items())
    missed = (
        f"  {binding.name}: {_of(binding)}, {_amount(over, binding.unit)} {binding.unit} "
        f"({100 * over / binding.limit:.1f} %) too much; the limit is set by {binding.source}"
    )
    lines = [
        f"no student of {family.name} fits {profile.name}: {binding.name} binds",
        f"  nearest of {considered}: {spec}",
        missed,
        *patches,
    ]
    lines += [f"  {use.name}: {_of(use)}, {'fits' if use.fits else 'too much as well'}" for use in uses[1:]]
    return "\n".join([*lines, "  to mend:  smaller values in the recipe's student.space, or a wider budget"])


def _patches(nearest: _Candidate, profile: Profile, budgets: Sequence[Budget], sketch: Callable[[Any], QuantGraph]) -> tuple[str, ...]:
    """Where RAM is too much: whether the nearest candidate would fit if its first operators ran patch by patch."""
    limit = next((use.limit for use in _uses(nearest, budgets, profile) if use.name == "peak_ram_bytes" and not use.fits), None)
    said = "" if limit is None else in_patches(sketch(nearest.cost.spec), profile, limit)
    return (f"  peak_ram_bytes: {said}",) if said else ()


def _figure_of(budget: str) -> str:
    return {"max_macs": "macs"}.get(budget, budget)


def _of(use: BudgetUse) -> str:
    return f"{_amount(use.used, use.unit)} of {_amount(use.limit, use.unit)} {use.unit}"


def _amount(value: float, unit: str) -> str:
    """Whole numbers, but of milliseconds three digits."""
    return f"{value:,.3g}" if unit == "ms" and abs(value) < 1000 else f"{value:,.0f}"


def _short(value: Any) -> str:
    return "×".join(map(str, value)) if isinstance(value, list) else str(value)
