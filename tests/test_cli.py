"""The command line's own behaviour: start-up, JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import edgekd.profile.load
from edgekd.cli import app
from edgekd.errors import DoesNotFit

HEAVY = ("torch", "numpy", "onnx", "onnxruntime", "openvino", "tensorflow", "ai_edge_litert", "nncf", "PIL", "safetensors", "sqlalchemy")


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def loaded_by(*arguments: str) -> set[str]:
    """Names of the modules that a real process has loaded when the command ends."""
    code = "import sys, edgekd.cli\ntry: edgekd.cli.main()\nexcept SystemExit: pass\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_help_loads_nothing_heavy() -> None:
    assert not loaded_by("--help") & {*HEAVY, "pydantic"}
    assert not loaded_by("targets", "check", "pixel-8") & {*HEAVY}


def test_help_keeps_what_stands_in_brackets() -> None:
    assert "a file with a [student]" in " ".join(run("build", "--help")[1].replace("│", " ").split())


def test_help_names_the_commands() -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    assert "targets" in out and "recipes" in out


def test_version() -> None:
    done = subprocess.run([sys.executable, "-m", "edgekd", "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.strip() and not done.stderr


def test_list() -> None:
    code, out, err = run("targets", "list")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) >= 15 and "nucleo-l4r5zi" in out
    code, out, _ = run("targets", "list", "--kind", "jetson", "--json")
    assert code == 0
    assert {p["name"] for p in json.loads(out)} >= {"orin-nano", "nano"} and all(p["kind"] == "jetson" for p in json.loads(out))
    code, out, err = run("targets", "list", "--kind", "jetsons", "--json")
    assert (code, out) == (2, "") and "no kind is called 'jetsons'" in err and "--kind jetson" in err


def test_show() -> None:
    code, out, _ = run("targets", "show", "orin-nano")
    assert code == 0 and "scheme.symmetric_activations  true" in out
    code, out, _ = run("targets", "show", "orin-nano", "--json")
    assert json.loads(out)["scheme"]["symmetric_activations"] is True
    code, out, err = run("targets", "show", "orin")
    assert (code, out) == (2, "") and "perhaps orin-nano" in err


def test_check_says_all_of_all_files(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("x = 1")
    code, out, err = run("targets", "check", "pixel-8", str(bad), "nothing-like-it", "rp2040")
    assert code == 2
    assert [line.endswith(": ok") for line in out.splitlines()] == [True, True]
    assert "bad.toml" in err and "nothing-like-it" in err


def test_check_json(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("x = 1")
    code, out, err = run("targets", "check", "--json", "pixel-8", str(bad))
    assert code == 2 and err
    good, wrong = json.loads(out)
    assert good["ok"] and not good["problems"]
    assert not wrong["ok"] and wrong["file"] == str(bad)
    assert wrong["problems"][0]["key"] and set(wrong["problems"][0]) == {"key", "found", "expected", "mend"}


@pytest.mark.parametrize("room", ["targets", "recipes"])
def test_schema(room: str) -> None:
    code, out, err = run(room, "schema")
    assert (code, err) == (0, "")
    assert json.loads(out)["additionalProperties"] is False


def test_recipes_check() -> None:
    assert run("recipes", "check", "fashion_mnist")[0] == 0


def test_usage_errors_end_with_2() -> None:
    for arguments in (["targets", "chek"], ["targets", "check"], ["targets", "list", "--knd", "mcu"]):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "") and err


def test_exit_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(error: BaseException) -> None:
        def all_profiles(kind: str | None) -> None:
            raise error

        monkeypatch.setattr(edgekd.profile.load, "all_profiles", all_profiles)

    raises(DoesNotFit("too large"))
    assert run("targets", "list") == (1, "", "edgekd: too large\n")
    raises(KeyboardInterrupt())
    assert run("targets", "list") == (130, "", "edgekd: interrupted\n")


def test_a_reader_that_leaves(repository: Path) -> None:
    """``edgekd targets schema | head -1`` is no error."""
    command = f"'{sys.executable}' -m edgekd targets schema | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=repository)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")
