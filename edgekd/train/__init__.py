"""Training: what a student is shown, by whom, how long; and the teachers' own training."""

from __future__ import annotations

#: Critic → function(x uint8 [N, H, W, C], teacher float32 [N, classes] (logits), labels int64 [N], **options) → score float [N], finite
#: and not negative: the higher, the better the sample; 0 rejects it. Where a label is not known, it is the teacher's.
CRITICS = {
    "teacher_confidence": "edgekd.train.critics:teacher_confidence",
    "agreement": "edgekd.train.critics:agreement",
    "margin": "edgekd.train.critics:margin",
}
#: Way to make images from a teacher alone → function(order, **options) → uint8 [samples, H, W, C]; order is train/synthesize.py's Order.
SYNTHESIS = {
    "inversion": "edgekd.train.synthesize_inversion:inversion",
    "generator": "edgekd.train.synthesize_generator:generator",
}
