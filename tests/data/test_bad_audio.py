"""Malformed folders of recordings, each through the real command line: one clear message with the cure, exit code 2."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgekd.cli import app
from tests.refusals import RECIPE, refused, replaced

pytestmark = pytest.mark.usefixtures("elsewhere")

IMAGES = 'source = "image_folder"\noptions = { folder = "images", size = [8, 8], channels = 1 }'
AUDIO = 'source = "audio_folder"\noptions = { folder = "sounds", length_ms = 40 }'


def recording(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(bytes(1600))


def classes(root: Path, names: tuple[str, ...] = ("cat", "dog"), n: int = 4) -> None:
    for name in names:
        for at in range(n):
            recording(root / name / f"{at}.wav")


def _corrupt(root: Path) -> None:
    classes(root)
    (root / "cat" / "1.wav").write_bytes(b"no recording at all")


def _truncated(root: Path) -> None:
    classes(root)
    (root / "dog" / "2.wav").write_bytes((root / "dog" / "2.wav").read_bytes()[:100])


def _link_out(root: Path) -> None:
    classes(root)
    recording(root.parent / "elsewhere.wav")
    (root / "cat" / "link.wav").symlink_to(root.parent / "elsewhere.wav")


def _empty_class(root: Path) -> None:
    classes(root)
    (root / "eel").mkdir()


def _other_format(root: Path) -> None:
    classes(root)
    (root / "cat" / "5.mp3").write_text("x")


CASES: list[tuple[str, Callable[[Path], None], str, list[str]]] = [
    ("no_folder", lambda root: None, AUDIO, ["data.options.folder does not exist", 'folder = "…"']),
    ("one_class", lambda root: classes(root, ("cat",)), AUDIO, ["1 class folders", "each class's recordings into its own folder"]),
    ("too_few", lambda root: classes(root, n=2), AUDIO, ["class 'cat' has 2 samples", "at least 3"]),
    ("empty_class", _empty_class, AUDIO, ["eel has no recordings", "add recordings"]),
    ("corrupt", _corrupt, AUDIO, ["cat/1.wav cannot be decoded (no RIFF/WAVE header)", "replace or remove"]),
    ("truncated", _truncated, AUDIO, ["dog/2.wav cannot be decoded (its 'data' chunk has 56 of 1600 bytes)"]),
    ("link_out", _link_out, AUDIO, ["cat/link.wav is a link to", "outside the dataset", "copy the recording"]),
    ("other_format", _other_format, AUDIO, ["cat/5.mp3 is a file", "files that end in .wav"]),
    ("too_short", classes, AUDIO.replace("40", "31"), ["data.options.length_ms = 31", "32 (one frame) to 60000"]),
    ("features", classes, AUDIO.replace(" }", ", features = { mels = 400 } }"), ["mels = 400", "a whole number from 1 to 256"]),
    ("narrow", classes, AUDIO.replace(" }", ", features = { mels = 200 } }"), ["is narrower than the 31.25 Hz", "mels = 150"]),
    ("unknown", classes, AUDIO.replace("length_ms", "length"), ["data.options.length: unknown option", "perhaps length_ms"]),
]


@pytest.mark.parametrize(("make", "data", "says"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_audio_folder(make: Callable[[Path], None], data: str, says: list[str], tmp_path: Path) -> None:
    make(tmp_path / "sounds")
    (tmp_path / "recipe.toml").write_text(replaced(RECIPE, [(IMAGES, data)]))
    refused("recipes", "check", "--data", str(tmp_path), says=["recipe.toml", *says])


def test_the_unchanged_case_is_good(tmp_path: Path) -> None:
    classes(tmp_path / "sounds")
    (tmp_path / "recipe.toml").write_text(replaced(RECIPE, [(IMAGES, AUDIO)]))
    assert CliRunner().invoke(app, ["recipes", "check", "--data", "recipe.toml"]).stdout == "recipe.toml: ok\n"
