"""A board and a recipe that no change of the shipped ones touches."""

from __future__ import annotations

from typing import Any

import pytest

from edgekd.profile.schema import Profile
from edgekd.recipe.schema import Recipe


@pytest.fixture
def profile() -> Profile:
    return Profile.model_validate(
        {
            "schema_version": 1,
            "name": "board",
            "kind": "mcu",
            "description": "A board",
            "device": {
                "board": "Board One",
                "core": "Cortex-M4F",
                "clock_mhz": 100.0,
                "flash_bytes": 1_000_000,
                "ram_bytes": 300_000,
                "source": "its manual",
            },
            "budgets": {"model_bytes": 500_000, "peak_ram_bytes": 200_000, "latency_ms": 100.0, "accuracy_drop_pp": 3.0},
            "scheme": {"numeric": "int8", "input_dtype": "int8", "output_dtype": "int8"},
            "deploy": {"exporter": "tflite", "runtime": "tflm", "transport": "serial"},
        }
    )


@pytest.fixture
def phone(profile: Profile) -> Profile:
    return profile.model_copy(update={"kind": "phone", "deploy": profile.deploy.model_copy(update={"runtime": "litert"})})


@pytest.fixture
def recipe() -> Recipe:
    body: dict[str, Any] = {
        "schema_version": 1,
        "name": "shapes",
        "data": {"source": "a:b"},
        "teacher": {"source": "a:b"},
        "student": {"family": "inverted_residual"},
        "losses": [{"name": "cross_entropy", "weight": 1.0}],
        "presets": {
            "demo": {"float_epochs": 1.0, "qat_epochs": 1.0, "max_macs": 3_000_000},
            "best": {"float_epochs": 9.0, "qat_epochs": 1.0},
        },
        "targets": {"board": {"model_bytes": 65_536, "max_macs": 4_000_000}},
    }
    return Recipe.model_validate(body)
