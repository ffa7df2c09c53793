"""The exceptions that edgekd raises on purpose. The command line turns each into one message and an exit code.

EdgekdError                 exit 2: it could not be done as asked
├── InputError              a profile, recipe, dataset, checkpoint or model is wrong
├── MissingDependency       an optional library is not installed
├── DeviceError             a device cannot be reached, lacks something, or failed at what it was asked to do
│   └── Lost                the connection was cut; it may be tried again
├── OutOfMemory             something does not fit into this machine's memory
├── DoesNotFit              no student of the family fits the target's budgets        (exit 1)
├── Disagreement            a runtime computes other integers than the reference      (exit 1)
└── NotReleasable           a run did not pass, or is no longer what was judged       (exit 1)
"""

from __future__ import annotations

import errno


class EdgekdError(Exception):
    """Base of all. ``str()`` is the whole message: what was found, where, what was expected, how to mend it."""

    exit_code = 2


class InputError(EdgekdError):
    """Something that the user gave is wrong.

    ``what`` was found ``where``; ``expected`` instead; ``mend`` is the corrected line or command.
    """

    def __init__(self, what: str, *, where: str = "", expected: str = "", mend: str = "") -> None:
        self.what, self.where, self.expected, self.mend = what, where, expected, mend
        super().__init__(_message(what, where, expected, mend))


class MissingDependency(EdgekdError):
    """A library that one room needs is not installed; the message names the extra that brings it."""


class DeviceError(EdgekdError):
    """A device cannot be reached, lacks something, or failed at what it was asked to do.

    ``what`` happened ``where`` (the device, as its transport names it); ``expected`` instead; ``mend`` is the command or line that helps.
    """

    def __init__(self, what: str, *, where: str = "", expected: str = "", mend: str = "") -> None:
        self.what, self.where, self.expected, self.mend = what, where, expected, mend
        super().__init__(_message(what, where, expected, mend))


class Lost(DeviceError):
    """The connection was cut, or the device restarted: the same may be tried again."""


class OutOfMemory(EdgekdError):
    """Something does not fit into this machine's memory; the message says what would."""


class DoesNotFit(EdgekdError):
    """No student of the family fits; the message names the binding budget and by how much it is missed."""

    exit_code = 1


class Disagreement(EdgekdError):
    """An exported file computes something else than the reference says."""

    exit_code = 1


class NotReleasable(EdgekdError):
    """A run did not pass what it was judged by, or its files are no longer those that were judged."""

    exit_code = 1


def of_system(error: OSError) -> str:
    """What the system said no to: a full disk, a folder that may not be written; nothing that a traceback would explain better."""
    full = "\n  to mend:  clear some of that disk, or name another" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return f"{error.filename or 'input or output'}: {error.strerror or error}{full}"


def lacks_memory(error: BaseException | None) -> str:
    """What the system or a library said, on one line, if that is why ``error`` was raised; "" if it was raised for anything else."""
    while error is not None:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        # torch.OutOfMemoryError, without an import of torch; of the processor's memory it raises a RuntimeError, as oneDNN does.
        by_text = type(error) is RuntimeError and any(text in said for text in _NO_MEMORY)
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or by_text:
            return said
        error = error.__cause__
    return ""


_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "could not create a memory", "bad_alloc")


def _message(what: str, where: str, expected: str, mend: str) -> str:
    lines = [f"{where}: {what}" if where else what]
    if expected:
        lines.append(f"  expected: {expected}")
    if mend:
        lines.append(f"  to mend:  {mend}")
    return plain("\n".join(lines))


def plain(text: str) -> str:
    """Without what steers a terminal or cannot be written: a device's text, or a file's name, may hold anything. Lines stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
