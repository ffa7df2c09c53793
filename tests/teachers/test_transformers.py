"""Folders as transformers saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgekd.errors import InputError
from edgekd.recipe.schema import Teacher as Table
from edgekd.teachers.assemble import assemble
from edgekd.teachers.opened import Opened
from edgekd.teachers.teacher import logits

pytestmark = pytest.mark.slow

NAMES = {0: "fox", 1: "cat", 2: "dog"}
LABELS = ("cat", "dog", "fox")
PROCESSOR = {"do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "do_rescale": True}


def image(n: int = 9, side: int = 16) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, side, side, 3)).astype(np.uint8)


def network(folder: Path, *, vit: bool = False, names: dict[int, str] | None = None, processor: dict[str, Any] | None = PROCESSOR) -> Any:
    from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    labels = {"id2label": names or NAMES, "label2id": {v: k for k, v in (names or NAMES).items()}}
    if vit:
        config = ViTConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8, **labels
        )
        model: Any = ViTForImageClassification(config)
    else:
        config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic", **labels)
        model = ResNetForImageClassification(config)
    model.eval().save_pretrained(folder)
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return model


def opened(folder: Path) -> Opened:
    from edgekd.teachers.transformers import load

    return load(root=folder.parent, channels=3, folder=folder.name)


def answers(folder: Path, classes: tuple[str, ...] = LABELS, **keys: Any) -> np.ndarray:
    table = Table.model_validate({"source": "transformers", **keys})
    return logits(assemble(opened(folder), table, image()[:8], classes), image(), bf16=False)


def own(model: Any, pixels: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(pixel_values=torch.from_numpy(pixels).float().permute(0, 3, 1, 2)).logits.numpy()


def test_normalized_as_its_files_say_and_matched_by_name(tmp_path: Path) -> None:
    model = network(tmp_path / "m")
    expected = own(model, (image() / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4])
    np.testing.assert_allclose(answers(tmp_path / "m"), expected[:, [1, 2, 0]], rtol=1e-3, atol=1e-4)
    stated = answers(tmp_path / "m", mean=[0.25], std=[0.5], labels=["dog", "cat", "fox"])
    np.testing.assert_allclose(stated, own(model, (image() / 255 - 0.25) / 0.5)[:, [1, 0, 2]], rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match=r"no label 'cats'\n  expected: perhaps 'cat'"):
        answers(tmp_path / "m", ("cats", "dog", "fox"))


@pytest.mark.parametrize(
    ("processor", "fed"),
    [
        ({"do_normalize": False}, lambda p: p / 255),
        ({"do_rescale": False, "image_mean": [127.0], "image_std": [50.0]}, lambda p: (p - 127.0) / 50),
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False}, lambda p: p / 127.5 - 1),
    ],
)
def test_other_ways_to_say_it(tmp_path: Path, processor: dict[str, Any], fed: Any) -> None:
    model = network(tmp_path / "m", processor=processor)
    np.testing.assert_allclose(answers(tmp_path / "m"), own(model, fed(image().astype(float)))[:, [1, 2, 0]], rtol=1e-3, atol=1e-4)


def test_images_of_the_size_that_it_was_trained_on(tmp_path: Path) -> None:
    model = network(tmp_path / "m", vit=True)
    doubled = image().repeat(2, 1).repeat(2, 2)
    expected = own(model, (doubled / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4])[:, [1, 2, 0]]
    np.testing.assert_allclose(answers(tmp_path / "m"), expected, rtol=1e-3, atol=1e-4)
    crop = PROCESSOR | {"size": {"shortest_edge": 40}, "do_center_crop": True, "crop_size": {"height": 24, "width": 20}}
    network(tmp_path / "crop", processor=crop)
    assert opened(tmp_path / "crop").about.prefers == (24, 20)


def test_labels_that_only_count_are_none(tmp_path: Path) -> None:
    model = network(tmp_path / "m", names={i: f"LABEL_{i}" for i in range(3)})
    expected = own(model, (image() / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4])
    np.testing.assert_allclose(answers(tmp_path / "m"), expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="3 outputs and does not name them"):
        answers(tmp_path / "m", ("cat", "dog"))


def test_without_a_normalization(tmp_path: Path) -> None:
    network(tmp_path / "m", processor=None)
    with pytest.raises(InputError, match=r"normalization is not known: it has no preprocessor_config.json"):
        answers(tmp_path / "m")
    assert answers(tmp_path / "m", mean=[0.0], std=[1.0]).shape == (9, 3)


def test_the_hash_is_of_all_files(tmp_path: Path) -> None:
    network(tmp_path / "m")
    first = opened(tmp_path / "m").about.sha256
    assert opened(tmp_path / "m").about.sha256 == first
    (tmp_path / "m" / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | {"image_mean": [0.1] * 3}))
    assert opened(tmp_path / "m").about.sha256 != first


def _write(name: str, content: bytes) -> Any:
    return lambda folder: (folder / name).write_bytes(content)


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _config(**changes: Any) -> Any:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return change


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no weights"),
        (_pickled, "holds its weights in pytorch_model.bin, which is never unpickled"),
        (_write("model.safetensors", b"\x80\x04pickle"), "transformers cannot open it"),
        (_write("config.json", b"{"), "config.json: cannot be read"),
        (_write("config.json", b"[]"), "config.json: holds a list"),
        (_write("preprocessor_config.json", b'{"image_mean": [0.5], "image_std": [0]}'), "its normalization is not understood"),
        (_write("adapter_config.json", b"{}"), "holds an adapter"),
        (_config(auto_map={"AutoModelForImageClassification": "code.Model"}), "needs code of its own"),
        (_config(model_type="bert"), "transformers cannot open it"),
        (_config(model_type="unheard_of"), "transformers cannot open it"),
        (_config(id2label={str(i): str(i) for i in range(5)}), "transformers cannot open it|its weights lack"),
        (_config(num_channels=1), "transformers cannot open it|it sees images of 1 channels"),
    ],
)
def test_folders_that_are_no_teacher(tmp_path: Path, spoil: Any, message: str) -> None:
    network(tmp_path / "m")
    spoil(tmp_path / "m")
    with pytest.raises(InputError, match=message):
        opened(tmp_path / "m")


def test_a_model_without_its_classifier(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    network(tmp_path / "m")
    weights = load_file(tmp_path / "m" / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "classifier" not in k}, tmp_path / "m" / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"its weights lack classifier.*bias \(2 in all\)\n  expected: a model trained to classify images"):
        opened(tmp_path / "m")
