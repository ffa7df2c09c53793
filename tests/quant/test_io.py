from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.io import GRAPH, WEIGHTS, fingerprint, load, save
from edgekd.quant.scheme import Scheme
from edgekd.students.inverted_residual import sketch, spec_from

SPEC = spec_from({"width": 0.5, "fused": 1, "head": 16}, (12, 10, 3), 5)


def small(scheme: Scheme | None = None) -> QuantGraph:
    return sketch(SPEC, scheme or Scheme()).with_metadata(labels=["ä", "b"], scale=0.1)


@pytest.mark.parametrize("scheme", [Scheme(), Scheme(per_channel_weights=False), Scheme("float16"), Scheme("float32")])
def test_a_graph_comes_back_as_it_was(tmp_path: Path, scheme: Scheme) -> None:
    graph = small(scheme)
    save(graph, tmp_path / "a")
    again = load(tmp_path / "a")
    assert (again.name, again.layout, again.ops, again.inputs, again.outputs) == (
        graph.name, graph.layout, graph.ops, graph.inputs, graph.outputs,
    )  # fmt: skip
    assert again.metadata == graph.metadata
    assert list(again.tensors) == list(graph.tensors)
    for name, tensor in graph.tensors.items():
        other = again.tensor(name)
        assert (tensor.dtype, tensor.shape, tensor.is_constant) == (other.dtype, other.shape, other.is_constant)
        if tensor.data is not None and other.data is not None:
            assert tensor.data.tobytes() == other.data.tobytes()
        if tensor.quantization is not None and other.quantization is not None:
            assert tensor.quantization.scale.tobytes() == other.quantization.scale.tobytes()
            assert tensor.quantization.zero_point.tobytes() == other.quantization.zero_point.tobytes()
            assert tensor.quantization.axis == other.quantization.axis


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(small(), tmp_path / name)
    assert (tmp_path / "a" / GRAPH).read_bytes() == (tmp_path / "b" / GRAPH).read_bytes()
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [GRAPH, WEIGHTS]


def test_a_fingerprint_sees_every_bit() -> None:
    graph = small()
    name = "stem.weight"
    tensor = graph.tensor(name)
    assert tensor.quantization is not None
    nudged = np.nextafter(tensor.quantization.scale, np.float32(1))
    other = Tensor(name, tensor.dtype, tensor.shape, Quantization.per_channel(nudged, 0), tensor.data)
    assert fingerprint(graph) == fingerprint(small())
    assert fingerprint(graph) != fingerprint(graph.with_metadata(labels=[]))
    changed = QuantGraph(graph.name, graph.layout, {**graph.tensors, name: other}, graph.ops, graph.inputs, graph.outputs, graph.metadata)
    assert fingerprint(graph) != fingerprint(changed)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(2.0**-126, 2.0**100, width=32), min_size=1, max_size=4))
def test_scales_are_exact(tmp_path_factory: pytest.TempPathFactory, scales: list[float]) -> None:
    folder = tmp_path_factory.mktemp("graph")
    tensor = Tensor("x", "int8", (1, len(scales)), Quantization.per_channel(np.array(scales, np.float32), 1))
    save(QuantGraph("g", "channels_last", {"x": tensor}, (), ("x",), ("x",)), folder)
    quantization = load(folder).tensor("x").quantization
    assert quantization is not None
    assert quantization.scale.tobytes() == np.array(scales, np.float32).tobytes()


def _set(*keys: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        at: Any = body
        for key in keys[:-1]:
            at = at[key]
        at[keys[-1]] = to

    return change


def _drop(*keys: str | int) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        at: Any = body
        for key in keys[:-1]:
            at = at[key]
        del at[keys[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("schema_version", to=2), "schema_version is 2"),
        (_set("schema_version", to=True), "schema_version is True"),
        (_set("more", to=1), "'more'.* missing or unknown"),
        (_drop("tensors"), "'tensors'.* missing or unknown"),
        (_set("layout", to="NHWC"), "layout is 'NHWC'"),
        (_set("name", to=3), "name is 3"),
        (_set("operators", to={}), "operators is a dict"),
        (_set("metadata", to=[]), "metadata is a list"),
        (_set("operators", 0, "kind", to="Exec"), "operator kind 'Exec'"),
        (_set("operators", 0, "kind", to=["Conv2D"]), "operator kind"),
        (_set("operators", 0, "stride", to=[1, "2"]), 'stride is "2"'),
        (_set("operators", 0, "stride", to=[1]), "stride is"),
        (_set("operators", 0, "groups", to=1.0), "groups is 1.0"),
        (_set("operators", 0, "groups", to=10**12), "groups is 1000000000000"),
        (_set("operators", 0, "activation", to="gelu"), "activation is"),
        (_set("operators", 0, "extra", to=0), "'extra'.* missing or unknown"),
        (_drop("operators", 0, "padding"), "'padding'.* missing or unknown"),
        (_set("operators", 1, "name", to="stem"), "two operators have one name"),
        (_set("operators", 0, "inputs", to=["nothing", "stem.weight"]), "'nothing' is read before it is written"),
        (_set("operators", 0, "inputs", 0, to="block0.project.out"), "is read before it is written"),
        (_set("outputs", to=["nowhere"]), "'nowhere' is an input or output but never made"),
        (_set("tensors", 0, "name", to="../../etc/passwd"), "has no 'scale/../../etc/passwd'"),
        (_set("tensors", 0, "shape", to=[1, 10**9, 10**9]), "shape"),
        (_set("tensors", 0, "shape", to=[1, -2]), "shape"),
        (_set("tensors", 0, "shape", to=[1, True]), "shape is true"),
        (_set("tensors", 0, "dtype", to="object"), "dtype 'object'"),
        (_set("tensors", 0, "dtype", to=["int8"]), "dtype is"),
        (_set("tensors", 0, "constant", to=1), "constant is 1"),
        (_set("tensors", 0, "constant", to=True), "has no 'data/input'"),
        (_set("tensors", 0, "quantization", to=3), "quantization is a int"),
        (_set("tensors", 0, "quantization", to={"axis": -1}), "axis -1"),
        (_set("tensors", 0, "quantization", to={"axis": 9}), "along axis 9"),
        (_drop("tensors", 0, "quantization"), "'scale/input' belongs to no tensor"),
        (_set("tensors", 1, "shape", to=[2, 2]), "data is int8"),
        (_set("tensors", 0, to="x"), "a tensor is a str"),
        (_set("weights_sha256", to="0"), "is not the file that graph.json was written with"),
    ],
)
def test_a_tampered_graph_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    save(small(), tmp_path)
    body = json.loads((tmp_path / GRAPH).read_text())
    change(body)
    (tmp_path / GRAPH).write_text(json.dumps(body))
    with pytest.raises(InputError, match=message):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"name": "\\ud800"}'])
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    save(small(), tmp_path)
    (tmp_path / GRAPH).write_bytes(content)
    with pytest.raises(InputError, match=r"graph\.json"):
        load(tmp_path)


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path)
    save(small(), tmp_path)
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:-5])
    with pytest.raises(InputError, match="is not the file"):
        load(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path)


def test_metadata_must_be_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the metadata is not JSON"):
        save(small().with_metadata(array=np.zeros(2)), tmp_path)


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        save(small(), tmp_path / "file" / "graph")
