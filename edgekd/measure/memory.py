"""Peak memory that a model adds to what its runtime takes anyway, in processes of their own.

Where a process's pages lie is drawn anew each time, which alone moves its peak by some 0.1 % of what the runtime takes: up to 2 % of what a
small model adds. So these processes are laid out as the last one was, where Linux allows it.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path

import numpy as np

from edgekd.errors import EdgekdError
from edgekd.lazy import load
from edgekd.measure.child import ask, tell

#: How often each process is repeated; the middle one counts.
REPEATS = 3
_RUNS = 5
#: personality(2): addresses are not drawn; it holds from the next exec on.
_NO_RANDOM_ADDRESSES = 0x0040000
_LAID_OUT = "EDGEKD_LAID_OUT"


def resident_growth(
    opener: str, path: Path, shape: tuple[int, ...], dtype: str, *, time_limit_s: float = 60.0
) -> tuple[float, float, float]:
    """(median, lowest, highest) of the peak resident bytes that a model adds: a fresh process that opens ``path`` and runs it a few times
    on one sample of ``shape``, less one that only imports the runtime. ``opener`` is "module:function".

    Raises EdgekdError, naming the file, if the process dies or takes longer than ``time_limit_s``.
    """
    empty = sorted(_peak(opener, None, shape, dtype, time_limit_s) for _ in range(REPEATS))
    full = sorted(_peak(opener, path, shape, dtype, time_limit_s) for _ in range(REPEATS))
    middle = REPEATS // 2
    return tuple(float(max(0, value)) for value in (full[middle] - empty[middle], full[0] - empty[-1], full[-1] - empty[0]))  # type: ignore[return-value]


def _peak(opener: str, path: Path | None, shape: tuple[int, ...], dtype: str, time_limit_s: float) -> int:
    order = {"opener": opener, "path": str(path) if path else "", "shape": shape, "dtype": dtype}
    return int(ask("edgekd.measure.memory", order, "run", limit_s=time_limit_s, environment={"PYTHONHASHSEED": "0"}))


def _high_water() -> int:
    """Peak resident bytes of this process. Not getrusage: its peak also counts what the parent had before exec."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise EdgekdError("this system does not tell a process's peak memory (no VmHWM in /proc/self/status)")


def _lay_out() -> None:
    """Begin this process again with addresses that are not drawn; where that is refused, it goes on as it is."""
    if sys.platform == "linux" and _LAID_OUT not in os.environ and ctypes.CDLL(None).personality(_NO_RANDOM_ADDRESSES) != -1:
        os.execve(sys.executable, [sys.executable, "-m", "edgekd.measure.memory", *sys.argv[1:]], {**os.environ, _LAID_OUT: "1"})


def main(order: dict[str, object]) -> None:
    open_model = load(str(order["opener"]))
    shape: list[int] = order["shape"]  # type: ignore[assignment]
    x = np.zeros((1, *shape), np.dtype(str(order["dtype"])))
    if order["path"]:
        runner = open_model(Path(str(order["path"])), threads=1)
        for _ in range(_RUNS):
            runner.run(x)
    tell(_high_water())


if __name__ == "__main__":
    _lay_out()
    try:
        main(json.loads(sys.argv[1]))
    except EdgekdError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
