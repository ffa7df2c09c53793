"""Spoken digits from samples to label on an emulated Cortex-M4: builds the firmware of models/spoken_digits/firmware and boots it in QEMU.

python tools/demo_mcu.py [--model RUN] [--target T] [--kernels portable] [--clips N] [--out DIR]

Prints what the firmware answered for each clip, and flash and RAM by part. Every answer is compared with the Python that trained the
student: features with edgekd.data.logmel, logits with the NumPy reference of the graph. Exit 1 where they differ.
"""

from __future__ import annotations

import argparse
import io as bytes_io
import os
import re
import sys
import wave
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgekd.convert import read_model
from edgekd.data import spoken_digits
from edgekd.data.logmel import LogMel
from edgekd.errors import EdgekdError, InputError
from edgekd.export.c import export
from edgekd.export.c_frontend import kind_of, log_mel_of
from edgekd.export.c_sets import SETS
from edgekd.mcu import boards, cmsis, harness, qemu, toolchain
from edgekd.mcu.boards import HARNESS
from edgekd.profile.load import load
from edgekd.profile.schema import Profile
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference import run as reference

ROOT = Path(__file__).resolve().parent.parent
FIRMWARE = ROOT / "models" / "spoken_digits" / "firmware"
NAME = "digits"
STACK_BYTES = 2048
#: What a library says that calls CMSIS-NN.
CALLS_CMSIS = '#include "arm_nnfunctions.h"'
#: A day: more seconds than QEMU may be given.
LIMIT_S = 86_400
#: Clips that the table shows.
SHOWN = 10
HARNESS_PARTS = ("ek_start", "ek_stack", "ek_semihosting")
#: Object files → what they are called in the table, in this order.
PARTS = {
    f"model_{NAME}": "model",
    f"model_{NAME}_frontend": "front-end",
    "main": "main",
    **dict.fromkeys(HARNESS_PARTS, "start-up"),
}
_LINE = re.compile(r"label (?P<label>\S+) logits(?P<logits>(?: -?\d+)+) ticks (?P<heard>\d+) (?P<thought>\d+) stack (?P<stack>\d+)")
_SECTION = re.compile(r"^ (\.[\w.]+)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+) (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Clips:
    """``waves`` int16 [N, samples], what was said in each (None where nobody spoke), and where they are from."""

    waves: np.ndarray
    names: tuple[str, ...]
    said: tuple[str, ...] | None
    source: str


@dataclass(frozen=True)
class Built:
    """``flash`` and ``ram``: part → bytes, counted in the linker's map; ``arena_bytes`` are in ``ram`` of the model."""

    elf: Path
    board: boards.Board
    flash: dict[str, int]
    ram: dict[str, int]


@dataclass(frozen=True)
class Heard:
    """What the firmware said of one clip. ``heard`` and ``thought``: instructions for the features and for the inference."""

    label: str
    logits: tuple[int, ...]
    heard: int
    thought: int
    stack_bytes: int


def digits(model: Path) -> QuantGraph:
    """The graph under the name that main.c calls. Raises InputError for a model whose front-end is not log-mel."""
    graph = replace(read_model(model), name=NAME)
    if kind_of(graph) != "log-mel":
        raise InputError(
            "does not say that it was trained on log-mel features", where=str(model), expected="a run of models/spoken_digits, or its graph"
        )
    return graph


def build(graph: QuantGraph, profile: Profile, kernels: str, out: Path) -> Built:
    """Library, front-end, main.c and the harness, linked for the memory of ``profile``. Raises EdgekdError with what the compiler says."""
    core = boards.core_of(profile.device.core)
    board = boards.boards_of(core)[0]
    out.mkdir(parents=True, exist_ok=True)
    export(graph, out, kernels=kernels, core=boards.plain_core(core))
    calls = cmsis.sources() if CALLS_CMSIS in (out / f"{NAME}.c").read_text(encoding="utf-8") else None
    flags = [*boards.CORES[core], "-iquote", str(out.resolve()), "-I", str(HARNESS), *(calls.flags if calls else ())]
    weights = '-DEK_WEIGHTS=__attribute__((section(".ek_weights")))'
    strict = ["-Wconversion", "-Werror"]
    sources = {
        f"model_{NAME}": (out / f"{NAME}.c", [weights, *strict]),
        f"model_{NAME}_frontend": (out / f"{NAME}_frontend.c", strict),
        "main": (FIRMWARE / "main.c", [*strict, *toolchain.HARNESS_FLAGS]),
        **{name: (HARNESS / f"{name}.c", list(toolchain.HARNESS_FLAGS)) for name in HARNESS_PARTS},
        board.name: (board.port, list(toolchain.HARNESS_FLAGS)),
    }
    objects = [toolchain.compile_c(path, out / f"{name}.o", [*flags, *more]) for name, (path, more) in sources.items()]
    if calls:
        objects += harness.called(objects, calls, flags, lambda path: out / f"cmsis_{path.stem}.o")
    flash, ram = profile.device.flash_bytes or board.flash.nbytes, profile.device.ram_bytes
    script = toolchain.Script(board.flash.origin, flash, board.ram.origin, ram, STACK_BYTES)
    elf, placed = out / f"{NAME}.elf", out / f"{NAME}.ld"
    placed.write_text(script.text((HARNESS / "firmware.ld.in").read_text(encoding="utf-8")), encoding="utf-8")
    toolchain.link(objects, elf, placed, boards.CORES[core])
    if heap := toolchain.heap_symbols(elf):
        raise EdgekdError(f"the firmware has a heap: {', '.join(heap)}")
    return Built(elf, board, *parts_of(elf.with_suffix(".map").read_text(encoding="utf-8", errors="replace"), board))


def parts_of(linked: str, board: boards.Board) -> tuple[dict[str, int], dict[str, int]]:
    """Flash and RAM by part, of the linker's map."""
    flash, ram = dict[str, int](), dict[str, int]()
    for name, address, size, path in _SECTION.findall(linked.partition("Linker script and memory map")[2]):
        if not (nbytes := int(size, 16)) or name.startswith((".debug", ".comment", ".ARM.attributes")):
            continue
        stem = Path(path.partition("(")[0]).stem
        other = "start-up" if stem == board.name else "CMSIS-NN" if stem.startswith("cmsis_") else "compiler's library"
        part = PARTS.get(stem, other)
        in_ram = board.ram.origin <= int(address, 16) < board.ram.origin + (1 << 28)
        if in_ram:
            part = "arena" if name == ".ek_arena" else part
        elif name.startswith((".ek_weights", ".rodata")):
            part += ", constants"
        else:
            part += ", code"
        (ram if in_ram else flash)[part] = (ram if in_ram else flash).get(part, 0) + nbytes
    return flash, ram


def listen(built: Built, clips: Clips, rate: int, limit_s: float) -> list[Heard]:
    """Boot the firmware, feed it the clips as WAV files. Raises EdgekdError where it stops or does not answer all in time."""
    content = b"".join(as_wav(samples, rate) for samples in clips.waves)
    answer, ended = qemu.run(built.elf, built.board, content, built.elf.parent, limit_s=limit_s)
    lines = answer.decode("ascii", "replace").splitlines()
    found = [_LINE.fullmatch(line) for line in lines]
    if not ended or len(lines) != len(clips.waves) or not all(found):
        raise EdgekdError(
            f"the firmware answered {sum(map(bool, found))} of {len(clips.waves)} clips; last: {lines[-1] if lines else ''!r}"
        )
    ticks = built.board.timer_hz * 2.0**qemu.FINE / 1e9  # of one instruction
    return [
        Heard(
            label=m["label"],
            logits=tuple(int(v) for v in m["logits"].split()),
            heard=round(int(m["heard"]) / ticks),
            thought=round(int(m["thought"]) / ticks),
            stack_bytes=int(m["stack"]),
        )
        for m in found
        if m is not None
    ]


def as_wav(samples: np.ndarray, rate: int) -> bytes:
    """int16 samples as a WAV file."""
    file = bytes_io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def expected(graph: QuantGraph, features: LogMel, clips: Clips) -> np.ndarray:
    """Logits that Python gives for the clips, int8 [N, classes]."""
    pixels = features.apply(clips.waves).astype(np.int16) - 128
    shape = graph.tensor(graph.inputs[0]).shape[1:]
    return reference(graph, pixels.astype(np.int8).reshape(-1, *shape), "tflm")[graph.outputs[0]].reshape(len(pixels), -1)


def clips_for(features: LogMel, frames: int, count: int) -> Clips:
    """Test recordings of the Free Spoken Digit Dataset where they lie on this machine; else tones and noise, about which nobody can say
    what they say."""
    own = os.environ.get("EDGEKD_DATA")
    places = [Path(own) / "fsdd" / spoken_digits.FILE] if own else []
    if any(place.is_file() for place in (*places, spoken_digits.cache_folder() / spoken_digits.FILE)) and features == LogMel():
        return recorded(count)
    rng, samples = np.random.default_rng(3), (frames - 1) * features.hop + features.frame
    n = np.arange(samples)
    count = min(count, SHOWN)
    waves = [
        8000 * np.sin(2 * np.pi * rng.uniform(200, 2000) * n / features.rate) * np.hanning(samples) + rng.normal(0, 200, samples)
        for _ in range(count)
    ]
    names = tuple(f"tone {i}" for i in range(count))
    why = "no recordings here (EDGEKD_DATA/fsdd, or the cache of edgekd): tones and noise instead, whose labels mean nothing"
    return Clips(np.rint(waves).astype(np.int16), names, None, why)


def recorded(count: int) -> Clips:
    """Clips of the official test set: digits in turn, speakers in turn."""
    data = spoken_digits.load(raw=True, task="both")
    digit, speaker = data.test.y[:, 0], data.test.y[:, 1]
    turn = np.lexsort((digit, (speaker - digit) % len(spoken_digits.SPEAKERS), np.arange(len(digit)) % spoken_digits.TEST))[:count]
    names = tuple(f"{spoken_digits.DIGITS[digit[i]]} by {spoken_digits.SPEAKERS[speaker[i]]}" for i in turn)
    said = tuple(spoken_digits.DIGITS[digit[i]] for i in turn)
    return Clips(data.test.more["wave"][turn], names, said, "test recordings of the Free Spoken Digit Dataset (Jackson 2016, CC BY-SA 4.0)")


def report(built: Built, clips: Clips, answers: Sequence[Heard], profile: Profile) -> None:
    """What a firmware engineer wants to know."""
    print(f"\n{'CLIP':<20}{'HEARD':<7}{'FEATURES':>12}{'INFERENCE':>12}   instructions")
    for name, answer in list(zip(clips.names, answers, strict=True))[:SHOWN]:
        print(f"{name:<20}{answer.label:<7}{answer.heard:>12,}{answer.thought:>12,}")
    if len(answers) > SHOWN:
        print("…")
    if clips.said is not None:
        right = sum(a.label == said for a, said in zip(answers, clips.said, strict=True))
        print(f"{right} of {len(answers)} right")
    flash, ram = sum(built.flash.values()), sum(built.ram.values())
    device = profile.device
    print(f"\nflash {flash:,} B of {device.flash_bytes or 0:,}")
    for part, nbytes in sorted(built.flash.items(), key=lambda row: -row[1]):
        print(f"  {part:<24}{nbytes:>8,}")
    used = max(answer.stack_bytes for answer in answers)
    print(f"RAM {ram + used:,} B of {device.ram_bytes:,}")
    for part, nbytes in sorted((*built.ram.items(), ("stack, used", used)), key=lambda row: -row[1]):
        print(f"  {part:<24}{nbytes:>8,}")
    print(f"(the linker keeps {STACK_BYTES:,} B for the stack; features are computed in the arena)")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Spoken digits from samples to label on an emulated Cortex-M4.")
    parser.add_argument("--model", type=Path, default=FIRMWARE / "student", help="a run of models/spoken_digits, or a saved graph")
    parser.add_argument("--target", default="nrf52840dk", help="a microcontroller's profile, whose memory the linker script gets")
    parser.add_argument("--kernels", choices=SETS, default="cmsis", help="which set of kernels")
    parser.add_argument("--clips", type=int, default=300, help="how many, at most the 300 of the test set")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "demo-mcu", help="where C, objects and the ELF file are left")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds that QEMU may take")
    options = parser.parse_args(arguments)
    if not 1 <= options.limit <= LIMIT_S:
        parser.error(f"--limit {options.limit:g}: expected 1 to {LIMIT_S:g} seconds")
    try:
        graph, profile = digits(options.model), load(options.target)
        features = log_mel_of(graph)
        built = build(graph, profile, options.kernels, options.out)
        print(f"{built.elf}: {profile.device.board}, {profile.device.core}; {toolchain.version()}, {options.kernels} kernels")
        clips = clips_for(features, graph.tensor(graph.inputs[0]).shape[1], max(1, options.clips))
        print(f"clips: {clips.source}\nrunning on {qemu.version()}, machine {built.board.machine}")
        answers = listen(built, clips, features.rate, options.limit)
    except (EdgekdError, OSError) as error:  # also a folder that may not be written, a full disk
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    report(built, clips, answers, profile)
    differing = np.flatnonzero((expected(graph, features, clips) != np.array([a.logits for a in answers])).any(1))
    if len(differing):
        print(f"NOT bit-equal to Python: {len(differing)} clips, the first {clips.names[differing[0]]}")
        return 1
    print(f"bit-equal to Python, from samples to logits, on {len(answers)} clips")
    return 0


if __name__ == "__main__":
    sys.exit(main())
