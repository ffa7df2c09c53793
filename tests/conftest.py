"""What holds for every test: one thread a worker, and property tests that do the same each time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# Before numpy or torch is imported: pytest-xdist already uses the cores.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# A shell's background job ignores Ctrl-C, and so would what tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# And what nohup begins ignores the end of its terminal.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

from hypothesis import settings  # noqa: E402 -- see above

import edgekd  # noqa: E402, F401 -- before a test imports a runtime, which would then send telemetry

# No deadline, for other work on the machine must not decide; no stored examples, for a failure must be one everywhere.
settings.register_profile("edgekd", deadline=None, derandomize=True, database=None)
settings.load_profile("edgekd")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module", autouse=True)
def _own_store(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests measure stays out of the user's store of measurements, and out of what the tests of another file see."""
    os.environ["EDGEKD_STORE"] = str(tmp_path_factory.mktemp("store") / "results.sqlite")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own: only packaged targets are in sight."""
    monkeypatch.chdir(tmp_path)
