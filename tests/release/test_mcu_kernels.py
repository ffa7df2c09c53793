"""The kernels in a firmware bundle: the preprocessor takes those of the core, and with them the weights that the check expects."""

from __future__ import annotations

import hashlib
import re
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.release.facts import Facts, Model
from edgekd.release.mcu import arrays_of, branches_of, checksum, pack
from tests.firmware_bundles import STRICT, compiled, needs, packed, ran
from tests.released import facts

#: Kernels for the DSP extension are plain C where its instructions are not, so that a host computes what a Cortex-M4 does.
DSP = "-D__ARM_FEATURE_DSP=1"
CORES = {"Helium": "cortex-m55", "DSP extension": "cortex-m4", "plain C": "cortex-m3"}


def source_of(made: Facts) -> str:
    return made.models["c"].path.read_text()


def changed(made: Facts, text: str) -> Facts:
    """With another library in the place of the C one, of which nobody can say that it has changed."""
    model = made.models["c"]
    model.path.write_text(text)
    return replace(made, models={"c": replace(model, sha256=hashlib.sha256(text.encode()).hexdigest())})


def kept_by_host(text: str, *flags: str) -> str:
    """``text`` as the host's preprocessor leaves it, without what it includes."""
    text = re.sub(r"^#include .*\n", "", text, flags=re.MULTILINE)
    return subprocess.run(["gcc", "-E", "-P", *flags, "-"], input=text, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("flags", ("", DSP, pytest.param(f"{DSP} -O3", marks=pytest.mark.slow)))
@pytest.mark.parametrize("kind", ("int8", "two_tasks"))
def test_each_branch_of_a_host_is_whole_and_answers_the_vectors(tmp_path: Path, kind: str, flags: str):
    folder = packed(facts(tmp_path, kind, formats=("mcu",)), tmp_path / "mcu")
    compiled(folder, tmp_path / "program", folder / "test/golden_pixel_8_test.c", flags=f"-O1 {flags}")
    assert ran(tmp_path / "program") == "The model is golden-pixel-8 1.4.0, whole.\n8 test vectors pass.\n"


def test_a_flipped_bit_of_the_weights_for_dsp_is_found_out(tmp_path: Path):
    """In an array that is laid out otherwise for the DSP extension."""
    made = facts(tmp_path, "int8", formats=("mcu",))
    folder = packed(made, tmp_path / "mcu")
    compiled(folder, tmp_path / "program", folder / "test/golden_pixel_8_test.c", flags=f"-O0 {DSP}")
    _, dsp, plain = branches_of(source_of(made), made.models["c"])
    others = {array.content for array in plain.arrays}
    weights = max((array.content for array in dsp.arrays if array.content not in others), key=len)
    program = bytearray((tmp_path / "program").read_bytes())
    program[program.index(weights) + len(weights) // 2] ^= 16
    (tmp_path / "program").write_bytes(program)
    assert "Weights or labels in memory are not those of golden-pixel-8 1.4.0" in ran(tmp_path / "program", good=False)


def test_the_branches_are_what_the_preprocessor_takes(tmp_path: Path):
    needs("gcc")
    made = facts(tmp_path, "int8", formats=("mcu",))
    model, source = made.models["c"], source_of(made)
    branches = branches_of(source, model)
    assert [branch.kernels for branch in branches] == list(CORES)
    for branch, flags in zip(branches, (("-D__ARM_FEATURE_MVE=3", DSP), (DSP,), ()), strict=True):
        # gcc -E joins lines; the declaration is set back on its own.
        text = re.sub(
            r"\s*(static const _Alignas\(\d+\) \S+ golden_pixel_8_c\d+\[\d+\]).*? = \{",
            r"\n\1 EK_WEIGHTS = {\n",
            kept_by_host(source, *flags),
        )
        text = re.sub(r"(EK_WEIGHTS = \{\n[^}]*?)\s*\};", r"\1\n};\n", text)
        assert [(a.name, a.content) for a in arrays_of(text, model)] == [(a.name, a.content) for a in branch.arrays], branch.kernels
    assert max(branch.constant_bytes for branch in branches) == model.figures["model_bytes"].value


def test_the_sums_are_said_where_they_are_expected(tmp_path: Path):
    made = facts(tmp_path, "int8", formats=("mcu",))
    folder = packed(made, tmp_path / "mcu")
    sums = [f"0x{checksum(branch.arrays, made.models['c'].heads):08X}u" for branch in branches_of(source_of(made), made.models["c"])]
    assert len(set(sums)) == 3
    source, header = ((folder / f"src/golden_pixel_8_model.{end}").read_text() for end in "ch")
    assert re.findall(r"#define EK_MODEL_CRC (\w+)", source) == sums
    assert ", ".join(f"{crc} ({kernels})" for crc, kernels in zip(sums, CORES, strict=True)) in header
    # What all branches begin with is there once.
    assert source.count("golden_pixel_8_c0,") == 1


def test_where_cores_have_the_same_weights_there_is_no_question(tmp_path: Path):
    """A graph without layers for which a core has kernels of its own: the library of all its branches is one text."""
    made = facts(tmp_path, "int8", formats=("mcu",))
    model, source = made.models["c"], source_of(made)
    alike = source[source.rindex("\n#else\n") + len("\n#else\n") :].removesuffix("#endif\n")
    header = model.path.with_suffix(".h")
    header.write_text(re.sub(r", the most of: .*? \*/", " */", header.read_text()))
    figures = {**model.figures, "model_bytes": replace(model.figures["model_bytes"], value=plain_bytes(source, model))}
    made = changed(made, alike)
    made = replace(made, models={"c": replace(made.models["c"], figures=figures)})
    folder = packed(made, tmp_path / "mcu")
    text = (folder / "src/golden_pixel_8_model.c").read_text()
    assert "__ARM_FEATURE" not in text and text.count("#define EK_MODEL_CRC") == 1
    readme = (folder / "README.md").read_text()
    assert f"Constants: {plain_bytes(source, model)} bytes; arena: " in readme and "Helium" not in readme


def plain_bytes(source: str, model: Model) -> int:
    return branches_of(source, model)[-1].constant_bytes


def test_the_readme_says_the_arena_of_each_branch(tmp_path: Path):
    made = facts(tmp_path, "int8", formats=("mcu",))
    folder = packed(made, tmp_path / "mcu")
    rows = re.findall(r"^\| ([\w ]+) \| [\w, -]+ \| (\d+) bytes \| (\d+) bytes \|$", (folder / "README.md").read_text(), re.MULTILINE)
    assert [row[0] for row in rows] == list(CORES)
    stated = re.search(r"_ARENA_BYTES (\d+)", (folder / "src/golden_pixel_8.h").read_text())
    assert stated and max(int(row[2]) for row in rows) == int(stated[1]) == made.models["c"].figures["peak_ram_bytes"].value
    assert max(int(row[1]) for row in rows) == made.models["c"].figures["model_bytes"].value


def test_zephyrs_trap_of_unaligned_words_is_refused(tmp_path: Path):
    folder = packed(facts(tmp_path, "int8", formats=("mcu",)), tmp_path / "mcu")
    test = folder / "test/golden_pixel_8_test.c"
    said = compiled(folder, tmp_path / "program", test, flags=f"-DCONFIG_TRAP_UNALIGNED_ACCESS=1 {DSP}", good=False)
    assert "golden_pixel_8 loads unaligned words on this core: set CONFIG_TRAP_UNALIGNED_ACCESS=n" in said
    compiled(folder, tmp_path / "program", test, flags="-DCONFIG_TRAP_UNALIGNED_ACCESS=1")


@pytest.mark.parametrize(
    ("what", "change", "said"),
    (
        ("no end", lambda text: text.removesuffix("#endif\n"), "has no #else and #endif"),
        ("more", lambda text: text + "int more;\n", "text follows its #endif"),
        ("no else", lambda text: text.replace("\n#else\n/* Written", "\n/* Written"), "has no #else and #endif"),
        (
            "a lost one",
            lambda text: text[: text.rindex("_c0[")] + text[text.rindex("_c0[") :].replace(" EK_WEIGHTS", "", 1),
            "were read in it, of",
        ),
    ),
)
def test_a_library_that_cannot_be_read_is_refused(tmp_path: Path, what: str, change: Callable[[str], str], said: str):
    made = facts(tmp_path, "int8", formats=("mcu",))
    made = changed(made, change(source_of(made)))
    with pytest.raises(InputError, match=re.escape(said)):
        pack(made, tmp_path)


def test_a_header_that_does_not_count_each_arena_is_refused(tmp_path: Path):
    made = facts(tmp_path, "int8", formats=("mcu",))
    header = made.models["c"].path.with_suffix(".h")
    text = header.read_text()
    for wrong in (re.sub(r", cortex-m3 \d+", "", text), re.sub(r"cortex-m4 \d+", "cortex-m4 1", text)):
        header.write_text(wrong)
        with pytest.raises(InputError, match="does not state its arena"):
            pack(made, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kernels", CORES)
def test_each_core_compiles_its_own_weights(tmp_path: Path, kernels: str):
    """The constants of the object file that the compiler makes for the core are those that the check sums up."""
    needs("arm-none-eabi-gcc", "arm-none-eabi-objcopy")
    made = facts(tmp_path, "int8", formats=("mcu",))
    folder = packed(made, tmp_path / "mcu")
    branch = next(branch for branch in branches_of(source_of(made), made.models["c"]) if branch.kernels == kernels)
    flags = (f"-mcpu={CORES[kernels]}", "-mthumb", "-O1", *(("-mfloat-abi=hard",) if kernels == "Helium" else ()), *STRICT.split())
    ran("arm-none-eabi-gcc", "-std=c11", *flags, "-fdata-sections", "-I", folder / "src", "-c", folder / "src/golden_pixel_8_model.c",
        "-o", tmp_path / "model.o")  # fmt: skip
    content = b""
    for array in branch.arrays:
        section = tmp_path / array.name
        ran("arm-none-eabi-objcopy", "-O", "binary", f"--only-section=.rodata.{array.name}", tmp_path / "model.o", section)
        content += section.read_bytes()
    assert zlib.crc32(content) == zlib.crc32(b"".join(array.content for array in branch.arrays))
    assert len(np.frombuffer(content, np.uint8)) == branch.constant_bytes
