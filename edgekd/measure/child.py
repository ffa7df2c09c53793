"""A fresh process in which one model is opened and measured, and the line by which it tells what it found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from edgekd import host
from edgekd.errors import EdgekdError

_MARK = "@edgekd "


def ask(module: str, order: Mapping[str, Any], doing: str, *, limit_s: float, environment: Mapping[str, str] | None = None) -> Any:
    """What `python -m module ORDER` told, in one thread. ``order`` has the ``opener`` and the ``path``; ``doing`` is what it does with it.

    Raises EdgekdError, naming the file, if the process dies or takes over ``limit_s`` seconds.
    """
    of = f"{order['opener']}", f"{order['path'] or 'nothing'}"
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, json.dumps(order)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            env={**host.single_threaded(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EdgekdError(f"{of[0]} took over {limit_s:g} s to open and {doing} {of[1]}") from error
    said = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not said:
        last = "\n  ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise EdgekdError(f"{of[0]} ended with {done.returncode} on {of[1]}\n  it said: {last}")
    return json.loads(said[-1].removeprefix(_MARK))


def tell(found: Any) -> None:
    """Print ``found``, of plain JSON values, for the process that asked."""
    print(f"\n{_MARK}{json.dumps(found)}", flush=True)
