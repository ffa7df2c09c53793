"""What a teacher reads of a sample that does not see the student's pixels, and for which of the student's views its answer stands.

A reading is heard once, as it is. Shifted by a few pixels, or without a square, the student's view is still of the same sample, so the
answer stands for it too: these views commute with the reading. Mirrored it is not (sound backwards), and such views are refused.
"""

from __future__ import annotations

import numpy as np

from edgekd.data.dataset import Split
from edgekd.data.views import Views
from edgekd.errors import InputError


def reading(split: Split, name: str) -> np.ndarray:
    """What ``split`` holds under ``name``, [N, …]. Raises InputError if it holds nothing of that name."""
    if name not in split.more:
        raise InputError(
            f"the data has no reading {name!r}",
            where="recipe, teacher.reads",
            expected=", ".join(sorted(split.more)) or "none: this source gives images alone",
            mend="delete reads" if not split.more else "",
        )
    return split.more[name]


def commuting(views: Views, name: str) -> None:
    """Raise InputError where the answer for a reading cannot stand for all of ``views``."""
    if views.count > 1 and views.mirror:
        raise InputError(
            f"views are mirrored, but the teacher reads {name!r}, which is not",
            where="recipe, views",
            expected="views that are shifted or cut out",
            mend="mirror = false",
        )
