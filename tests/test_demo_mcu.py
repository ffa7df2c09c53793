"""tools/demo_mcu.py: the firmware answers what Python answers, and a broken one is said to be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgekd import host
from edgekd.errors import EdgekdError, InputError
from edgekd.export.c_frontend import log_mel_of
from edgekd.profile.load import load
from tests.graph_cases import Builder

pytestmark = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="no GCC for Arm or no QEMU: tools/bootstrap.sh firmware",
)
DATA = Path(os.environ.get("EDGEKD_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


@pytest.fixture(scope="module")
def demo(repository: Path) -> ModuleType:
    sys.path.insert(0, str(repository / "tools"))
    import demo_mcu

    return demo_mcu


@pytest.fixture(autouse=True)
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEKD_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("target", ["nrf52840dk", "rp2040"])
def test_bit_equal_from_samples_to_logits(demo: ModuleType, target: str, tmp_path: Path) -> None:
    graph, profile = demo.digits(demo.FIRMWARE / "student"), load(target)
    features, frames = log_mel_of(graph), graph.tensor(graph.inputs[0]).shape[1]
    built = demo.build(graph, profile, "portable", tmp_path)
    clips = demo.clips_for(features, frames, 2)
    assert clips.said is None and "labels mean nothing" in clips.source
    noise = np.random.default_rng(1).integers(-32768, 32768, clips.waves.shape, np.int16)
    clips = replace(clips, waves=np.concatenate([clips.waves, noise]), names=(*clips.names, "noise", "noise"))
    answers = demo.listen(built, clips, features.rate, 120)
    np.testing.assert_array_equal([answer.logits for answer in answers], demo.expected(graph, features, clips))
    assert all(answer.label == str(np.argmax(answer.logits)) for answer in answers)
    assert {"model, code", "model, constants", "front-end, code", "front-end, constants", "main, code"} <= set(built.flash)
    assert built.ram["arena"] == max(built.ram.values()) and sum(built.flash.values()) < 24_000
    assert all(0 < answer.stack_bytes < demo.STACK_BYTES and answer.heard and answer.thought for answer in answers)


def test_a_shorter_clip_is_heard_after_silence(demo: ModuleType, tmp_path: Path) -> None:
    graph = demo.digits(demo.FIRMWARE / "student")
    features = log_mel_of(graph)
    built = demo.build(graph, load("nrf52840dk"), "portable", tmp_path)
    rows = 30  # of 39
    clips = demo.clips_for(features, rows, 1)
    heard = features.apply(clips.waves)
    silent = np.zeros((1, 39 - rows, features.mels), np.uint8)
    (answer,) = demo.listen(built, clips, features.rate, 120)
    pixels = (np.concatenate([silent, heard], 1).astype(np.int16) - 128).astype(np.int8)[..., None]
    np.testing.assert_array_equal(answer.logits, demo.reference(graph, pixels, "tflm")[graph.outputs[0]][0])
    with pytest.raises(EdgekdError, match="stopped on netduinoplus2 with 1"):
        demo.listen(built, clips, 16000, 120)  # another rate


@pytest.mark.skipif(not (DATA / "fsdd" / "recordings.zip").is_file(), reason="no recordings: set EDGEKD_DATA to a folder with fsdd")
def test_the_accuracy_of_the_card_in_the_emulator(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(repository / "tools" / "demo_mcu.py"), "--out", str(tmp_path)]
    environment = {**host.single_threaded(), "PYTHONPATH": str(repository), "EDGEKD_DATA": str(DATA)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "296 of 300 right" in done.stdout  # 98.67 %, as CARD.md has it for seed 0 of the preset best
    assert "bit-equal to Python, from samples to logits, on 300 clips" in done.stdout


def test_only_models_of_sound(demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from edgekd.quant import io

    io.save(Builder(1).input((8, 8, 1)).conv(4).graph(), tmp_path / "other")
    with pytest.raises(InputError, match="does not say that it was trained on log-mel features"):
        demo.digits(tmp_path / "other")
    assert demo.main(["--model", str(tmp_path / "other")]) == 2
    assert "log-mel" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert demo.main(["--out", str(tmp_path / "file")]) == 2 and "File exists" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        demo.main(["--limit", "inf"])
    assert "--limit inf: expected 1 to 86400 seconds" in capsys.readouterr().err


def test_the_installer_is_content_where_everything_is_installed(repository: Path) -> None:
    done = subprocess.run(
        ["bash", "tools/bootstrap.sh", "firmware"], cwd=repository, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_installer_says_what_to_do_where_it_cannot(repository: Path, tmp_path: Path) -> None:
    for tool in ("bash", "id"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or "")
    done = subprocess.run(
        ["bash", "tools/bootstrap.sh", "firmware"],
        cwd=repository,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1 and "no apt-get here, so without gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm" in done.stderr
