"""Rules that need no baseline: nothing changed since, every runtime computes what it must, every budget holds."""

from __future__ import annotations

from edgekd.gate.check import Check, Limit, Subject
from edgekd.records import Figure, digits

#: Budgets that need no device: without a figure they are not judged, rather than noted.
_OF_EVERY_RUN = ("model_bytes", "peak_ram_bytes", "accuracy_drop_pp", "max_macs")
_KINDS = ("measured", "emulated", "predicted", "counted")


def files(subject: Subject) -> Check:
    """Every file and record is the one that was made."""
    if subject.changed:
        more = f" (and {len(subject.changed) - 3} more)" if len(subject.changed) > 3 else ""
        return Check("files", "fail", None, None, None, "; ".join(subject.changed[:3]) + more)
    return Check("files", "pass", None, None, None, "as they were made")


def parity(subject: Subject) -> list[Check]:
    """One check a runtime; without any, one that says so."""
    if not subject.parity:
        mend = subject.lacks.get("parity", "edgekd verify")
        return [Check("parity", "unknown", None, None, None, f"not verified in any runtime; {mend}")]
    return [Check(f"parity.{one.runtime}", "pass" if one.ok else "fail", None, None, None, one.reason) for one in subject.parity]


def budgets(subject: Subject) -> list[Check]:
    """One check a budget, but those that only the device could tell of and did not, which ``unjudged`` names."""
    return [_budget(one) for one in subject.limits if one.used is not None or one.name in _OF_EVERY_RUN]


def unjudged(subject: Subject) -> list[str]:
    """Budgets of the device that nothing is known of: no run can say what a device takes that it was never on."""
    return [
        f"budget {one.name} ≤ {digits(one.limit)} {one.unit} ({one.source}): no figure of the device; "
        "edgekd bench … --device measures it there"
        for one in subject.limits
        if one.used is None and one.name not in _OF_EVERY_RUN
    ]


def _budget(one: Limit) -> Check:
    if one.used is None:
        said = f"nobody knows what is used of {digits(one.limit)} {one.unit}; set by {one.source}"
        return Check(f"budget.{one.name}", "unknown", None, None, one.limit, said)
    found = Figure(one.used, one.unit, one.kind, one.source) if one.kind in _KINDS else None
    holds = one.used <= one.limit
    of = f"{one.used / one.limit:.1%} of it" if one.limit > 0 and one.used >= 0 else f"{digits(one.used)} {one.unit}"
    said = of if holds else f"{digits(one.used)} {one.unit}, {digits(one.limit)} allowed"
    said += f", {one.kind or 'nobody says how that is known'}; set by {one.source}"
    return Check(f"budget.{one.name}", "pass" if holds else "fail", found, None, one.limit, said)
