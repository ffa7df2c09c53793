"""Datasets and models: name → (valid seeds, made in a folder; what reads one that was damaged), as in fuzz_files.py."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
import wave
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from fuzz_files import GOLDEN, ROOT, Parse, Seeds, each, npz, numbers, placed

# ---- datasets


def data_sets(folder: Path) -> list[bytes]:
    import numpy as np

    images, plain = np.zeros((20, 4, 4, 1), np.uint8), np.random.default_rng(0).random((6, 4, 4, 1)).astype(np.float32)
    whole = npz(x_train=images, y_train=numbers(20), x_test=images[:4], y_test=numbers(4))
    return [whole, npz(x=plain, y=numbers(6)), npz(x=images), npz(x=images, y=numbers(20), x_validation=images)]


def data_set(content: bytes, folder: Path) -> None:
    """As a recipe's `numpy`, and as `edgekd quantize --data`."""
    from edgekd.data.numpy_file import load
    from edgekd.quantize.data import open_data

    path = placed(folder, "data.npz", content)
    each(lambda: load(path), lambda: open_data(str(path), None, count=4, seed=0))


def teacher_outputs(folder: Path) -> list[bytes]:
    import numpy as np

    logits, made = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32), io.BytesIO()
    np.save(made, logits)
    return [made.getvalue(), npz(outputs=logits, labels=np.array(["a", "b", "c"]), data_sha256=np.array("f" * 64), test=logits)]


def teacher_output(content: bytes, folder: Path) -> None:
    from edgekd.teachers.outputs_file import load

    placed(folder, "outputs.npz", content)
    load(root=folder, file="outputs.npz")


def recordings(folder: Path) -> list[bytes]:
    found = []
    for width, channels, rate in ((2, 1, 8000), (1, 2, 16000), (3, 1, 44100)):
        made = io.BytesIO()
        with wave.open(made, "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(width)
            file.setframerate(rate)
            file.writeframes(bytes(range(240)) * width * channels)
        found.append(made.getvalue())
    return found


def recording(content: bytes, folder: Path) -> None:
    from edgekd.data.audio_folder import DEFAULTS
    from edgekd.data.clips import clip_of
    from edgekd.data.logmel import features_of

    clip_of(content, "a.wav", "data", features_of(None, **DEFAULTS), 1600)


def pictures(folder: Path) -> list[bytes]:
    from PIL import Image

    found = []
    for kind, mode in (("PNG", "RGB"), ("PNG", "P"), ("PNG", "LA"), ("JPEG", "RGB"), ("JPEG", "CMYK")):
        made, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = 6  # lies on its side
        Image.effect_noise((24, 16), 50).convert(mode if mode != "LA" else "LA").save(made, kind, exif=exif)
        found.append(made.getvalue())
    return found


def picture(content: bytes, folder: Path) -> None:
    from edgekd.data.image_folder import unlabelled

    unlabelled(placed(folder / "images", "a.png", content).parent, size=[8, 8], channels=3)


# ---- models, and what is written in them


def transformers_files(folder: Path) -> list[bytes]:
    """config.json and preprocessor_config.json of a small network."""
    from transformers import ViTConfig, ViTForImageClassification

    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"image_size": 32, "patch_size": 8}
    names = {0: "fox", 1: "cat"}
    ViTForImageClassification(ViTConfig(**sizes, id2label=names, label2id={"fox": 0, "cat": 1})).save_pretrained(folder / "vit")
    (folder / "whole.json").write_bytes((folder / "vit/config.json").read_bytes())
    processor = {"do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "do_rescale": True, "size": 32}
    return [(folder / "whole.json").read_bytes(), json.dumps(processor).encode()]


def transformers_file(content: bytes, folder: Path) -> None:
    from edgekd.teachers.transformers import load

    (folder / "vit/config.json").write_bytes((folder / "whole.json").read_bytes())
    placed(folder / "vit", "preprocessor_config.json" if b"image_" in content and b"hidden_size" not in content else "config.json", content)
    load(root=folder, channels=3, folder="vit")


def keras_files(folder: Path) -> list[bytes]:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in ("config.json", "metadata.json", "model.weights.h5"):
            archive.writestr(name, json.dumps({"module": "keras", "class_name": "Functional", "config": {"name": name}}))
    return [made.getvalue()]


def keras_file(content: bytes, folder: Path) -> None:
    """What is read before Keras itself reads it."""
    from edgekd.teachers.keras import check_archive

    check_archive(placed(folder, "model.keras", content))


def label_lists(folder: Path) -> list[bytes]:
    return [b"cat\ndog\nbird\n", b'["cat", "dog"]', b'{"0": "cat", "1": "dog"}', b"cat,dog"]


def label_list(content: bytes, folder: Path) -> None:
    from edgekd.teachers.answers import beside, columns, named

    names = beside(placed(folder, "labels.txt", content))
    each(lambda: columns(names, 3, ("cat", "dog"), "x"), lambda: named(content.decode("utf-8", "replace"), "x"))


def _metadata() -> bytes:
    from edgekd.export.onnx import read_metadata

    return json.dumps(read_metadata(_exported("onnx"))).encode()


@cache
def _exported(kind: str) -> Path:
    from edgekd.lazy import load
    from edgekd.quant import io

    folder = Path(tempfile.mkdtemp(prefix="edgekd-fuzz-"))
    return (
        folder
        / load({"tflite": "edgekd.export.tflite:export", "onnx": "edgekd.export.onnx:export", "c": "edgekd.export.c:export"}[kind])(
            io.load(GOLDEN), folder
        ).path
    )


def tflite_files(folder: Path) -> list[bytes]:
    return [_exported("tflite").read_bytes(), *(path.read_bytes() for path in sorted((ROOT / "tests/importers/files").glob("*.tflite")))]


def tflite_file(content: bytes, folder: Path) -> None:
    """Deeper: tools/fuzz_importers.py, guided by coverage."""
    from edgekd.export.tflite import read_metadata
    from edgekd.importers.tflite import read_bytes
    from edgekd.runtimes.tflite_border import border_of

    path = placed(folder, "model.tflite", content)
    each(lambda: read_bytes(content), lambda: read_metadata(path), lambda: border_of(content))


def onnx_files(folder: Path) -> list[bytes]:
    return [_exported("onnx").read_bytes()]


def onnx_file(content: bytes, folder: Path) -> None:
    from edgekd.export.onnx import read_metadata
    from edgekd.importers.onnx import read

    path = placed(folder, "model.onnx", content)
    each(lambda: read(path), lambda: read_metadata(path))


def documents(folder: Path) -> list[bytes]:
    return [_metadata()]


def document(content: bytes, folder: Path) -> None:
    """The JSON that edgekd writes into every file, as a reader of each format meets it."""
    import onnx

    from edgekd.export import onnx as exported
    from edgekd.importers.onnx import read
    from edgekd.runtimes.border import Border

    with contextlib.suppress(ValueError, RecursionError):  # what reads the file has made JSON of it before
        found = json.loads(content)
        each(lambda: Border.from_metadata(found, "x"))
    model = onnx.load(_exported("onnx"))
    for entry in model.metadata_props:
        if entry.key == exported.KEY:
            entry.value = content.decode("utf-8", "replace")
    path = folder / "said.onnx"
    onnx.save(model, path)
    each(lambda: exported.read_metadata(path), lambda: read(path))


def openvino_files(folder: Path) -> list[bytes]:
    said = _metadata().decode().replace("&", "&amp;").replace("'", "&apos;").replace("<", "&lt;")
    return [
        f"<?xml version='1.0'?>\n<net name='a' version='11'>\n<layers/>\n<rt_info>\n<edgekd value='{said}'/>\n</rt_info></net>\n".encode()
    ]


def openvino_file(content: bytes, folder: Path) -> None:
    """What is read before OpenVINO itself reads it, which is native code."""
    from edgekd.runtimes.openvino import read_metadata

    read_metadata(placed(folder, "model.xml", content))


def c_headers(folder: Path) -> list[bytes]:
    """Of the lines those that are read."""
    path = _exported("c")
    shutil.copyfile(path, folder / "model.c")
    lines = path.with_suffix(".h").read_text(encoding="utf-8").splitlines(keepends=True)
    return ["".join(lines).encode(), "".join([lines[0], *(line for line in lines if line.startswith("#define"))]).encode()]


def c_header(content: bytes, folder: Path) -> None:
    from edgekd.quant import io
    from edgekd.runtimes.c_host import why_not
    from edgekd.verify.cut_c import cut

    placed(folder, "model.h", content)
    graph = io.load(GOLDEN)
    (folder / "cut").mkdir(exist_ok=True)
    each(lambda: why_not(folder / "model.c"), lambda: cut(folder / "model.c", graph, graph.outputs[0], folder / "cut"))


def ports(folder: Path) -> list[bytes]:
    return [path.read_bytes()[:2000] for path in sorted((ROOT / "edgekd/firmware/harness/ports").glob("*.c"))]


def port(content: bytes, folder: Path) -> None:
    from edgekd.mcu.boards import read_port

    read_port(placed(folder, "board.c", content))


PARSERS: dict[str, tuple[Seeds, Parse]] = {
    "numpy": (data_sets, data_set),
    "teacher_outputs": (teacher_outputs, teacher_output),
    "wav": (recordings, recording),
    "image": (pictures, picture),
    "transformers": (transformers_files, transformers_file),
    "keras": (keras_files, keras_file),
    "labels": (label_lists, label_list),
    "tflite": (tflite_files, tflite_file),
    "onnx": (onnx_files, onnx_file),
    "metadata": (documents, document),
    "openvino": (openvino_files, openvino_file),
    "c_header": (c_headers, c_header),
    "port": (ports, port),
}
