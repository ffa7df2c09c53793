from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from edgekd.teachers import shards
from edgekd.teachers.shards import Layout, kept, rows_of

LAYOUT = Layout((2, 25, 3), np.dtype("<f2"), 10)
#: A process that makes the array of LAYOUT, half a second a shard, and says when it starts.
SLOW = """
import sys, time
import numpy as np
from pathlib import Path
from edgekd.teachers.shards import Layout, kept
def make(view, start, stop, told):
    print("began", flush=True)
    time.sleep(float(sys.argv[2]))
    return (view * 100 + np.arange(start, stop))[:, None].repeat(3, 1).astype("<f2")
kept(Path(sys.argv[1]), Layout((2, 25, 3), np.dtype("<f2"), 10), make, "makes it", lambda *_: None)
"""


class Maker:
    """Says which shards it made."""

    def __init__(self) -> None:
        self.made: list[tuple[int, int]] = []

    def __call__(self, view: int, start: int, stop: int, told: Callable[[int], None]) -> np.ndarray:
        self.made.append((view, start))
        told(stop - start)
        return (view * 100 + np.arange(start, stop))[:, None].repeat(3, 1).astype(np.float16)


def asked(file: Path, layout: Layout = LAYOUT) -> tuple[np.ndarray, Maker, list[tuple[int, int]]]:
    maker, steps = Maker(), list[tuple[int, int]]()
    return kept(file, layout, maker, "makes it", lambda done, total: steps.append((done, total))), maker, steps


def whole() -> np.ndarray:
    return (np.array([[0], [100]]) + np.arange(25))[..., None].repeat(3, 2).astype(np.float16)


def slow(file: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SLOW, str(file), str(seconds)], stdout=subprocess.PIPE, text=True)


def test_the_file_is_one_that_numpy_would_have_written(tmp_path: Path) -> None:
    found, maker, steps = asked(tmp_path / "deep" / "a.npy")
    np.save(tmp_path / "b.npy", whole())
    assert (tmp_path / "deep" / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert isinstance(found, np.memmap) and not found.flags.writeable and np.array_equal(found, whole())
    assert maker.made == [(0, 0), (0, 10), (0, 20), (1, 0), (1, 10), (1, 20)] and steps[-1] == (50, 50)
    again, maker, steps = asked(tmp_path / "deep" / "a.npy")
    assert np.array_equal(again, found) and not maker.made and not steps


def test_shards_are_whole_batches() -> None:
    assert rows_of(500, 20) == 4000 and rows_of(64, 20) == 4096 and rows_of(5000, 20) == 5000
    assert rows_of(64, 1 << 20) == 64 and rows_of(8, 1 << 20) == 16


def test_killed_at_a_shard_goes_on_behind_the_last_that_is_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "a.npy"
    with slow(file, 0.3) as process:
        assert process.stdout is not None
        for _ in range(4):  # in the fourth shard
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert not file.exists() and (tmp_path / "a.npy.part").exists()
    with (tmp_path / "a.sha256").open("a") as stream:
        stream.write("3 0123")  # of which the rest was not written
    with caplog.at_level("INFO"):
        found, maker, steps = asked(file)
    assert maker.made == [(1, 0), (1, 10), (1, 20)] and steps == [(35, 50), (45, 50), (50, 50)]
    assert "3 of 6 shards are there already" in caplog.text and "damaged" not in caplog.text
    np.save(tmp_path / "b.npy", whole())
    assert np.array_equal(found, whole()) and file.read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert not asked(file)[1].made and not (tmp_path / "a.npy.part").exists()


@pytest.mark.parametrize("where", ["whole", "part"])
def test_a_damaged_shard_is_made_again_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture, where: str) -> None:
    file = tmp_path / "a.npy"
    asked(file)
    if where == "part":
        (tmp_path / "a.npy").rename(tmp_path / "a.npy.part")
        file = tmp_path / "a.npy.part"
    at, _ = LAYOUT.place(4)
    with file.open("r+b") as stream:
        stream.seek(at)
        stream.write(b"\x01\x02")
    found, maker, _ = asked(tmp_path / "a.npy")
    assert maker.made == [(1, 10)] and np.array_equal(found, whole())
    assert f"{file}: shard 5 of 6 is damaged: computed again" in caplog.text
    assert not asked(tmp_path / "a.npy")[1].made


@pytest.mark.parametrize("damage", ["head", "cut", "long", "list"])
def test_other_damage(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "a.npy"
    asked(file)
    content, hashes = file.read_bytes(), file.with_suffix(".sha256")
    match damage:
        case "head":
            file.write_bytes(b"x" + content[1:])
        case "cut":
            file.write_bytes(content[:-1])
        case "long":
            file.write_bytes(content + b"x")
        case _:
            hashes.write_text(hashes.read_text().replace("\n2 ", "\n2 x"))
    expected = {"cut": [(1, 20)], "list": [(0, 20)]}.get(damage, [])
    found, maker, _ = asked(file)
    assert maker.made == expected and np.array_equal(found, whole()) and file.read_bytes() == content


def test_what_was_stored_in_one_piece_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "a.npy"
    np.save(file, whole())
    file.with_suffix(".sha256").write_text(sha256(file.read_bytes()).hexdigest())
    assert np.array_equal(asked(file)[0], whole()) and not asked(file)[1].made and not caplog.text
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert np.array_equal(asked(file)[0], whole())
    assert f"{file} is not whole, or of another form: all of it is computed again" in caplog.text


def test_another_type_or_form_is_made_again(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    np.save(file, whole().astype(np.float32))
    file.with_suffix(".sha256").write_text(sha256(file.read_bytes()).hexdigest())
    assert asked(file)[0].dtype == np.float16
    assert asked(file, Layout((1, 25, 3), np.dtype("<f2"), 10))[0].shape == (1, 25, 3)


def test_two_processes_make_it_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "a.npy"
    with slow(file, 0.2) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found, maker, _ = asked(file)
    assert not maker.made and np.array_equal(found, whole())
    assert f"another build (process {process.pid}) makes it: waiting" in caplog.text


def test_who_waits_for_one_that_is_killed_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    with slow(file, 0.3) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        found, maker, _ = asked(file)
    assert maker.made[0] == (0, 20) and np.array_equal(found, whole())


def test_many_read_one_file(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    first, second = asked(file)[0], asked(file)[0]
    at, _ = LAYOUT.place(0)
    with file.open("r+b") as stream:
        stream.seek(at)
        stream.write(b"\x01\x02")
    assert not np.array_equal(first, whole())
    asked(file)
    assert np.array_equal(first, whole()) and np.array_equal(second, whole()), "mended in its place"


def test_a_large_file_is_hashed_when_somebody_wrote_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "ALWAYS_HASHED", 0)
    file, hashed = tmp_path / "a.npy", list[Path]()
    good = shards._good
    monkeypatch.setattr(shards, "_good", lambda path, *rest: hashed.append(path) or good(path, *rest))
    asked(file)
    asked(file)
    assert not hashed and (tmp_path / "a.stamp").exists()
    time.sleep(0.01)  # as coarse as a file system's clock may be
    with file.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"x")
    assert asked(file)[1].made == [(1, 20)] and hashed
    hashed.clear()
    assert np.array_equal(asked(file)[0], whole()) and not hashed
    os.utime(file)
    assert not asked(file)[1].made and hashed == [file]


def test_a_full_disk_is_found_before_anything_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    maker = Maker()
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left") as caught:
        kept(tmp_path / "a.npy", LAYOUT, maker, "makes it", lambda *_: None)
    assert caught.value.filename == str(tmp_path / "a.npy.part") and not maker.made
    assert not list(tmp_path.glob("*.part")), "it would go on filling the disk"


def test_a_file_system_that_reserves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", cannot)
    assert np.array_equal(asked(tmp_path / "a.npy")[0], whole())
