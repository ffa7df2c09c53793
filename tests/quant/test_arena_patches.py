"""Patch-wise execution, as it is reported: what each patch reads suffices, and no less does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgekd.quant.arena import place, place_best
from edgekd.quant.arena_patches import _spans, patchwise
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference import run
from edgekd.quant.size import macs
from tests.graph_cases import Builder, inverted_residuals
from tests.random_graphs import random_graph


def windows() -> QuantGraph:
    """Strides, a dilation, a depthwise filter, a pad of its own, a pool and a sum over a branch."""
    b = Builder(5).input((21, 18, 3)).conv(6, (3, 3), stride=(2, 2), activation="relu")
    entry = b.last
    b.conv(6, (3, 3), dilation=(2, 2)).depthwise((5, 3)).add(entry).pad(((1, 0), (0, 1), (0, 0))).pool("max", (2, 2), stride=(2, 2)).conv(4)
    return b.graph()


def test_a_patch_depends_on_what_it_is_said_to_read_and_on_all_of_it() -> None:
    graph = windows()
    x = np.random.default_rng(0).integers(-128, 128, (1, 21, 18, 3)).astype(np.int8)
    (cut,) = graph.outputs
    whole = run(graph, x, "tflm")[cut]
    rows, columns = (_spans(graph, len(graph.ops), axis, 2) for axis in (1, 2))
    for row in rows:
        for column in columns:
            kept = np.zeros_like(x)
            there = np.s_[:, slice(*row["x"]), slice(*column["x"])]
            patch = np.s_[:, slice(*row[cut]), slice(*column[cut])]
            kept[there] = x[there]
            assert np.array_equal(run(graph, kept, "tflm")[cut][patch], whole[patch])
            assert kept[there].size < x.size
    # One row less is too little.
    low = rows[1]["x"][0]
    short = x.copy()
    short[:, low] = -128
    assert not np.array_equal(run(graph, short, "tflm")[cut][:, slice(*rows[1][cut])], whole[:, slice(*rows[1][cut])])


def test_one_window_by_hand() -> None:
    graph = Builder(0).input((8, 8, 1)).conv(16, (3, 3)).conv(2, (1, 1), stride=(2, 2)).graph()
    options = patchwise(graph)
    # 4x4x2 in the end; input 64; of 8x8x16 a patch holds the rows and columns 0..2, which stride 2 reads.
    two = options[0]
    assert (two.side, two.operators, two.until) == (2, 2, graph.ops[1].name)
    assert two.peak_bytes == 64 + 32 + 3 * 3 * 16
    assert place(graph).total_bytes == 64 + 8 * 8 * 16
    first, second = 64 * 9 * 16, 16 * 16 * 2
    assert two.macs == first * (6 * 6) // 64 + second
    assert two.more == pytest.approx((two.macs - macs(graph)) / macs(graph))
    assert str(two) == f"2×2 patches of the first 2 operators, {100 * two.more:+.0f} % MAC"


def test_the_peak_falls_and_work_is_added() -> None:
    graph = inverted_residuals()
    best = place_best(graph).total_bytes
    options = patchwise(graph)
    assert [option.side for option in options] == [2, 3, 4]
    assert all(option.peak_bytes < best and option.more > 0 for option in options)


def test_a_limit_is_met_with_the_least_work() -> None:
    graph = inverted_residuals()
    least = patchwise(graph)[0]
    limit = (least.peak_bytes + place_best(graph).total_bytes) // 2
    within = patchwise(graph, limit)[0]
    assert within.side == least.side
    assert least.peak_bytes <= within.peak_bytes <= limit
    assert within.macs <= least.macs


def test_what_has_no_maps_has_no_patches() -> None:
    flat = Builder(0).input((40,)).fully_connected(20).fully_connected(10).graph()
    assert patchwise(flat) == ()
    assert patchwise(replace(inverted_residuals(), layout="channels_first")) == ()


@pytest.mark.parametrize("seed", range(4))
def test_random_graphs(seed: int) -> None:
    graph = random_graph(seed)
    for option in patchwise(graph):
        assert 0 < option.peak_bytes < place_best(graph).total_bytes
