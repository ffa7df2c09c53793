"""The bytes between host and firmware."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from edgekd.errors import EdgekdError
from edgekd.mcu import answers


def _content(count: int, layers: int = 2) -> bytes:
    parts = [b"EKPA", struct.pack("<5I", 8, 3, layers, 5, 7)]
    for sample in range(count):
        parts.append(struct.pack("<I", 100 + sample) + bytes([sample, sample, sample]))
        if sample == 0:
            parts.append(struct.pack(f"<{layers + 1}I", *range(1, layers + 1), 64))
    return b"".join([*parts, b"EKND"])


def test_request() -> None:
    assert answers.request(np.arange(4, dtype=np.uint8).reshape(2, 2), 1) == b"EKRQ" + struct.pack("<2I", 1, 2) + bytes(range(4))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_whole_answer(count: int) -> None:
    content = _content(count)
    said = answers.answer(content, 8)
    assert said.whole and len(content) == answers.length(count, 3, 2)
    assert said.outputs.tolist() == [[n, n, n] for n in range(count)]
    assert said.ticks.tolist() == [100 + n for n in range(count)]
    assert (said.layers.tolist(), said.stack_bytes, said.empty_run, said.empty_mark) == ([1, 2], 64, 5, 7)


def test_an_answer_cut_off_anywhere_gives_the_samples_that_were_done() -> None:
    content = _content(3)
    done = [len(answers.answer(content[:end], 8).outputs) for end in range(24, len(content))]
    assert done == sorted(done) and set(done) == {0, 1, 2, 3}
    assert not any(answers.answer(content[:end], 8).whole for end in range(24, len(content)))


def test_what_is_no_answer_is_refused() -> None:
    with pytest.raises(EdgekdError, match=r"the firmware answered b''\n  expected: b'EKPA' and sizes\n  to mend:  build the firmware"):
        answers.answer(b"", 8)
    with pytest.raises(EdgekdError, match="takes inputs of 8 bytes, and was given 4"):
        answers.answer(_content(1), 4)
