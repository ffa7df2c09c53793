"""The ONNX importer on damaged and hostile files: InputError and nothing else, and no memory for what a file merely states."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import InputError
from edgekd.export.onnx import build
from edgekd.importers.onnx import READ, read
from edgekd.importers.onnx_qlinear import BINARY, SPECIAL, UNARY
from tests.importers import onnx_cases as cases

SEEDS = [build(case.graph()).SerializeToString() for case in cases.cases().values()]
QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refused_or_read(data: bytes, folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(data)
    try:
        read(path)
    except InputError as error:
        assert str(error)


@QUIET
@given(seed=st.sampled_from(SEEDS), share=st.floats(0, 1))
def test_truncated(tmp_path, seed, share):
    refused_or_read(seed[: int(len(seed) * share)], tmp_path)


@QUIET
@given(
    seed=st.sampled_from(SEEDS), places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=6)
)
def test_flipped(tmp_path, seed, places):
    data = bytearray(seed)
    for share, mask in places:
        data[int(share * len(data))] ^= mask
    refused_or_read(bytes(data), tmp_path)


SIZES = st.sampled_from([-(1 << 63), -2, -1, 0, 1, 2, 3, 7, 8, 1 << 16, 1 << 31, 1 << 40, (1 << 63) - 1])
VALUES = st.one_of(SIZES, st.floats(width=32), st.lists(SIZES, max_size=6), st.text(max_size=4))
KEYS = st.sampled_from(
    ["pads", "strides", "dilations", "kernel_shape", "group", "axis", "axes", "perm", "keepdims", "transB", "alpha", "split", "mode", "to",
     "auto_pad", "ceil_mode", "epsilon", "output_padding", "shape", "block_size", "value", "output_dtype", "start", "end"]
)  # fmt: skip
KINDS = st.sampled_from(
    sorted({*READ, *UNARY, *BINARY, *SPECIAL, "Shape", "ConstantOfShape", "Range", "Expand", "Erf", "Sqrt", "If", "Nope"})
)
CONSTANTS = st.sampled_from(
    [np.zeros(0, np.int64), np.array([1, -1]), np.array([1 << 40] * 3), np.array(0), np.float32([0.5]), np.zeros((), np.uint8),
     np.ones((4, 3, 3, 3), np.int8), np.ones((4, 3, 3, 3), np.float32), np.float32([np.nan, -1, 0, 1]), np.array([True]), np.float32(0.1)]
)  # fmt: skip


@settings(QUIET, max_examples=400)
@given(
    nodes=st.lists(
        st.tuples(KINDS, st.lists(st.integers(0, 14), max_size=9), st.dictionaries(KEYS, VALUES, max_size=4)), min_size=1, max_size=6
    ),
    constants=st.lists(CONSTANTS, min_size=5, max_size=5),
    shape=st.lists(SIZES.filter(lambda d: d > -3), max_size=5),
    element=st.sampled_from([1, 2, 3, 7, 9, 10, 99]),
)
def test_hostile_operators(tmp_path, nodes, constants, shape, element):
    """Any operator on any inputs, its own outputs among them (a circle), with any attributes."""
    names = ["x", *(f"c{i}" for i in range(5)), *(f"n{i}" for i in range(7)), "", "absent"]
    made = []
    for at, (kind, inputs, attributes) in enumerate(nodes):
        node = helper.make_node(kind, [names[i] for i in inputs], [f"n{at}"], name=f"op{at}")
        for key, value in attributes.items():
            if value != []:
                node.attribute.append(helper.make_attribute(key, value))
        made.append(node)
    value = helper.make_tensor_value_info("x", element, [min(d, (1 << 63) - 1) for d in shape])
    held = [numpy_helper.from_array(np.asarray(c), f"c{i}") for i, c in enumerate(constants)]
    graph = helper.make_graph(made, "g", [value], [helper.make_tensor_value_info(f"n{len(nodes) - 1}", 1, None)], held)
    refused_or_read(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString(), tmp_path)


def model(nodes, constants=(), shape=(1, 3, 8, 8), domain="") -> onnx.ModelProto:
    x, y = helper.make_tensor_value_info("x", 1, shape), helper.make_tensor_value_info("y", 1, None)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(domain or "com.microsoft", 1)]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], list(constants)), opset_imports=opsets)


def refused(made: onnx.ModelProto, folder: Path, match: str) -> None:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    tracemalloc.start()
    with pytest.raises(InputError, match=match):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20, f"{peak} bytes"


def test_circles_and_strangers_are_named(tmp_path):
    circle = [helper.make_node("Add", ["x", "b"], ["a"], name="one"), helper.make_node("Relu", ["a"], ["b"], name="two")]
    refused(model([*circle, helper.make_node("Relu", ["b"], ["y"])]), tmp_path, "Add one: 'b' is read before it is written")
    refused(model([helper.make_node("Relu", ["x"], ["y"], domain="evil")], domain="evil"), tmp_path, "an operator of domain 'evil'")
    refused(model([helper.make_node("Einsum", ["x"], ["y"], name="e")]), tmp_path, "Einsum e: is not supported")
    refused(model([helper.make_node("Relu", ["x"], ["y"])], shape=("N", 3, "H", 8)), tmp_path, "input 'x': shape")


def test_what_is_declared_but_absent_takes_no_memory(tmp_path):
    weight = TensorProto(name="w", data_type=1, dims=[1 << 14, 1 << 14])
    refused(model([helper.make_node("Add", ["x", "w"], ["y"])], [weight]), tmp_path, "constant 'w': 0 values")
    weight.dims[:] = [1 << 40, 1 << 40]
    refused(model([helper.make_node("Add", ["x", "w"], ["y"])], [weight]), tmp_path, "constant 'w': shape")
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "s")
    refused(model([helper.make_node("ConstantOfShape", ["s"], ["y"])], [shape]), tmp_path, "makes a constant of shape")
    refused(model([helper.make_node("Expand", ["s", "s"], ["y"])], [shape]), tmp_path, "Expand")
    one = numpy_helper.from_array(np.float32(1), "w")
    pads = helper.make_node("Conv", ["x", "k"], ["y"], pads=[1 << 40] * 4)
    kernel = numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "k")
    refused(model([pads], [one, kernel]), tmp_path, "makes a tensor of shape")


def test_external_data_stays_in_the_folder(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_bytes(bytes(4096))
    (inside / "short").write_bytes(bytes(100))
    (inside / "link").symlink_to(tmp_path / "secret")
    weight = TensorProto(name="w", data_type=1, dims=[32, 32], data_location=TensorProto.EXTERNAL)
    for location, match in (("../secret", "its data is in"), ("link", "its data is in"), (str(tmp_path / "secret"), "its data is in"),
                            ("short", "which has 100"), ("\0", "its external data cannot be read|its data is in")):  # fmt: skip
        del weight.external_data[:]
        weight.external_data.add(key="location", value=location)
        refused(model([helper.make_node("Add", ["x", "w"], ["y"])], [weight]), inside, match)
    (inside / "data").write_bytes(np.arange(64, dtype=np.float32).tobytes())
    del weight.external_data[:]
    weight.dims[:] = [1, 1, 4, 8]
    weight.external_data.add(key="location", value="data")
    weight.external_data.add(key="offset", value="128")
    (inside / "model.onnx").write_bytes(model([helper.make_node("Add", ["x", "w"], ["y"])], [weight], (1, 3, 4, 8)).SerializeToString())
    graph = read(inside / "model.onnx")
    constant = next(t.data for t in graph.tensors.values() if t.data is not None)
    assert np.array_equal(constant.ravel(), np.arange(32, 64))
