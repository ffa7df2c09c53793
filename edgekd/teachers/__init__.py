"""Teachers: where they come from, and their stored outputs."""

from __future__ import annotations

#: Source → function(*, channels, classes, root, **options), which takes of the first three (images' channels, number of classes, the
#: recipe's folder) those that it names, and returns a torch module from normalized images [N, C, H, W] to logits [N, classes]; an Opened,
#: which is such a module that is finished and knows its labels and sizes; or StoredOutputs, where there is no module.
TEACHERS = {
    "residual_cnn": "edgekd.teachers.residual_cnn:residual_cnn",
    "wave_cnn": "edgekd.teachers.wave_cnn:wave_cnn",
    "onnx": "edgekd.teachers.onnx:load",
    "keras": "edgekd.teachers.keras:load",
    "saved_model": "edgekd.teachers.saved_model:load",
    "transformers": "edgekd.teachers.transformers:load",
    "soft_targets": "edgekd.teachers.outputs_file:load",
}
