"""The recordings are found, checked and split as officially; what is no archive of them is refused."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest

from edgekd.data import spoken_digits
from edgekd.data.load import load_data
from edgekd.data.logmel import LogMel
from edgekd.errors import InputError

DATA = Path(os.environ.get("EDGEKD_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
NEEDS = pytest.mark.skipif(
    not (DATA / "fsdd" / "recordings.zip").is_file(), reason="no recordings: set EDGEKD_DATA to a folder with fsdd/recordings.zip"
)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKD_DATA", str(DATA))


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Neither data nor cache nor network; the folder that EDGEKD_DATA names."""
    monkeypatch.setenv("EDGEKD_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def no_network(*_: Any, **__: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr(spoken_digits.urllib.request, "urlopen", no_network)
    (tmp_path / "fsdd").mkdir()
    return tmp_path


@NEEDS
@pytest.mark.usefixtures("here")
def test_both_tasks_of_the_official_split() -> None:
    data = load_data("spoken_digits", {"task": "both", "labelled": 0.1, "raw": True}, Path())
    assert data.shape == (39, 24, 1) and [len(s) for s in (data.train, data.validation, data.test)] == [2400, 300, 300]
    assert [(t.name, len(t.labels)) for t in data.tasks] == [("digit", 10), ("speaker", 6)] and data.labels == data.tasks[0].labels
    for split in (data.validation, data.test):
        pairs, counts = np.unique(split.y, axis=0, return_counts=True)
        assert len(pairs) == 60 and set(counts.tolist()) == {5}, "five recordings of each digit by each speaker"
    known = data.train.y[:, 0] >= 0
    assert np.array_equal(known, data.train.y[:, 1] >= 0) and np.bincount(data.train.y[known, 0]).tolist() == [24] * 10
    assert np.array_equal(LogMel().apply(data.test.more["wave"][:20]), data.test.x[:20, ..., 0])
    found = hashlib.sha256(data.test.x.tobytes()).hexdigest()
    assert found == "1bb4f9b6d400c5a96738a4ad10191738a45a801c03756f4936fadaf2a2138b89", "the very features that the teacher was trained on"


@NEEDS
@pytest.mark.usefixtures("here")
def test_labels_are_taken_away_a_smaller_share_within_a_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = spoken_digits._recordings()
    monkeypatch.setattr(spoken_digits, "_recordings", lambda: recordings)
    short: dict[str, Any] = {"length_ms": 100, "features": {"mels": 4}, "validation": 8}
    whole, half, tenth, least = (spoken_digits.load(task="speaker", labelled=share, **short).train for share in (1.0, 0.5, 0.1, 0.0001))
    assert len(whole) == 60 * 37 and (whole.y >= 0).all()
    assert [int((s.y >= 0).sum()) for s in (half, tenth, least)] == [1110, 222, 6]
    for more, fewer in ((whole, half), (half, tenth), (tenth, least)):
        kept = fewer.y >= 0
        assert np.array_equal(more.y[kept], fewer.y[kept]) and np.array_equal(more.x, fewer.x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "word"}, "data.options.task: found 'word'.*'digit', 'speaker' or 'both'"),
        ({"validation": 0}, "validation = 0.*1 to 44 recordings"),
        ({"validation": 45}, "validation = 45"),
        ({"length_ms": 31}, "length_ms = 31"),
        ({"features": {"frame": 100}}, "frame = 100.*a power of two"),
        ({"features": {"frame": "256"}}, "data.options.features"),
        ({"labeled": 0.1}, "perhaps labelled"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"(?s){message}"):
        load_data("spoken_digits", options, Path())


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_shares_are_checked(share: float) -> None:
    with pytest.raises(InputError, match=f"(?s)labelled = {share}.*above 0, at most 1"):
        spoken_digits.load(labelled=share, length_ms=100)


def test_without_data_or_network(nowhere: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)neither on this machine nor to be downloaded.*\$EDGEKD_DATA/fsdd/recordings.zip"):
        spoken_digits.load()


@pytest.mark.parametrize(("content", "message"), [(b"no zip", "File is not a zip file"), (None, "0 recordings instead of 3000")])
def test_a_damaged_archive(content: bytes | None, message: str, nowhere: Path) -> None:
    file = nowhere / "fsdd" / "recordings.zip"
    if content is None:
        zipfile.ZipFile(file, "w").close()
    else:
        file.write_bytes(content)
    with pytest.raises(InputError, match=f"(?s)is damaged: {message}.*rm "):
        spoken_digits.load()


def test_a_recording_that_is_packed_wrong(nowhere: Path) -> None:
    """Of LZMA there is an error of its own."""
    names = [f"{digit}_{speaker}_{n}.wav" for digit in range(10) for speaker in spoken_digits.SPEAKERS for n in range(spoken_digits.EACH)]
    file = nowhere / "fsdd" / "recordings.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, bytes(64), zipfile.ZIP_LZMA if name == names[0] else zipfile.ZIP_STORED)
        at = len(names[0]) + 30  # behind the member's head
    content = bytearray(file.read_bytes())
    content[at + 4] = 0xFF  # LZMA's properties
    file.write_bytes(content)
    with pytest.raises(InputError, match="recordings.zip is damaged: "):
        spoken_digits.load()


@NEEDS
def test_one_changed_byte_is_found(nowhere: Path) -> None:
    file = nowhere / "fsdd" / "recordings.zip"
    with zipfile.ZipFile(DATA / "fsdd" / "recordings.zip") as known, zipfile.ZipFile(file, "w") as out:
        for info in known.infolist():
            content = known.read(info)
            out.writestr(info.filename, content[:-1] + b"\x01" if info.filename.endswith("9_theo_7.wav") else content)
    with pytest.raises(InputError, match="another SHA-256 than the published ones"):
        spoken_digits.load()


@NEEDS
def test_the_cache_is_as_good(nowhere: Path) -> None:
    (nowhere / "cache" / "edgekd" / "fsdd").mkdir(parents=True)
    shutil.copy(DATA / "fsdd" / "recordings.zip", nowhere / "cache" / "edgekd" / "fsdd" / "recordings.zip")
    assert len(spoken_digits._recordings()) == 3000
