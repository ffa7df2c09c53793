"""What holds for the bundle of every format."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.errors import InputError
from edgekd.release import FORMATS
from tests.release.bundles import packed
from tests.released import facts

KINDS = {"android": "two_tasks", "ios": "two_tasks", "mcu": "sound", "oci": "int8", "openvino": "int8"}
#: Whose files these bundles hold; the others' TFLite's.
MODELS = {"mcu": "c", "openvino": "openvino"}


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_the_same_facts_make_the_same_bytes(tmp_path: Path, format: str):
    made = facts(tmp_path, KINDS[format], formats=(format,))
    one, two = packed(format, made, tmp_path / "one"), packed(format, made, tmp_path / "two")
    files = {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
    assert files == {path.relative_to(two) for path in two.rglob("*") if path.is_file()}
    for name in files:
        assert (one / name).read_bytes() == (two / name).read_bytes()


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_a_changed_model_is_refused(tmp_path: Path, format: str):
    made = facts(tmp_path, "int8", formats=(format,))
    made.models[MODELS.get(format, "tflite")].path.write_bytes(b"other")
    with pytest.raises(InputError, match="is another file than the one that was verified"):
        packed(format, made, tmp_path / "out")
