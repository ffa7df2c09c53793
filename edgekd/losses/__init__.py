"""Losses: each is one function of tensors, or one module of them, cites its paper and knows nothing of models.

A function is ``loss(student, teacher, labels, **options)``. A module class is made of examples, ``Loss(student, teacher, samples,
**options)``, and called with ``(student, teacher, labels, indices)``: its parameters are trained with the student and thrown away, its
buffers are part of what an interrupted training resumes. Both are fed logits, or what the recipe taps (train/criterion.py); labels are −1
where unknown, and such samples are left out.
"""

from __future__ import annotations

LOSSES = {
    "attention_maps": "edgekd.losses.attention_maps:attention_maps",
    "attention_transfer": "edgekd.losses.attention_transfer:attention_transfer",
    "cosine": "edgekd.losses.cosine:Cosine",
    "crd": "edgekd.losses.crd:CRD",
    "cross_entropy": "edgekd.losses.cross_entropy:cross_entropy",
    "dist": "edgekd.losses.dist:dist",
    "dkd": "edgekd.losses.dkd:dkd",
    "exits": "edgekd.losses.exits:Exits",
    "hidden_states": "edgekd.losses.hidden_states:HiddenStates",
    "hint": "edgekd.losses.hint:Hint",
    "logit_mse": "edgekd.losses.logit_mse:logit_mse",
    "previous_epoch": "edgekd.losses.previous_epoch:PreviousEpoch",
    "review": "edgekd.losses.review:Review",
    "rkd_angle": "edgekd.losses.rkd:rkd_angle",
    "rkd_distance": "edgekd.losses.rkd:rkd_distance",
    "similarity": "edgekd.losses.similarity:similarity",
    "soft_targets": "edgekd.losses.soft_targets:soft_targets",
    "value_relations": "edgekd.losses.value_relations:value_relations",
}

#: Those that see of the teacher's stored logits only their softmax, sample by sample: they may be fed the largest ones, as
#: teachers/top_k.py gives them back. Not dkd: the label may be among the others.
OF_THE_SOFTMAX = frozenset({"soft_targets"})
