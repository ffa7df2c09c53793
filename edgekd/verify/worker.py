"""The child process of jobs.py: runs one runtime or the reference over a range of samples. Its protocol is lines of "@edgekd {json}"."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgekd.errors import EdgekdError
from edgekd.lazy import load

#: Samples between two reports of progress.
_CHUNK = 500


def main(order: dict[str, str | int]) -> None:
    x = np.load(str(order["x"]), mmap_mode="r")
    compute, where = _runtime(order) if order["opener"] else _reference(order)
    parts: list[np.ndarray] = []
    cpu_s, low, high = 0.0, int(order["low"]), int(order["high"])
    for start in range(low, high, _CHUNK):
        chunk = np.array(x[start : min(start + _CHUNK, high)])
        before = time.process_time()
        parts.append(compute(chunk))
        cpu_s += time.process_time() - before
        _say(done=len(chunk))
    np.save(str(order["out"]), np.concatenate(parts))
    _say(cpu_s=cpu_s, where=where)


def _runtime(order: dict[str, str | int]) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    runner = load(str(order["opener"]))(Path(str(order["path"])), threads=1)
    return runner.run, runner.where


def _reference(order: dict[str, str | int]) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    from edgekd.quant import io
    from edgekd.verify.foretell import foretelling

    graph, profiles = io.load(Path(str(order["path"]))), tuple(str(order["profiles"]).split(","))
    return foretelling(graph, profiles), f"reference, {' and '.join(profiles)}"


def _say(**message: object) -> None:
    # One write a line, after a newline of its own: a native library may have left half a line behind.
    sys.stdout.write("\n@edgekd " + json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except EdgekdError as error:
        _say(error=str(error))
        sys.exit(error.exit_code)
