"""Teachers: where they come from, and their stored outputs."""

from __future__ import annotations

#: Source → function(*, channels, classes, **options) → a torch module from normalized images [N, C, H, W] to logits [N, classes].
TEACHERS = {
    "residual_cnn": "edgekd.teachers.residual_cnn:residual_cnn",
}
