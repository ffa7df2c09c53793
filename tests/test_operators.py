"""The table of operators: read off the code, written to a document, printed by a command."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from edgekd import operators
from edgekd.cli import app
from edgekd.quant import ops
from edgekd.quant.reference import engine

DOCUMENT = Path(operators.__file__).parent / "quant" / "OPERATORS.md"


def test_the_document_is_what_the_code_says() -> None:
    assert DOCUMENT.read_text() == operators.markdown(), "stale: edgekd operators --markdown > edgekd/quant/OPERATORS.md"


def test_every_operator_is_in_the_reference_and_in_the_table() -> None:
    assert set(engine.COMPILE) == set(ops.OPS.values())
    assert [row[0] for row in operators.support().rows] == list(ops.OPS)
    assert all(len(row) == len(operators.HEADINGS) for row in operators.support().rows)


def test_the_command_prints_it() -> None:
    run = CliRunner().invoke
    assert run(app, ["operators", "--markdown"]).stdout == operators.markdown()
    document = json.loads(run(app, ["operators", "--json"]).stdout)
    assert [row[0] for row in document["rows"]] == list(ops.OPS) and "TFLM" in document["headings"]
    table = run(app, ["operators"])
    assert table.exit_code == 0 and "BatchMatMul" in table.stdout and "float inside" in table.stdout
