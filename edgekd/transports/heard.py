"""What a process of this machine says, within limits of time and of size: a device that talks garbage for ever must not fill the memory."""

from __future__ import annotations

import asyncio
import os
import selectors
import subprocess
import time
from typing import Any

from edgekd.errors import DeviceError

#: Bytes that a command may say, on both of its streams together. What edgekd runs on devices says some thousands.
MOST = 32 << 20


class TooMuch(Exception):
    """It said more than ``MOST`` bytes."""


def heard(child: subprocess.Popen[bytes], limit_s: float, most: int = MOST) -> tuple[str, str]:
    """Standard output and error of ``child``, whose pipes they are, until it has ended; what it left behind is not waited for.

    Raises subprocess.TimeoutExpired after ``limit_s``, and TooMuch. The child is then still running.
    """
    assert child.stdout is not None
    assert child.stderr is not None
    until, size, found = time.monotonic() + limit_s, 0, {child.stdout: bytearray(), child.stderr: bytearray()}
    with selectors.DefaultSelector() as waiting:
        for stream in found:
            waiting.register(stream, selectors.EVENT_READ)
        while waiting.get_map():
            ended = child.poll() is not None
            ready = waiting.select(0 if ended else min(0.05, max(0.0, until - time.monotonic())))
            for key, _ in ready:
                part = os.read(key.fd, 1 << 16)
                if not part:
                    waiting.unregister(key.fileobj)
                found[key.fileobj] += part  # pyright: ignore[reportArgumentType]
                size += len(part)
            if size > most:
                raise TooMuch
            if ended and not ready:
                break
            if not ended and time.monotonic() >= until:
                raise subprocess.TimeoutExpired(child.args, limit_s)
    child.wait(max(0.0, until - time.monotonic()))
    out, err = (bytes(part).decode(errors="replace").replace("\r\n", "\n") for part in found.values())
    return out, err


async def said(*streams: Any) -> tuple[str, ...]:
    """What comes from each of ``streams`` (asynchronous readers of text) until it ends. Raises TooMuch."""
    size = 0

    async def all_of(stream: Any) -> str:
        nonlocal size
        parts: list[str] = []
        while part := await stream.read(1 << 16):
            parts.append(part)
            size += len(part)
            if size > MOST:
                raise TooMuch
        return "".join(parts)

    return tuple(await asyncio.gather(*map(all_of, streams)))


def too_much(name: str, where: str) -> DeviceError:
    return DeviceError(f"{name} said more than {MOST >> 20} MiB and was ended", where=where, expected="a command that says what it must")
