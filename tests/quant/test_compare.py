from __future__ import annotations

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.quant.compare import Share, accuracy, bit_equal, histogram, top1, top1_agreement

A = np.array([[1, 2, 3], [4, 5, 6]], np.int8)
B = np.array([[1, 2, 3], [4, 6, 4]], np.int8)


def test_bit_equal_counts_outputs_and_samples() -> None:
    equal = bit_equal(A, B)
    assert (equal.outputs.count, equal.outputs.n, equal.samples.count, equal.samples.n) == (4, 6, 1, 2)
    assert not equal.whole
    assert bit_equal(A, A).whole


def test_floats_are_compared_by_their_bits() -> None:
    assert bit_equal(np.array([[np.nan]], np.float32), np.array([[np.nan]], np.float32)).whole
    assert not bit_equal(np.array([[0.0]], np.float32), np.array([[-0.0]], np.float32)).whole


def test_histogram_does_not_wrap() -> None:
    assert histogram(A, B) == {-1: 1, 0: 4, 2: 1}
    assert histogram(np.array([[127]], np.int8), np.array([[-128]], np.int8)) == {255: 1}
    with pytest.raises(InputError, match="alone have an LSB"):
        histogram(np.ones((1, 1)), np.ones((1, 1)))


def test_ties_go_to_the_lowest_index() -> None:
    assert top1(np.array([[0, 7, 7], [5, 5, 5]], np.int8)).tolist() == [1, 0]
    assert top1(np.array([[[[0, 9]]]], np.int8)).tolist() == [1]


def test_agreement_and_accuracy() -> None:
    assert top1_agreement(A, B).value == 0.5
    assert top1_agreement(A, B.astype(np.float32)).value == 0.5
    assert accuracy(A, np.array([2, 0])).count == 1
    with pytest.raises(InputError, match="one label a sample"):
        accuracy(A, np.array([2]))
    with pytest.raises(InputError, match="the same shape"):
        bit_equal(A, B[:1])


def test_wilson_interval() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81/263 gives 0.2553 to 0.3662, 0/20 gives 0 to 0.1611.
    assert Share(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert Share(0, 20).interval == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert Share(20, 20).interval[1] == 1.0
