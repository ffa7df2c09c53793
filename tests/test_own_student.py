"""A user's own image folder, student, teacher and loss go through the command line; edgekd's code knows none of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgekd import runs
from tests.small_builds import edgekd, image_folder

#: Minutes of training prove the path, not the accuracy.
LOOSE = ("--budget", "accuracy_drop_pp=100")

#: A user's package.
STUDENTS = '''
import torch
from torch import nn
from torch.nn import functional


class MobileNet(nn.Module):
    """What transformers builds from a config, without its wrapping of the answer."""

    def __init__(self, classes, size, tf_padding):
        from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

        super().__init__()
        config = MobileNetV2Config(
            depth_multiplier=0.35, image_size=size, num_channels=3, num_labels=classes, tf_padding=tf_padding, classifier_dropout_prob=0.1
        )
        self.inner = MobileNetV2ForImageClassification(config)

    def forward(self, x):
        return self.inner(pixel_values=x).logits


def mobilenet(*, classes, height, tf_padding=True):
    return MobileNet(classes, height, tf_padding)


class Block(nn.Module):
    def __init__(self, into, out, stride):
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.second, self.norm2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = None
        if stride != 1 or into != out:
            self.shortcut = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = self.norm2(self.second(self.relu(self.norm1(self.first(x)))))
        y += x if self.shortcut is None else self.shortcut(x)
        return self.relu(y)


class ResNet(nn.Module):
    """As torchvision lays it out."""

    def __init__(self, channels, classes, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        self.layers = nn.Sequential(Block(width, width, 1), Block(width, 2 * width, 2))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(2 * width, classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layers(x)), 1))


def resnet(*, channels, classes, width=8):
    return ResNet(channels, classes, width)


def teacher(*, channels, classes, hidden=16):
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 3, 2, 1), nn.BatchNorm2d(hidden), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(4 * hidden, classes)
    )


def margin(student, teacher, labels, *, gap=1.0):
    return functional.multi_margin_loss(student, labels, margin=gap)
'''

RECIPE = """\
schema_version = 1
name = "own"

[data]
source = "image_folder"
options = {{ folder = "pictures", size = [{side}, {side}], validation = 0.2, test = 0.2 }}

[teacher]
source = "{module}:teacher"
options = {{ hidden = 8 }}
checkpoint = "own.safetensors"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]

[teacher.schedule]
epochs = 6
batch = 24
learning_rate = 0.05

[student]
family = "{module}:{family}"
options = {{ {options} }}

[[losses]]
name = "soft_targets"
weight = 0.5
options = {{ temperature = 2.0 }}

[[losses]]
name = "{module}:margin"
weight = 1.0
options = {{ gap = 2.0 }}

[[losses]]
name = "cross_entropy"
weight = 0.5

[presets.demo]
float_epochs = {epochs}
qat_epochs = 2
batch = 16
learning_rate = 0.01
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user: a package, pictures, no recipe yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    module = f"own_{tmp_path.name.replace('-', '_').replace('[', '').replace(']', '')}"
    (tmp_path / f"{module}.py").write_text(STUDENTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def _recipe(folder: Path, family: str, *, side: int, options: str = "", epochs: float = 6) -> Path:
    (module,) = (p.stem for p in folder.glob("own_*.py"))
    image_folder(folder / "recipe" / "pictures", side=side)
    text = RECIPE.format(module=module, family=family, side=side, options=options, epochs=epochs)
    (folder / "recipe" / "recipe.toml").write_text(text)
    return folder / "recipe"


def _verdicts(run: dict[str, Any]) -> list[dict[str, Any]]:
    """The verdicts of one run, as --json prints them."""
    return run["records"]["verify"]["body"]["value"]


@pytest.mark.slow
@pytest.mark.parametrize("tf_padding", [True, False])
def test_a_student_from_transformers(own: Path, tf_padding: bool) -> None:
    where = _recipe(own, "mobilenet", side=32, options=f"tf_padding = {str(tf_padding).lower()}", epochs=3)
    code, _, err = edgekd("build", where, "-t", "nucleo-u575zi", "--runs", own / "runs")
    assert code == 2 and f"edgekd teach {where}" in err
    code, out, _ = edgekd("teach", where, "--threads", 1, "--json")
    assert code == 0 and json.loads(out)["figures"]["accuracy"]["value"] > 0.8
    code, out, err = edgekd(
        "build", where, "-t", "nucleo-u575zi", "-t", "pixel-8", "--runs", own / "runs", "--threads", 1, "--json", *LOOSE
    )
    found = json.loads(out)
    assert code == 0, found
    for row, exact in zip(found, (["tflm", "litert_ref", "litert_xnnpack"], ["litert_xnnpack", "litert_ref"]), strict=True):
        assert [v["runtime"] for v in _verdicts(row)] == exact and row["ok"]
        assert all(v["figures"]["bit_equal"]["value"] == 1 and v["figures"]["bit_equal"]["n"] == 48 for v in _verdicts(row))
    assert found[0]["records"]["plan"]["body"]["value"]["family"].endswith(":mobilenet")
    assert runs.read(Path(found[0]["run"]), "plan").body.spec["options"] == {"tf_padding": tf_padding}


@pytest.mark.slow
def test_a_residual_network_of_ones_own(own: Path) -> None:
    where = _recipe(own, "resnet", side=24, options="width = 8")
    assert edgekd("teach", where, "--threads", 1)[0] == 0
    targets = [word for target in ("nucleo-u575zi", "orin-nano", "intel-n100", "nano") for word in ("-t", target)]
    code, out, _ = edgekd("build", where, *targets, "--runs", own / "runs", "--threads", 1, "--json", *LOOSE)
    found = json.loads(out)
    assert code == 0, found
    assert [row["target"] for row in found] == ["nucleo-u575zi", "orin-nano", "intel-n100", "nano"]
    for row in found:
        assert row["ok"] and row["records"]["measure"]["figures"]["accuracy"]["value"] > 0.85, row
    assert all(v["figures"]["bit_equal"]["value"] == 1 for v in _verdicts(found[0]))
