"""Does `edgekd bench` hold what it says? On this host, with a model that there is:

    python tools/bench_repeat.py [MODEL] [--repeats 20] [--pairs 10] [--seconds 4]

1. Repeated so often, does the stated 95 % interval of the median, no wider than 10 %, hold the median of all repeats? (18 of 20 do.)
2. A model against itself: how often is "no difference" said? With every inference of one 10 % longer: how often "different"? (9 of 10.)
Exit code 1 where it does not. Others may use this machine meanwhile: their disturbance is a part of the question.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgekd.bench import Benched, Wanted, bench
from edgekd.errors import EdgekdError
from edgekd.measure.device import Asked
from edgekd.records import Figure

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden" / "inverted_residual"
WIDEST, SLOWDOWN = 0.10, 0.10
#: What must hold: the share of repeats, and of comparisons.
HOLDS, RIGHT = 0.9, 0.9


def quiet(*_: object) -> None:
    """Progress for nobody."""


def once(model: Path, folder: str, asked: Asked, rival: bool = False) -> Benched:
    return bench(Wanted(model, "", f"host:{folder}", seconds=asked.seconds, rival=model if rival else None, asked=asked), quiet)


def latency(done: Benched) -> tuple[float, float, float, str]:
    """Median and interval in ms, and why it was rejected."""
    row = done.bench.rows[0]
    figure: Figure = row.measurement.figures["latency_ms"]
    assert figure.low is not None
    assert figure.high is not None
    return figure.value, figure.low, figure.high, row.failed


def repeats(model: Path, folder: str, asked: Asked, count: int) -> bool:
    found = []
    for i in range(count):
        try:
            value, low, high, failed = latency(once(model, folder, asked))
        except EdgekdError as error:  # too busy a machine for a figure: a repeat that holds nothing
            print(f"{i + 1:3} no figure: {str(error).splitlines()[0]}", flush=True)
            continue
        found.append((value, low, high, failed))
        print(f"{i + 1:3} {value * 1e3:9.3f} µs ({low * 1e3:.3f}–{high * 1e3:.3f}) {(high - low) / value:6.2%} {failed}", flush=True)
    if not found:
        print(f"0 of {count} repeats gave a figure")
        return False
    middle = float(np.median([value for value, *_ in found]))
    held = sum(low <= middle <= high for _, low, high, _ in found)
    narrow = sum((high - low) / value <= WIDEST for value, low, high, _ in found)
    both = sum(low <= middle <= high and (high - low) / value <= WIDEST for value, low, high, _ in found)
    spread = max(value for value, *_ in found) / min(value for value, *_ in found) - 1
    said = f"{held} of {count} intervals hold it, {narrow} are no wider than {WIDEST:.0%}"
    print(f"median of all {middle * 1e3:.3f} µs, spread {spread:.2%}: {said}")
    return both >= math.ceil(HOLDS * count)


def compare(model: Path, folder: str, asked: Asked) -> tuple[str, bool | None]:
    """What the comparison said, and whether it called the two different; None where edgekd would not judge."""
    try:
        done = once(model, folder, asked, rival=True)
    except EdgekdError as error:
        return f"not judged: {str(error).splitlines()[0]}", None
    ratio = done.bench.figures.get("latency_ratio")
    if ratio is None:
        return f"not judged: {'; '.join(row.failed for row in done.bench.rows if row.failed)}", None
    return f"{ratio.value:.4f} ({ratio.low:.4f}–{ratio.high:.4f}) different: {done.bench.different}", done.bench.different


def pairs(model: Path, folder: str, asked: Asked, count: int) -> bool:
    good = True
    for name, slow, wanted in (("A = B", 0.0, False), (f"B slower by {SLOWDOWN:.0%}", SLOWDOWN, True)):
        right = 0
        for _ in range(count):
            said, answer = compare(model, folder, replace(asked, slow_share=slow))
            right += answer is wanted
            print(f"    {said}", flush=True)
        print(f"{name}: {right} of {count} say {'different' if wanted else 'no difference'}")
        good = good and right >= math.ceil(RIGHT * count)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description="Does edgekd bench hold what it says?")
    parser.add_argument("model", nargs="?", type=Path, default=GOLDEN)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    asked = Asked(seconds=given.seconds)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        good = [repeats(given.model, folder, asked, given.repeats)] if given.repeats else []
        good += [pairs(given.model, folder, asked, given.pairs)] if given.pairs else []
    print("holds" if all(good) else "does not hold")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
