"""A user's own modules: what they raise while they are imported becomes one message, and their content has a hash."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd import lazy
from edgekd.errors import InputError


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("lazy_case_syntax", "x = 1\ndef f(:\n", r"(?s)raised SyntaxError: .*lazy_case_syntax\.py, line 2"),
        ("lazy_case_raises", "1 / 0\n", r"(?s)raised ZeroDivisionError: division by zero.*lazy_case_raises\.py, line 1"),
        ("lazy_case_import", "import no_such_module_at_all\n", "module 'no_such_module_at_all' is not to be found"),
    ],
)
def test_module_that_cannot_be_imported(name: str, code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=message):
        lazy.load(f"{name}:f")


def test_source_hash_follows_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lazy_case_own.py"
    file.write_text("def f(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = lazy.source_sha256("lazy_case_own:f")
    file.write_text("def f(): return 1\n")
    assert before and lazy.source_sha256("lazy_case_own:f") != before
    assert lazy.source_sha256("cross_entropy") == ""
