"""Rules that need no baseline: nothing changed since, every runtime computes what it must, every budget holds."""

from __future__ import annotations

from edgekd.gate.check import Check, Limit, Subject
from edgekd.records import Figure

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
    """One check a budget of which it is known what is used; ``unjudged`` names the others."""
    return [_budget(one) for one in subject.limits if one.used is not None]


def unjudged(subject: Subject) -> list[str]:
    """Budgets that nothing is known of: no run can say what a device takes that it was never on."""
    return [
        f"budget {one.name} ≤ {one.limit:g} {one.unit} ({one.source}): no figure of the device; edgekd bench … --device measures it there"
        for one in subject.limits
        if one.used is None
    ]


def _budget(one: Limit) -> Check:
    assert one.used is not None
    found = Figure(one.used, one.unit, one.kind, one.source) if one.kind in _KINDS else None
    holds = one.used <= one.limit
    of = f"{one.used / one.limit:.1%} of it" if one.limit > 0 and one.used >= 0 else f"{one.used:g} {one.unit}"
    said = of if holds else f"{one.used:,g} {one.unit}, {one.limit:,g} allowed"
    return Check(f"budget.{one.name}", "pass" if holds else "fail", found, None, one.limit, f"{said}, {one.kind}; set by {one.source}")
