from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import InputError
from edgekd.recipe.schema import Teacher as Table
from edgekd.teachers.assemble import assemble
from edgekd.teachers.onnx import load
from edgekd.teachers.teacher import logits

WEIGHT = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
LABELS = ("a", "b", "c", "d")


def image(n: int = 11, side: int = 6, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, side, side, channels)).astype(np.uint8)


def model(file: Path, shape: Any, *, nhwc: bool = False, metadata: dict[str, str] | None = None, dtype: int = TensorProto.FLOAT) -> Path:
    """Mean over the image, then a matrix."""
    axes = [1, 2] if nhwc else [2, 3]
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f", "axes"], ["m"], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["y"]),
    ]
    constants = [numpy_helper.from_array(np.array(axes), "axes"), numpy_helper.from_array(WEIGHT, "w")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(made, metadata or {})
    onnx.save(made, file)
    return file


def answers(file: Path, classes: tuple[str, ...] = LABELS, *, x: np.ndarray | None = None, options: Any = None, **keys: Any) -> np.ndarray:
    x = image() if x is None else x
    body = load(root=file.parent, channels=x.shape[3], file=file.name, **(options or {}))
    table = Table.model_validate({"source": "onnx", **keys})
    return logits(assemble(body, table, x[:8], classes), x, bf16=False)


@pytest.mark.parametrize("nhwc", [False, True])
@pytest.mark.parametrize("batch", ["n", 4, 1])
def test_both_layouts_and_any_batch(tmp_path: Path, nhwc: bool, batch: Any) -> None:
    shape = [batch, 6, 6, 3] if nhwc else [batch, 3, 6, 6]
    found = answers(model(tmp_path / "m.onnx", shape, nhwc=nhwc))
    np.testing.assert_allclose(found, (image() / 255).mean((1, 2)) @ WEIGHT, atol=1e-5)
    found = answers(tmp_path / "m.onnx", mean=[0.1, 0.2, 0.3], std=[0.5, 1.0, 2.0], scale=255.0)
    pixels = 255 * (image() / 255 - [0.1, 0.2, 0.3]) / [0.5, 1, 2]
    np.testing.assert_allclose(found, pixels.mean((1, 2)) @ WEIGHT, rtol=1e-4, atol=1e-3)


def test_layout_that_the_shape_does_not_tell(tmp_path: Path) -> None:
    file, x = model(tmp_path / "m.onnx", ["n", 3, 6, 3]), image()[:, :, :3]
    with pytest.raises(InputError, match=r'(?s)shape \[\'\?\', 3, 6, 3\], which may be either layout.*layout = "NCHW"'):
        answers(file, x=x)
    found = answers(file, x=x, options={"layout": "NCHW"})
    np.testing.assert_allclose(found, (x / 255).mean((1, 2)) @ WEIGHT, atol=1e-5)
    open_file = model(tmp_path / "open.onnx", ["n", "a", "b", "c"], nhwc=True)
    with pytest.raises(InputError, match="either layout"):
        answers(open_file)
    np.testing.assert_allclose(answers(open_file, options={"layout": "NHWC"}), (image() / 255).mean((1, 2)) @ WEIGHT, atol=1e-5)
    with pytest.raises(InputError, match=r"layout = 'HWC'\n  expected: \"NCHW\" or \"NHWC\""):
        answers(file, x=x, options={"layout": "HWC"})


def test_images_are_resized_to_what_the_model_is_made_for(tmp_path: Path) -> None:
    file, x = model(tmp_path / "m.onnx", ["n", 3, 3, 3]), image()
    halved = np.round(x.reshape(11, 3, 2, 3, 2, 3).astype(float).mean((2, 4))) / 255
    found = answers(file, options={"layout": "NCHW"})
    np.testing.assert_allclose(found, halved.mean((1, 2)) @ WEIGHT, atol=3e-3)
    with pytest.raises(InputError, match=r"size = \[6, 6\]\n  expected: \[3, 3\], which the model is made for"):
        answers(file, options={"layout": "NCHW"}, size=[6, 6])


def test_labels_in_metadata(tmp_path: Path) -> None:
    plain = answers(model(tmp_path / "m.onnx", ["n", 3, 6, 6]))
    for entry in ({"labels": '["d", "c", "b", "a"]'}, {"edgekd": json.dumps({"labels": ["d", "c", "b", "a"]})}, {"labels": "d\nc\nb\na"}):
        file = model(tmp_path / "named.onnx", ["n", 3, 6, 6], metadata=entry)
        assert np.array_equal(answers(file), plain[:, ::-1]), entry
    assert np.array_equal(answers(file, ("c", "a")), plain[:, [1, 3]])
    assert np.array_equal(answers(file, ("c", "a"), labels=["a", "b", "c", "e"]), plain[:, [2, 0]])
    with pytest.raises(InputError, match=r"the teacher has no label 'bb'\n  expected: perhaps 'b'"):
        answers(file, ("bb", "a"))


def test_integers(tmp_path: Path) -> None:
    file = model(tmp_path / "m.onnx", ["n", 3, 6, 6], dtype=TensorProto.UINT8)
    with pytest.raises(InputError, match=r"takes integers 0 to 255\n.*\n  to mend:  scale = 255 under \[teacher\]"):
        answers(file)
    np.testing.assert_allclose(answers(file, scale=255.0), image().mean((1, 2)) @ WEIGHT, rtol=1e-5, atol=1e-3)


def test_weights_in_a_file_beside(tmp_path: Path) -> None:
    file = model(tmp_path / "m.onnx", ["n", 3, 6, 6])
    whole = load(root=tmp_path, channels=3, file="m.onnx").about.sha256
    onnx.save(onnx.load(file), file, save_as_external_data=True, location="w.bin", size_threshold=64)
    first = load(root=tmp_path, channels=3, file="m.onnx").about.sha256
    content = bytearray((tmp_path / "w.bin").read_bytes())
    content[-2] ^= 1
    (tmp_path / "w.bin").write_bytes(content)
    assert len({whole, first, load(root=tmp_path, channels=3, file="m.onnx").about.sha256}) == 3
    (tmp_path / "w.bin").unlink()
    with pytest.raises(InputError, match=r"its weights lie in 'w.bin', which is not there"):
        load(root=tmp_path, channels=3, file="m.onnx")
    made = onnx.load(file, load_external_data=False)
    for tensor in made.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../w.bin" if entry.key == "location" else entry.value
    file.write_bytes(made.SerializeToString())
    with pytest.raises(InputError, match=r"its weights lie in '../w.bin'\n  expected: a file in the same folder"):
        load(root=tmp_path, channels=3, file="m.onnx")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (["n", 1, 6, 6], r"shape \['\?', 1, 6, 6\]\n  expected: images of 3 channels"),
        (["n", 108], r"its input has the shape \['\?', 108\]\n  expected: one batch of images, of rank 4"),
        (None, r"expected: one batch of images, of rank 4"),
    ],
)
def test_inputs_that_are_no_images_of_this_data(tmp_path: Path, shape: Any, message: str) -> None:
    file = model(tmp_path / "m.onnx", ["n", 3, 6, 6])
    made = onnx.load(file)
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    made.graph.input[0].CopyFrom(value)
    del made.graph.node[1:], made.graph.initializer[:]
    made.graph.node[0].output[0] = "y"  # of any rank
    file.write_bytes(made.SerializeToString())
    with pytest.raises(InputError, match=message):
        load(root=tmp_path, channels=3, file="m.onnx")


def test_two_inputs_and_two_outputs(tmp_path: Path) -> None:
    file = model(tmp_path / "m.onnx", ["n", 3, 6, 6])
    made = onnx.load(file)
    made.graph.output.append(helper.make_tensor_value_info("m", TensorProto.FLOAT, None))
    file.write_bytes(made.SerializeToString())
    with pytest.raises(InputError, match=r'(?s)2 outputs\n  expected: one of y, m.*output_name = "y"'):
        answers(file)
    with pytest.raises(InputError, match=r"no output is called 'z'"):
        answers(file, options={"output_name": "z"})
    np.testing.assert_allclose(answers(file, ("r", "g", "b"), options={"output_name": "m"}), (image() / 255).mean((1, 2)), atol=1e-5)
    made.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))
    file.write_bytes(made.SerializeToString())
    with pytest.raises(InputError, match=r"2 inputs \(x, z\)\n  expected: one, of images"):
        answers(file)


def test_outputs_that_are_none(tmp_path: Path) -> None:
    file = model(tmp_path / "m.onnx", ["n", 3, 6, 6])
    made = onnx.load(file)
    made.graph.initializer[1].CopyFrom(numpy_helper.from_array(WEIGHT * np.nan, "w"))
    file.write_bytes(made.SerializeToString())
    with pytest.raises(InputError, match="outputs are not finite"):
        answers(file)
    made.graph.initializer[1].CopyFrom(numpy_helper.from_array(WEIGHT[None, None], "w"))
    file.write_bytes(made.SerializeToString())
    with pytest.raises(InputError, match=r"onnx answers \[1, 1, 8, 4\] for|onnx answers .* for 8 images"):
        answers(file)
    with pytest.raises(InputError, match=r"4 outputs and does not name them"):
        answers(model(tmp_path / "m.onnx", ["n", 3, 6, 6]), ("x", "y"))


@pytest.mark.parametrize("content", [b"", b"no model", b"\x80\x04\x95\x10.", b"PK\x03\x04" + bytes(60)])
def test_files_that_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"(?s)m.onnx: .*expected: an ONNX"):
        load(root=tmp_path, channels=3, file="m.onnx")
    with pytest.raises(InputError, match=r"teacher.options.file: .* is a folder\n  expected: an ONNX file"):
        load(root=tmp_path, channels=3, file=".")
    with pytest.raises(InputError, match=r"teacher.options.file: found 3"):
        load(root=tmp_path, channels=3, file=3)  # type: ignore[arg-type]
