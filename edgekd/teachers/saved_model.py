"""A teacher from a SavedModel folder, run by TensorFlow on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from edgekd.errors import InputError
from edgekd.teachers.answers import beside
from edgekd.teachers.files import all_files, located, sha256_of
from edgekd.teachers.opened import About, Foreign, Opened, channels_last, chosen, images_of
from edgekd.teachers.tf import share_threads, tf

#: A SavedModel is a program. Operators that reach beyond its tensors, and that no image classifier needs.
REFUSED = frozenset(
    {"PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles", "WholeFileReader", "WholeFileReaderV2"}
    | {"TFRecordReader", "TFRecordReaderV2", "TextLineReader", "TextLineReaderV2", "FixedLengthRecordReader", "FixedLengthRecordReaderV2"}
    | {"TextLineDataset", "TFRecordDataset", "TFRecordDatasetV2", "FixedLengthRecordDataset", "DebugIdentity", "DebugIdentityV2"}
    | {"Print", "PrintV2", "RpcCall", "RpcClient", "Rpc", "TryRpc"}
)
MAX_BYTES = 2 << 30  # what one protobuf may have


def load(*, root: Path, channels: int, folder: str, signature: str = "serving_default", output_name: str = "") -> Opened:
    """The model in ``folder``: its ``signature`` takes one input of images [N, H, W, C] and answers [N, classes] (under ``output_name``).

    Labels: labels.txt in the folder or beside it. Raises InputError for anything else, and for operators that read or write files or
    call Python.
    """
    path = located(root, folder, "folder", "a SavedModel folder (saved_model.pb and variables)", folder=True)
    where = str(path)
    check_operators(path)
    share_threads()
    try:
        model = tf.saved_model.load(str(path))
        signatures = dict(model.signatures)
    except Exception as error:  # TensorFlow raises errors of many kinds for a damaged folder
        text = " ".join(str(error).split())[:300]
        raise InputError(f"TensorFlow cannot open it ({text})", where=where, expected="a SavedModel folder") from error
    if signature not in signatures:
        raise InputError(
            f"it has no signature {signature!r}",
            where=where,
            expected=f"one of {', '.join(signatures)}" if signatures else "a signature",
            mend=f'options = {{ …, signature = "{next(iter(signatures))}" }}' if signatures else "model.export(folder) of Keras writes one",
        )
    function = signatures[signature]
    inputs = function.structured_input_signature[1]
    if len(inputs) != 1:
        raise InputError(f"{len(inputs)} inputs ({', '.join(inputs)})", where=where, expected="one, of images [N, H, W, C]")
    ((name, spec),) = inputs.items()
    shape = images_of(None if spec.shape.rank is None else spec.shape.as_list(), where)
    size = channels_last(shape, channels, where)
    dtype = np.dtype(spec.dtype.as_numpy_dtype)
    if dtype.name not in ("float32", "float16", "float64", "uint8"):
        raise InputError(f"its input is {dtype}", where=where, expected="float32, float16, float64 or uint8")
    output = chosen(output_name, sorted(function.structured_outputs), where)

    def run(x: np.ndarray) -> np.ndarray:
        # By way of the model, which holds the variables.
        return model.signatures[signature](**{name: tf.constant(x)})[output].numpy()

    about = About(
        sha256=sha256_of(all_files(path), path, signature, output),
        library=f"tensorflow {tf.__version__}",
        channels=channels,
        size=size,
        labels=beside(path),
        integer=dtype.kind == "u",
    )
    return Opened(Foreign(run, dtype, channels_last=True, batch=shape[0]), about)


def check_operators(path: Path) -> None:
    """Raises InputError for a folder without a program, and for a program that reaches beyond its tensors."""
    file, program = path / "saved_model.pb", saved_model_pb2.SavedModel()
    if not file.is_file():
        raise InputError("holds no saved_model.pb", where=str(path), expected="a SavedModel folder", mend="model.export(folder) of Keras")
    if file.stat().st_size > MAX_BYTES:
        raise InputError(f"{file.stat().st_size} bytes", where=str(file), expected=f"at most {MAX_BYTES}")
    try:
        program.ParseFromString(file.read_bytes())
    except DecodeError as error:
        raise InputError(f"cannot be read ({error})", where=str(file), expected="a SavedModel") from error
    for meta in program.meta_graphs:
        bodies = [meta.graph_def.node, *(function.node_def for function in meta.graph_def.library.function)]
        if found := {node.op for body in bodies for node in body} & REFUSED:
            raise InputError(
                f"has the operator {min(found)}", where=str(file), expected="a model that neither touches files nor calls Python"
            )
