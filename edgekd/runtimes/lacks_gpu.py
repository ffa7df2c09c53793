"""What a phone's GPU delegate does not take, as TensorFlow's own analyzer says of the TFLite file."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from edgekd.quant.graph import QuantGraph
from edgekd.runtimes.lacks import Lack, Survey, consult

#: TensorFlow takes long to load.
TIME_LIMIT_S = 180.0
#: tf.lite.experimental.Analyzer prints what it finds; each warning stands below the operator that it is about. Builds without that check
#: (the wheel of 2.21 is one) call every file compatible: so the analyzer is also shown an operator that no delegate can have.
_PROGRAM = """
import sys
import flatbuffers
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
analyze = tf.lite.experimental.Analyzer.analyze
with open(sys.argv[1], "rb") as file:
    analyze(model_content=file.read(), gpu_compatibility=True)
kind, tensors = schema.BuiltinOperator.CUSTOM, [schema.TensorT(shape=[1], buffer=0, name=name) for name in ("x", "y")]
code = schema.OperatorCodeT(deprecatedBuiltinCode=kind, customCode="Stranger", builtinCode=kind)
operator = schema.OperatorT(opcodeIndex=0, inputs=[0], outputs=[1])
graph = schema.SubGraphT(tensors=tensors, inputs=[0], outputs=[1], operators=[operator])
model = schema.ModelT(version=3, operatorCodes=[code], subgraphs=[graph], buffers=[schema.BufferT()])
builder = flatbuffers.Builder(1024)
builder.Finish(model.Pack(builder), b"TFL3")
print(sys.argv[2])
analyze(model_content=bytes(builder.Output()), gpu_compatibility=True)
"""
_STRANGER = "@edgekd stranger"
_OPERATOR = re.compile(r"^\s*Op#(\d+) (\w+)\(.*-> \[T#(\d+)")
_TENSOR = re.compile(r"^\s*T#(\d+)\((.*)\) shape")
_WARNING = re.compile(r"GPU COMPATIBILITY WARNING: (.*)")


def survey(graph: QuantGraph, tflite: Path | None) -> Survey:
    """Operators that the analyzer warns of. Not asked where there is no TensorFlow, no file, or no answer in time."""
    if find_spec("tensorflow") is None:
        return Survey("TensorFlow's analyzer, which is not installed (pip install 'edgekd[tensorflow]')", asked=False)
    if tflite is None:
        return Survey("TensorFlow's analyzer, which needs a TFLite file: this graph cannot be one", asked=False)
    answer = consult("TensorFlow's analyzer", [sys.executable, "-c", _PROGRAM, str(tflite), _STRANGER], TIME_LIMIT_S)
    if isinstance(answer, Survey):
        return answer
    if "TFLite ModelAnalyzer" not in answer.stdout:
        return Survey(f"TensorFlow's analyzer, which failed: {answer.stderr.strip()[-200:]!r}", asked=False)
    return judged(answer.stdout)


def judged(text: str) -> Survey:
    """The survey in what the analyzer printed of the file, and then of an operator that nobody has."""
    text, _, stranger = text.partition(_STRANGER)
    found = tuple(parse(text))
    if not found and not parse(stranger):
        return Survey(f"{_by()}, whose build does not check for GPUs: it takes an operator that nobody has", asked=False)
    return Survey(_by(), found)


def parse(text: str) -> list[Lack]:
    """What the analyzer printed → lacks, an operator named by the tensor that it writes."""
    names = {match[1]: match[2] for line in text.splitlines() if (match := _TENSOR.match(line))}
    found: list[Lack] = []
    at = ("", "")
    for line in text.splitlines():
        if match := _OPERATOR.match(line):
            at = (names.get(match[3], f"tensor {match[3]}"), match[2])
        elif match := _WARNING.search(line):
            whole = match[1].startswith("Subgraph")
            if not (whole and found):  # a summary of what was said before
                found.append(Lack("" if whole else at[0], "" if whole else at[1], match[1].strip()))
    return found


def _by() -> str:
    for name in ("tensorflow-cpu", "tensorflow"):
        try:
            return f"analyzer of TensorFlow {version(name)}"
        except PackageNotFoundError:
            continue
    return "analyzer of TensorFlow"
