"""The front-ends in C give the integers of the Python that trained the student: compiled here, and for the cores that they are for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.data import spoken_digits
from edgekd.data.logmel import LogMel
from edgekd.errors import InputError
from edgekd.export.c import export
from edgekd.export.c_frontend import kind_of, log_mel_of, scratch_bytes, sources
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.grid import PIXELS

DATA = Path(os.environ.get("EDGEKD_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror")
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
KINDS = {
    "digits": LogMel(),
    "folder": LogMel(rate=16000, frame=512, hop=320, mels=32, high_hz=7600.0),
    "smallest": LogMel(frame=32, hop=32, mels=3, low_hz=0.0, high_hz=4000.0),  # reads the highest bin; no overlap
    "largest": LogMel(rate=48000, frame=2048, hop=2500, mels=64, low_hz=20.0, high_hz=24000.0, floor_db=-120.0, step_db=0.5),  # leaves out
    "fine": LogMel(frame=128, hop=1, mels=8, floor_db=-180.0, step_db=0.01),  # silence is not 0
}

#: Samples on the standard input; the whole input, then the same from a stream of uneven pieces, then frame by frame.
PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include "m_frontend.h"
int main(void) {
    static int16_t samples[M_SAMPLES];
    static m_input_t input[M_FRAMES * M_MELS];
    static m_stream_t stream;
    static uint64_t scratch[M_FEATURES_SCRATCH_BYTES / 8];
    while (fread(samples, sizeof samples, 1, stdin)) {
        m_features(samples, input, scratch);
        fwrite(input, sizeof input, 1, stdout);
        m_stream_start(&stream);
        uint32_t piece = 1, rows = 0;
        for (uint32_t at = 0; at < M_SAMPLES; at += piece, piece = piece * 5 % 397 + 1) {
            const uint32_t left = M_SAMPLES - at;
            rows += m_stream_push(&stream, samples + at, piece < left ? piece : left, scratch);
        }
        m_stream_read(&stream, input);
        if (rows != M_FRAMES) {
            return 2;
        }
        fwrite(input, sizeof input, 1, stdout);
    }
    return 0;
}
"""


def graph_of(shape: tuple[int, ...], told: Any, dtype: Any = "int8", quantization: Quantization | None = None) -> QuantGraph:
    """Nothing but an input."""
    x = Tensor("x", dtype, shape, quantization or Quantization.per_tensor(1 / 128))
    return QuantGraph("m", "channels_last", {"x": x}, (), ("x",), ("x",), {} if told is None else {"input": told})


def heard(kind: LogMel, frames: int, dtype: Any = "int8", quantization: Quantization | None = None) -> QuantGraph:
    front_end = {"kind": "log-mel", **asdict(kind)}
    return graph_of((1, frames, kind.mels, 1), {"value": PIXELS, "front_end": front_end}, dtype, quantization)


def write(graph: QuantGraph, folder: Path, program: str = "") -> Path:
    kind = "int8_t" if graph.tensor("x").dtype == "int8" else "int16_t"
    texts = {"m.h": f"#include <stdint.h>\ntypedef {kind} m_input_t;\n", "main.c": program, **sources(graph, "m")}
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder


def compiled(folder: Path, *flags: str) -> Path:
    compiler = shutil.which("gcc") or pytest.skip("no gcc")
    made = folder / "program"
    subprocess.run([compiler, *FLAGS, *flags, "main.c", "m_frontend.c", "-o", str(made)], cwd=folder, check=True, timeout=120)
    return made


def answers(program: Path, fed: np.ndarray, dtype: str = "int8") -> np.ndarray:
    ran = subprocess.run([str(program)], input=fed.tobytes(), capture_output=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    return np.frombuffer(ran.stdout, dtype)


def extremes(samples: int, rate: int) -> np.ndarray:
    """Silence, both ends of the range, squares, tones in and between bins, one pulse, noise of every loudness."""
    rng, n = np.random.default_rng(7), np.arange(samples)
    made = [
        np.zeros(samples),
        np.full(samples, 32767),
        np.full(samples, -32768),
        np.where(n % 2, 32767, -32768),
        np.where(n & 8, 32767, -32768),
    ]
    made += [32767 * np.sin(2 * np.pi * f * n / rate) for f in (rate / 32, rate / 7.3, rate / 2.01)]
    made += [np.where(n == samples // 2, -32768, 0), np.ones(samples)]
    made += [rng.normal(0, 2.0**loud, samples) for loud in range(16)]
    return np.clip(np.rint(made), -32768, 32767).astype(np.int16)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("narrow", [False, True], ids=["long multiplication", "32 bits"])
def test_bit_equal_and_clean(name: str, narrow: bool, tmp_path: Path) -> None:
    kind = KINDS[name]
    frames = 5
    wave = extremes((frames - 1) * kind.hop + kind.frame, kind.rate)
    program = compiled(write(heard(kind, frames), tmp_path, PROGRAM), *SANITIZED, *(["-DEK_NARROW=1"] if narrow else []))
    expected = (kind.apply(wave).astype(np.int16) - 128).astype(np.int8)
    found = answers(program, wave).reshape(len(wave), 2, frames, kind.mels)
    np.testing.assert_array_equal(found[:, 0], expected)
    np.testing.assert_array_equal(found[:, 1], expected)


@pytest.mark.skipif(not (DATA / "fsdd" / "recordings.zip").is_file(), reason="no recordings: set EDGEKD_DATA to a folder with fsdd")
def test_bit_equal_on_what_people_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKD_DATA", str(DATA))
    data = spoken_digits.load(raw=True)
    assert data.front_end == {"kind": "log-mel", **asdict(LogMel())}
    frames = data.shape[0]
    kind = log_mel_of(graph_of((1, *data.shape), {"front_end": dict(data.front_end)}))
    program = compiled(write(heard(kind, frames), tmp_path, PROGRAM))
    wave = data.test.more["wave"][:, : (frames - 1) * kind.hop + kind.frame]
    found = answers(program, np.ascontiguousarray(wave)).reshape(len(wave), 2, *data.shape)
    expected = (data.test.x.astype(np.int16) - 128).astype(np.int8)
    assert len(wave) == 300
    np.testing.assert_array_equal(found[:, 0], expected)
    np.testing.assert_array_equal(found[:, 1], expected)


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4", "cortex-m33"])
def test_compiles_for_cores_without_a_heap_or_libm(core: str, tmp_path: Path) -> None:
    compiler = shutil.which("arm-none-eabi-gcc") or pytest.skip("no arm-none-eabi-gcc: tools/bootstrap.sh firmware installs it")
    write(heard(LogMel(), 39), tmp_path)
    command = [compiler, *FLAGS, f"-mcpu={core}", "-mthumb", "-mfloat-abi=soft", "-c", "m_frontend.c", "-o", "m.o"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    listed = subprocess.run(["arm-none-eabi-nm", "-u", "m.o"], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60)
    called = {line.split()[-1] for line in listed.stdout.splitlines()}
    helpers = {"__aeabi_lmul", "__aeabi_llsl", "__aeabi_llsr", "__clzsi2", "__aeabi_uidiv", "__aeabi_uidivmod"}
    assert called <= {"memcpy", "memmove", "memset"} | (helpers if core == "cortex-m0plus" else set())


def test_compiles_for_risc_v(tmp_path: Path) -> None:
    compiler = shutil.which("riscv64-unknown-elf-gcc") or pytest.skip("no RISC-V compiler")
    write(heard(LogMel(), 39), tmp_path)
    command = [compiler, "--specs=picolibc.specs", *FLAGS, "-march=rv32imac", "-mabi=ilp32", "-c", "m_frontend.c", "-o", "m.o"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)


def test_from_cpp(repository: Path, tmp_path: Path) -> None:
    """C++ calls library and front-end as C does."""
    gcc, gxx = (shutil.which(name) or pytest.skip(f"no {name}") for name in ("gcc", "g++"))
    export(io.load(repository / "models" / "spoken_digits" / "firmware" / "student"), tmp_path)
    (tmp_path / "main.cpp").write_text(
        '#include "student_frontend.h"\n'
        "int main() {\n"
        "    alignas(16) static int8_t arena[STUDENT_ARENA_BYTES];\n"
        "    static int16_t samples[STUDENT_SAMPLES];\n"
        "    student_features(samples, student_input(arena), STUDENT_FEATURES_SCRATCH(arena));\n"
        "    student_run(arena);\n"
        "    return student_labels[0][0] != '0' || student_output(arena) == nullptr;\n"
        "}\n"
    )
    subprocess.run([gcc, *FLAGS, "-c", "student.c", "student_frontend.c"], cwd=tmp_path, check=True, timeout=120)
    objects = ["student.o", "student_frontend.o"]
    subprocess.run([gxx, "-Wall", "-Wextra", "-Werror", "main.cpp", *objects, "-o", "program"], cwd=tmp_path, check=True, timeout=120)
    subprocess.run([str(tmp_path / "program")], check=True, timeout=60)


@pytest.mark.parametrize("frame", [1 << bits for bits in range(5, 12)])
def test_half_a_window_is_enough(frame: int) -> None:
    window = LogMel(frame=frame, mels=1).tables.window
    mirrored = window[1:][::-1]
    differing = np.flatnonzero(window[1:] != mirrored) + 1
    assert set(differing) <= {frame // 4, 3 * frame // 4}  # which the table in C holds both
    tables = LogMel(frame=frame, mels=1).tables  # an eighth of a turn stands in the code
    assert tables.cos[frame // 8] == tables.sin[frame // 8] == tables.sin[3 * frame // 8] == -tables.cos[3 * frame // 8] == 23170


def test_states_its_memory() -> None:
    header = sources(heard(LogMel(), 39), "m")["m_frontend.h"]
    for line in ("M_RATE 8000", "M_FRAME 256", "M_HOP 160", "M_FRAMES 39", "M_MELS 24", "M_SAMPLES 6336", "M_FEATURES_SCRATCH_BYTES 2048"):
        assert f"#define {line} " in header
    assert scratch_bytes(LogMel()) == 2048


@pytest.mark.parametrize(
    ("room", "at"), [(((0, 2100), (3036, 9000)), "0"), (((0, 2047), (3036, 2052)), "3040"), (((0, 2047), (3036, 2051)), None), ((), None)]
)
def test_scratch_in_the_arena_beside_the_input(room: tuple[tuple[int, int], ...], at: str | None) -> None:
    header = sources(heard(LogMel(), 39), "m", room)["m_frontend.h"]
    found = re.search(r"#define M_FEATURES_SCRATCH\(arena\) \(\(void \*\)\(\(char \*\)\(arena\) \+ (\d+)\)\)", header)
    assert (found and found[1]) == at


def test_pixels(tmp_path: Path) -> None:
    program = """
    #include <stdio.h>
    #include "m_frontend.h"
    int main(void) {
        static uint8_t pixels[M_PIXELS];
        static m_input_t input[M_PIXELS];
        while (fread(pixels, sizeof pixels, 1, stdin)) { m_pixels(pixels, input); fwrite(input, sizeof input, 1, stdout); }
        return 0;
    }
    """
    pixels = np.arange(259, dtype=np.int64).astype(np.uint8)  # not a multiple of four
    graph = graph_of((1, 7, 37, 1), {"value": "p/255", "front_end": {"kind": "pixels"}}, "int8", Quantization.per_tensor(1 / 255, -128))
    made = compiled(write(graph, tmp_path / "plain", program), *SANITIZED)
    np.testing.assert_array_equal(answers(made, pixels), pixels.astype(np.int16) - 128)
    cases: list[tuple[Any, Quantization, np.ndarray]] = [
        ("int8", Quantization.per_tensor(1 / 128), pixels.astype(np.int16) - 128),
        ("int16", Quantization.per_tensor(1 / 32768), (pixels.astype(np.int32) - 128) * 256),
        ("int8", Quantization.per_tensor(1 / 64, 3), np.rint((pixels.astype(np.int32) - 128) / 2) + 3),  # by a table
    ]
    for at, (dtype, quantization, expected) in enumerate(cases):
        graph = graph_of((1, 7, 37, 1), {"value": PIXELS}, dtype, quantization)
        assert kind_of(graph) == "pixels"
        made = compiled(write(graph, tmp_path / str(at), program), *SANITIZED)
        np.testing.assert_array_equal(answers(made, pixels, dtype), expected)


def test_no_front_end_is_made_up() -> None:
    assert sources(graph_of((1, 4), None), "m") == {}
    assert sources(graph_of((1, 4), {"value": "ten measured currents"}), "m") == {}
    assert sources(graph_of((1, 4), {"value": PIXELS}, "float32"), "m") == {}


def test_refuses_what_it_does_not_know() -> None:
    with pytest.raises(InputError, match=r"metadata of m, input: front end \{'kind': 'mfcc'\}"):
        sources(graph_of((1, 4), {"value": PIXELS, "front_end": {"kind": "mfcc"}}), "m")
    with pytest.raises(InputError, match="24 mel bands for an input of shape"):
        sources(graph_of((1, 39, 40, 1), heard(LogMel(), 39).metadata["input"]), "m")
    with pytest.raises(InputError, match=r"24 mel bands for an input of shape \(1, 39, 24, 2\)"):
        sources(graph_of((1, 39, 24, 2), heard(LogMel(), 39).metadata["input"]), "m")
    table = {"kind": "log-mel", **asdict(LogMel()), "mfcc": 13}
    with pytest.raises(InputError, match=r"keys \['mfcc'\] are missing or unknown"):
        sources(graph_of((1, 39, 24, 1), {"front_end": table}), "m")
