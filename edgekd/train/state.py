"""Everything that a training needs to go on after an interruption, in one file, written atomically."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from edgekd import runs
from edgekd.errors import InputError, lacks_memory

LOG = logging.getLogger(__name__)
#: Before the sha256 at the end of a file: torch itself would read flipped bits without a word.
_MARK, _SHA256 = b"edgekd sha256 ", 32
_TAIL = len(_MARK) + _SHA256


def save_state(path: Path, state: dict[str, Any]) -> None:
    content = io.BytesIO()
    torch.save(state, content)
    body = content.getvalue()
    runs.atomic_write(path, body + _MARK + hashlib.sha256(body).digest())


def load_state(path: Path) -> dict[str, Any] | None:
    """What was saved; None where there is nothing, or nothing readable: the training then starts over, says so, and the file is kept."""
    try:
        return torch.load(io.BytesIO(_whole(path.read_bytes())), weights_only=True)
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged archive fails in whatever way its parts are read: KeyError, IndexError, AttributeError …
        if lacks_memory(error):  # there is nothing wrong with the file
            raise
        kept = path.with_name(f"{path.name}.unreadable")
        os.replace(path, kept)
        reason = " ".join(str(error).split())[:150]
        LOG.warning("%s cannot be read (%s): the training starts over; the file is kept as %s", path, reason, kept.name)
        return None


def _whole(content: bytes) -> bytes:
    """Without the hash at its end, which states of earlier versions lack. Raises ValueError where it is another file's."""
    body, mark, digest = content[:-_TAIL], content[-_TAIL:-_SHA256], content[-_SHA256:]
    if mark != _MARK:
        return content
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("its sha256 is not the one it was written with")
    return body


@contextmanager
def restored(path: Path) -> Generator[None]:
    """Around the use of what was saved in ``path``: InputError where it is that of another model or of another version."""
    try:
        yield
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"the training that was interrupted was another one ({' '.join(str(error).split())[:200]})",
            where=str(path),
            expected="the same model and schedule",
            mend=f"rm {path}",
        ) from error
