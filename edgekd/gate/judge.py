"""All rules together, and what waivers make of them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgekd.gate import own, relative
from edgekd.gate.check import EXIT, TOLERANCES, Check, Subject, verdict
from edgekd.gate.waivers import Waiver, of_target
from edgekd.records import Figure

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Interleaved:
    """What measuring both files in turn on ``device`` found: the ratio of the new one's time, or why that is not to be believed."""

    device: str
    ratio: Figure | None
    rejected: str = ""


@dataclass(frozen=True)
class Judgement:
    """``unused``: waivers of this target that covered nothing; ``tolerances`` are those in force, ``overridden`` the ones among them that
    are not the defaults; ``notes`` is what could not be made a check."""

    subject: Subject
    baseline: Subject | None
    checks: tuple[Check, ...]
    tolerances: Mapping[str, float]
    unused: tuple[Waiver, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Literal["pass", "fail", "unknown"]:
        return verdict(self.checks)

    @property
    def exit_code(self) -> int:
        return EXIT[self.verdict]

    @property
    def overridden(self) -> dict[str, float]:
        return {name: value for name, value in self.tolerances.items() if value != TOLERANCES[name]}

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "subject": _said(self.subject),
            "baseline": _said(self.baseline) if self.baseline else None,
            "checks": [asdict(check) for check in self.checks],
            "tolerances": dict(self.tolerances),
            "overridden": self.overridden,
            "unused_waivers": [asdict(one) for one in self.unused],
            "notes": list(self.notes),
        }


def judge(
    subject: Subject,
    baseline: Subject | None,
    tolerances: Mapping[str, float] = TOLERANCES,
    waivers: Sequence[Waiver] = (),
    *,
    today: datetime.date,
    interleaved: Interleaved | None = None,
) -> Judgement:
    """Judge ``subject`` by itself and against ``baseline``; ``today`` is the day in UTC by which waivers expire."""
    ratio, rejected = (interleaved.ratio, interleaved.rejected) if interleaved else (None, "")
    checks = [own.files(subject), *own.parity(subject), *own.budgets(subject)]
    checks += relative.against(subject, baseline, tolerances, ratio, rejected)
    mine = of_target(waivers, subject.target)
    checks, used = _waived(checks, mine, today)
    expired = tuple(one for one in mine if one.expired(today))
    needed = {one: any(one.covers(check.name) for check in checks if check.status != "pass") for one in expired}
    checks += [_expired(one, needed[one]) for one in expired]
    unused = tuple(one for one in mine if one not in used and one not in expired)
    notes = (
        *subject.notes,
        *own.unjudged(subject),
        *(f"baseline: {note}" for note in (baseline.notes if baseline else ()) if note not in subject.notes),
    )
    return Judgement(subject, baseline, tuple(checks), dict(tolerances), unused, notes)


def _waived(checks: Sequence[Check], waivers: Sequence[Waiver], today: datetime.date) -> tuple[list[Check], set[Waiver]]:
    """The first waiver that still holds covers a check that fails or cannot be judged; one that has expired only says so."""
    done, used = list[Check](), set[Waiver]()
    for check in checks:
        covering = [one for one in waivers if one.covers(check.name)] if check.status in ("fail", "unknown") else []
        good = next((one for one in covering if not one.expired(today)), None)
        if good is not None:
            used.add(good)
            check = check.but("waived", f"{check.message}; waived to {good.expires} by {good.owner}: {good.reason}", good)
        elif covering:
            one = covering[0]
            check = check.but("fail", f"{check.message}; the waiver of {one.owner} expired on {one.expires}", one)
        done.append(check)
    return done, used


def _expired(waiver: Waiver, needed: bool) -> Check:
    """A waiver that expired is a promise that was not kept, or one to be struck off: both need someone."""
    mend = "mend what it waives, or agree on another day" if needed else "what it waives passes: delete it"
    said = f"the waiver of {waiver.owner} for {waiver.target} expired on {waiver.expires} ({waiver.reason}); {mend}"
    return Check(f"waiver.{waiver.check}", "fail", None, None, None, said, waiver)


def _said(subject: Subject) -> dict[str, str]:
    return {name: str(getattr(subject, name)) for name in ("where", "name", "version", "target", "model", "data")}
