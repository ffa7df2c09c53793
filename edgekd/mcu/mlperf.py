"""The text protocol of MLPerf Tiny's runner, as a host: a board that answers it needs no other firmware.

Commands end in "%", answers are lines, and "m-ready" ends each: name, profile, timestamp, db load N, db HH…, infer N WARMUP, results. An
error is a line e-[…]. EEMBC and MLCommons, MLPerf Tiny v0.5 to v1.3 (2021 to 2025), benchmark/api.
"""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass

from edgekd.errors import DeviceError, plain
from edgekd.mcu.link import Port

READY = "m-ready"
#: Bytes of input in one command: it must fit into the board's buffer of 80 characters. The runner sends as many.
CHUNK = 31
#: Letters of a line, at most: a line of results has eight for each class. And lines that are kept of an answer, the last ones.
_LONGEST, _LINES = 1 << 16, 10_000
#: Seconds that a board may go on talking after it has said its name.
_SETTLE_S = 2.0


@dataclass(frozen=True)
class Name:
    """What the board says of itself; "" where it says nothing."""

    name: str
    profile: str
    model: str


@dataclass(frozen=True)
class Inferred:
    """``seconds`` of ``count`` inferences by the board's own clock, and the ``results`` of the last, as it printed them."""

    count: int
    seconds: float
    results: tuple[float, ...]
    decimals: int


class Text:
    """A board over ``port``. Not for several threads."""

    def __init__(self, port: Port) -> None:
        self.where, self._port, self._partial = port.where, port, b""

    def begin(self, limit_s: float = 2.0) -> Name | None:
        """Its name, or None where no such board answers. Asks several times: a half command in its buffer spoils the first."""
        until = time.monotonic() + limit_s
        while (left := until - time.monotonic()) > 0:
            self._port.write(b"name%")
            lines = self._lines(min(0.5, left))
            if name := _in_brackets("m-name-dut-", lines):
                self._settle()
                said = self.command("profile", 5.0)
                return Name(name, _in_brackets("m-profile-", said), _in_brackets("m-model-", said))
        return None

    def command(self, text: str, limit_s: float) -> list[str]:
        """Send it; its lines, "m-ready" left out. Raises DeviceError where the board states an error, starts anew or is late."""
        self._port.write(text.encode("ascii") + b"%")
        lines = self._lines(limit_s)
        shown = text if len(text) < 40 else f"{text[:36]}…"
        if lines and (wrong := [line for line in lines if line.startswith("e-")]):
            raise DeviceError(f"to {shown!r} the board says {wrong[0]}", where=self._port.where)
        if "m-init-done" in lines:
            raise DeviceError(f"the board started anew on {shown!r}", where=self._port.where, mend="a supply that holds, and no watchdog")
        if not lines or lines[-1] != READY:
            raise DeviceError(
                f"{shown!r} was not done in {limit_s:g} s" + (f"; last it said {lines[-1][:80]!r}" if lines else ""),
                where=self._port.where,
                expected=READY,
                mend="reset the board; a model that takes longer wants a larger --seconds",
            )
        return lines[:-1]

    def load(self, content: bytes) -> None:
        """The input of the inferences to come. Raises DeviceError, also where the board has no room for so many bytes."""
        said = self.command(f"db load {len(content)}", 5.0)
        if not any("xpecting" in line for line in said):
            raise DeviceError(f"it does not take an input of {len(content)} bytes: {' '.join(said)}", where=self._port.where)
        for at in range(0, len(content), CHUNK):
            said = self.command(f"db {content[at : at + CHUNK].hex()}", 5.0)
        if "m-load-done" not in said:
            raise DeviceError(f"the board did not hear all of {len(content)} bytes", where=self._port.where, expected="m-load-done")

    def infer(self, count: int, warmup: int, limit_s: float) -> Inferred:
        """Run the input ``warmup`` times, then ``count`` times between two time stamps. Raises DeviceError."""
        said = self.command(f"infer {count} {warmup}", limit_s)
        laps = [int(match[1]) for line in said if (match := re.fullmatch(r"m-lap-us-(\d{1,20})", line))]
        results = _in_brackets("m-results-", said)
        if len(laps) != 2 or not results:
            raise DeviceError(
                f"infer {count} answered {len(laps)} time stamps and {'' if results else 'no '}results",
                where=self._port.where,
                expected="m-lap-us-… twice and m-results-[…]",
                mend="in energy mode time stamps go to a pin: build the firmware for performance mode",
            )
        micros = (laps[1] - laps[0]) % 2**32
        if not micros:
            raise DeviceError(f"its clock stood still over {count} inferences", where=self._port.where, expected="microseconds")
        try:
            values = tuple(float(part) for part in results.split(","))
        except ValueError:
            values = (math.nan,)
        if not all(map(math.isfinite, values)):
            raise DeviceError(f"its results are no numbers: {results[:80]}", where=self._port.where)
        return Inferred(count, micros / 1e6, values, min(len(part.strip().partition(".")[2]) for part in results.split(",")))

    def _lines(self, limit_s: float) -> list[str]:
        """Until "m-ready", or until the time is over."""
        until, found = time.monotonic() + limit_s, list[str]()
        while not found or found[-1] != READY:
            if b"\n" in self._partial:
                line, _, self._partial = self._partial.partition(b"\n")
                if text := plain(line.decode("ascii", "replace").strip("\r\0 ")):
                    found.append(text)
                    if len(found) > 2 * _LINES:
                        del found[:_LINES]
                continue
            if (left := until - time.monotonic()) <= 0:
                break
            self._partial = (self._partial + self._port.read(left))[-_LONGEST:]
        return found

    def _settle(self) -> None:
        """Whatever else was on its way, answers to commands asked twice among it."""
        until = time.monotonic() + _SETTLE_S
        while self._port.read(0.2) and time.monotonic() < until:
            pass
        self._partial = b""


def _in_brackets(head: str, lines: list[str]) -> str:
    """What stands in [ ] after ``head`` in the last such line, "" where there is none."""
    found = [line for line in lines if line.startswith(f"{head}[") and line.endswith("]")]
    return found[-1][len(head) + 1 : -1] if found else ""
