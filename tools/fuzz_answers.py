"""What devices and lines answer: name → (valid seeds, made in a folder; what reads one that was damaged).

Transports and ports are stood in for by what says the damaged answer, whatever it is asked.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fuzz_files import GOLDEN, Parse, Seeds, each

from edgekd.errors import Lost
from edgekd.transports import Ran


class Saying:
    """A transport that answers everything with one content."""

    where, folder = "ssh:pi@10.0.0.7", "/data/work"

    def __init__(self, content: bytes) -> None:
        self._content = content

    def put(self, local: Path, remote: str) -> None:
        pass

    def get(self, remote: str, local: Path) -> None:
        local.write_bytes(self._content)

    def run(self, argv: Sequence[str], *, limit_s: float, cwd: str = "") -> Ran:
        return Ran(int(argv[0] == "mkdir"), self._content.decode("utf-8", "replace"), "")

    def close(self) -> None:
        pass


class Line:
    """A serial port that says its pieces in turn, and then is cut."""

    where, baud = "serial:/dev/ttyACM0", 115200

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = list(pieces)

    def write(self, content: bytes) -> None:
        pass

    def read(self, limit_s: float) -> bytes:
        if not self._pieces:
            raise Lost("the line is cut", where=self.where)
        return self._pieces.pop(0)


# ---- devices with Python


def results(folder: Path) -> list[bytes]:
    import numpy as np

    from tests.measure import results

    rng = np.random.default_rng(0)
    return [json.dumps(results.result(results.model([results.block(1e-3, rng) for _ in range(8)]))).encode()]


def result(content: bytes, folder: Path) -> None:
    """RESULT.json, and what is made of it."""
    from edgekd.measure import protocol, told

    found = told.result(content, ["a"], "ssh x")
    for model in found["models"]:
        protocol.enough(found, model)
        protocol.judged(found, model, "there")
    protocol.pooled(found, told.result(content, ["a"], "ssh x"))


def facts(folder: Path) -> list[bytes]:
    from edgekd.runner import edgekd_runner

    return [json.dumps(edgekd_runner.facts()).encode()]


def fact(content: bytes, folder: Path) -> None:
    from edgekd.measure.attached import state

    state(Saying(content))


def owners(folder: Path) -> list[bytes]:
    me = {"host": "h", "machine": "m", "boot": "b", "numbers": "pid:[1]", "pid": "77", "started": "5", "token": "t", "device_boot": "x"}
    return [json.dumps({**me, "device_up": "5.0", "folder": "/x"}).encode(), b"1763800000\n", b"0f0f-1\n55.5 99.1\n"]


def owner(content: bytes, folder: Path) -> None:
    """A device's lock, which it holds already."""
    from edgekd.transports.lock import held

    with held(Saying(content)):
        pass


def output_files(folder: Path) -> list[bytes]:
    import numpy as np

    made = io.BytesIO()
    np.save(made, np.zeros((2, 10), np.int8))
    return [made.getvalue()]


def output_file(content: bytes, folder: Path) -> None:
    from edgekd.measure import attached
    from edgekd.quant import io as graphs

    subject = SimpleNamespace(graph=graphs.load(GOLDEN))
    one: Any = SimpleNamespace(name="a", subject=subject, samples=2, model=SimpleNamespace(leave=lambda parts: parts[0].reshape(2, 10)))
    attached._outputs(Saying(content), one, {"outputs": ["m0.y0.npy"]}, folder)


def android_texts(folder: Path) -> list[bytes]:
    lines = [
        "INFO: STARTING!", "INFO: Inference timings in us: Init: 5321, First inference: 1403, Warmup (avg): 1290, Inference (avg): 1250.7",
        "INFO: count=50 first=1403 curr=1210 min=1198 max=1502 avg=1250.7 std=12 p5=1199 median=1244 p95=1400",
    ]  # fmt: skip
    return ["\n".join(lines).encode()]


def android_text(content: bytes, folder: Path) -> None:
    from edgekd.measure.android_tool import parse

    with contextlib.suppress(ValueError):  # which whoever calls it makes a message of
        parse(content.decode("utf-8", "replace"))


# ---- boards on a line


def frame_lines(folder: Path) -> list[bytes]:
    """A letter, a number and a payload for each frame, which ``frame`` puts on the line; it is the payload that is damaged."""
    from edgekd.mcu import frames

    hello = (1).to_bytes(4, "little") + bytes(4) + (1).to_bytes(4, "little") + (64_000_000).to_bytes(4, "little") + b"board"
    said = [
        (frames.HELLO, hello),
        (frames.WANT, (12).to_bytes(4, "little")),
        (frames.DATA, b"EKPA" + bytes(40)),
        (frames.WANT, b"\4\0\0\0"),
    ]
    return [b"\n".join(bytes([kind, at]) + payload for at, (kind, payload) in enumerate(said)), b"".join(_frames(said))]


def _frames(said: Sequence[tuple[int, bytes]]) -> list[bytes]:
    from edgekd.mcu.frames import PAYLOAD, Frame, encode

    return [encode(Frame(kind, at % 256, payload[:PAYLOAD])) for at, (kind, payload) in enumerate(said)]


def frame(content: bytes, folder: Path) -> None:
    """The bytes as they are, and as the payloads of frames whose checksums hold."""
    from edgekd.mcu.frames import Decoder
    from edgekd.mcu.link import Link

    for one in Decoder().feed(content):
        one.words()
    said = [(piece[0], piece[2:]) for piece in content.split(b"\n") if len(piece) > 1]
    each(
        lambda: Link(Line([content])).ask(b"EKRQ" + bytes(8), limit_s=0.05),
        lambda: Link(Line(_frames(said))).ask(b"EKRQ" + bytes(8), limit_s=0.05),
        lambda: Link(Line(_frames(said))).begin(0.02),
        lambda: _greeted(said),
    )


def _greeted(said: Sequence[tuple[int, bytes]]) -> None:
    """The first frame as an answer to begin, which asks with a number that nobody knows before."""
    from edgekd.mcu.frames import Frame
    from edgekd.mcu.link import Link

    words = Frame(0, 0, said[0][1]).words() if said else ()
    if len(words) >= 4:
        Link(Line([]))._greeted(Frame(said[0][0], 0, said[0][1]), words)


def answers(folder: Path) -> list[bytes]:
    head = struct.pack("<4s5I", b"EKPA", 4, 2, 3, 10, 5)
    first = struct.pack("<I", 100) + b"ab" + struct.pack("<4I", 30, 30, 30, 512)
    return [head + first + struct.pack("<I", 101) + b"cd" + b"EKND", head]


def answer(content: bytes, folder: Path) -> None:
    from edgekd.mcu import answers

    each(lambda: answers.answer(content, 4), lambda: answers.sizes(content))


def board_texts(folder: Path) -> list[bytes]:
    lines = [
        "m-warmup-start-1",
        "m-warmup-done",
        "m-lap-us-4294967290",
        "m-infer-start-10",
        "m-lap-us-500",
        "m-results-[0.000,0.996,0.004]",
    ]
    lines += ["m-[Expecting 62 bytes]", "m-load-done", "m-profile-[ULPMark]", "m-model-[ic01]", "m-ready", ""]
    return ["\r\n".join(lines).encode()]


def board_text(content: bytes, folder: Path) -> None:
    from edgekd.mcu.mlperf import Text

    each(
        lambda: Text(Line([content])).infer(10, 1, 0.02),
        lambda: Text(Line([content] * 4)).load(bytes(62)),
        lambda: Text(Line([content])).begin(0.02),
    )


PARSERS: dict[str, tuple[Seeds, Parse]] = {
    "device_result": (results, result),
    "device_facts": (facts, fact),
    "device_lock": (owners, owner),
    "device_outputs": (output_files, output_file),
    "android": (android_texts, android_text),
    "frames": (frame_lines, frame),
    "firmware_answer": (answers, answer),
    "mlperf_text": (board_texts, board_text),
}
