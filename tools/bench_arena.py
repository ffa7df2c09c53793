"""How far from the optimum arenas are planned: random graphs, TFLM's greedy placement, the best found, and what is proven.

    OMP_NUM_THREADS=1 python tools/bench_arena.py [--graphs 50] [--operators 24] [--tflm 10] [--files MODEL …] [--json]

For each graph, in bytes of activations and scratch: ``greedy`` (TFLM's own, in the graph's order), ``order`` (greedy after operators are
reordered), ``planned`` (what the exported file makes TFLM use), ``bound`` (nothing is smaller in that order). The first --tflm graphs are
exported and loaded by TFLM, which reports what it used: its activations must be those planned, and its whole arena within 5 % of the
prediction. Exits with 1 if that fails or a planned arena is over 1 % above the bound. --files takes quantized models instead.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from edgekd.convert import read_model
from edgekd.export.tflite import encode
from edgekd.quant.arena import arena_total, arrange, place, place_best
from edgekd.quant.graph import QuantGraph
from edgekd.runtimes.tflm import arena_bytes
from tests.random_graphs import random_graph

#: What the planned arena may be above the optimum, and the predicted one beside TFLM's report.
ABOVE, BESIDE = 0.01, 0.05


@dataclass(frozen=True)
class Row:
    """Bytes; ``seen`` and ``seen_total`` are TFLM's report, None where it was not asked."""

    name: str
    operators: int
    greedy: int
    order: int
    planned: int
    bound: int
    predicted_total: int
    seconds: float
    seen: int | None = None
    seen_total: int | None = None

    @property
    def good(self) -> bool:
        near = self.planned <= self.bound * (1 + ABOVE)
        if self.seen is None or self.seen_total is None:
            return near
        return near and self.seen == self.planned and abs(self.predicted_total / self.seen_total - 1) <= BESIDE


def row(name: str, graph: QuantGraph, *, ask: bool) -> Row:
    began = time.perf_counter()
    arranged = arrange(graph)
    seconds = time.perf_counter() - began
    # Placed anew: where TFLM keeps its own placement the arrangement does not say what could be.
    bound = arranged.placement.bound if arranged.placement.optimal else place_best(arranged.graph).bound
    seen = seen_total = None
    if ask:
        with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
            path = Path(folder) / "model.tflite"
            path.write_bytes(encode(graph))
            report = arena_bytes(path)
        seen, seen_total = report.activations, report.total
    greedy, total = arranged.greedy_bytes, arranged.placement.total_bytes
    moved = place(arranged.graph).total_bytes
    return Row(name, len(graph.ops), greedy, moved, total, bound, arena_total(graph), round(seconds, 3), seen, seen_total)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", type=int, default=50)
    parser.add_argument("--operators", type=int, default=24)
    parser.add_argument("--tflm", type=int, default=10)
    parser.add_argument("--files", type=Path, nargs="*", default=[])
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.files:
        rows = [row(path.name, read_model(path), ask=True) for path in asked.files]
    else:
        rows = [row(f"random {seed}", random_graph(seed, asked.operators), ask=seed < asked.tflm) for seed in range(asked.graphs)]
    if asked.json:
        print(json.dumps([asdict(r) | {"good": r.good} for r in rows], indent=2))
    else:
        _show(rows)
    return 0 if all(r.good for r in rows) else 1


def _show(rows: list[Row]) -> None:
    print(
        f"{'graph':<28} {'ops':>4} {'greedy':>8} {'order':>8} {'planned':>8} {'bound':>8} {'TFLM':>8} {'predicted':>9} {'all':>8} {'s':>6}"
    )
    for r in rows:
        seen, total = ("" if value is None else str(value) for value in (r.seen, r.seen_total))
        print(
            f"{r.name:<28} {r.operators:>4} {r.greedy:>8} {r.order:>8} {r.planned:>8} {r.bound:>8} {seen:>8} {r.predicted_total:>9} "
            f"{total:>8} {r.seconds:>6.2f}{'' if r.good else '  <- misses'}"
        )
    count = len(rows)
    proven = sum(r.planned == r.bound for r in rows)
    worst = max(r.planned / r.bound - 1 for r in rows)
    saved = sorted(1 - r.planned / r.greedy for r in rows)
    print(
        f"{proven} of {count} proven optimal, at worst {100 * worst:.2f} % above the bound; greedy was larger in "
        f"{sum(r.planned < r.greedy for r in rows)}, the median saving {100 * saved[count // 2]:.1f} %, the most {100 * saved[-1]:.1f} %"
    )


if __name__ == "__main__":
    sys.exit(main())
