"""A registry in a folder that some releases are in."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.registry.folder import FolderStore
from tests.registry.made import ADA, release


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """With 1.0.0, 1.1.0 and 2.0.0-rc.1; nothing in a stage."""
    made = FolderStore(tmp_path / "store")
    for version in ("1.0.0", "1.1.0", "2.0.0-rc.1"):
        made.add(release(tmp_path / "releases", version, weights=version.encode()), ADA)
    return made
