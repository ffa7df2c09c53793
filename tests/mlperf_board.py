"""A board that speaks the text protocol of MLPerf Tiny's runner, for tests: the reference's answers, printed with three decimals."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgekd.measure.emulated import reference_of
from edgekd.quant.graph import QuantGraph

BUFFER = 80


@dataclass
class Board:
    """``answer`` takes what comes in pieces of any size. ``unsigned``: it takes its input as uint8, as pictures are sent.

    ``micros``: what an inference takes by its clock, ``spoil`` is added to the first result. ``fails``: command → what it says instead.
    """

    graph: QuantGraph
    micros: int = 50_000
    unsigned: bool = False
    spoil: float = 0.0
    energy: bool = False
    fails: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    clock: int = 2**32 - 60_000  # its microseconds wrap in the middle of a test
    _partial: bytes = b""
    _buffer: bytes = b""
    _wanted: int = 0

    def answer(self, content: bytes) -> bytes:
        said = b""
        self._partial += content
        while b"%" in self._partial:
            command, _, self._partial = self._partial.partition(b"%")
            said += self._do(command[:BUFFER].decode("latin-1")).encode("ascii")
        return said

    def _do(self, command: str) -> str:
        self.commands.append(command)
        word, *rest = command.split() or [""]
        if word in self.fails:
            return self.fails[word]
        lines: list[str] = []
        if word == "name":
            lines = ["m-name-dut-[unspecified]"]
        elif word == "profile":
            lines = ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[ic01]"]
        elif word == "db" and rest[0] == "load":
            self._wanted, self._buffer = int(rest[1]), b""
            lines = [f"m-[Expecting {self._wanted} bytes]"]
        elif word == "db":
            self._buffer += bytes.fromhex(rest[0])
            lines = ["m-load-done"] if len(self._buffer) >= self._wanted else []
        elif word == "infer":
            lines = self._infer(int(rest[0]), int(rest[1]) if len(rest) > 1 else 10)
        else:
            lines = [f"e-[Unknown command: {word}]"]
        return "".join(f"{line}\r\n" for line in [*lines, "m-ready"])

    def _infer(self, count: int, warmup: int) -> list[str]:
        start, self.clock = self.clock, (self.clock + count * self.micros) % 2**32
        laps = [] if self.energy else [f"m-lap-us-{start}", f"m-lap-us-{self.clock}"]
        results = ",".join(f"{value:0.3f}" for value in self._results())
        head = [f"m-warmup-start-{warmup}", "m-warmup-done", f"m-infer-start-{count}"]
        return [*head, *laps[:1], *laps[1:], "m-infer-done", f"m-results-[{results}]"]

    def _results(self) -> np.ndarray:
        shape = self.graph.tensor(self.graph.inputs[0]).shape
        x = np.frombuffer(self._buffer, np.uint8)
        x = (x ^ 0x80 if self.unsigned else x).view(np.int8).reshape(shape)
        tensor = self.graph.tensor(self.graph.outputs[0])
        assert tensor.quantization is not None
        scale, zero_point = tensor.quantization.single
        results = (reference_of(self.graph, x).reshape(-1).astype(np.float64) - zero_point) * scale
        results[0] += self.spoil
        return results
