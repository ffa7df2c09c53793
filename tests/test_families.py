"""Models of ``transformers``, from small configurations with random weights: torch → QAT → freeze → every exporter → verified."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgekd import lazy
from edgekd.export import EXPORTERS
from edgekd.quant import ops
from edgekd.quant.capture import capture
from edgekd.quant.freeze import freeze
from edgekd.quant.passes.channels_last import channels_last
from edgekd.quant.prepare import QatModule
from edgekd.quant.reference import run
from edgekd.quant.scheme import Scheme
from edgekd.runtimes import RUNTIMES

FAMILIES = ("mobilenet_v2", "resnet", "regnet", "mobilevit", "convnext", "poolformer", "vit", "deit", "bert")

#: Steps of the output by which half of the outputs may differ from what was trained, or between libraries that round otherwise.
NEAR = 3
#: Twenty-one layer norms in eight bits, of random weights that nothing has trained.
FAR = {"mobilevit": 20}
#: Whose kernels, and under which rules the reference foretells them.
TFLITE = (("tflm", "tflm"), ("litert_ref", "litert_ref"), ("xnnpack", "litert_xnnpack"))
#: TFLM has no Gelu.
ON_BOARDS = ("mobilenet_v2", "resnet", "regnet")
#: By how many steps a runtime may differ from its own reference, where its kernels are not followed to the last bit.
APART: dict[tuple[str, str], int] = {}


class Logits(nn.Module):
    """The model's logits, and nothing else of what it answers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x).logits


def family(name: str) -> tuple[nn.Module, tuple[int, ...], bool]:
    """A small model of a family, the shape of one sample, and whether samples are token ids."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    image, few = (3, 32, 32), {"num_labels": 5}
    encoder = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "attn_implementation": "sdpa", **few,
    }  # fmt: skip
    match name:
        case "mobilenet_v2":
            config = transformers.MobileNetV2Config(depth_multiplier=0.2, image_size=32, **few)
            model = transformers.MobileNetV2ForImageClassification(config)
        case "resnet":
            config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", **few)
            model = transformers.ResNetForImageClassification(config)
        case "regnet":
            config = transformers.RegNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], groups_width=4, layer_type="y", **few)
            model = transformers.RegNetForImageClassification(config)
        case "mobilevit":
            config = transformers.MobileViTConfig(
                image_size=32,
                hidden_sizes=[8, 8, 12],
                neck_hidden_sizes=[4, 4, 8, 8, 8, 8, 16],
                num_attention_heads=2,
                expand_ratio=2.0,
                **few,
            )
            model = transformers.MobileViTForImageClassification(config)
        case "convnext":
            config = transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, image_size=32, **few)
            model = transformers.ConvNextForImageClassification(config)
        case "poolformer":
            config = transformers.PoolFormerConfig(
                hidden_sizes=[8, 16],
                depths=[1, 1],
                num_encoder_blocks=2,
                patch_sizes=[7, 3],
                strides=[4, 2],
                padding=[2, 1],
                mlp_ratio=2.0,
                **few,
            )
            model = transformers.PoolFormerForImageClassification(config)
        case "vit":
            model = transformers.ViTForImageClassification(transformers.ViTConfig(image_size=32, patch_size=8, **encoder))
        case "deit":
            model = transformers.DeiTForImageClassification(transformers.DeiTConfig(image_size=32, patch_size=8, **encoder))
        case _:
            config = transformers.BertConfig(vocab_size=50, max_position_embeddings=16, **encoder)
            model, image = transformers.BertForSequenceClassification(config), (12,)
    model = settled(Logits(model))
    if name == "mobilevit":
        norms_from(model, torch.from_numpy(samples(image, False, 16)))
    return model, image, name == "bert"


def norms_from(model: nn.Module, x: torch.Tensor) -> None:
    """Running statistics as training leaves them: without them, what goes through so many SiLUs hardly depends on the input."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        model.train()(x)
    model.eval()


def settled(model: nn.Module) -> nn.Module:
    """With norms and biases that are not those of a fresh model, so that leaving one out is seen."""
    generator = torch.Generator().manual_seed(1)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and part.running_var is not None:
            part.running_mean.normal_(0, 0.1, generator=generator)
            part.running_var.uniform_(0.5, 1.5, generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
            else:  # transformers starts at 0.02, at which what small networks answer hardly depends on their input
                parameter.mul_(min(1 / (parameter[0].numel() ** 0.5 * float(parameter.std()) + 1e-6), 100.0))
    return model.eval()


def samples(shape: tuple[int, ...], ids: bool, count: int, seed: int = 0) -> np.ndarray:
    """[N, …] as torch takes them: images of 8-bit pixels as students see them, or token ids."""
    rng = np.random.default_rng(seed)
    if ids:
        return rng.integers(0, 50, (count, *shape))
    return (rng.integers(-128, 128, (count, *shape)) / 128).astype(np.float32)


def channels_last_input(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if x.ndim == 4 else x.astype(np.int32) if x.dtype == np.int64 else x


def trained(name: str, scheme: Scheme) -> tuple[QatModule, tuple[int, ...], bool]:
    """Calibrated, and two steps on random labels."""
    model, shape, ids = family(name)
    module = QatModule(capture(model, shape, name=name, indices=ids), scheme)
    module.calibrate([torch.from_numpy(samples(shape, ids, 16))])
    optimizer = torch.optim.SGD((p for p in module.parameters() if p.requires_grad), lr=1e-3)
    for seed in (1, 2):
        x = torch.from_numpy(samples(shape, ids, 8, seed))
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), torch.arange(8) % 5).backward()
        assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)
        optimizer.step()
    return module, shape, ids


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_captured_as_it_computes(name: str) -> None:
    model, shape, ids = family(name)
    graph = channels_last(capture(model, shape, name=name, indices=ids))
    x = samples(shape, ids, 4)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    found = run(graph, channels_last_input(x), "float")[graph.outputs[0]]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * float(np.abs(expected).max() + 1))
    moved = sum(isinstance(op, ops.Transpose) for op in graph.ops)
    attentions = sum(isinstance(op, ops.Softmax) for op in graph.ops)
    # Heads: query, key and value apart, and together again. MobileViT also unfolds its patches and folds them.
    assert moved <= 4 * attentions + 2 * (name == "mobilevit") * 3, moved


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_integers_are_the_same_everywhere(name: str, tmp_path: Path) -> None:
    module, shape, ids = trained(name, Scheme())
    graph = freeze(module)
    x = samples(shape, ids, 24, 7)
    with torch.no_grad():
        real = module(torch.from_numpy(x)).numpy()
    scale, zero = graph.tensor(graph.outputs[0]).quantization.single  # type: ignore[union-attr]
    trained_for = np.rint(real / scale) + zero
    given = channels_last_input(x)
    given = given if ids else np.rint(given * 128).astype(np.int8)
    assert len(np.unique(trained_for)) > 10
    tflite = lazy.load(EXPORTERS["tflite"])(graph, tmp_path)
    for profile, runtime in TFLITE if name in ON_BOARDS else TFLITE[1:]:
        found = run(graph, given, profile)[graph.outputs[0]]
        difference = np.abs(found - trained_for)
        answers = lazy.load(RUNTIMES[runtime])(tmp_path / tflite.path, threads=1).run(given)
        apart = np.abs(answers.astype(int) - found)
        assert apart.max() <= APART.get((name, runtime), 0), (profile, np.bincount(apart.ravel()))
        assert np.median(difference) <= FAR.get(name, NEAR), (profile, np.bincount(difference.astype(int).ravel()))
    for exporter, runtime in (("onnx", "onnxruntime"), ("openvino", "openvino")):
        artifact = lazy.load(EXPORTERS[exporter])(graph, tmp_path)
        answers = lazy.load(RUNTIMES[runtime])(tmp_path / artifact.path, threads=1).run(given)
        apart = np.abs(answers.astype(int) - run(graph, given, "xnnpack")[graph.outputs[0]])
        assert np.median(apart) <= FAR.get(name, NEAR)
