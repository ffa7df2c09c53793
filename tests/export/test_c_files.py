"""Which files of kernels a library is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.errors import InputError
from edgekd.export.c_files import needed, text


def test_a_kernel_for_16_bits_may_be_that_for_8(repository: Path) -> None:
    assert not (repository / "edgekd/firmware/kernels/portable/max_pool_s16.c").exists(), "else this shows nothing"
    body = text("portable/max_pool_s16.c")
    assert "ek_max_pool_s16(const ek_pool *p, const int16_t *x" in body
    assert " int8_t" not in body and "_s8" not in body
    assert "INT16_MIN" in text("portable/reduce_max_s16.c")
    assert needed(["portable/maximum_s16.c"])[-1] == "portable/maximum_s16.c"


def test_one_that_there_is_not_is_refused() -> None:
    for name in ("portable/nothing_s8.c", "portable/nothing_s16.c"):
        with pytest.raises(InputError, match="no such kernel"):
            text(name)
