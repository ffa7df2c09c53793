"""Families of students: each gives specs to choose from, the graph that a spec will become, and the module that is trained."""

from __future__ import annotations

STUDENTS = {
    "conv1d": "edgekd.students.conv1d:FAMILY",
    "ds_cnn": "edgekd.students.ds_cnn:FAMILY",
    "inverted_residual": "edgekd.students.inverted_residual:FAMILY",
    "vit": "edgekd.students.vit:FAMILY",
}
