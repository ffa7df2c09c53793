"""What the bundles of phones state of the model is what the file is, read again by the runtime and by the importer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edgekd.errors import InputError
from edgekd.importers.tflite import read
from edgekd.release.mobile import CONTRACT, MODEL, VECTORS, payload
from tests.released import KINDS, facts


def stated(tmp_path: Path, kind: str) -> tuple[dict[str, Any], bytes, bytes]:
    files = payload(facts(tmp_path, kind, formats=("android", "ios")), "android").files
    return json.loads(files[CONTRACT]), files[MODEL], files[VECTORS]


@pytest.mark.parametrize("kind", KINDS)
def test_contract_is_what_the_runtime_says_of_the_file(tmp_path: Path, kind: str):
    contract, model, _ = stated(tmp_path, kind)
    interpreter = Interpreter(model_content=model)
    found = [*interpreter.get_input_details(), *interpreter.get_output_details()]
    said = [contract["input"], *contract["outputs"]]
    assert len(found) == len(said) == (3 if kind == "two_tasks" else 2)
    for tensor, border in zip(found, said, strict=True):
        assert np.dtype(tensor["dtype"]).name == border["dtype"]
        assert tensor["shape"].tolist() == border["shape"]
        scale, zero_point = tensor["quantization"]
        assert (np.float32(scale), zero_point) == (np.float32(border["scale"] or 0), border["zero_point"] or 0)


@pytest.mark.parametrize("kind", ("int8", "two_tasks", "sound"))
def test_contract_is_what_the_importer_reads(tmp_path: Path, kind: str):
    contract, model, _ = stated(tmp_path, kind)
    (tmp_path / "again.tflite").write_bytes(model)
    graph = read(tmp_path / "again.tflite")
    for name, border in zip((*graph.inputs, *graph.outputs), (contract["input"], *contract["outputs"]), strict=True):
        tensor = graph.tensor(name)
        assert tensor.quantization is not None
        assert (tensor.dtype, list(tensor.shape)) == (border["dtype"], border["shape"])
        assert tensor.quantization.single == (border["scale"], border["zero_point"])


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_replayed_as_an_app_reads_them(tmp_path: Path, kind: str):
    contract, model, vectors = stated(tmp_path, kind)
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    at = 0

    def taken(border: dict[str, Any]) -> np.ndarray:
        nonlocal at
        made = np.frombuffer(vectors, np.dtype(border["dtype"]).newbyteorder("<"), int(np.prod(border["shape"])), at)
        at += made.nbytes
        return made.reshape(border["shape"])

    assert contract["vectors"] | {"count": 8, "exact": kind != "float"} == contract["vectors"]
    for _ in range(contract["vectors"]["count"]):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], taken(contract["input"]))
        interpreter.invoke()
        for border, detail in zip(contract["outputs"], interpreter.get_output_details(), strict=True):
            found, expected = interpreter.get_tensor(detail["index"]), taken(border)
            assert np.array_equal(found, expected) if contract["vectors"]["exact"] else found.argmax() == expected.argmax()
    assert at == len(vectors)


def test_vectors_stay_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = facts(tmp_path, "int8", formats=("android",))
    for limit, count in ((3000, 2), (1, 1)):
        monkeypatch.setattr("edgekd.release.mobile.VECTOR_BYTES", limit)
        load = payload(made, "android")
        assert len(load.files[VECTORS]) == count * (1200 + 6)
        assert json.loads(load.files[CONTRACT])["vectors"]["count"] == load.said["vectors"] == count


def test_changed_model_is_refused(tmp_path: Path):
    made = facts(tmp_path, "int8", formats=("android",))
    made.models["tflite"].path.write_bytes(b"other")
    with pytest.raises(InputError, match="is another file than the one that was verified"):
        payload(made, "android")


def test_what_accessors_cannot_state_is_refused(tmp_path: Path):
    made = facts(tmp_path, "int8", formats=("android",))
    model = made.models["tflite"]
    odd = replace(model, input=replace(model.input, dtype="int64"))
    with pytest.raises(InputError, match="is int64"):
        payload(replace(made, models={"tflite": odd}), "android")
    few = replace(model, heads=(replace(model.heads[0], labels=("one",)),))
    with pytest.raises(InputError, match="1 labels for the output"):
        payload(replace(made, models={"tflite": few}), "android")
    with pytest.raises(InputError, match="test vectors: float32"):
        other = replace(made.vectors, x=made.vectors.x.astype(np.float32))
        payload(replace(made, vectors=other, vectors_by_format={}), "android")
