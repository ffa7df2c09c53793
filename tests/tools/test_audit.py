"""The audit of the lock: its verdicts, what is accepted until when, what cannot be judged. pip-audit is stood in for by what it prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
VULNERABLE = {"id": "PYSEC-2099-7", "aliases": ["CVE-2099-1"], "fix_versions": ["1.1"], "description": "…"}
ENTRY = '[[accepted]]\nid = "CVE-2099-1"\npackage = "Some_Package"\nreason = "never called"\nexpires = {}\n'


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import audit  # pyright: ignore[reportMissingImports]

    return audit


def stand_in(
    folder: Path,
    *,
    vulns: tuple[dict[str, Any], ...] = (),
    unknown: tuple[str, ...] = (),
    down: tuple[str, ...] = (),
    silent: tuple[str, ...] = (),
    mirrors: tuple[str, ...] = (),
) -> Path:
    """A program that says of each line of the file it is given what pip-audit would. It leaves those of ``silent`` out; what answers in the
    place of one of the services ``mirrors`` has packages and no advisories."""
    program = folder / "pip-audit"
    program.write_text(f"""#!{sys.executable}
import json, sys
service = sys.argv[sys.argv.index("--vulnerability-service") + 1]
if service in {down!r}:
    sys.exit("ConnectionError: " + service)
known = {{"some-package": {list(vulns)!r}, "urllib3": [] if service in {mirrors!r} else [{VULNERABLE!r}]}}
lines = [line.split("==") for line in open(sys.argv[sys.argv.index("--requirement") + 1]).read().split()]
skipped = lambda name: {{"name": name, "skip_reason": "Dependency not found on PyPI"}}
judged = lambda name, version: {{"name": name, "version": version, "vulns": known.get(name, [])}}
answered = [skipped(n) if n in {unknown!r} else judged(n, v) for n, v in lines if n not in {silent!r}]
print(json.dumps({{"dependencies": answered, "fixes": []}}))
""")
    program.chmod(0o755)
    return program


def run(tool: Any, folder: Path, program: Path, capsys: pytest.CaptureFixture[str], *words: str, accepted: str = "") -> tuple[int, str]:
    (folder / "lock").write_text("# all\nfirst==2.0\nsome-package==1.0\n")
    (folder / "accepted.toml").write_text(accepted)
    options = ["--lock", str(folder / "lock"), "--accepted", str(folder / "accepted.toml"), "--pip-audit", str(program), *words]
    return tool.main(options), capsys.readouterr().out


def test_a_clean_lock(tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(tool, tmp_path, stand_in(tmp_path), capsys)
    assert code == 0 and said == "2 packages, asked of pypi: 0 advisories, 0 accepted\n"


def test_a_vulnerable_package(tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(tool, tmp_path, stand_in(tmp_path, vulns=(VULNERABLE,)), capsys)
    assert code == 1 and said.startswith("some-package 1.0: PYSEC-2099-7 CVE-2099-1, mended in 1.1\n2 packages")
    code, said = run(tool, tmp_path, stand_in(tmp_path, vulns=(VULNERABLE,)), capsys, "--json")
    assert code == 1 and json.loads(said)["advisories"][0]["mended"] == ["1.1"]


@pytest.mark.parametrize(("day", "code"), [("2999-12-31", 0), ("2020-01-01", 1)])
def test_what_is_accepted_until_a_day(tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], day: str, code: int) -> None:
    got, said = run(tool, tmp_path, stand_in(tmp_path, vulns=(VULNERABLE,)), capsys, accepted=ENTRY.format(day))
    assert got == code and ("(accepted: never called)" in said) == (code == 0)


def test_what_the_service_does_not_know_is_not_clean(tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(tool, tmp_path, stand_in(tmp_path, unknown=("some-package",)), capsys)
    assert code == 2 and "not judged, for pypi does not know them: some-package" in said


def test_what_is_not_answered_is_not_clean(tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(tool, tmp_path, stand_in(tmp_path, silent=("some-package",)), capsys)
    assert code == 2 and said.startswith("1 packages") and "not judged, for pypi does not know them: some-package==1.0" in said


def test_the_second_service_where_the_first_is_down(tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(tool, tmp_path, stand_in(tmp_path, down=("pypi",)), capsys)
    assert code == 0 and "asked of osv" in said


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ({"down": ("pypi", "osv")}, "osv: pip-audit ended with 1: ConnectionError: osv"),
        ({"unknown": ("urllib3",)}, "pypi knows of nothing wrong with urllib3==1.24.1: what answers in its place has no advisories"),
        ({"mirrors": ("pypi", "osv")}, "osv knows of nothing wrong with urllib3==1.24.1: what answers in its place has no advisories"),
    ],
)
def test_no_service(tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], program: dict[str, Any], said: str) -> None:
    code, out = run(tool, tmp_path, stand_in(tmp_path, **program), capsys)
    assert code == 2 and out.startswith("could not be judged: no service of advisories is to be reached from here:") and said in out
    code, out = run(tool, tmp_path, stand_in(tmp_path, **program), capsys, "--json")
    assert code == 2 and said in json.loads(out)["unjudged"]


@pytest.mark.parametrize(
    ("accepted", "said"),
    [
        ("[[accepted]]\nid = 1\n", "is no entry, expected expires, id, package, reason"),
        (ENTRY.format('"2999-12-31"'), "is no entry"),
        ("accepted = [", "is not valid TOML"),
    ],
)
def test_wrong_entries(tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], accepted: str, said: str) -> None:
    code, out = run(tool, tmp_path, stand_in(tmp_path), capsys, accepted=accepted)
    assert code == 2 and said in out


def test_a_program_that_is_not_there(tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(tool, tmp_path, tmp_path / "nothing", capsys)
    assert code == 2 and "does not run" in out


def test_the_lock_is_pins_and_nothing_else(tool: Any, tmp_path: Path) -> None:
    assert len(tool.pins(ROOT / "requirements.lock")) > 100
    (tmp_path / "lock").write_text("numpy>=2\n")
    with pytest.raises(tool.Unjudged, match="'numpy>=2' is no pin"):
        tool.pins(tmp_path / "lock")
