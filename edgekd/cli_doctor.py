"""The command that says what is missing: doctor. cli.py lists it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

#: State of a check → the word before it.
WORDS = {"good": "ok", "absent": "absent", "lacks": "MISSING", "note": "note"}


def doctor(
    device: Annotated[
        str, typer.Option("--device", help="A device, as for bench: host, ssh:USER@HOST, adb:SERIAL, serial:PATH, qemu …")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")] = False,
) -> None:
    """What is missing here, or on a device, and the command that installs it. Exit code 1 if the device cannot be used as it is.

    \b
    edgekd doctor
    edgekd doctor --device ssh:pi@raspberrypi.local
    edgekd doctor --device serial:/dev/ttyACM0

    Nothing is installed and nothing changed; on a device over ssh or adb a file is put into a folder that is removed afterwards.
    """
    from edgekd.doctor.examine import examine
    from edgekd.errors import plain

    found = examine(device)
    if as_json:
        typer.echo(json.dumps(found.document(), indent=2, ensure_ascii=False))
    else:
        typer.echo(plain(found.where))
        width = max(len(check.name) for check in found.checks)
        for check in found.checks:
            typer.echo(plain(f"{WORDS[check.state]:<8}{check.name:<{width}}  {check.said}"))
            if check.mend:
                typer.echo(plain(f"{'':<8}{'':<{width}}  → {check.mend}"))
    if not found.ok:
        raise typer.Exit(1)


COMMANDS = {"doctor": doctor}
