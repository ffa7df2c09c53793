"""edgekd convert --to c, and verify of what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgekd.cli import app
from edgekd.runtimes import c_host
from tests.c_host import NEEDS_GCC

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "branches_per_tensor"


@NEEDS_GCC
def test_it_is_written_and_proven(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["convert", str(GOLDEN), "--to", "c", "--out", str(tmp_path), "--threads", "1", "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["artifacts"][0]["files"] == ["student.c", "student.h"]
    (verdict,) = document["verified"]["verdicts"]
    assert verdict["ok"] and verdict["runtime"] == "c_host" and verdict["figures"]["bit_equal"]["value"] == 1
    again = CliRunner().invoke(app, ["verify", str(GOLDEN), str(tmp_path / "student.c"), "--threads", "1"])
    assert again.exit_code == 0 and "student.c                c_host          ok" in again.stdout


@NEEDS_GCC
def test_a_wrong_library_is_found_out(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["convert", str(GOLDEN), "--to", "c", "--out", str(tmp_path), "--no-verify"])
    assert done.exit_code == 0, done.output
    source = tmp_path / "student.c"
    text = source.read_text()
    wrong = text.replace("sum->c3 += (uint32_t)(x * w[3]);", "sum->c3 += (uint32_t)(x * w[2]);").replace("v = w[3];", "v = w[2];")
    source.write_text(wrong)
    judged = CliRunner().invoke(app, ["verify", str(GOLDEN), str(source), "--threads", "1"])
    assert judged.exit_code == 1 and "student.c                c_host          NO" in judged.stdout, judged.output
    assert "; first at relu (Conv2D, tensor relu)" in judged.stdout


def test_kernels_and_core(tmp_path: Path) -> None:
    def ran(*options: str) -> str:
        done = CliRunner().invoke(app, ["convert", str(GOLDEN), "--to", "c", "--out", str(tmp_path), *options])
        return f"{done.exit_code} {done.output}{done.stderr}"

    said = ran("--kernels", "cmsis-nn", "--core", "cortex-m4")
    assert said.startswith("0 ") and "student.c in c_host: not run: " in said
    assert 'STUDENT_KERNELS "cmsis-nn"' in (tmp_path / "student.h").read_text()
    assert "kernels 'quick'" in ran("--kernels", "quick") and ran("--kernels", "quick").startswith("2 ")
    assert "core 'z80'" in ran("--core", "z80")


def test_where_no_compiler_is_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    c_host._compiler.cache_clear()
    try:
        done = CliRunner().invoke(app, ["convert", str(GOLDEN), "--to", "c", "--out", str(tmp_path)])
    finally:
        c_host._compiler.cache_clear()
    assert done.exit_code == 0 and "student.c in c_host: not run: no C compiler on this host (cc, gcc, clang)" in done.stdout
    assert (tmp_path / "student.c").is_file()
