from __future__ import annotations

import numpy as np
import pytest

from edgekd.data.dataset import Split
from edgekd.data.views import Views
from edgekd.errors import InputError
from edgekd.train.readings import commuting, reading

WAVE = np.zeros((3, 4), np.int16)


def test_a_reading_is_found_by_its_name() -> None:
    split = Split(np.zeros((3, 2, 2, 1), np.uint8), np.zeros(3, np.int64), {"wave": WAVE})
    assert reading(split, "wave") is WAVE
    with pytest.raises(InputError, match=r"(?s)teacher.reads: the data has no reading 'sound'.*expected: wave"):
        reading(split, "sound")
    with pytest.raises(InputError, match="images alone"):
        reading(Split(split.x, split.y), "wave")


def test_mirrored_views_do_not_commute() -> None:
    for views in (Views(), Views(1, mirror=True), Views(4, shift=2, cutout=3)):
        commuting(views, "wave")
    with pytest.raises(InputError, match=r"(?s)views are mirrored, but the teacher reads 'wave'.*mirror = false"):
        commuting(Views(2, mirror=True), "wave")
