"""The C library as a user meets it: names, macros, metadata, memory, errors, and that the same graph gives the same bytes."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export import c, c_files
from edgekd.export.c_plan import plan
from edgekd.export.c_text import comment, identifier, literal, string
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.io import fingerprint
from edgekd.quant.reference import run
from tests.c_host import NEEDS_GCC, STRICT, compile_all, compile_c, compile_one
from tests.graph_cases import Builder, as_float

#: What a library may call of others: not the heap, not libm.
ALLOWED = {"memcpy", "memset", "memmove"}


def small(seed: int = 0, name: str = "small net") -> QuantGraph:
    b = Builder(seed).input((8, 8, 3)).conv(8, (3, 3), activation="relu").depthwise()
    b.pool("average", (2, 2), stride=(2, 2)).reshape((4 * 4 * 8,)).fully_connected(5)
    return replace(b.graph(), name=name)


def test_names_and_constants() -> None:
    graph = small().with_metadata(labels=["a", 'b"?\\', "é */"])
    library = c.encode(graph)
    assert library.stem == "small_net"
    for line in (
        f"#define SMALL_NET_ARENA_BYTES {library.arena_bytes} ",
        "#define SMALL_NET_INPUTS 1",
        "#define SMALL_NET_OUTPUTS 1",
        "#define SMALL_NET_INPUT_SIZE 192 /* 1 x 8 x 8 x 3 */",
        "#define SMALL_NET_INPUT_SCALE 0.0078125f",
        "#define SMALL_NET_OUTPUT_SIZE 5 /* 1 x 5 */",
        "#define SMALL_NET_LABELS 3",
        f'#define SMALL_NET_GRAPH_SHA256 "{fingerprint(graph)}"',
        "typedef int8_t small_net_input_t;",
        "small_net_input_t *small_net_input(void *arena);",
        "void small_net_run(void *arena);",
        "const small_net_output_t *small_net_output(const void *arena);",
        "extern int8_t small_net_arena[SMALL_NET_ARENA_BYTES];",
    ):
        assert line in library.header, line
    stated = json.loads(re.match(r"/\* edgekd (.*) \*/\n", library.header)[1])  # type: ignore[index]
    assert stated["labels"] == ["a", 'b"?\\', "é */"] and stated["c"]["input"]["shape"] == [1, 8, 8, 3]
    assert "EK_LAYER(3);\n}" in library.source and "malloc" not in library.source


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    assert c.encode(small()) == c.encode(small())
    artifact = c.export(small(), tmp_path)
    assert artifact.path == "small_net.c" and artifact.files == ("small_net.c", "small_net.h") and artifact.format == "c"
    assert artifact.figures["peak_ram_bytes"].value == c.encode(small()).arena_bytes
    assert sorted(file.name for file in tmp_path.iterdir()) == ["small_net.c", "small_net.h"], "no temporary files"


def test_what_somebody_else_wrote_is_not_overwritten(tmp_path: Path) -> None:
    c.export(small(), tmp_path, kernels="cmsis")
    c.export(small(1), tmp_path)
    (tmp_path / "small_net.c").write_text("int main(void) { return 0; }\n")
    before = (tmp_path / "small_net.h").read_bytes()
    with pytest.raises(InputError, match=r"small_net\.c: would be overwritten, and edgekd did not write it"):
        c.export(small(2), tmp_path)
    assert "main" in (tmp_path / "small_net.c").read_text() and (tmp_path / "small_net.h").read_bytes() == before


def test_text() -> None:
    assert [identifier(name) for name in ("KWS-ref v1.2", "1st", "__a", "case")] == ["kws_ref_v1_2", "model_1st", "a", "case"]
    # A header of C's own or of the harness would be found in the place of theirs.
    taken = ("stdint", "String", "time", "ek", "EK harness", "arm_nnfunctions", "cmsis-compiler")
    assert [identifier(name) for name in (*taken, "strings", "eking", "armed")] == [
        "model_stdint", "model_string", "model_time", "model_ek", "model_ek_harness", "model_arm_nnfunctions", "model_cmsis_compiler",
        "strings", "eking", "armed",
    ]  # fmt: skip
    with pytest.raises(InputError, match="the name '…'"):
        identifier("…")
    assert [literal(v) for v in (-(2**31), -(2**63), 0.5, 1.0, 1e-20, 3)] == [
        "(-2147483647 - 1)", "(-9223372036854775807 - 1)", "0.5f", "1.0f", "9.99999968e-21f", "3",
    ]  # fmt: skip
    assert string('a"?\\é') == r'"a\042\077\134\303\251"'
    assert "/" not in comment("/* */").replace("\\/", "") and json.loads(comment(["/* */", "é"])) == ["/* */", "é"]


@NEEDS_GCC
def test_several_models_in_one_firmware(tmp_path: Path) -> None:
    """As files of their own and included into one; the kernels of each are static and stand in the one file once."""
    one, two = compile_all([small(0, "one"), small(1, "two")], tmp_path, units=2)
    both = compile_all([small(0, "one"), small(1, "two")], tmp_path / "unit")
    x = np.random.default_rng(0).integers(-128, 128, (3, 8, 8, 3)).astype(np.int8)
    for compiled, seed in ((one, 0), (two, 1), (both[0], 0), (both[1], 1)):
        graph = small(seed)
        np.testing.assert_array_equal(compiled.run(x), run(graph, x, "tflm")[graph.outputs[0]])


@NEEDS_GCC
def test_what_a_library_defines_and_calls(tmp_path: Path) -> None:
    graph = small().with_metadata(labels=["a", "b"])
    c.export(graph, tmp_path)
    flags = ("-O2", "-c", "-fno-pic", "-DSMALL_NET_STATIC_ARENA", "-DEK_LAYER_NAMES", '-DEK_WEIGHTS=__attribute__((section(".model")))')
    compile_c([str(tmp_path / "small_net.c")], tmp_path / "o", flags)
    listed = subprocess.run(["nm", str(tmp_path / "o")], capture_output=True, text=True, check=True).stdout.splitlines()
    symbols = [(line.split()[-2], line.split()[-1]) for line in listed]
    assert {name for kind, name in symbols if kind == "U"} <= ALLOWED
    public = {"arena", "input", "run", "output", "labels", "layer_names"}
    assert {name for kind, name in symbols if kind.isupper() and kind != "U"} == {f"small_net_{name}" for name in public}
    assert not [name for kind, name in symbols if kind in "dD"], "writable data"


@NEEDS_GCC
def test_a_reshape_is_not_copied(tmp_path: Path) -> None:
    placed = plan(small(), "portable", None)
    assert [type(layer.op) for layer in placed.layers] == [ops.Conv2D, ops.DepthwiseConv2D, ops.AveragePool2D, ops.FullyConnected]
    b = Builder(3).input((4, 6)).reshape((24,))
    entry = b.last
    b.reshape((6, 4)).fully_connected(3)
    graph = b.graph(b.last, entry)  # one output is the input, reshaped
    x = b.images(5)
    outputs = run(graph, x, "tflm")
    found = compile_one(graph, tmp_path).run(x)
    np.testing.assert_array_equal(found, np.concatenate([outputs[name].reshape(5, -1) for name in graph.outputs], 1))


@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4", None])
def test_scratch_is_in_the_arena(core: str | None) -> None:
    for kernels in ("portable", "cmsis"):
        placed = plan(small(), kernels, core)
        for layer in placed.layers:
            if layer.scratch_bytes:
                assert placed.placement.offsets[layer.scratch_name] + layer.scratch_bytes <= placed.placement.total_bytes


def test_refused() -> None:
    with pytest.raises(InputError, match=r"kernels 'fast'\n  expected: portable, "):
        c.encode(small(), kernels="fast")
    with pytest.raises(InputError, match=r"--core: core 'z80'\n  expected: cortex-m0, "):
        c.encode(small(), core="z80")
    with pytest.raises(InputError, match=r"operator \w+: C has no Conv2D"):
        c.encode(as_float(small(), "float32"))
    with pytest.raises(InputError, match=r"2 inputs\n  expected: one"):
        b = Builder(0).input((2, 2, 3))
        c.encode(QuantGraph("two", "channels_last", {**b.tensors, "z": replace(b.tensors["x"], name="z")}, (), ("x", "z"), ("x",)))
    with pytest.raises(InputError, match="layout channels_first"):
        c.encode(replace(small(), layout="channels_first"))


def test_every_kernel_says_what_it_needs() -> None:
    folder = Path(c_files.__file__).parents[1] / "firmware" / "kernels"
    names = sorted(str(path.relative_to(folder)) for path in folder.glob("*/*.c"))
    assert len(names) > 10
    for name in names:
        order = c_files.needed([name])
        assert order[-1] == name and len(set(order)) == len(order)
        guards = re.findall(r"#ifndef (EK_\w+)\n#define \1\n", c_files.text(name))
        assert guards, name
    with pytest.raises(InputError, match="portable/nothing.c: no such kernel"):
        c_files.needed(["portable/nothing.c"])


def test_strict_is_what_is_promised() -> None:
    assert {"-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror"} == set(STRICT)


@NEEDS_GCC
def test_what_is_read_for_the_last_time_is_overwritten(tmp_path: Path) -> None:
    """A sum lies where its first operand lay; not where that is read again, an output, or a constant."""

    def lies(graph: QuantGraph, first: str, second: str) -> bool:
        roots = plan(graph, "portable", None).roots
        return roots[first] == roots[second]

    b = Builder(4).input((8, 8, 4)).conv(4, (3, 3))
    one = b.last
    b.conv(4, (3, 3)).add(one).relu()
    added, end = b.ops[-2].outputs[0], b.last
    graph, x = b.graph(), b.images(3)
    assert lies(graph, added, b.ops[1].outputs[0]) and lies(graph, end, added)
    b.conv(4).add(one)
    again, kept = replace(b.graph(), name="again"), replace(b.graph(added, b.last), name="kept")
    assert not lies(again, added, one) and not lies(kept, end, added)
    for compiled in compile_all([graph, again, kept], tmp_path):
        outputs = run(compiled.graph, x, "tflm")
        wanted = np.concatenate([outputs[name].reshape(3, -1) for name in compiled.graph.outputs], 1)
        np.testing.assert_array_equal(compiled.run(x).reshape(3, -1), wanted)
