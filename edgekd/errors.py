"""The exceptions that edgekd raises on purpose. The command line turns each into one message and an exit code.

EdgekdError                 exit 2: it could not be done as asked
├── InputError              a profile, recipe, dataset, checkpoint or model is wrong
├── MissingDependency       an optional library is not installed
├── DoesNotFit              no student of the family fits the target's budgets        (exit 1)
└── Disagreement            a runtime computes other integers than the reference      (exit 1)
"""

from __future__ import annotations


class EdgekdError(Exception):
    """Base of all. ``str()`` is the whole message: what was found, where, what was expected, how to mend it."""

    exit_code = 2


class InputError(EdgekdError):
    """Something that the user gave is wrong.

    ``what`` was found ``where``; ``expected`` instead; ``mend`` is the corrected line or command.
    """

    def __init__(self, what: str, *, where: str = "", expected: str = "", mend: str = "") -> None:
        self.what, self.where, self.expected, self.mend = what, where, expected, mend
        lines = [f"{where}: {what}" if where else what]
        if expected:
            lines.append(f"  expected: {expected}")
        if mend:
            lines.append(f"  to mend:  {mend}")
        super().__init__("\n".join(lines))


class MissingDependency(EdgekdError):
    """A library that one room needs is not installed; the message names the extra that brings it."""


class DoesNotFit(EdgekdError):
    """No student of the family fits; the message names the binding budget and by how much it is missed."""

    exit_code = 1


class Disagreement(EdgekdError):
    """An exported file computes something else than the reference says."""

    exit_code = 1
