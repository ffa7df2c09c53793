"""The model card: what a person must find in it, and that nothing in it can pretend to be something else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.records import Examined, Figure
from edgekd.release.card import classes, escape, number, text
from tests.released import KINDS
from tests.releases import facts_of


@pytest.mark.parametrize("kind", KINDS)
def test_it_has_all_of_its_sections(tmp_path: Path, kind: str) -> None:
    card = text(facts_of(tmp_path, kind))
    sections = [line[3:] for line in card.splitlines() if line.startswith("## ")]
    assert sections == [
        "What goes in, what comes out", "How it was made", "Numbers", "Class by class", "Intended use and limitations", "Licences",
        "How it was verified", "How to take it in",
    ]  # fmt: skip
    assert "\n\n\n" not in card and card.endswith("\n")
    assert "None" not in card and "Undefined" not in card


def test_a_number_has_its_unit_kind_n_and_interval(tmp_path: Path) -> None:
    card = text(facts_of(tmp_path))
    assert r"| latency\_ms | 0.25 ms | 0.24 ms to 0.26 ms | 50 | measured | host: made up |" in card
    assert r"| peak\_ram\_bytes | 20,000 B | - | - | emulated | host: made up |" in card
    assert "| drèss | 4 | 3 | 75.0 % | 30.1 to 95.4 % | 100.0 % | coat??/ (1) |" in card
    assert r"| model\_bytes | 12,848 B | counted | 524,288 B | profile pixel-8 |" in card
    assert "| the data | MIT |" in card
    assert "bit-equal for 100.0000% of 32 samples" in card


def test_without_examination_and_without_words_it_says_so(tmp_path: Path) -> None:
    card = text(replace(facts_of(tmp_path), examination=None, licenses={}, notes=("test vectors: random",)))
    assert card.startswith("# golden for pixel-8\n")
    assert "The run was not examined class by class." in card
    assert "| the model | not stated |" in card
    assert "**Limitations**: the recipe states none" in card
    assert "- test vectors: random" in card


def test_what_comes_from_outside_stays_text(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    hostile = "a | b\n## Licences <script>alert(1)</script> [x](http://y) `z`"
    said = text(replace(facts, licenses={**facts.licenses, "title": hostile, "limitations": hostile}))
    assert "<script>" not in said
    assert said.count("\n## Licences") == 1
    assert said.startswith("# a \\| b \\#\\# Licences \\<script\\>")
    assert escape("a\u202eb\x00c") == "a b c"
    assert escape(True) == "yes"


def test_numbers_are_shown_as_their_units_want() -> None:
    assert number(Figure(0.98765, "share", "measured", "x"), 0.98765) == "98.77 %"
    assert number(Figure(1234567.0, "MAC", "counted", "x"), 1234567.0) == "1,234,567 MAC"
    assert number(Figure(0.056312, "ms", "measured", "x"), 0.056312) == "0.05631 ms"
    assert number(Figure(10.0, "", "counted", "x"), 10.0) == "10"


def test_a_class_without_samples_or_answers_divides_by_nothing() -> None:
    task = Examined("", ("a", "b", "c"), ((0, 0, 0), (1, 1, 0), (0, 2, 0)), (), {})
    rows = classes(task)
    assert (rows[0].recall, rows[0].interval, rows[0].precision, rows[0].taken_for) == ("-", "-", "0.0 %", "-")
    assert (rows[1].recall, rows[1].taken_for) == ("50.0 %", "a (1)")
    assert (rows[2].recall, rows[2].precision, rows[2].taken_for) == ("0.0 %", "-", "b (2)")
