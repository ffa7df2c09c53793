"""The on-device runner as a module of this process, to try single functions of it."""

from __future__ import annotations

import importlib.util
from typing import Any

from edgekd.measure.attached import RUNNER


def load_runner() -> Any:
    """Made anew: what a test changes in it no other test sees."""
    spec = importlib.util.spec_from_file_location("edgekd_runner", RUNNER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
