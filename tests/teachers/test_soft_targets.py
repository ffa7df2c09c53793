from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.errors import InputError
from edgekd.teachers.soft_targets import key, soft_targets
from edgekd.teachers.teacher import Teacher


class Counted(nn.Module):
    """Counts the images that it was asked about."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.asked, self.scale = 0, scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.asked += len(x)
        return x.flatten(1)[:, :3] * self.scale


def images(n: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (n, 4, 4, 1)).astype(np.uint8)


def asked(body: Counted, file: Path, views: int = 2) -> tuple[np.ndarray, list[tuple[int, int]]]:
    steps: list[tuple[int, int]] = []
    makers = [images, lambda: 255 - images()][:views]
    found = soft_targets(Teacher(body, (0.0,), (1.0,)), makers, file, lambda n, total: steps.append((n, total)))
    return found, steps


def test_computed_once_and_stored_in_half_precision(tmp_path: Path) -> None:
    file, body = tmp_path / "deep" / "t.npy", Counted()
    found, steps = asked(body, file)
    assert found.shape == (2, 6, 3) and found.dtype == np.float16 and body.asked == 12
    np.testing.assert_allclose(found[0], images().reshape(6, -1)[:, :3] / 255, atol=5e-3)
    np.testing.assert_allclose(found[1], 1 - images().reshape(6, -1)[:, :3] / 255, atol=5e-3)
    assert steps == [(6, 12), (12, 12)]
    again, steps = asked(body, file)
    assert body.asked == 12 and not steps
    assert np.array_equal(again, found) and isinstance(again, np.memmap)
    assert sorted(p.name for p in file.parent.iterdir()) == [".t.lock", "t.npy", "t.sha256"]


def test_who_comes_second_waits_and_reads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, first, second = tmp_path / "t.npy", Counted(), Counted()
    found: list[np.ndarray] = []
    began, go_on = threading.Event(), threading.Event()

    def slow() -> np.ndarray:
        began.set()
        assert go_on.wait(60)
        return images()

    def compute(body: Counted, view: Callable[[], np.ndarray]) -> threading.Thread:
        work = lambda: found.append(soft_targets(Teacher(body, (0.0,), (1.0,)), [view], file, lambda *_: None))  # noqa: E731
        thread = threading.Thread(target=work)
        thread.start()
        return thread

    threads = [compute(first, slow)]
    assert began.wait(60)
    threads.append(compute(second, images))
    for _ in range(600):
        if "computes the teacher's outputs: waiting" in caplog.text:
            break
        time.sleep(0.1)
    go_on.set()
    for thread in threads:
        thread.join()
    assert f"another build (process {os.getpid()}) computes the teacher's outputs: waiting" in caplog.text
    assert (first.asked, second.asked) == (6, 0) and np.array_equal(found[0], found[1])


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "no hash", "gone"])
def test_a_damaged_file_is_computed_again(tmp_path: Path, damage: str) -> None:
    file, body = tmp_path / "t.npy", Counted()
    found = np.array(asked(body, file)[0])
    content = bytearray(file.read_bytes())
    match damage:
        case "cut":
            file.write_bytes(content[:-5])
        case "flip":
            content[-1] ^= 1
            file.write_bytes(content)
        case "empty":
            file.write_bytes(b"")
        case "no hash":
            file.with_suffix(".sha256").unlink()
        case _:
            file.unlink()
    assert np.array_equal(asked(body, file)[0], found) and body.asked == 24
    assert np.array_equal(asked(body, file)[0], found) and body.asked == 24


def test_another_number_of_views_is_computed_again(tmp_path: Path) -> None:
    file, body = tmp_path / "t.npy", Counted()
    asked(body, file)
    assert asked(body, file, views=1)[0].shape == (1, 6, 3)


@pytest.mark.filterwarnings("error")
def test_outputs_beyond_float16(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not finite in float16\n  expected: logits within"):
        asked(Counted(1e6), tmp_path / "t.npy")
    assert not (tmp_path / "t.npy").exists()


def test_key_depends_on_each_part_and_their_order() -> None:
    assert len({key("a", "b"), key("b", "a"), key("a"), key("a", "c"), key("ab")}) == 5
