"""Rules against a baseline. Like is compared with like: what was tested on other data, or taken elsewhere or otherwise, is not judged."""

from __future__ import annotations

from collections.abc import Mapping

from edgekd.gate.check import Check, Classes, Subject
from edgekd.records import Figure

#: Rounding of shares of samples, far below one sample of any test set.
_EPSILON = 1e-9
#: Sessions of one calm machine differ by less than this in what a fixed piece of work takes.
_SAME_SPEED = 0.05
_MEND = {
    "latency_ms": "--device D measures both files in turn and judges their ratio",
    "peak_ram_bytes": "measure both again on one idle machine",
}


def unfit(subject: Subject, baseline: Subject | None) -> str:
    """Why nothing can be compared with this baseline, or ""."""
    if baseline is None:
        return "there is no baseline; --baseline names a run or a release to compare with"
    if baseline.changed:
        return f"the baseline is not as it was made: {baseline.changed[0]}"
    if baseline.target != subject.target:
        return f"the baseline is for {baseline.target}, this is for {subject.target}"
    return ""


def against(
    subject: Subject, baseline: Subject | None, tolerances: Mapping[str, float], ratio: Figure | None = None, rejected: str = ""
) -> list[Check]:
    """All checks against ``baseline``. ``ratio``: what an interleaved measurement says of the latency, ``rejected`` why it says nothing."""
    reason = unfit(subject, baseline)
    if reason or baseline is None:
        names = [_name("accuracy", task) for task in subject.accuracies or [""]]
        names += [_name("worst_class", task) for task in subject.accuracies or [""]]
        return [_unknown(name, reason) for name in (*names, "latency_ms", "model_bytes", "peak_ram_bytes")]
    found = [*_runtimes(subject, baseline), *_accuracies(subject, baseline, tolerances["accuracy"])]
    found += _worst(subject, baseline, tolerances["worst_class"])
    if ratio is not None or rejected:
        found.append(_measured(ratio, rejected, tolerances["latency_ms"]))
    else:
        found.append(_cost("latency_ms", subject, baseline, tolerances["latency_ms"]))
    return [*found, *(_cost(name, subject, baseline, tolerances[name]) for name in ("model_bytes", "peak_ram_bytes"))]


def _name(check: str, task: str) -> str:
    return f"{check}.{task}" if task else check


def _unknown(name: str, message: str, found: Figure | None = None, baseline: Figure | None = None) -> Check:
    return Check(name, "unknown", found, baseline, None, message)


def _runtimes(subject: Subject, baseline: Subject) -> list[Check]:
    """Those in which the baseline's own file was verified and this one's was not: a proof that is missing is none that holds."""
    mine = {one.runtime for one in subject.parity}
    gone = dict.fromkeys(one.runtime for one in baseline.parity if not one.further and one.runtime not in mine)
    said = "the baseline was verified in it, this was not; install it and build again, or edgekd verify"
    return [_unknown(f"parity.{name}", said) for name in gone if mine]


def _other_data(subject: Subject, baseline: Subject) -> str:
    if not subject.data or not baseline.data:
        return f"{(baseline if subject.data else subject).where} does not say what data it was tested on"
    if subject.data != baseline.data:
        return f"the baseline was tested on other data ({baseline.data[:10]}…, this on {subject.data[:10]}…); build it again with this data"
    return ""


def _accuracies(subject: Subject, baseline: Subject, tolerance: float) -> list[Check]:
    mine, theirs = subject.accuracies, baseline.accuracies
    return [_accuracy(subject, baseline, task, tolerance) for task in dict.fromkeys((*mine, *theirs))] or [
        _unknown("accuracy", "neither says an accuracy")
    ]


def _accuracy(subject: Subject, baseline: Subject, task: str, tolerance: float) -> Check:
    name, found, before = _name("accuracy", task), subject.accuracies.get(task), baseline.accuracies.get(task)
    if found is None or before is None:
        return _unknown(
            name, f"{'the baseline' if before is None else 'this'} says no accuracy{f' of {task}' if task else ''}", found, before
        )
    reason = _other_data(subject, baseline) or _unlike(found, before, where=False)
    if not reason and found.n != before.n:
        reason = f"{found.n} test samples, the baseline has {before.n}"
    if reason:
        return _unknown(name, reason, found, before)
    change = 100 * (found.value - before.value)
    status = "pass" if change >= -tolerance - _EPSILON else "fail"
    message = f"{change:+.2f} pp, −{tolerance:g} allowed" + (f"; n = {found.n}" if found.n else "")
    if status == "fail" and found.n:
        message += f": {round(-change * found.n / 100)} more are wrong"
    return Check(name, status, found, before, before.value - tolerance / 100, message)


def _worst(subject: Subject, baseline: Subject, tolerance: float) -> list[Check]:
    """The class that lost most decides, whichever it is: an average hides it, and so does the worst class where another has sunk."""
    mine, theirs = {one.task: one for one in subject.classes}, {one.task: one for one in baseline.classes}
    several = subject.accuracies if len(subject.accuracies) > 1 else {}  # an only task may have a name, which its figure does not say
    tasks = dict.fromkeys((*mine, *theirs, *several)) or dict.fromkeys(subject.accuracies) or {"": None}
    return [_classes(subject, baseline, _pair(mine, theirs, task), task, tolerance) for task in tasks]


def _pair(mine: Mapping[str, Classes], theirs: Mapping[str, Classes], task: str) -> tuple[Classes | None, Classes | None]:
    return mine.get(task), theirs.get(task)


def _classes(subject: Subject, baseline: Subject, pair: tuple[Classes | None, Classes | None], task: str, tolerance: float) -> Check:
    name, (found, before) = _name("worst_class", task), pair
    for one, whose in ((found, subject), (before, baseline)):
        if one is None:
            return _unknown(name, f"{whose.where} has no accuracy by class; {whose.lacks.get('worst_class', 'build it again')}")
    assert found is not None and before is not None
    reason = _other_data(subject, baseline)
    if not reason and (found.labels, found.n) != (before.labels, before.n):
        reason = "the baseline has other classes, or other numbers of samples of them"
    if reason:
        return _unknown(name, reason)
    there = [at for at, n in enumerate(found.n) if n]
    if not there:
        return _unknown(name, "no class has a test sample")
    changes = {at: 100 * (found.correct[at] - before.correct[at]) / found.n[at] for at in there}
    most = min(there, key=lambda at: (changes[at], found.correct[at] / found.n[at], at))
    fell = sum(change < -tolerance - _EPSILON for change in changes.values())
    shown, reference = (_recall(one, most, subject.accuracies.get(task)) for one in (found, before))
    label = f"{found.labels[most]}: {changes[most]:+.2f} pp, −{tolerance:g} allowed; n = {found.n[most]}"
    more = f"; {fell} of {len(there)} classes lost more than that" if fell > 1 else ""
    return Check(name, "fail" if fell else "pass", shown, reference, reference.value - tolerance / 100, label + more)


def _recall(one: Classes, at: int, like: Figure | None) -> Figure:
    return Figure(one.correct[at] / one.n[at], "share", like.kind if like else "measured", f"class {one.labels[at]}", n=one.n[at])


def _cost(name: str, subject: Subject, baseline: Subject, tolerance: float) -> Check:
    """A cost may grow by ``tolerance``. It failed if it grew by more and the intervals leave no doubt that it grew at all."""
    found, before = subject.figures.get(name), baseline.figures.get(name)
    if found is None or before is None:
        who = "neither has" if found is before else "the baseline has" if before is None else "this has"
        return _unknown(name, f"{who} no such figure; {_MEND.get(name, 'build it again')}", found, before)
    # What was counted, or laid out by a runtime's planner, is the same wherever it was computed.
    reason = _unlike(found, before, where=found.kind == "measured" or name == "latency_ms")
    if not reason and not (before.value > 0 and found.value > 0):  # nothing costs nothing: such a figure was not taken
        reason = f"{found.value:g} against {before.value:g} is no comparison"
    if reason:
        return _unknown(name, f"{reason}; {_MEND.get(name, 'build it again')}", found, before)
    ratio = found.value / before.value
    low, _ = bounds(found)
    _, high = bounds(before)
    limit = before.value * (1 + tolerance)
    said = (
        f"{ratio - 1:+.1%}, +{tolerance:.0%} allowed"
        if tolerance * 100 == round(tolerance * 100)
        else f"{ratio - 1:+.1%}, +{tolerance:.1%} allowed"
    )
    speed = _speed(subject, baseline) if name == "latency_ms" and found.kind == "measured" else 1.0
    if (ratio <= 1 + tolerance + _EPSILON) != (ratio * speed <= 1 + tolerance + _EPSILON):
        why = f"but the machine itself was {max(speed, 1 / speed):.2f} times {'faster' if speed > 1 else 'slower'} than for the baseline"
        return Check(name, "unknown", found, before, limit, f"{said}, {why}; {_MEND[name]}")
    if ratio <= 1 + tolerance + _EPSILON:
        return Check(name, "pass", found, before, limit, said)
    if low > high:
        # Also of the same file: it may be the runtime that became slower, which is what an app's users meet.
        same = "; the file is the same, so that runtime or machine changed: measure both in turn with --device"
        remark = same if found.kind == "measured" and subject.model and subject.model == baseline.model else ""
        return Check(name, "fail", found, before, limit, said + remark)
    return Check(name, "unknown", found, before, limit, f"{said}, but the 95 % intervals overlap; {_MEND.get(name, 'measure longer')}")


def _speed(subject: Subject, baseline: Subject) -> float:
    """How much faster the machine was for ``subject`` than for ``baseline``, by a fixed piece of work timed beside each; 1 where one of
    them does not say, or they differ by less than a session can tell."""
    mine, theirs = (one.figures.get("host_ruler_us") for one in (subject, baseline))
    if mine is None or theirs is None or mine.where != theirs.where or not (mine.value > 0 and theirs.value > 0):
        return 1.0
    speed = theirs.value / mine.value
    return speed if abs(speed - 1) > _SAME_SPEED else 1.0


def bounds(figure: Figure) -> tuple[float, float]:
    """The interval; of a figure without one, or with one that does not hold the figure itself, twice the figure."""
    if figure.low is None or figure.high is None or not figure.low <= figure.value <= figure.high:
        return figure.value, figure.value
    return figure.low, figure.high


def _unlike(found: Figure, before: Figure, *, where: bool) -> str:
    if found.kind != before.kind:
        return f"this is {found.kind}, the baseline's {before.kind}"
    if found.unit != before.unit:
        return f"this is in {found.unit}, the baseline's in {before.unit}"
    if where and found.where != before.where:
        return f"taken elsewhere: {found.where}; the baseline's: {before.where}"
    return ""


def _measured(ratio: Figure | None, rejected: str, tolerance: float) -> Check:
    """The ratio of both files' times, measured in turn: what slowed the device down met both."""
    if ratio is None or rejected:
        return _unknown("latency_ms", rejected or "the device compared nothing")
    low, high = bounds(ratio)
    said = f"{ratio.value:.3f} times the baseline's time ({low:.3f}–{high:.3f}), measured in turn; {1 + tolerance:g} allowed"
    if ratio.value <= 1 + tolerance + _EPSILON:
        return Check("latency_ms", "pass", ratio, None, 1 + tolerance, said)
    if low > 1:
        return Check("latency_ms", "fail", ratio, None, 1 + tolerance, said)
    return Check("latency_ms", "unknown", ratio, None, 1 + tolerance, f"{said}; the interval holds 1: measure longer, with --seconds")
