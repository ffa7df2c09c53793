"""edgekd plan, of targets by pattern."""

from __future__ import annotations

import json
from pathlib import Path

from tests.small_builds import edgekd, recipe

TOO_SMALL = {"[presets.demo]": "[targets.rp2040]\nmodel_bytes = 100\n\n[presets.demo]"}


def test_a_pattern_names_its_targets(tmp_path: Path) -> None:
    code, out, err = edgekd("plan", recipe(tmp_path), "--target", "mcu/nucleo-*", "--target", "nucleo-u575zi", "--json")
    assert code == 0, err
    assert [plan["target"] for plan in json.loads(out)] == ["nucleo-h7a3zi", "nucleo-l4r5zi", "nucleo-u575zi"]


def test_what_only_a_pattern_found_and_does_not_fit_is_left_out(tmp_path: Path) -> None:
    where = recipe(tmp_path, TOO_SMALL)
    code, out, err = edgekd("plan", where, "--target", "mcu/*", "--json")
    found = [plan["target"] for plan in json.loads(out)]
    assert code == 1 and "nucleo-l4r5zi" in found and "rp2040" not in found
    assert "edgekd: rp2040: left out: no student of inverted_residual fits rp2040: model_bytes binds" in err
    code, out, err = edgekd("plan", where, "--target", "rp2040", "--target", "nucleo-l4r5zi")
    assert code == 1 and not out and "fits rp2040: model_bytes binds" in err  # it was asked for by name
