"""Bundles as the tests of every format pack them, and what holds for the code in those of phones, whatever its language."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgekd.lazy import load
from edgekd.release import FORMATS
from edgekd.release.facts import Facts
from tests.generated_code import computed, literals, mistakes

#: dtype and scale of inputs that are not the pixels of the golden students.
ODD_INPUTS = (("int8", 0.05), ("int16", 1 / 32768))
HOSTILE = ('a"b', "\\(exit(1))", "$x ${y}", "line\nbreak\r", "*/ /* //",
           "🐈‍⬛", "tab\t\0\x07", "\u202eright", "'''\"\"\"", "#\"\\#(x)", "\u2028")  # fmt: skip


def packed(format: str, made: Facts, out: Path) -> Path:
    """``out``, where the packer of ``format`` has written the files that it names, in their order, and no other."""
    out.mkdir(parents=True)
    files = load(FORMATS[format])(made, out)
    assert files == tuple(sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()))
    return out


def with_labels(made: Facts, labels: Sequence[str], need: str = "tflite") -> Facts:
    """The same release with other labels for the first classes, as many as there are."""
    model = made.models[need]
    head = model.heads[0]
    named = replace(head, labels=(*labels, *head.labels[len(labels) :])[: len(head.labels)])
    return replace(made, models={need: replace(model, heads=(named, *model.heads[1:]))})


def with_other_inputs(made: Facts, dtype: str, scale: float) -> Iterator[tuple[Facts, bool]]:
    """The same release with an input of ``dtype``; and whether it takes pixels."""
    model = made.models["tflite"]
    odd = replace(model, input=replace(model.input, dtype=dtype, scale=scale, zero_point=0))
    vectors = replace(made.vectors, x=made.vectors.x.astype(dtype))
    other = replace(made, models={"tflite": odd}, vectors=vectors, vectors_by_format={})
    yield other, True
    yield replace(other, graph=made.graph.with_metadata(input={"value": "decibels"})), False


def with_other_answers(made: Facts) -> Iterator[tuple[str, Facts]]:
    """The same release, its vectors exact or not, its answers probabilities or not; and a name for each."""
    for exact in (False, True):
        for probabilities in (False, True):
            vectors = replace(made.vectors, exact=exact)
            yield f"{exact}{probabilities}", replace(made, vectors=vectors, vectors_by_format={}, probabilities=probabilities)


def check_constants(text: str, suffix: str, borders: Sequence[tuple[str, str, str, str]], made: Facts) -> None:
    """That the accessor ``text`` names the model, and that ``borders`` found in it (dtype, shape, scale, zero point) are the model's."""
    model = made.models["tflite"]
    expected = [model.input, *(head.output for head in model.heads)]
    assert len(borders) == len(expected)
    for (dtype, shape, scale, zero_point), border in zip(borders, expected, strict=True):
        assert (dtype, tuple(int(d) for d in shape.split(","))) == (border.dtype, border.shape)
        assert (np.float32(scale), int(zero_point)) == (np.float32(border.scale or 0), border.zero_point or 0)
    said = literals(text, suffix)
    assert model.sha256 in said and "1.4.0" in said
    _check_labels(said, [label for head in model.heads for label in head.labels])


def check_hostile_labels(accessor: Callable[[Facts, Path], str], suffix: str, made: Facts, folder: Path) -> None:
    """That labels change nothing of the code but what its literals say. ``accessor`` packs a release into a folder and reads its code."""
    plain = accessor(made, folder / "plain")
    for labels in (HOSTILE[:6], HOSTILE[5:]):
        text = accessor(with_labels(made, labels), folder / "out")
        assert mistakes(text, suffix) == []
        assert computed(text, suffix) == computed(plain, suffix)
        assert text.count("\n") == plain.count("\n")
        _check_labels(literals(text, suffix), labels)


def _check_labels(said: Sequence[str], labels: Sequence[str]) -> None:
    start = said.index(labels[0])
    assert list(said[start : start + len(labels)]) == list(labels)
