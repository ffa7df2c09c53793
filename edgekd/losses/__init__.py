"""Losses: each is one function of tensors, cites its paper and knows nothing of models."""

from __future__ import annotations

LOSSES = {
    "cross_entropy": "edgekd.losses.cross_entropy:cross_entropy",
    "soft_targets": "edgekd.losses.soft_targets:soft_targets",
}
