"""Families of students: each gives specs to choose from, the graph that a spec will become, and the module that is trained."""

from __future__ import annotations

STUDENTS = {
    "inverted_residual": "edgekd.students.inverted_residual:FAMILY",
    "vit": "edgekd.students.vit:FAMILY",
}
