"""Golden students and MLPerf Tiny's models as C: equal to the real TFLM, clean under every compiler that is here, in a smaller arena."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edgekd.export import c, tflite
from edgekd.export.c_plan import plan
from edgekd.importers.tflite import read
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference import run
from edgekd.runtimes import tflm
from tests.c_host import NEEDS_GCC, compile_c, compile_one, run_sanitized
from tests.c_layers import samples

TESTS = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("EDGEKD_DATA") or TESTS.parents[1] / "shared" / "data") / "mlperf_tiny"
NEEDS = pytest.mark.skipif(not DATA.is_dir(), reason="the files of MLPerf Tiny are not here: set EDGEKD_DATA to a folder with mlperf_tiny")
GOLDEN = sorted(folder.name for folder in (TESTS / "golden").iterdir() if folder.is_dir())
TINY = ("kws_ref_model", "pretrainedResnet_quant", "vww_96_int8")
MODELS = [*GOLDEN, *(pytest.param(name, marks=NEEDS) for name in TINY)]
ARM = ("cortex-m0", "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")
RISC_V = ("-march=rv32imac", "-mabi=ilp32", "--specs=picolibc.specs")
#: Compiler → flags; the first FAST of them in every run of the tests.
COMPILERS: list[tuple[str, tuple[str, ...]]] = [
    ("gcc", ("-O2",)), ("arm-none-eabi-gcc", ("-mcpu=cortex-m0", "-mthumb", "-O2")), ("riscv64-unknown-elf-gcc", (*RISC_V, "-O2")),
    ("gcc", ("-O3",)), ("gcc", ("-Os",)), ("gcc", ("-funsigned-char", "-O2")), ("gcc", ("-ffreestanding", "-O2")), ("clang", ("-O2",)),
    *(("arm-none-eabi-gcc", (f"-mcpu={core}", "-mthumb", "-O2")) for core in ARM[1:]),
]  # fmt: skip
FAST = 3


def graph_of(name: str) -> QuantGraph:
    return io.load(TESTS / "golden" / name) if name in GOLDEN else read(DATA / f"{name}.tflite")


@NEEDS_GCC
@pytest.mark.parametrize("n", [20, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", MODELS)
def test_bit_for_bit_what_tflm_answers(name: str, n: int, tmp_path: Path) -> None:
    graph = graph_of(name)
    x = samples(graph, n, seed=1)
    path = DATA / f"{name}.tflite" if name in TINY else tmp_path / tflite.export(graph, tmp_path).path
    theirs = tflm.open_model(path).run(x)
    ours = compile_one(graph, tmp_path / "c", flags=("-O2",)).run(x)
    assert len(np.unique(theirs)) > 5, "outputs that are all alike prove nothing"
    np.testing.assert_array_equal(ours.reshape(n, -1), theirs.reshape(n, -1))


@NEEDS_GCC
@pytest.mark.parametrize("name", [*GOLDEN, *(pytest.param(name, marks=[NEEDS, pytest.mark.slow]) for name in TINY)])
def test_clean_under_asan_and_ubsan(name: str, tmp_path: Path) -> None:
    graph = graph_of(name)
    x = samples(graph, 3)
    np.testing.assert_array_equal(run_sanitized(graph, x, tmp_path), run(graph, x, "tflm")[graph.outputs[0]].reshape(3, -1))


def said_nothing(compiler: str, flags: tuple[str, ...], names: Sequence[str], folder: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} on this host")
    for name in names:
        library = c.encode(graph_of(name))
        (folder / f"{library.stem}.h").write_text(library.header)
        (folder / f"{library.stem}.c").write_text(library.source)
        compile_c([str(folder / f"{library.stem}.c")], folder / "o", ("-c", *flags), compiler)


@pytest.mark.parametrize(("compiler", "flags"), COMPILERS[:FAST], ids=lambda v: v if isinstance(v, str) else v[0])
def test_no_compiler_says_a_word(compiler: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    said_nothing(compiler, flags, GOLDEN[:1], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "flags"), COMPILERS, ids=lambda v: v if isinstance(v, str) else v[0])
def test_no_compiler_says_a_word_of_any_model(compiler: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    said_nothing(compiler, flags, (*GOLDEN, *(TINY if DATA.is_dir() else ())), tmp_path)


@pytest.mark.parametrize("name", MODELS)
def test_the_arena(name: str, tmp_path: Path) -> None:
    """Within 1 % of what no placement of the same order goes below; without scratch, at most what TFLM records for its activations."""
    graph = graph_of(name)
    placed = plan(graph, "portable", None).placement
    each = (placed, *(plan(graph, "cmsis", core).placement for core in ("cortex-m4", "cortex-m55")))
    assert all(fast.total_bytes <= 1.01 * fast.bound for fast in each)
    path = DATA / f"{name}.tflite" if name in TINY else tmp_path / tflite.export(graph, tmp_path).path
    recorded = tflm.arena_bytes(path)
    assert placed.total_bytes <= recorded.activations < recorded.total
    # TFLM's kernels have no such scratch, but it keeps its structures in its arena, where C has them in flash.
    assert all(fast.total_bytes <= recorded.total for fast in each)
