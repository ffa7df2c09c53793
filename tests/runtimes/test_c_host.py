"""Exported C compiled and run by this host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export import c
from edgekd.quant.reference import run
from edgekd.runtimes import c_host
from tests.c_chains import chain
from tests.c_host import NEEDS_GCC
from tests.graph_cases import Builder


def exported(folder: Path) -> tuple[Builder, Path]:
    b = Builder(0).input((6, 6, 2)).conv(4, (3, 3), activation="relu").mean((1, 2)).fully_connected(3)
    return b, folder / c.export(replace(b.graph(), name="Tiny Net"), folder).path


@NEEDS_GCC
def test_kernels_for_a_core_with_helium_are_not_run(tmp_path: Path) -> None:
    b, _ = exported(tmp_path)
    for core, word in (("cortex-m55", "a core with Helium"), ("cortex-m4", ""), (None, "")):
        path = tmp_path / c.export(b.graph(), tmp_path, kernels="cmsis", core=core).path
        assert word in (c_host.why_not(path) or "") and bool(c_host.why_not(path)) == bool(word)


@NEEDS_GCC
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"stem":"tiny_net"', '"stem":"tiny_(net"', r"tiny_net\.h: its header lacks 'ARENA_BYTES'"),
        ("TINY_NET_ARENA_BYTES ", "TINY_NET_ARENA_BYTES 9999999999", r"tiny_net\.h: its header lacks 'ARENA_BYTES'"),
        ("tiny_net_run", "tiny_net_ran", r"tiny_net\.c: it does not load: .*undefined symbol: tiny_net_run"),
        ("    EK_LAYER(0);", "    missing();\n    EK_LAYER(0);", r"tiny_net\.c: .*missing"),
    ],
)
def test_a_library_that_was_changed_is_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    _, path = exported(tmp_path)
    for file in (path, path.with_suffix(".h")):
        file.write_text(file.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        c_host.open_model(path)


@NEEDS_GCC
def test_it_answers_as_the_reference_does(tmp_path: Path) -> None:
    b, path = exported(tmp_path)
    runner = c_host.open_model(path)
    x = b.images(9)
    np.testing.assert_array_equal(runner.run(x), run(b.graph(), x, "tflm")[b.last])
    assert runner.where.startswith("C, portable kernels, ") and runner.where.endswith("-O2, 1 thread")
    with pytest.raises(InputError, match=r"input int16 \(9, 6, 6, 2\)\n  expected: int8 \(N, 6, 6, 2\)"):
        runner.run(x.astype(np.int16))
    runner.close()
    runner.close()
    with pytest.raises(InputError, match="the model is closed"):
        runner.run(x)


@NEEDS_GCC
def test_several_outputs(tmp_path: Path) -> None:
    graph = chain(next(seed for seed in range(100) if len(chain(seed).outputs) == 2))
    path = tmp_path / c.export(graph, tmp_path).path
    x = np.zeros((2, *graph.tensor("x").shape[1:]), np.int8)
    outputs = run(graph, x, "tflm")
    np.testing.assert_array_equal(c_host.open_model(path).run(x), np.concatenate([outputs[n].reshape(2, -1) for n in graph.outputs], 1))


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such library"):
        c_host.open_model(tmp_path / "gone.c")
    _, path = exported(tmp_path)
    with pytest.raises(InputError, match="0 threads"):
        c_host.open_model(path, threads=0)
    header = path.with_suffix(".h")
    header.write_text(header.read_text().replace('"dtype":"int8"', '"dtype":"int3"'))
    with pytest.raises(InputError, match="its header lacks 'int3'"):
        c_host.open_model(path)
    for end in (".c", ".h"):
        (tmp_path / f"tiny_net_frontend{end}").write_text("/* tiny_net_frontend.h: written by edgekd. */")
    with pytest.raises(InputError, match="a front-end, and no model") as refused:
        c_host.open_model(tmp_path / "tiny_net_frontend.c")
    assert refused.value.expected == "tiny_net.c beside it"
    header.write_text("int x;")
    with pytest.raises(InputError, match="its header lacks"):
        c_host.open_model(path)


@NEEDS_GCC
def test_what_does_not_compile(tmp_path: Path) -> None:
    _, path = exported(tmp_path)
    path.write_text(path.read_text().replace("tiny_net_run", "tiny net_run"))
    with pytest.raises(InputError, match=r"does not compile it: .*tiny_net\.c"):
        c_host.open_model(path)


def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = exported(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    c_host._compiler.cache_clear()
    try:
        assert c_host.why_not(path) == "no C compiler on this host (cc, gcc, clang)"
        with pytest.raises(InputError, match="no C compiler on this host"):
            c_host.open_model(path)
    finally:
        c_host._compiler.cache_clear()


@NEEDS_GCC
def test_whose_kernels_run_here(tmp_path: Path) -> None:
    """The ones for Cortex-M are plain C on another core; CMSIS-NN is not here."""
    b, _ = exported(tmp_path)
    x = b.images(3)
    path = tmp_path / c.export(b.graph(), tmp_path, kernels="cmsis").path
    np.testing.assert_array_equal(c_host.open_model(path).run(x), run(b.graph(), x, "tflm")[b.last])
    calls = tmp_path / c.export(replace(b.graph(), name="calls"), tmp_path, kernels="cmsis-nn").path
    with pytest.raises(InputError, match="its cmsis-nn kernels call CMSIS-NN, which is for a microcontroller: edgekd bench"):
        c_host.open_model(calls)
