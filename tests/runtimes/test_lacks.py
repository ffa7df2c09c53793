"""What vendors' tools really printed, and what is read out of it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export.tflite import export
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.ops import Gelu, Relu
from edgekd.runtimes.lacks import Lack, Survey, consult
from edgekd.runtimes.lacks_ethos_u import parse as parse_vela
from edgekd.runtimes.lacks_gpu import _STRANGER, judged
from edgekd.runtimes.lacks_gpu import parse as parse_analyzer
from edgekd.runtimes.lacks_gpu import survey as survey_gpu
from edgekd.runtimes.lacks_tflm import survey as survey_tflm
from edgekd.runtimes.tflm import open_model

#: ethos-u-vela 5.2.0, --accelerator-config ethos-u55-128 --show-cpu-operations, of a transposed convolution, a pool, a maximum, a slice
#: with steps and a custom operator; then of a Keras model in 16x8 with float borders.
VELA = """\
Warning: No configuration file specified. Using a default of ['vela.ini']. Compilation may be invalid or non-optimal.
Warning: No system configuration specified. Using a default of Ethos_U55_High_End_Embedded. Compilation may be invalid or non-optimal.
Warning: No memory mode specified. Using a default of Shared_Sram. Compilation may be invalid or non-optimal.

Warning (supported operators) operator: CUSTOM, ofm: 'y'
Reason: Unsupported opType

Warning (supported operators) operator: TRANSPOSE_CONV, ofm: 'spreaded'
Reason: stride out of range: (3,3)
Stride values WxH must be: 1x1 OR 2x2 OR 2x1 (if IFM height and kernel height is 1) OR 1x2 (if IFM width and kernel width is 1)

Network summary for three
Accelerator configuration               Ethos_U55_128
System configuration             Ethos_U55_High_End_Embedded
Memory mode                               Shared_Sram
Accelerator clock                                 500 MHz
Design peak SRAM bandwidth                       3.73 GB/s

Total SRAM used                                  4.50 KiB

CPU operators = 2 (40.0%)
   CPU: Passthrough = spreaded (outputs [1, 24, 24, 4])
   CPU: Passthrough = y (outputs [1, 1, 1, 4])
NPU operators = 3 (60.0%)
   NPU: MaxPool = resized (outputs [1, 12, 12, 4])
   NPU: ReduceMax = largest (outputs [1, 12, 1, 4])
   NPU: MemoryCopy = block/every(1) (outputs [1, 4, 1, 4])
"""
VELA_16X8 = """\
Warning (supported operators) operator: DEQUANTIZE, ofm: 'StatefulPartitionedCall_1:0'
Reason: Unsupported opType

Warning (supported operators) operator: QUANTIZE, ofm: 'serving_default_keras_tensor_27:0_int16'
Reason: Operation has tensor with unsupported DataType Float32 (serving_default_keras_tensor_27:0)
Feature-map dataTypes must be one of {"INT16", "INT32", "INT64", "INT8", "UINT8"}

Network summary for one_dimension_16x8
"""
#: tf.lite.experimental.Analyzer of TensorFlow 2.21.0, of the first of these files.
ANALYZER = """\
=== TFLite ModelAnalyzer ===

Your TFLite model has '1' subgraph(s). In the subgraph description below,
T# represents the Tensor numbers. For example, in Subgraph#0, the TRANSPOSE_CONV op takes
tensor #2 and tensor #1 and tensor #0 as input and produces tensor #3 as output.

Subgraph#0(T#0) -> [T#12]
  Op#0 TRANSPOSE_CONV(T#2[1, 24, 24, 4], T#1, T#0) -> [T#3]
  Op#1 MAX_POOL_2D(T#3) -> [T#4]
  Op#2 REDUCE_MAX(T#4, T#5[2]) -> [T#6]
  Op#3 STRIDED_SLICE(T#6, T#7[0, 0, 0], T#8[1, 10, 4], T#9[1, 3, 1]) -> [T#10]
  Op#4 Mine(T#10, T#11[1]) -> [T#12]

Tensors of Subgraph#0
  T#0(input) shape:[1, 8, 8, 4], type:INT8
  T#1shape:[4, 3, 3, 4], type:INT8 RO 144 bytes, buffer: 1, data:[Y, ", ., ., ., ...]
  T#2shape:[4], type:INT32 RO 16 bytes, buffer: 2, data:[1, 24, 24, 4]
  T#3(spreaded) shape:[1, 24, 24, 4], type:INT8
  T#4(resized) shape:[1, 12, 12, 4], type:INT8
  T#5shape:[1], type:INT32 RO 4 bytes, buffer: 3, data:[2]
  T#6(largest) shape:[1, 12, 4], type:INT8
  T#7shape:[3], type:INT32 RO 12 bytes, buffer: 4, data:[0, 0, 0]
  T#8shape:[3], type:INT32 RO 12 bytes, buffer: 5, data:[1, 10, 4]
  T#9shape:[3], type:INT32 RO 12 bytes, buffer: 6, data:[1, 3, 1]
  T#10(block/every(1)) shape:[1, 4, 4], type:INT8
  T#11shape:[1], type:INT32 RO 4 bytes, buffer: 7, data:[1]
  T#12(y) shape:[1, 4], type:INT8


Your model looks compatible with GPU delegate on TFLite runtime version 2.21.0.
This does not guarantee that your model will work well with GPU delegate because there could still be runtime incompatibililties.
---------------------------------------------------------------
"""
WARNING = "GPU COMPATIBILITY WARNING: Not supported custom op Mine\n"


def warned() -> str:
    """The same from a build that checks: the warning stands below the operator, a summary below the subgraph (model_analyzer.cc)."""
    at = ANALYZER.index("\nTensors of")
    summary = (
        "\nGPU COMPATIBILITY WARNING: Subgraph#0 has GPU delegate compatibility issues at nodes 4 with TFLite runtime version 2.10.0\n"
    )
    slice_ = "  Op#4 Mine"
    said = ANALYZER[:at] + WARNING + summary + ANALYZER[at:]
    return said.replace(slice_, "GPU COMPATIBILITY WARNING: STRIDED_SLICE supports for 4 dimensional tensors only\n" + slice_)


def test_vela_names_what_falls_back() -> None:
    assert parse_vela(VELA) == [
        Lack("y", "CUSTOM", "Unsupported opType"),
        Lack("spreaded", "TRANSPOSE_CONV", "stride out of range: (3,3)"),
    ]
    assert [(lack.operator, lack.kind) for lack in parse_vela(VELA_16X8)] == [
        ("StatefulPartitionedCall_1:0", "DEQUANTIZE"),
        ("serving_default_keras_tensor_27:0_int16", "QUANTIZE"),
    ]
    assert parse_vela(VELA[VELA.index("Network") :]) == []


def test_the_analyzers_warnings_are_of_the_operator_above_them() -> None:
    assert parse_analyzer(ANALYZER) == []
    assert parse_analyzer(warned()) == [
        Lack("block/every(1)", "STRIDED_SLICE", "STRIDED_SLICE supports for 4 dimensional tensors only"),
        Lack("y", "Mine", "Not supported custom op Mine"),
    ]
    alone = "GPU COMPATIBILITY WARNING: Subgraph#0 has GPU delegate compatibility issues at nodes 4 on TFLite runtime version 2.10.0"
    assert parse_analyzer(alone) == [Lack("", "", alone.partition(": ")[2])]
    assert parse_analyzer("  Op#0 Mine(T#0) -> [T#7]\n" + WARNING) == [Lack("tensor 7", "Mine", "Not supported custom op Mine")]


def test_an_analyzer_that_takes_everything_was_not_asked() -> None:
    everything = judged(f"{ANALYZER}\n{_STRANGER}\n{ANALYZER}")
    assert not everything.asked and "does not check for GPUs" in everything.by
    nothing = judged(f"{ANALYZER}\n{_STRANGER}\n{warned()}")
    assert nothing.asked and nothing.lacks == ()
    assert [lack.kind for lack in judged(f"{warned()}\n{_STRANGER}\n{warned()}").lacks] == ["STRIDED_SLICE", "Mine"]


def test_a_tool_that_fails_or_takes_too_long_was_not_asked() -> None:
    failed = consult("Vela", [sys.executable, "-c", "raise RuntimeError('Compilation failed: Error: RESHAPE')"], 60)
    assert isinstance(failed, Survey) and not failed.asked and "Compilation failed: Error: RESHAPE" in failed.by
    slow = consult("Vela", [sys.executable, "-c", "import time; time.sleep(60)"], 0.2)
    assert isinstance(slow, Survey) and not slow.asked and "no answer within 0.2 s" in slow.by
    assert not survey_gpu(activated(Relu), None).asked


def activated(kind: type[Gelu | Relu]) -> QuantGraph:
    quantization = Quantization.per_tensor(0.05, 3)
    tensors = {name: Tensor(name, "int8", (1, 4, 4, 2), quantization) for name in ("x", "y")}
    return QuantGraph("one", "channels_last", tensors, (kind("op", ("x",), ("y",)),), ("x",), ("y",), {})


def test_what_tflm_lacks_is_what_it_refuses(tmp_path: Path) -> None:
    graph = activated(Gelu)
    assert survey_tflm(graph).lacks == (Lack("op", "Gelu", "no kernel"),)
    with pytest.raises(InputError, match="Didn't find op for builtin opcode 'GELU'"):
        open_model(tmp_path / export(graph, tmp_path).path)
    assert survey_tflm(activated(Relu)).lacks == ()
    assert open_model(tmp_path / export(activated(Relu), tmp_path).path).run(np.zeros((1, 4, 4, 2), np.int8)).shape == (1, 4, 4, 2)


@pytest.mark.slow
def test_the_installed_analyzer_is_told_from_one_that_checks(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    found = survey_gpu(activated(Relu), tmp_path / export(activated(Relu), tmp_path).path)
    assert "analyzer of TensorFlow" in found.by and found.lacks == ()
