from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.errors import InputError
from edgekd.teachers.soft_targets import Shown, View, key, soft_targets
from edgekd.teachers.teacher import Teacher
from edgekd.teachers.top_k import TopK


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
    shown = Shown((lambda a, b: images()[a:b], lambda a, b: 255 - images()[a:b])[:views], 6, 3)
    found = soft_targets(Teacher(body, (0.0,), (1.0,)), shown, file, lambda n, total: steps.append((n, total)))
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

    def slow(start: int, stop: int) -> np.ndarray:
        began.set()
        assert go_on.wait(60)
        return images()[start:stop]

    def compute(body: Counted, view: View) -> threading.Thread:
        shown = Shown((view,), 6, 3)
        work = lambda: found.append(soft_targets(Teacher(body, (0.0,), (1.0,)), shown, file, lambda *_: None))  # noqa: E731
        thread = threading.Thread(target=work)
        thread.start()
        return thread

    threads = [compute(first, slow)]
    assert began.wait(60)
    threads.append(compute(second, lambda a, b: images()[a:b]))
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
    then = 18 if damage in ("cut", "flip") else 24  # one of two shards, where the list of their hashes stands
    assert np.array_equal(asked(body, file)[0], found) and body.asked == then
    assert np.array_equal(asked(body, file)[0], found) and body.asked == then


def test_another_number_of_views_is_computed_again(tmp_path: Path) -> None:
    file, body = tmp_path / "t.npy", Counted()
    asked(body, file)
    assert asked(body, file, views=1)[0].shape == (1, 6, 3)


@pytest.mark.filterwarnings("error")
def test_outputs_beyond_float16(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not finite in float16\n  expected: logits within"):
        asked(Counted(1e6), tmp_path / "t.npy")
    assert not (tmp_path / "t.npy").exists()


def test_rounding_is_bounded(tmp_path: Path) -> None:
    logits = (np.random.default_rng(0).normal(size=(64, 3)) * 10.0 ** np.arange(-4, 4).repeat(8)[:, None]).astype(np.float32)
    shown = Shown((lambda a, b: logits[a:b],), 64, 3)
    found = soft_targets(Teacher(nn.Identity(), (0.0,), (1.0,)), shown, tmp_path / "t.npy", lambda *_: None, run=lambda _, x, **__: x)
    assert (np.abs(found[0].astype(np.float64) - logits) <= np.maximum(np.abs(logits) / 2048, 2.0**-25)).all()


def test_the_largest_alone(tmp_path: Path) -> None:
    shown = Shown((lambda a, b: images()[a:b],), 6, 3, top=2)
    rows = soft_targets(Teacher(Counted(), (0.0,), (1.0,)), shown, tmp_path / "t.npy", lambda *_: None)
    expected = images().reshape(6, -1)[:, :3].astype(np.float32) / 255
    assert rows.shape == (1, 6) and rows.dtype.itemsize == 12 and isinstance(rows, np.memmap)
    assert np.array_equal(TopK(rows, 3)[0].argmax(1), expected.argmax(1))


def test_another_number_of_answers(tmp_path: Path) -> None:
    shown = Shown((lambda a, b: images()[a:b],), 6, 4)
    with pytest.raises(InputError, match=r"the teacher answers \[3\] a sample\n  expected: \[4\]"):
        soft_targets(Teacher(Counted(), (0.0,), (1.0,)), shown, tmp_path / "t.npy", lambda *_: None)


MEMORY = """
import sys
import numpy as np, torch
from pathlib import Path
from edgekd.teachers.soft_targets import Shown, soft_targets
from edgekd.teachers.teacher import Teacher
from edgekd.teachers.top_k import TopK
torch.set_num_threads(1)
def rows(start, stop):
    return np.full((stop - start, 8, 8, 1), 7, np.uint8)
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 400))
for n in (2000, 20_000, 80_000):
    soft_targets(Teacher(body, (0.0,), (1.0,)), Shown((rows,), n, 400, int(sys.argv[2])), Path(sys.argv[1]) / f"{n}.npy", lambda *_: None)
    print(peak())
"""


@pytest.mark.parametrize("top", [0, 8])
def test_four_times_the_samples_need_no_more_memory(tmp_path: Path, top: int) -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path), str(top)], capture_output=True, text=True, check=True)
    _, some, many = (int(line) for line in done.stdout.split())
    stored = 80_000 * (400 * 2 if not top else 36) >> 10
    assert many - some < 4096, f"{many - some} KiB more at their peak; {stored} KiB are stored, and 125,000 KiB of float32 were computed"


def test_key_depends_on_each_part_and_their_order() -> None:
    assert len({key("a", "b"), key("b", "a"), key("a"), key("a", "c"), key("ab")}) == 5
