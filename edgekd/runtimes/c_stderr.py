"""What C libraries say on their own stderr, which Python cannot redirect."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Heard:
    """``text`` is set when the context ends."""

    text: str = ""


@contextmanager
def c_stderr() -> Generator[Heard]:
    """Catch what is written to file descriptor 2 meanwhile; it is the whole process's, so not for two threads at once."""
    heard = Heard()
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield heard
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            heard.text = file.read().decode(errors="replace")
