"""The accessor in Python, run by itself beside each kind of file: right answers, and a sentence for what does not belong together."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd.errors import InputError
from edgekd.quant import reference
from edgekd.release.facts import Facts
from edgekd.release.oci import contents
from edgekd.release.python import packed
from tests.released import facts

OWN = {"tflite": "litert", "onnx": "onnxruntime", "openvino": "openvino"}


def laid(made: Facts, out: Path) -> Path:
    """What the OCI artifact carries, in a folder."""
    out.mkdir()
    for name, content in contents(made, made.models[made.own]).items():
        (out / name).write_bytes(content)
    return out


def says(folder: Path, code: str, *, good: bool = True) -> str:
    """What ``code`` prints there, or the last line of what it raises."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode == 0) == good, done.stdout + done.stderr
    return done.stdout if good else done.stderr.strip().splitlines()[-1]


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "edgekd_model.py", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("kind", ("int8", "two_tasks"))
def test_pixels_get_the_references_labels(tmp_path: Path, kind: str, own: str):
    made = facts(tmp_path, kind, formats=("oci",), own=own)
    folder = laid(made, tmp_path / "model")
    np.save(folder / "pixels.npy", (made.vectors.x.astype(np.int16) + 128).astype(np.uint8))
    code = (
        "import json, numpy as np; from edgekd_model import Model, TASKS; model = Model();"
        "found = [model.classify(x) for x in np.load('pixels.npy')];"
        "print(json.dumps([[a.label for a in (f if len(TASKS) > 1 else [f])] for f in found]))"
    )
    found = json.loads(says(folder, code).splitlines()[-1])
    out = reference.run(made.graph, made.vectors.x, "tflm")
    for at, (name, head) in enumerate(zip(made.graph.outputs, made.models[own].heads, strict=True)):
        expected = [head.labels[i] for i in out[name].reshape(len(found), -1).argmax(1)]
        assert [one[at] for one in found] == expected


def test_real_values_and_pixels_are_the_same_input(tmp_path: Path):
    folder = laid(facts(tmp_path, "int8", formats=("oci",)), tmp_path / "model")
    code = (
        "import numpy as np; import edgekd_model as e; p = np.arange(1200, dtype=np.uint32).astype(np.uint8).reshape(20, 20, 3);"
        "a, b = e.tensor_of(p), e.tensor_of((p.astype(np.float64) - 128) / 128);"
        "print((a == b).all(), a.dtype, a.shape, a.min(), a.max());"
        "print(*(int(e.tensor_of(np.full(1200, x)).max()) for x in (np.nan, 9.0, 1.5 / 128)))"
    )
    assert says(folder, code) == "True int8 (1, 20, 20, 3) -128 127\n0 127 2\n"


def test_answers(tmp_path: Path):
    """Ties go to the lowest index; probabilities are a softmax."""
    folder = laid(facts(tmp_path, "int8", formats=("oci",)), tmp_path / "model")
    code = (
        "import numpy as np; from edgekd_model import Answer; a = Answer('', ['a', 'b', 'c', 'd'], np.float64([1, 2, 2, 0]));"
        "print(a.index, a.label, a.top(3), round(float(a.probabilities().sum()), 6), a.probabilities().round(3).tolist())"
    )
    assert says(folder, code) == "1 b [1, 2, 0] 1.0 [0.147, 0.399, 0.399, 0.054]\n"


def flip_a_bit(folder: Path, file: str) -> None:
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)


def of_another_release(folder: Path, file: str) -> None:
    (folder / file).write_bytes((folder / file).read_bytes() + b"\n")


def gone(folder: Path, file: str) -> None:
    (folder / file).unlink()


def edited(old: str, new: str) -> Callable[[Path, str], None]:
    """An accessor that states another contract for the same file."""

    def edit(folder: Path, file: str) -> None:
        source = folder / "edgekd_model.py"
        assert old in source.read_text()
        source.write_text(source.read_text().replace(old, new))

    return edit


@pytest.mark.parametrize(
    ("own", "wrong", "said"),
    (
        ("tflite", flip_a_bit, "take accessor and model from the same release"),
        ("onnx", flip_a_bit, "take accessor and model from the same release"),
        ("openvino", flip_a_bit, "take accessor and model from the same release"),
        ("tflite", of_another_release, "was made for"),
        ("tflite", gone, "model.tflite cannot be read: No such file"),
        ("tflite", edited("0.0078125, 0)", "0.015625, 0)"), "The model's input is [('int8', (1, 20, 20, 3), 0.0078125, 0)], but"),
        ("tflite", edited("0.0078125, 0)", "0.0078125, 1)"), "The model's input is"),
        ("tflite", edited('("int8", (1, 6), ', '("int8", (1, 7), '), "The model's output is"),
        ("onnx", edited('("float32", (1, 3, 20, 20)', '("float32", (1, 1, 20, 20)'), "The model's input is [('float32', (None, 3, 20, 20)"),
        ("openvino", edited('("float32", (1, 6)', '("float16", (1, 6)'), "The model's output is"),
    ),
)
def test_what_does_not_belong_together_is_a_sentence(tmp_path: Path, own: str, wrong: Callable[[Path, str], None], said: str):
    made = facts(tmp_path, "int8", formats=("oci",), own=own)
    folder = laid(made, tmp_path / "model")
    wrong(folder, made.models[own].files[0])
    raised = says(folder, "from edgekd_model import Model; Model()", good=False)
    assert raised.startswith("ValueError: ") and said in raised
    done = command(folder, "--self-test")
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr


def test_a_good_file_that_is_no_model_is_a_sentence(tmp_path: Path):
    """The hash is right, and the runtime cannot read it."""
    import hashlib

    for own in OWN:
        made = facts(tmp_path / own, "int8", formats=("oci",), own=own)
        folder = laid(made, tmp_path / own / "model")
        edited(made.models[own].sha256, hashlib.sha256(b"nonsense" * 9).hexdigest())(folder, "")
        (folder / made.models[own].files[0]).write_bytes(b"nonsense" * 9)
        done = command(folder)
        assert done.returncode == 1 and " cannot run " in done.stderr and "Traceback" not in done.stderr


def test_vectors_that_differ_are_a_sentence(tmp_path: Path):
    made = facts(tmp_path, "int8", formats=("oci",))
    vectors = made.vectors_for("oci")
    assert vectors.exact
    other = replace(vectors, outputs=tuple(out ^ 1 for out in vectors.outputs))
    folder = laid(replace(made, vectors_by_format={"oci": other}), tmp_path / "model")
    done = command(folder, "--self-test")
    assert done.returncode == 1 and "Test vector 0: output 0 is " in done.stderr and "Traceback" not in done.stderr
    (folder / "vectors.npz").write_bytes(b"PK\x03\x04nonsense")
    done = command(folder, "--self-test")
    assert done.returncode == 1 and "vectors.npz cannot be read" in done.stderr and "Traceback" not in done.stderr


def test_the_command_line(tmp_path: Path):
    made = facts(tmp_path, "two_tasks", formats=("oci",))
    folder = laid(made, tmp_path / "model")
    Image.fromarray((made.vectors.x[0].astype(np.int16) + 128).astype(np.uint8)).save(folder / "a.png")
    np.save(folder / "a.npy", (made.vectors.x[0].astype(np.int16) + 128).astype(np.uint8))
    done = command(folder, "a.png", "a.npy", "--top", "2")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["file"], line["task"]) for line in lines] == [
        ("a.png", "shape"),
        ("a.png", "light"),
        ("a.npy", "shape"),
        ("a.npy", "light"),
    ]
    assert lines[0]["top"] == lines[2]["top"] and len(lines[0]["top"]) == 2
    np.save(folder / "small.npy", np.zeros((3, 3), np.uint8))
    np.save(folder / "integers.npy", np.zeros((20, 20, 3), np.int64))
    for words, said in (
        (("small.npy",), "The input has 9 values, but this model takes 20 x 20 x 3"),
        (("integers.npy",), "The input is int64: 8-bit values are uint8, and real ones floats"),
        (("none.npy",), "none.npy"),
        (("--runtime", "onnxruntime"), "onnxruntime does not run model.tflite; ai_edge_litert, tflite_runtime, tensorflow would"),
    ):
        done = command(folder, *words)
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr


def test_without_a_runtime_it_says_which_one_to_install(tmp_path: Path):
    folder = laid(facts(tmp_path, "int8", formats=("oci",), own="onnx"), tmp_path / "model")
    code = "import sys; sys.modules['onnxruntime'] = None\nimport edgekd_model; sys.exit(edgekd_model.main([]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("No runtime for model.onnx is installed; one of these runs it: onnxruntime")


def test_vectors_are_as_the_file_is_fed_and_stay_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = facts(tmp_path, "int8", formats=("oci",), own="onnx")
    model = made.models["onnx"]
    monkeypatch.setattr("edgekd.release.python.VECTOR_BYTES", 10_000)
    content, count = packed(made, model, made.vectors)
    (tmp_path / "v.npz").write_bytes(content)
    with np.load(tmp_path / "v.npz", allow_pickle=False) as file:
        assert count == 2 and file["x"].shape == (2, 3, 20, 20) and file["expected_0"].shape == (2, 6)
        assert np.array_equal(file["x"], made.vectors.x[:2].transpose(0, 3, 1, 2).astype(np.float32) / 128)
    with pytest.raises(InputError, match="test vectors"):
        packed(made, model, replace(made.vectors, x=made.vectors.x[:, :10]))


def test_it_is_python_that_old_devices_have(tmp_path: Path):
    folder = laid(facts(tmp_path, "two_tasks", formats=("oci",), own="openvino"), tmp_path / "model")
    ast.parse((folder / "edgekd_model.py").read_text(), feature_version=(3, 7))
    assert max(map(len, (folder / "edgekd_model.py").read_text().splitlines())) < 180
