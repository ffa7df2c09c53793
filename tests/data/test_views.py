from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgekd.data.views import Views
from edgekd.errors import InputError

N, H, W = 200, 9, 11
ALL = Views(4, mirror=True, shift=2, cutout=4, seed=5)


#: Views(2, shift=2, cutout=2) of 0 … 49 as two images of 5 x 5.
DRAWN = [
    1,
    128,
    128,
    4,
    4,
    6,
    7,
    8,
    9,
    9,
    11,
    12,
    13,
    14,
    14,
    16,
    17,
    18,
    19,
    19,
    21,
    22,
    23,
    24,
    24,
    25,
    26,
    128,
    128,
    29,
    25,
    26,
    27,
    28,
    29,
    30,
    31,
    32,
    33,
    34,
    35,
    36,
    37,
    38,
    39,
    40,
    41,
    42,
    43,
    44,
]


def images(n: int = N) -> np.ndarray:
    """No pixel is mid-grey."""
    x = np.random.default_rng(0).integers(0, 256, (n, H, W, 2)).astype(np.uint8)
    return np.where(x == 128, 127, x).astype(np.uint8)


def test_view_0_is_the_image() -> None:
    x = images()
    assert np.array_equal(ALL.all(x, 0), x)
    mixed = ALL.apply(x, np.arange(N), np.arange(N) % 4)
    assert np.array_equal(mixed[::4], x[::4])


def test_the_same_whatever_the_order_and_the_company() -> None:
    x = images()
    whole = {view: ALL.all(x, view) for view in range(4)}
    chosen = np.random.default_rng(1).permutation(N)[:50]
    view = np.random.default_rng(2).integers(0, 4, 50)
    found = ALL.apply(x[chosen], chosen, view)
    assert all(np.array_equal(found[i], whole[v][c]) for i, (c, v) in enumerate(zip(chosen, view, strict=True)))
    assert np.array_equal(found, ALL.apply(x[chosen], chosen, view))


def test_odd_views_are_mirrored() -> None:
    x, views = images(), Views(4, mirror=True)
    for view in range(4):
        assert np.array_equal(views.all(x, view), x[:, :, ::-1] if view % 2 else x)


def test_shift_repeats_the_edge_and_reaches_everywhere() -> None:
    x, views = images(), Views(2, shift=2)
    found, seen = views.all(x, 1), set()
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    for i in range(N):
        places = [(a, b) for a in range(5) for b in range(5) if np.array_equal(found[i], padded[i, a : a + H, b : b + W])]
        assert places
        seen.update(places)
    assert len(seen) == 25


def test_cutout_is_one_grey_square_anywhere() -> None:
    x, views = images(), Views(2, cutout=4)
    found = views.all(x, 1)
    changed = (found != x).any(axis=3)
    assert (found[changed] == 128).all()
    whole = 0
    for mask in changed:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all() and mask.sum() == len(rows) * len(columns)
        assert 2 <= len(rows) <= 4 and 2 <= len(columns) <= 4
        whole += mask.sum() == 16
    assert whole > N / 4 and changed.any(0).all()


def test_another_seed_or_view_is_another_view() -> None:
    x = images()
    assert not np.array_equal(ALL.all(x, 1), Views(4, True, 2, 4, seed=6).all(x, 1))
    assert not np.array_equal(ALL.all(x, 1), ALL.all(x, 3))


def test_the_draws_stay_what_stored_soft_targets_were_made_for() -> None:
    x = np.arange(2 * 5 * 5, dtype=np.uint8).reshape(2, 5, 5, 1)
    found = Views(2, shift=2, cutout=2).all(x, 1)
    assert found[..., 0].ravel().tolist() == DRAWN


def test_the_hash_tells_views_apart() -> None:
    assert len({Views().sha256, Views(2).sha256, Views(2, mirror=True).sha256, Views(2, shift=1).sha256, Views(2, seed=1).sha256}) == 5
    assert ALL.sha256 == Views(4, True, 2, 4, 5).sha256


@pytest.mark.parametrize("count", [0, 5])
def test_how_many(count: int) -> None:
    with pytest.raises(InputError, match=rf"views: count = {count}\n  expected: 1 to 4"):
        Views(count)


def test_rows_move_further_than_columns() -> None:
    x = (np.arange(40 * 7) // 7).astype(np.uint8).reshape(1, 40, 7, 1)  # every pixel is its row
    x = np.repeat(x, N, 0)
    moved = Views(2, shift_time=3).all(x, 1)
    offsets = moved[:, 20, 0, 0].astype(int) - 20
    assert set(offsets.tolist()) == set(range(-3, 4)) and (moved == moved[:, :, :1]).all(), "no column moves"
    both = Views(2, shift=1, shift_time=2).all(x, 1)
    assert set((both[:, 20, 0, 0].astype(int) - 20).tolist()) == set(range(-3, 4))
    assert Views(2, shift_time=3).sha256 != Views(2).sha256 == Views(2, shift_time=0).sha256


def test_what_was_stored_before_is_found_again() -> None:
    assert Views(4, mirror=True, shift=2).sha256 == "63bde08685bdd2abfba7ebc73b399ce90a38241a86e5e386845a7222fc7990b2"


def test_views_of_another_size_are_moved_by_the_same_share() -> None:
    """What is twice as high and three times as wide: every pixel of the same views is what it is of the small one."""
    small = np.random.default_rng(0).integers(0, 256, (N, H, W, 1), np.uint8)
    large = small.repeat(2, 1).repeat(3, 2)
    for views in (ALL, Views(4, shift=1, shift_time=3, cutout=3, seed=2)):
        of = replace(views, of=(H, W))
        for view in range(4):
            assert np.array_equal(of.all(small, view), views.all(small, view))
            assert np.array_equal(of.all(large, view), views.all(small, view).repeat(2, 1).repeat(3, 2))


def test_views_of_a_smaller_size_move_by_the_nearest_step() -> None:
    ramp = np.broadcast_to(np.arange(0, 250, 25, dtype=np.uint8)[:, None, None], (N, 10, 4, 1))
    base = np.broadcast_to(np.arange(0, 240, 12, dtype=np.uint8)[:, None, None], (N, 20, 4, 1))
    views = Views(2, shift_time=5, of=(20, 4))
    moved = (views.all(ramp, 1)[:, 5, 0, 0].astype(int) - 125) // 25
    wanted = (views.all(base, 1)[:, 10, 0, 0].astype(int) - 120) // 12
    assert set(wanted) == set(range(-5, 6)) and np.array_equal(moved, np.floor(wanted / 2 + 0.5).astype(int))


def test_the_hash_tells_what_views_are_of() -> None:
    assert len({Views(2, shift=1, of=of).sha256 for of in (None, (9, 11), (11, 9))}) == 3
