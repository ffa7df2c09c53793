"""The store of measurements: what was measured of which model on which device, one row each, with all of its figures.

SQLite in the cache folder by default; any database of SQLAlchemy by its URL (`--store`, or $EDGEKD_STORE).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgekd.records import Figure

#: Ending of a file → what writes it there: ``export(results, path)``.
EXPORTS = {".csv": "edgekd.store.export:csv", ".parquet": "edgekd.store.export:parquet"}
#: The figure that says what the latency model had foretold of a time that was then measured.
PREDICTED = "predicted_latency_ms"
#: The variable that names another store.
VARIABLE = "EDGEKD_STORE"


@dataclass(frozen=True)
class Result:
    """One model on one device. ``failed`` says why there are no figures, or none to be believed; "" where there are.

    ``model`` is its name, ``fingerprint`` its graph's; ``device`` as it was asked for (ssh:pi@10.0.0.7), ``label`` what a fleet calls it;
    ``row`` which way of running it there (a runtime, a set of kernels). ``asked`` is the hash of all that was asked, by which a fleet
    knows what it has. ``created`` is UTC, ISO 8601. ``document`` holds notes, layers and the environment, as JSON has them.
    """

    created: str
    model: str
    fingerprint: str
    target: str
    device: str
    asked: str
    label: str = ""
    row: str = ""
    inputs: str = ""
    failed: str = ""
    figures: dict[str, Figure] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    id: int = 0

    @property
    def where(self) -> str:
        """The device as a table names it."""
        return self.label or self.device


@dataclass(frozen=True)
class Query:
    """What to look for; "" and 0 ask for nothing. ``model`` and ``device`` are a name, its beginning, or a fingerprint's; a device also
    its label. ``newest``: of each model on each device in each row only the last result."""

    model: str = ""
    device: str = ""
    target: str = ""
    figure: str = ""
    failures: bool | None = None
    newest: bool = False
    last: int = 0
