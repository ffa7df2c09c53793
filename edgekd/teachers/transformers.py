"""A teacher for image classification from a local folder as ``transformers`` saves it. No download, no pickle, no code from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers.utils import logging

from edgekd.errors import InputError
from edgekd.teachers.answers import beside, indexed
from edgekd.teachers.files import all_files, located, sha256_of
from edgekd.teachers.opened import About, Normalization, Opened

MAX_JSON_BYTES = 16 << 20


class _Logits(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values=x).logits


def load(*, root: Path, channels: int, folder: str) -> Opened:
    """The model in ``folder``: config.json, *.safetensors and, for normalization and size, preprocessor_config.json.

    Labels: id2label of config.json, unless it only counts (LABEL_0, …), or labels.txt. Raises InputError if the folder lacks something,
    asks for code of its own, or its weights are not all there.
    """
    path = located(root, folder, "folder", "a folder with config.json and model.safetensors", folder=True)
    where = str(path)
    config, processor = _json(path / "config.json"), _json(path / "preprocessor_config.json")
    _check(path, config)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model, loaded = transformers.AutoModelForImageClassification.from_pretrained(
            str(path.resolve()),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="eager",  # others may fetch kernels
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # what a damaged or foreign configuration raises is of any kind
        text = " ".join(str(error).split())[:300]
        raise InputError(f"transformers cannot open it ({text})", where=where, expected="a model for image classification") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    missing = sorted(loaded["missing_keys"]) + sorted(str(key) for key in loaded["mismatched_keys"])
    if missing:
        raise InputError(
            f"its weights lack {missing[0]} ({len(missing)} in all)", where=where, expected="a model trained to classify images"
        )
    known = getattr(model.config, "num_channels", None)
    if isinstance(known, int) and known != channels:
        raise InputError(f"it sees images of {known} channels", where=where, expected=f"{channels}, as the data has")
    normalization = _normalization(processor, str(path / "preprocessor_config.json")) if processor else None
    about = About(
        sha256=sha256_of(all_files(path), path),
        library=f"torch {torch.__version__}, transformers {transformers.__version__}",
        channels=channels,
        prefers=_size(processor, config),
        labels=_labels(model.config.id2label, where) or beside(path),
        normalization=normalization,
        needs_normalization=normalization is None,
    )
    return Opened(_Logits(model.eval()), about)


def _check(path: Path, config: dict[str, Any]) -> None:
    where = str(path)
    if not config:
        raise InputError(
            "holds no config.json", where=where, expected="what save_pretrained writes", mend='model.save_pretrained("teacher")'
        )
    if (path / "adapter_config.json").exists():
        raise InputError("holds an adapter", where=where, expected="a whole model", mend="model.merge_and_unload().save_pretrained(…)")
    if "auto_map" in config:
        raise InputError(
            "needs code of its own (auto_map in config.json), which is not run",
            where=where,
            expected="a model that transformers itself has",
            mend='source = "package.module:function", your own function that returns the module',
        )
    if not any(path.glob("*.safetensors")):
        pickled = sorted(p.name for p in path.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl"))
        found = f"holds its weights in {pickled[0]}, which is never unpickled" if pickled else "holds no weights"
        raise InputError(found, where=where, expected="model.safetensors", mend='model.save_pretrained("teacher", safe_serialization=True)')


def _json(file: Path) -> dict[str, Any]:
    """The object in ``file``; empty if there is no such file."""
    if not file.is_file():
        return {}
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise InputError("is too large", where=str(file), expected="a JSON object")
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot be read ({error})", where=str(file), expected="a JSON object") from error
    if not isinstance(found, dict):
        raise InputError(f"holds a {type(found).__name__}", where=str(file), expected="a JSON object")
    return found


def _normalization(processor: dict[str, Any], where: str) -> Normalization:
    """rescale_factor · p [− 1], minus image_mean, over image_std, in terms of p/255."""
    try:
        factor = float(processor.get("rescale_factor", 1 / 255)) if processor.get("do_rescale", True) else 1.0
        normalized = processor.get("do_normalize", True) and "image_mean" in processor
        mean, std = (_numbers(processor[key]) for key in ("image_mean", "image_std")) if normalized else ([0.0], [1.0])
        if factor <= 0 or len(mean) != len(std) or not all(s > 0 for s in std):
            raise ValueError(f"rescale_factor {factor}, image_mean {mean}, image_std {std}")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"its normalization is not understood ({error})",
            where=where,
            expected="image_mean and image_std",
            mend="mean and std in the recipe",
        ) from error
    full = 255 * factor
    full = 1.0 if abs(full - 1) < 1e-6 else full
    shift = 1.0 if processor.get("rescale_offset") and processor.get("do_rescale", True) else 0.0
    return Normalization(tuple((m + shift) / full for m in mean), tuple(s / full for s in std))


def _numbers(value: Any) -> list[float]:
    return [float(v) for v in value] if isinstance(value, list) else [float(value)]


def _size(processor: dict[str, Any], config: dict[str, Any]) -> tuple[int | None, int | None]:
    """Height and width that the model was trained on: of the crop, of the resized image, or of config.json."""
    cropped = processor.get("do_center_crop") and processor.get("crop_size")
    for found in (cropped, processor.get("size"), config.get("image_size")):
        match found:
            case {"height": int(h), "width": int(w)} if h > 0 and w > 0:
                return h, w
            case {"shortest_edge": int(side)} | int(side) | [int(side), _] if side > 0 and not isinstance(side, bool):
                return side, side
    return None, None


def _labels(names: Any, where: str) -> tuple[str, ...] | None:
    found = indexed(dict(names or {}), where)
    return None if all(name == f"LABEL_{i}" for i, name in enumerate(found)) else found
