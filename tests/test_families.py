"""Models of ``transformers``, from small configurations with random weights: torch → QAT → freeze → every exporter → verified."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

FAMILIES = ("mobilenet_v2", "resnet", "regnet", "mobilevit", "convnext", "poolformer", "vit", "deit", "bert")


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
    return settled(Logits(model)), image, name == "bert"


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
            else:  # transformers starts at 0.02, which all but kills small networks
                fan = parameter[0].numel() if parameter.ndim > 1 else 1
                parameter.mul_(min(1 / (fan**0.5 * float(parameter.std()) + 1e-6), 20.0))
    return model.eval()


def samples(shape: tuple[int, ...], ids: bool, count: int, seed: int = 0) -> np.ndarray:
    """[N, …] as torch takes them: images of 8-bit pixels as students see them, or token ids."""
    rng = np.random.default_rng(seed)
    if ids:
        return rng.integers(0, 50, (count, *shape))
    return (rng.integers(-128, 128, (count, *shape)) / 128).astype(np.float32)
