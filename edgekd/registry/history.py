"""A model's history: events that are only ever added to. Versions and stages are what replaying them leaves."""

from __future__ import annotations

import getpass
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from edgekd.errors import InputError, NotReleasable
from edgekd.released import MANIFEST, VERSION, Released, load, verify_files
from edgekd.runs import sha256_file

STAGES = ("staging", "production")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST_VERSION = 100
_LARGEST_GATE = 16 * 2**20


@dataclass(frozen=True)
class Event:
    """``version`` was added (with the hash of its ``manifest``), promoted to ``stage``, or returned to by a rollback of it; ``replaced``
    is the version that was there, "" if none. ``gate``: the hash of the record of the gate that it passed. ``before``: the hash of the
    event before, so that none can be taken out or changed unseen.
    """

    kind: Literal["add", "promote", "rollback"]
    version: str
    at: str
    by: str
    reason: str = ""
    stage: str = ""
    replaced: str = ""
    manifest: str = ""
    gate: str = ""
    before: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, ensure_ascii=True).encode()).hexdigest()


@dataclass(frozen=True)
class Who:
    """Who does it, and why."""

    by: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Model:
    """A name of the registry with its history, which was checked."""

    name: str
    events: tuple[Event, ...]

    @property
    def versions(self) -> dict[str, Event]:
        """Version → how it was added; the lowest first."""
        added = {event.version: event for event in self.events if event.kind == "add"}
        return dict(sorted(added.items(), key=lambda item: precedence(item[0])))

    @property
    def stages(self) -> dict[str, str]:
        """Stage → the version that is in it."""
        return {stage: were[-1] for stage in STAGES if (were := self.were_in(stage))}

    def were_in(self, stage: str) -> list[str]:
        """The versions in ``stage``, each with what a rollback would return to before it; the last is there now."""
        stack = list[str]()
        for event in self.events:
            if event.stage == stage and event.kind == "promote":
                stack.append(event.version)
            elif event.stage == stage:
                stack.pop()
        return stack

    def find(self, wanted: str) -> str:
        """The version that ``wanted`` names, a version or a stage. Raises InputError."""
        if wanted in STAGES:
            if wanted not in self.stages:
                raise InputError(
                    f"nothing is in {wanted}", where=self.name, mend=f"edgekd models promote {self.name} VERSION --to {wanted}"
                )
            return self.stages[wanted]
        if wanted not in self.versions:
            raise InputError(
                f"no version {wanted!r}", where=self.name, expected=", ".join((*self.versions, *self.stages)) or "one that was added"
            )
        return wanted


class Store(Protocol):
    """Where models are kept. Each raises InputError for a name or version that there is not, and for a store that is damaged."""

    def add(self, release: Path, who: Who) -> tuple[Model, bool]:
        """Take in a release, whose files must be as its manifest says. False if that very one was there already."""
        ...

    def models(self) -> list[Model]: ...

    def model(self, name: str) -> Model: ...

    def promote(self, name: str, version: str, stage: str, who: Who, gate: Path | None = None) -> tuple[Model, bool]:
        """Put ``version`` in ``stage``, if its files are as they were. False if it is there already."""
        ...

    def rollback(self, name: str, stage: str, who: Who) -> Model:
        """Return to the version that was in ``stage`` before."""
        ...

    def path(self, name: str, version: str) -> Path:
        """The folder of a release, every file of it verified."""
        ...


def named(kind: Literal["add", "promote", "rollback"], version: str, who: Who, **more: str) -> Event:
    """An event of now."""
    by, reason = who.by.strip() or _user(), who.reason.strip()
    for option, text, longest in (("--by", by, 200), ("--reason", reason, 2000)):
        if len(text) > longest or not _is_text(text):
            found = f"{len(text)} characters" if _is_text(text) else f"{text!r:.60} is no text"
            raise InputError(found, where=f"edgekd models {option}", expected=f"text of at most {longest} characters")
    return Event(kind, version, datetime.now(UTC).isoformat(timespec="seconds"), by, reason, **more)


def appended(model: Model, event: Event) -> Model:
    """``model`` with one more event. Raises what ``replayed`` raises."""
    before = model.events[-1].sha256 if model.events else ""
    return replayed(model.name, (*model.events, replace(event, before=before)), model.name)


def promotion(model: Model, version: str, stage: str, who: Who, gate: str) -> Model | None:
    """None if ``version`` is in ``stage`` already."""
    check_stage(stage)
    version, now = model.find(version), model.stages.get(stage, "")
    if version == now:
        return None
    return appended(model, named("promote", version, who, stage=stage, replaced=now, gate=gate))


def return_(model: Model, stage: str, who: Who) -> Model:
    check_stage(stage)
    were = model.were_in(stage)
    if len(were) < 2:
        found = f"{were[0]} is the first that was in {stage}" if were else f"nothing was ever in {stage}"
        raise InputError(
            found, where=model.name, expected="a version before it", mend=f"edgekd models promote {model.name} VERSION --to {stage}"
        )
    return appended(model, named("rollback", were[-2], who, stage=stage, replaced=were[-1]))


def check_stage(stage: str) -> None:
    if stage not in STAGES:
        raise InputError(f"stage {stage!r}", where="edgekd models", expected=" or ".join(STAGES))


def check_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise InputError(
            f"no model can be called {name!r:.80}", where="edgekd models", expected="lower case, digits and hyphens; edgekd models list"
        )
    return name


def replayed(name: str, events: Sequence[Event], where: str) -> Model:
    """A model from its events. Raises InputError where they contradict one another: then someone else wrote them."""
    added, stacks, before = set[str](), {stage: list[str]() for stage in STAGES}, ""
    for at, event in enumerate(events, 1):
        place = f"{where}, event {at}"
        if event.before != before:
            raise InputError("does not follow from the event before it", where=place, expected="a history that nobody changed", mend=_MEND)
        if not _is_version(event.version) or (event.kind == "add") == (event.version in added):
            raise InputError(f"{event.kind} of {event.version!r:.60}", where=place, expected="a version, added once, first", mend=_MEND)
        if event.kind == "add":
            added.add(event.version)
        else:
            stack = stacks.get(event.stage)
            if stack is None or event.replaced != (stack[-1] if stack else ""):
                raise InputError(f"{event.kind} in {event.stage!r:.40} of what was not there", where=place, mend=_MEND)
            if event.kind == "promote":
                stack.append(event.version)
            elif len(stack) > 1 and stack[-2] == event.version:
                stack.pop()
            else:
                raise InputError(f"rollback to {event.version}, which was not there before", where=place, mend=_MEND)
        before = event.sha256
    return Model(name, tuple(events))


_MEND = "put the file back from a backup; releases themselves can be added again"


def decoded(raw: Any, where: str) -> Event:
    """An event from JSON. Raises InputError."""
    names = {field.name for field in fields(Event)}
    if not isinstance(raw, dict) or set(raw) - names or not all(isinstance(value, str) for value in raw.values()):
        raise InputError(f"{raw!r:.80}", where=where, expected=f"an event: {', '.join(sorted(names))}", mend=_MEND)
    if not all(map(_is_text, raw.values())):  # half a character: JSON may say it, no file can
        raise InputError(f"{raw!r:.80}", where=where, expected="text", mend=_MEND)
    if raw.get("kind") not in ("add", "promote", "rollback") or not {"version", "at", "by"} <= raw.keys():
        raise InputError(f"{raw!r:.80}", where=where, expected="add, promote or rollback, of a version, at a time, by someone", mend=_MEND)
    return Event(**raw)


def precedence(version: str) -> tuple[Any, ...]:
    """Semantic Versioning 2.0.0, section 11."""
    numbers, _, pre = version.partition("-")
    parts = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in pre.split(".")] if pre else []
    return (*map(int, numbers.split(".")), not pre, parts)


def demand_whole(released: Released, manifest: str = "") -> Released:
    """Raises NotReleasable unless every file is as the manifest says, and the manifest is the one with the hash ``manifest`` ("": any)."""
    problems = verify_files(released)
    if manifest and sha256_file(released.folder / MANIFEST) != manifest:
        problems.insert(0, f"{MANIFEST}: is not the one that was added")
    if problems:
        more = f"\n  and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise NotReleasable(f"{released.folder}: this is not the release that was made:\n  " + "\n  ".join(problems[:3]) + more)
    return released


def admitted(release: Path) -> Released:
    """The release in that folder, whole. Raises NotReleasable where it is not, InputError for what no registry can list or show."""
    released = demand_whole(load(release))
    check_name(released.manifest["artifact"])
    version = released.manifest["version"]
    if not _is_version(version):
        raise InputError(
            f"version {version!r:.60}", where=str(release), expected=f"MAJOR.MINOR.PATCH of at most {_LONGEST_VERSION} characters"
        )
    released.demand_nouns()
    return released


def passed_gate(record: Path, released: Released) -> str:
    """The hash of what `edgekd gate --json` said. Raises NotReleasable unless this very model passed, InputError for another file."""
    if not record.is_file() or record.stat().st_size > _LARGEST_GATE:
        raise InputError(
            "there is no such file" if not record.is_file() else "too large",
            where=f"--gate {record}",
            mend="edgekd gate … --json > gate.json",
        )
    try:
        document = json.loads(record.read_bytes())
        verdict, subject = document["verdict"], document["subject"]
        judged, target = subject["model"], subject["target"]
        itself = bool(subject.get("where")) and (document.get("baseline") or {}).get("where") == subject["where"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError("not what the gate says", where=f"--gate {record}", expected="edgekd gate … --json > gate.json") from error
    model = released.manifest["models"].get(str(released.manifest.get("own")))
    if not isinstance(model, dict) or judged != model.get("sha256") or target != released.manifest["target"]:
        raise NotReleasable(f"--gate {record}: the gate judged another model than {released.name}")
    if itself:
        raise NotReleasable(f"--gate {record}: the gate compared {released.name} with itself: --baseline names what it is to replace")
    if verdict != "pass":
        raise NotReleasable(f"--gate {record}: {released.name} did not pass the gate: {verdict}")
    return sha256_file(record)


def _is_version(version: str) -> bool:
    return len(version) <= _LONGEST_VERSION and VERSION.fullmatch(version) is not None


def _is_text(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without a name for its user
        return "unknown"
