"""What an SSH server says of its files, and how long they are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncssh

from edgekd.errors import Lost

#: Seconds that a server may think, and bytes per second of the slowest line.
THINKS_S, SLOWEST = 20, 20_000


@asynccontextmanager
async def patience(where: str, remote: str, size: int) -> AsyncGenerator[None]:
    """Raises Lost for what takes longer than ``size`` bytes do over the slowest line: a file system there that hangs says nothing."""
    limit_s = THINKS_S + size / SLOWEST
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError:
        raise Lost(f"{remote}: {size} bytes took over {limit_s:.0f} s", where=where, mend="check line and disk there") from None


async def room(sftp: asyncssh.SFTPClient, folder: str) -> int | None:
    """Bytes that are free there, for such as us; None where the server does not say."""
    try:
        found = await sftp.statvfs(folder)
    except asyncssh.Error:
        return None
    return found.bavail * found.frsize
