"""Malformed profiles, recipes and data, each through the real command line: one clear message with file, key and cure, exit code 2."""

# size: the cases are one table
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgekd.cli import app
from tests.refusals import RECIPE, refused, replaced

pytestmark = pytest.mark.usefixtures("elsewhere")

PROFILE = """\
schema_version = 1
name = "board"
kind = "mcu"
description = "A board"

[device]
board = "Some board"
core = "Cortex-M4F"
clock_mhz = 120.0
flash_bytes = 1048576
ram_bytes = 262144
source = "Its datasheet"

[budgets]
model_bytes = 65536
peak_ram_bytes = 65536
latency_ms = 100.0
accuracy_drop_pp = 2.0

[scheme]
numeric = "int8"
weight_bits = 8
activation_bits = 8
symmetric_activations = false
per_channel_weights = true
input_dtype = "int8"
output_dtype = "int8"

[deploy]
exporter = "tflite"
runtime = "tflm"
transport = "serial"
"""

FLOAT16 = [('numeric = "int8"', 'numeric = "float16"')]

# (name, replacements in PROFILE, what the message must say)
PROFILES: list[tuple[str, list[tuple[str, str]], list[str]]] = [
    ("unknown_key", [("clock_mhz", "clok_mhz")], ["device.clok_mhz: unknown key", "perhaps clock_mhz", "device.clock_mhz: is missing"]),
    ("unknown_section", [("[budgets]", "[budget]")], ["budget: unknown key", "perhaps budgets", "budgets: is missing"]),
    ("misplaced_key", [('kind = "mcu"', 'kind = "mcu"\nram_bytes = 1')], ["ram_bytes: unknown key", "belongs under [device]"]),
    ("missing_key", [("ram_bytes = 262144\n", "")], ["device.ram_bytes: is missing", "add `ram_bytes = …` under [device]"]),
    (
        "number_as_text",
        [("120.0", '"120"')],
        ["device.clock_mhz: found '120' (text)", "a valid number", "clock_mhz = 120   (without quotes)"],
    ),
    ("bool_as_int", [("ram_bytes = 262144", "ram_bytes = true")], ["device.ram_bytes: found true (a boolean)", "a valid integer"]),
    ("bool_as_version", [("schema_version = 1", "schema_version = true")], ["schema_version: found true (a boolean)", "expected: 1"]),
    ("float_as_int", [("ram_bytes = 262144", "ram_bytes = 262144.0")], ["device.ram_bytes: found 262144.0", "ram_bytes = 262144"]),
    (
        "text_as_bool",
        [("per_channel_weights = true", 'per_channel_weights = "yes"')],
        ["scheme.per_channel_weights: found 'yes' (text)", "a valid boolean"],
    ),
    ("negative_clock", [("120.0", "-120.0")], ["device.clock_mhz: found -120.0", "greater than 0"]),
    ("infinite_clock", [("120.0", "inf")], ["device.clock_mhz: found inf", "finite number"]),
    ("nan_latency", [("latency_ms = 100.0", "latency_ms = nan")], ["budgets.latency_ms: found nan", "finite number"]),
    ("no_ram", [("ram_bytes = 262144", "ram_bytes = 0")], ["device.ram_bytes: found 0", "greater than 0"]),
    (
        "drop_over_100",
        [("accuracy_drop_pp = 2.0", "accuracy_drop_pp = 200.0")],
        ["budgets.accuracy_drop_pp: found 200.0", "less than or equal to 100"],
    ),
    ("future_version", [("schema_version = 1", "schema_version = 7")], ["schema_version: found 7", "schema_version = 1"]),
    ("bad_name", [('name = "board"', 'name = "My Board"')], ["name: found 'My Board'", "lower-case letters, digits and dashes"]),
    (
        "section_as_number",
        [("[deploy]", "[x]"), ('kind = "mcu"', 'kind = "mcu"\ndeploy = 3')],
        ["deploy: found 3", "a table", "x: unknown key"],
    ),
    ("unknown_runtime", [('runtime = "tflm"', 'runtime = "tflmm"')], ["deploy.runtime: found 'tflmm'", "'tflm'", 'runtime = "tflm"']),
    ("unknown_kind", [('kind = "mcu"', 'kind = "mcus"')], ["kind: found 'mcus'", "'phone'", 'kind = "mcu"']),
    ("bits_mismatch", [("weight_bits = 8", "weight_bits = 16")], ["scheme.weight_bits: 16 with numeric int8", "weight_bits = 8"]),
    (
        "float16_as_int8",
        FLOAT16,
        ["scheme.input_dtype: int8 with numeric float16", "scheme.weight_bits: 8 with numeric float16", 'input_dtype = "float32"'],
    ),
    (
        "tflm_float_io",
        [('input_dtype = "int8"', 'input_dtype = "float32"')],
        ["scheme.input_dtype: float32 with runtime tflm", 'input_dtype = "int8"'],
    ),
    ("tflm_onnx", [('exporter = "tflite"', 'exporter = "onnx"')], ["deploy.exporter: onnx with runtime tflm", 'exporter = "tflite"']),
    (
        "tensorrt_asymmetric",
        [('kind = "mcu"', 'kind = "jetson"'), ('exporter = "tflite"', 'exporter = "onnx"'), ('runtime = "tflm"', 'runtime = "tensorrt"')],
        ["scheme.symmetric_activations: false with runtime tensorrt", "symmetric_activations = true"],
    ),
    (
        "openvino_on_mcu",
        [('exporter = "tflite"', 'exporter = "openvino"'), ('"tflm"', '"openvino"')],
        ["deploy.runtime: openvino on kind mcu", "tflm or ethos-u"],
    ),
    ("npu_without_npu", [('"tflm"', '"ethos-u"')], ["deploy.runtime: ethos-u on a device without one", 'runtime = "tflm"']),
    (
        "no_int8_hardware",
        [("ram_bytes = 262144", 'ram_bytes = 262144\nnumerics = ["float32"]')],
        ["scheme.numeric: int8 on a device", 'numeric = "float32"'],
    ),
    (
        "budget_over_flash",
        [("model_bytes = 65536", "model_bytes = 9999999")],
        ["budgets.model_bytes: 9999999", "at most device.flash_bytes = 1048576"],
    ),
    (
        "budget_over_ram",
        [("peak_ram_bytes = 65536", "peak_ram_bytes = 300000")],
        ["budgets.peak_ram_bytes: 300000", "device.ram_bytes = 262144"],
    ),
    ("mcu_without_flash", [("flash_bytes = 1048576\n", "")], ["device.flash_bytes: is missing for a microcontroller", "flash_bytes = "]),
    ("other_name", [('name = "board"', 'name = "bord"')], ["name: 'bord' in a file called board.toml", 'name = "board"']),
    (
        "duplicate_key",
        [("clock_mhz = 120.0", "clock_mhz = 120.0\nclock_mhz = 1.0")],
        ["not valid TOML", "at line 10", "stands twice", "delete one"],
    ),
    ("duplicate_table", [("[deploy]", "[scheme]")], ["not valid TOML", "twice", "delete one of the two"]),
    ("syntax_error", [("ram_bytes = 262144", "ram_bytes = 256 KB")], ["not valid TOML", "line 11, column", "correct that line"]),
    ("nested_too_deep", [("schema_version = 1", "schema_version = " + "[" * 5000)], ["nested too deeply", "flatten it"]),
    ("huge_number", [("ram_bytes = 262144", "ram_bytes = " + "9" * 5000)], ["not valid TOML", "correct that line"]),
]

# (name, bytes of the file, what the message must say)
RAW: list[tuple[str, bytes, list[str]]] = [
    ("empty", b"", ["is empty", "copy a packaged file"]),
    ("comments_only", b"# nothing\n", ["schema_version: is missing", "deploy: is missing"]),
    ("not_utf8", PROFILE.replace("A board", "Fr\xe4sch").encode("latin-1"), ["byte 0xe4 on line 4 is not UTF-8", "save it again as UTF-8"]),
    ("byte_order_mark", b"\xef\xbb\xbf" + PROFILE.encode(), ["byte order mark", "without BOM"]),
    ("utf16", PROFILE.encode("utf-16"), ["byte 0xff on line 1 is not UTF-8", "save it again as UTF-8"]),
    ("huge", PROFILE.encode() + b"#" * (1 << 20), ["at most 1048576", "is it the right file"]),
    ("binary", b"\x00\x01\x02", ["not valid TOML", "correct that line"]),
]

RECIPES: list[tuple[str, list[tuple[str, str]], list[str]]] = [
    ("unknown_key", [("family =", "famly =")], ["student.famly: unknown key", "perhaps family"]),
    (
        "unknown_preset_key",
        [("qat_epochs", "qat_epoch")],
        ["presets.demo.qat_epoch: unknown key", "perhaps qat_epochs", "presets.demo.qat_epochs: is missing"],
    ),
    ("unknown_loss_key", [("weight = 0.9", "wieght = 0.9")], ["losses[0].wieght: unknown key", "perhaps weight"]),
    (
        "weights_all_zero",
        [("weight = 0.9", "weight = 0.0"), ("weight = 0.1", "weight = 0.0")],
        ["losses: every weight is 0", "weight = 1.0"],
    ),
    ("negative_weight", [("weight = 0.9", "weight = -0.9")], ["losses[0].weight: found -0.9", "greater than or equal to 0"]),
    ("empty_space", [("[0.5, 1.0]", "[]")], ["student.space.width: an empty list", "delete width"]),
    ("space_twice", [("[0.5, 1.0]", "[1.0, 1.0]")], ["student.space.width: [1.0, 1.0] has a value twice", "delete the repetition"]),
    (
        "space_and_option",
        [("space =", "options = { width = 1.0 }\nspace =")],
        ["student.space.width: is also fixed", "delete width from one"],
    ),
    ("space_no_list", [("[0.5, 1.0]", "0.5")], ["student.space.width: found 0.5", "a valid list"]),
    ("unknown_target", [("pixel-8", "pixle-8")], ["targets.pixle-8: no target has this name", "perhaps [targets.pixel-8]"]),
    ("target_without_budget", [("model_bytes = 524288\n", "")], ["targets.pixel-8: states no budget", "delete the table"]),
    (
        "mean_std_length",
        [("mean = [0.5]", "mean = [0.5, 0.5, 0.5]")],
        ["teacher.std: 1 values but teacher.mean has 3", "std = [0.25, 0.25, 0.25]"],
    ),
    ("mean_of_255", [("mean = [0.5]", "mean = [127.5]")], ["teacher.mean[0]: found 127.5", "less than or equal to 1"]),
    ("zero_std", [("std = [0.25]", "std = [0.0]")], ["teacher.std[0]: found 0.0", "greater than 0"]),
    (
        "path_escape",
        [("teacher.safetensors", "../../teacher.safetensors")],
        ["teacher.checkpoint", "leaves the recipe's folder", "teacher.safetensors"],
    ),
    ("absolute_path", [("teacher.safetensors", "/tmp/t.safetensors")], ["teacher.checkpoint", "leaves the recipe's folder"]),
    ("pickle_checkpoint", [("teacher.safetensors", "teacher.pt")], ["teacher.checkpoint: 'teacher.pt'", "a .safetensors file"]),
    ("no_presets", [("[presets.demo]\nfloat_epochs = 1.0\nqat_epochs = 1.0\n", "")], ["presets: is missing", "add `presets"]),
    (
        "no_losses",
        [('[[losses]]\nname = "soft_targets"\nweight = 0.9\n\n[[losses]]\nname = "cross_entropy"\nweight = 0.1\n', "")],
        ["losses: is missing"],
    ),
    ("zero_epochs", [("float_epochs = 1.0", "float_epochs = 0.0")], ["presets.demo.float_epochs: found 0.0", "greater than 0"]),
    (
        "views_all_same",
        [("[presets.demo]", "[views]\ncount = 2\n\n[presets.demo]")],
        ["views.count: 2", "every view is the image itself", "count = 1"],
    ),
    (
        "five_views",
        [("[presets.demo]", "[views]\ncount = 5\nmirror = true\n\n[presets.demo]")],
        ["views.count: found 5", "less than or equal to 4"],
    ),
    ("date_option", [("channels = 1", "since = 2024-01-01")], ["data.options.since: a date or time", 'since = "2024-01-01"']),
    ("bad_source", [('"residual_cnn"', '"my teacher"')], ["teacher.source: found 'my teacher'", "text that matches"]),
    ("unknown_source", [('"image_folder"', '"image_foldr"')], ["data.source: no such name: 'image_foldr'", 'source = "image_folder"']),
    ("unknown_teacher", [('"residual_cnn"', '"residual_cn"')], ["teacher.source: no such name", 'source = "residual_cnn"']),
    ("unknown_family", [('"inverted_residual"', '"inverted"')], ["student.family: no such name", "inverted_residual"]),
    ("unknown_loss", [('"soft_targets"', '"soft_target"')], ["losses[0].name: no such name", 'name = "soft_targets"']),
    (
        "duplicate_preset",
        [("[targets.pixel-8]", "[presets.demo]\n[targets.pixel-8]")],
        ["not valid TOML", "twice", "delete one of the two"],
    ),
]


@pytest.mark.parametrize(("changes", "says"), [pytest.param(*case[1:], id=case[0]) for case in PROFILES])
def test_profile(changes: list[tuple[str, str]], says: list[str], tmp_path: Path) -> None:
    file = tmp_path / "board.toml"
    file.write_text(replaced(PROFILE, changes))
    refused("targets", "check", str(file), says=["board.toml", *says])


@pytest.mark.parametrize(("content", "says"), [pytest.param(*case[1:], id=case[0]) for case in RAW])
def test_profile_file(content: bytes, says: list[str], tmp_path: Path) -> None:
    file = tmp_path / "board.toml"
    file.write_bytes(content)
    refused("targets", "check", str(file), says=["board.toml", *says])
    recipe = tmp_path / "recipe.toml"
    recipe.write_bytes(content)
    if "schema_version: is missing" not in says[0]:
        refused("recipes", "check", str(recipe), says=["recipe.toml", says[0]])


@pytest.mark.parametrize(("changes", "says"), [pytest.param(*case[1:], id=case[0]) for case in RECIPES])
def test_recipe(changes: list[tuple[str, str]], says: list[str], tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(replaced(RECIPE, changes))
    refused("recipes", "check", str(file), says=["recipe.toml", *says])


def test_the_unchanged_cases_are_good(tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text(PROFILE)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    runner = CliRunner()
    assert runner.invoke(app, ["targets", "check", "board.toml"]).stdout == "board.toml: ok\n"
    assert runner.invoke(app, ["recipes", "check", "recipe.toml"]).stdout == "recipe.toml: ok\n"


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("nothing.toml", ["nothing.toml: no such file", "check the path"]),
        ("bord.toml", ["bord.toml: no such file", "perhaps board.toml"]),
        ("folder.toml", ["folder.toml: is a directory", "name the file in it"]),
        ("fifo.toml", ["fifo.toml: is not a regular file"]),
        ("pixel-9", ["no target is called 'pixel-9'", "perhaps pixel-8"]),
        ("nu\0ll.toml", ["no such file"]),
    ],
)
def test_profile_path(where: str, says: list[str], tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text(PROFILE)
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "fifo.toml")
    refused("targets", "check", where, says=says)


def test_recipe_path(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused("recipes", "check", "empty", says=["empty/recipe.toml: no such file"])
    refused("recipes", "check", "fashion_mnits", says=["no recipe is called 'fashion_mnits'", "perhaps fashion_mnist"])


def test_a_link_out_of_the_recipes_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (tmp_path / "secret").write_text("x")
    (folder / "teacher.safetensors").symlink_to(tmp_path / "secret")
    (folder / "recipe.toml").write_text(RECIPE)
    refused("recipes", "check", "mine", says=["teacher.checkpoint", "a link out of the recipe's folder", "copy the file there"])


def test_all_problems_at_once(tmp_path: Path) -> None:
    changes = [("clock_mhz = 120.0", "clok_mhz = 1.0"), ("ram_bytes = 262144", "ram_bytes = 0"), ("weight_bits = 8", "weight_bits = 16")]
    (tmp_path / "board.toml").write_text(replaced(PROFILE, changes))
    refused(
        "targets",
        "check",
        "board.toml",
        says=["4 problems", "device.clok_mhz", "device.clock_mhz", "device.ram_bytes", "scheme.weight_bits"],
    )


@pytest.mark.parametrize("case", [("targets", "unknown_key", PROFILE, "clock_mhz"), ("recipes", "unknown_key", RECIPE, "family")])
def test_as_a_module(case: tuple[str, str, str, str], tmp_path: Path) -> None:
    """The real process, as users start it."""
    room, _, text, key = case
    file = tmp_path / "board.toml"
    file.write_text(text.replace(key, key[:-1], 1))
    command = [sys.executable, "-m", "edgekd", room, "check", str(file)]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(root)})
    assert (done.returncode, done.stdout) == (2, "")
    assert "board.toml" in done.stderr and f"perhaps {key}" in done.stderr and "Traceback" not in done.stderr
