"""fleet.toml: which devices there are, and how patient to be with them.

    schema_version = 1
    name = "lab"
    jobs = 8                       # devices at once
    retries = 2                    # how often a device whose connection was cut is tried again
    wait_s = 5.0                   # before the first time; doubled before each further one

    [[devices]]
    name = "kitchen-pi"
    device = "ssh:pi@10.0.0.7"     # as `edgekd bench --device` takes it
    target = "raspberry-pi-4"      # a profile's name, or its file, relative to this one's folder
    options = { seconds = 30 }     # seconds and retries may differ for one device

Only emulated devices need a target; with one, a device's times teach the latency model of that board.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from edgekd.measure import DEVICES
from edgekd.profile.strict import Positive, Strict, Version, check_file, refusal
from edgekd.profile.toml_file import Problem

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Text = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Retries = Annotated[int, Field(ge=0, le=20)]


class Options(Strict):
    """What of the command line's or the fleet's settings differs for one device."""

    seconds: Annotated[Positive, Field(le=86_400)] | None = None
    retries: _Retries | None = None


class Member(Strict):
    """One device. ``device`` is what `edgekd bench --device` takes; ``target`` a profile's name or file, "" for none.

    A file as ``load`` gives it is absolute."""

    name: _Name
    device: _Text
    target: _Text | Literal[""] = ""
    options: Options = Options()


class Fleet(Strict):
    """All devices, and the patience with them."""

    schema_version: Version
    name: _Name
    jobs: Annotated[int, Field(ge=1, le=256)] = 8
    retries: _Retries = 2
    wait_s: Annotated[float, Field(ge=0, le=3600)] = 5.0
    devices: Annotated[list[Member], Field(min_length=1, max_length=1000, description="[[devices]] for each, with its name and device")]


def load(path: Path) -> Fleet:
    """The fleet in ``path``. Raises InputError that lists every problem of the file, each with its cure."""
    fleet, problems = check_file(path, Fleet, _contradictions)
    if fleet is None:
        raise refusal(path, problems)
    return fleet.model_copy(update={"devices": [_placed(member, path.parent) for member in fleet.devices]})


def _placed(member: Member, folder: Path) -> Member:
    """A target that is a file (see edgekd.profile.load.find) lies relative to the fleet's file, whatever folder it is called from."""
    if not (member.target.endswith(".toml") or "/" in member.target):
        return member
    return member.model_copy(update={"target": str((folder / member.target).resolve())})


def _contradictions(sections: Mapping[str, Any]) -> Iterator[Problem]:
    members: list[Member] = sections.get("devices", [])
    for name, count in Counter(member.name for member in members).items():
        if count > 1:
            yield Problem("devices", f"{name!r} is the name of {count}", "a name for each", "number them")
    for at, member in enumerate(members):
        kind = member.device.partition(":")[0]
        if kind not in DEVICES:
            near = get_close_matches(kind, DEVICES, 1)
            yield Problem(
                f"devices[{at}].device", f"no device is called {kind!r}", ", ".join(DEVICES), f"perhaps {(near or ['ssh:USER@HOST'])[0]}"
            )
