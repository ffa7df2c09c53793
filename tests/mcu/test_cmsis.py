"""Where CMSIS-NN is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.errors import InputError, MissingDependency
from edgekd.mcu import cmsis


def copy_of_cmsis(folder: Path, *, core: bool = True) -> Path:
    root = folder / "CMSIS-NN"
    (root / "Include").mkdir(parents=True)
    (root / "Include" / "arm_nnfunctions.h").write_text("int32_t arm_a_s8(void);\n")
    (root / "Source" / "A").mkdir(parents=True)
    (root / "Source" / "A" / "arm_a.c").write_text(
        "/* arm_in_a_comment(1) */\narm_cmsis_nn_status arm_a_s8(const int *x,\n      int n)\n{\n    return arm_called(x);\n}\n"
        "\nint32_t arm_a_s8_get_buffer_size(const int *x)\n{\n    return 0;\n}\n"
    )
    if core:
        (folder / "CMSIS_6" / "CMSIS" / "Core" / "Include").mkdir(parents=True)
        (folder / "CMSIS_6" / "CMSIS" / "Core" / "Include" / "cmsis_compiler.h").touch()
    return root


def test_a_folder(tmp_path: Path) -> None:
    root = copy_of_cmsis(tmp_path)
    found = cmsis.sources(root)
    assert found.flags == ("-isystem", str(root / "Include"), "-isystem", str(tmp_path / "CMSIS_6" / "CMSIS" / "Core" / "Include"))
    assert found.find("arm_a_s8") == found.find("arm_a_s8_get_buffer_size") == root / "Source" / "A" / "arm_a.c"
    assert found.find("arm_called") is None and found.find("arm_in_a_comment") is None


def test_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = copy_of_cmsis(tmp_path)
    monkeypatch.setenv(cmsis.VARIABLE, str(root))
    assert cmsis.sources().find("arm_a_s8")
    monkeypatch.setenv(cmsis.VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match=f"{cmsis.VARIABLE}.*is not CMSIS-NN"):
        cmsis.sources()


def test_no_core(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--cmsis-nn: no cmsis_compiler.h near"):
        cmsis.sources(copy_of_cmsis(tmp_path, core=False))


def test_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cmsis.VARIABLE, raising=False)
    monkeypatch.setattr(cmsis, "_packaged", lambda: None)
    with pytest.raises(MissingDependency, match="edgekd.mcu"):
        cmsis.sources()
