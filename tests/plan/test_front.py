from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.plan.front import Point, front, picture

POINTS = st.lists(st.builds(Point, st.integers(1, 20), st.integers(0, 20), st.text("ab", max_size=2)), min_size=1, max_size=30)


@given(POINTS)
def test_the_front_beats_all_and_none_of_it_another(points: list[Point]) -> None:
    kept = front(points)
    for point in points:
        assert any(k.cost <= point.cost and k.gain >= point.gain for k in kept)
    for a, b in pairwise(kept):
        assert a.cost < b.cost and a.gain < b.gain


@given(POINTS)
def test_a_picture_holds_every_point(points: list[Point]) -> None:
    drawn = ElementTree.fromstring(picture(points, cost="MAC & more", gain="%", marked=("a",)))
    circles = drawn.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == len(points)
    assert all(0 < float(c.attrib["cx"]) < 720 and 0 < float(c.attrib["cy"]) < 420 for c in circles)


def test_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="no points"):
        picture([], cost="MAC", gain="%")
