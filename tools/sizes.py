"""Prints what is over the sizes to aim at: files of 300 lines, functions of 60 lines, 7 parameters.

    python tools/sizes.py [--strict] [PATH…]

Information only, exit 0; with --strict exit 1 if anything is over. A line ``# size: the reason`` in a file's first ten lines, or on or
just above a ``def``, makes it a decision: it is listed with its reason and does not count.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FILE_LINES, FUNCTION_LINES, PARAMETERS = 300, 60, 7
REASON = re.compile(r"#\s*size:\s*(\S.*)")


@dataclass(frozen=True)
class Finding:
    where: str
    what: str
    reason: str


def findings(path: Path) -> Iterator[Finding]:
    """Everything in the Python file ``path`` that is over, top to bottom."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    if len(lines) > FILE_LINES:
        yield Finding(str(path), f"{len(lines)} lines (aim: {FILE_LINES})", _reason(lines[:10]))
    for node in ast.walk(ast.parse(text, str(path))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        where = f"{path}:{node.lineno} {node.name}"
        reason = _reason(lines[max(node.lineno - 2, 0) : node.lineno])
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > FUNCTION_LINES:
            yield Finding(where, f"{length} lines (aim: {FUNCTION_LINES})", reason)
        if (count := parameters(node.args)) > PARAMETERS:
            yield Finding(where, f"{count} parameters (aim: {PARAMETERS})", reason)


def parameters(args: ast.arguments) -> int:
    """How many parameters a caller meets: ``self`` and ``cls`` are none, ``*args`` and ``**kwargs`` one each."""
    named = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    if named and named[0].arg in ("self", "cls"):
        named = named[1:]
    return len(named) + (args.vararg is not None) + (args.kwarg is not None)


def _reason(lines: list[str]) -> str:
    return next((found[1] for line in lines if (found := REASON.search(line))), "")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="what is over the sizes to aim at")
    parser.add_argument("--strict", action="store_true", help="exit 1 if anything is over without a reason")
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("edgekd"), Path("tools"), Path("tests")])
    options = parser.parse_args(argv)
    files = [file for path in options.paths for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    found = [finding for file in files for finding in findings(file)]
    over = [finding for finding in found if not finding.reason]
    for finding in found:
        print(f"{finding.where}: {finding.what}" + (f" (decided: {finding.reason})" if finding.reason else ""))
    print(f"sizes: {len(files)} files, {len(over)} over, {len(found) - len(over)} over for a reason")
    return 1 if options.strict and over else 0


if __name__ == "__main__":
    sys.exit(main())
