"""Files of other tools (made by files/make.py), and files of ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekd.errors import InputError
from edgekd.export.tflite import encode, export
from edgekd.export.tflite_file import FileOperator, FileTensor, pack
from edgekd.importers.tflite import read, read_bytes
from edgekd.quant import io, ops
from edgekd.quant.graph import QuantGraph
from tests.importers.runners import PROFILES, answers, foretold, random_inputs

FILES = Path(__file__).parent / "files"
GOLDEN = Path(__file__).resolve().parents[1] / "golden"
CODE, TYPE = schema.BuiltinOperator, schema.TensorType
#: File → runtimes that compute it. TFLM has no GELU, and runs a batch that is dynamic within the file (dilated) with wrong shapes.
CASES = {
    "convolutions_uint8": tuple(PROFILES),
    "one_dimension_int8": tuple(PROFILES),
    "dilated_int8": ("litert_ref", "litert_xnnpack"),
    "attention_int8": ("litert_ref", "litert_xnnpack"),
}


@pytest.mark.parametrize(("name", "runtime"), [(name, runtime) for name, runtimes in CASES.items() for runtime in runtimes])
def test_other_families_bit_for_bit(name: str, runtime: str, tmp_path: Path) -> None:
    path = FILES / f"{name}.tflite"
    graph = read(path)
    x = random_inputs(graph, 20)
    theirs = answers(path, runtime, x)
    assert theirs.dtype == np.int8 and len(np.unique(theirs)) > 10
    assert np.array_equal(foretold(graph, runtime, x), theirs)
    assert np.array_equal(answers(tmp_path / export(graph, tmp_path).path, runtime, x), theirs)


def test_shapes_computed_at_run_time_are_computed_once() -> None:
    kinds = [type(op) for op in read(FILES / "attention_int8.tflite").ops]
    assert ops.Gelu in kinds and kinds.count(ops.BatchMatMul) == 2 and kinds.count(ops.FullyConnected) == 7
    assert ops.Gather not in kinds and ops.Concat not in kinds


def test_a_dilated_convolution_is_one() -> None:
    first = read(FILES / "dilated_int8.tflite").ops[0]
    assert isinstance(first, ops.Conv2D) and first.dilation == (2, 2) and first.padding == (2, 2, 2, 2)


def test_borders_are_noted() -> None:
    graph = read(FILES / "convolutions_uint8.tflite")
    assert graph.tensor(graph.inputs[0]).dtype == graph.tensor(graph.outputs[0]).dtype == "int8"
    assert graph.metadata["source"]["input_dtype"] == graph.metadata["source"]["output_dtype"] == "uint8"
    graph = read(FILES / "one_dimension_16x8.tflite")
    assert graph.tensor(graph.inputs[0]).dtype == "int16" and graph.metadata["source"]["input_dtype"] == "float32"
    assert {t.dtype for t in graph.tensors.values() if t.is_constant} >= {"int8", "int64"}


def test_float16_constants_stay(tmp_path: Path) -> None:
    path = FILES / "convolutions_float16.tflite"
    graph = read(path)
    assert {t.dtype for t in graph.tensors.values() if t.is_constant and len(t.shape) == 4} == {"float16"}
    x = random_inputs(graph, 5)
    again = answers(tmp_path / export(graph, tmp_path).path, "litert_ref", x)
    assert np.array_equal(again, answers(path, "litert_ref", x))


@pytest.mark.parametrize("name", sorted(folder.name for folder in GOLDEN.iterdir() if (folder / "graph.json").is_file()))
def test_our_own_files_come_back(name: str) -> None:
    """The operators are the same, padding that had to be an operator apart; writing what was read gives the same bytes again.

    Behind a rectifier the lowest integer is real zero: a pool's padding there comes back as plain padding (PAD for PADV2).
    """
    graph = io.load(GOLDEN / name)
    content = encode(graph)
    found = read_bytes(content)
    kinds = [type(op).__name__ for op in found.ops]
    assert [kind for kind in kinds if kind != "Pad"] == [type(op).__name__ for op in graph.ops if not isinstance(op, ops.Pad)]
    assert all(found.metadata[key] == value for key, value in graph.metadata.items())
    plain = replace(found, metadata=dict(graph.metadata))
    if not any(isinstance(op, ops.MaxPool2D) for op in graph.ops):
        assert encode(plain) == content


def file_of(tensors: list[FileTensor], operators: list[FileOperator], inputs: tuple[int, ...], outputs: tuple[int, ...]) -> QuantGraph:
    return read_bytes(pack(tensors, operators, inputs, outputs, {}))


def activation(name: str, shape: tuple[int, ...], scale: float = 0.5, zero: int = 0, type: int = TYPE.INT8) -> FileTensor:
    return FileTensor(name, type, shape, np.array([scale], np.float32), np.array([zero]))


def numbers(*values: int) -> FileTensor:
    return FileTensor(None, TYPE.INT32, (len(values),), data=np.array(values, np.int32))


def test_int4_weights_are_unpacked() -> None:
    packed = np.array([0x8F, 0x21, 0x07], np.uint8)  # −1, −8, 1, 2, 7 and half a byte of nothing
    weight = FileTensor(None, TYPE.INT4, (1, 5), np.array([0.25], np.float32), np.array([0]), 0, packed)
    options = schema.FullyConnectedOptionsT(0)
    graph = file_of(
        [activation("x", (1, 5)), weight, activation("y", (1, 1))],
        [FileOperator(CODE.FULLY_CONNECTED, 8, options, (0, 1), (2,))],
        (0,),
        (2,),
    )
    found = graph.tensor(graph.ops[0].inputs[1])
    assert found.dtype == "int4" and found.data is not None and found.data.tolist() == [[-1, -8, 1, 2, 7]]


def test_uint8_is_shifted() -> None:
    weight = FileTensor(None, TYPE.UINT8, (1, 3), np.array([0.25], np.float32), np.array([128]), 0, np.array([[0, 128, 255]], np.uint8))
    tensors = [activation("x", (1, 3), 0.5, 130, TYPE.UINT8), weight, activation("y", (1, 1), 0.5, 0, TYPE.UINT8)]
    graph = file_of(tensors, [FileOperator(CODE.FULLY_CONNECTED, 1, schema.FullyConnectedOptionsT(0), (0, 1), (2,))], (0,), (2,))
    x, w, y = (graph.tensor(n) for n in (*graph.ops[0].inputs, *graph.ops[0].outputs))
    assert w.data is not None and w.data.tolist() == [[-128, 0, 127]]
    assert [t.quantization and t.quantization.single for t in (x, w, y)] == [(0.5, 2), (0.25, 0), (0.5, -128)]


def test_split_unpack_and_shrinking_slices() -> None:
    tensors = [activation("x", (1, 4, 6)), *(activation(f"s{i}", (1, 2, 6)) for i in range(2)), activation("u0", (1, 6)),
               activation("u1", (1, 6)), activation("row", (1, 2)), numbers(1), numbers(0, 1, 1), numbers(0, 2, 6), numbers(1, 1, 3),
               activation("y", (1, 6)), activation("z", (1, 8))]  # fmt: skip
    strided = schema.StridedSliceOptionsT(1, 1, 0, 0, 2)
    operators = [
        FileOperator(CODE.SPLIT, 1, schema.SplitOptionsT(2), (6, 0), (1, 2)),
        FileOperator(CODE.UNPACK, 1, schema.UnpackOptionsT(2, 1), (1,), (3, 4)),
        FileOperator(CODE.STRIDED_SLICE, 1, strided, (2, 7, 8, 9), (5,)),
        FileOperator(CODE.ADD, 1, schema.AddOptionsT(0), (3, 4), (10,)),
        FileOperator(CODE.CONCATENATION, 1, schema.ConcatenationOptionsT(1), (10, 5), (11,)),
    ]
    graph = file_of(tensors, operators, (0,), (11,))
    slices = [op for op in graph.ops if isinstance(op, ops.Slice)]
    assert [(op.begin, op.size, op.step) for op in slices] == [
        ((0, 0, 0), (1, 2, 6), (1, 1, 1)),
        ((0, 2, 0), (1, 2, 6), (1, 1, 1)),
        ((0, 0, 0), (1, 1, 6), (1, 1, 1)),
        ((0, 1, 0), (1, 1, 6), (1, 1, 1)),
        ((0, 1, 1), (1, 1, 2), (1, 1, 3)),
    ]
    assert [type(op).__name__ for op in graph.ops if not isinstance(op, ops.Slice)] == ["Reshape", "Reshape", "Reshape", "Add", "Concat"]


def test_a_bias_of_another_scale_keeps_its_integers_and_is_noted() -> None:
    weight = FileTensor(None, TYPE.INT8, (1, 3), np.array([0.25], np.float32), np.array([0]), 0, np.ones((1, 3), np.int8))
    bias = FileTensor("b", TYPE.INT32, (1,), np.array([0.126], np.float32), np.array([0]), 0, np.array([77], np.int32))
    operator = FileOperator(CODE.FULLY_CONNECTED, 1, schema.FullyConnectedOptionsT(0), (0, 1, 2), (3,))
    graph = file_of([activation("x", (1, 3)), weight, bias, activation("y", (1, 1))], [operator], (0,), (3,))
    found = graph.tensor("b")
    assert found.data is not None and found.data.tolist() == [77] and found.quantization and found.quantization.single == (0.125, 0)
    assert graph.metadata["source"]["notes"] == ["bias b: its scale is off s_x·s_w by 0.008; its integers are kept, as runtimes do"]


def test_a_batch_folded_into_rows_is_lifted() -> None:
    weight = FileTensor(None, TYPE.INT8, (2, 3), np.array([0.25], np.float32), np.array([0]), 0, np.ones((2, 3), np.int8))
    tensors = [activation("x", (1, 4, 3)), numbers(-1, 3), activation("rows", (4, 3)), weight, activation("y", (4, 2)), numbers(1, 4, 2),
               activation("out", (1, 4, 2))]  # fmt: skip
    operators = [
        FileOperator(CODE.RESHAPE, 1, None, (0, 1), (2,)),
        FileOperator(CODE.FULLY_CONNECTED, 1, schema.FullyConnectedOptionsT(0), (2, 3), (4,)),
        FileOperator(CODE.RESHAPE, 1, None, (4, 5), (6,)),
    ]
    graph = file_of(tensors, operators, (0,), (6,))
    assert graph.tensor("rows").shape == (1, 4, 3) and graph.tensor("y").shape == (1, 4, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, o: o.append(FileOperator(CODE.ABS, 1, None, (1,), (1,))), "ABS y: ABS is not supported"),
        (lambda t, o: o.__setitem__(0, FileOperator(CODE.ADD, 1, schema.AddOptionsT(2), (0, 0), (1,))), "fused activation 2"),
        (lambda t, o: o.__setitem__(0, FileOperator(CODE.ADD, 1, schema.AddOptionsT(0), (0, 1), (1,))), "read before it is written"),
        (lambda t, o: o.__setitem__(0, FileOperator(CODE.ADD, 1, schema.AddOptionsT(0), (0, 9), (1,))), "input of operator 0 is tensor 9"),
        (lambda t, o: o.clear(), "'y' is an input or output but never made"),
        (lambda t, o: t.__setitem__(1, activation("y", (1, 4))), "output of shape"),
        (lambda t, o: t.__setitem__(1, FileTensor("y", TYPE.INT8, (1, 3))), "'y' is int8 without one scale"),
        (lambda t, o: t.__setitem__(1, activation("y", (1, 3), -1)), "a scale is zero, negative or not finite"),
        (lambda t, o: t.__setitem__(1, activation("y", (1, 3), 1, 200)), "zero point 200 to 200"),
        (lambda t, o: t.__setitem__(0, activation("x", (8, 3))), "input of shape"),
        (lambda t, o: t.__setitem__(0, activation("x", (1 << 20, 1 << 20))), "shape"),
        (lambda t, o: t.__setitem__(1, FileTensor("y", TYPE.STRING, (1, 3))), "STRING values"),
    ],
)
def test_what_is_refused(change, message: str) -> None:
    tensors = [activation("x", (1, 3)), activation("y", (1, 3))]
    operators = [FileOperator(CODE.ADD, 1, schema.AddOptionsT(0), (0, 0), (1,))]
    change(tensors, operators)
    with pytest.raises(InputError, match=message):
        file_of(tensors, operators, (0,), (1,))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.tflite: cannot be read \(No such file or directory\)"):
        read(tmp_path / "no.tflite")
    for content in (b"", b"TFL3", b"PK\x03\x04" * 9, b"\x08\0\0\0TFL3" + bytes(64)):
        (tmp_path / "x.tflite").write_bytes(content)
        with pytest.raises(InputError, match=r"x\.tflite: "):
            read(tmp_path / "x.tflite")


def test_scalars_survive_the_disk(tmp_path: Path) -> None:
    graph = read(FILES / "attention_int8.tflite")
    assert any(tensor.is_constant and tensor.shape == () for tensor in graph.tensors.values())
    io.save(graph, tmp_path)
    assert io.fingerprint(io.load(tmp_path)) == io.fingerprint(graph)
