"""The commands: release, release verify, release schema; what they print, and their exit codes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgekd.cli import app
from edgekd.release import FORMATS
from edgekd.release.manifest import schema
from tests.releases import keys, made, tiny


def run(*arguments: object, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], env=env)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny(monkeypatch)
    return made(tmp_path).released.folder


@pytest.fixture
def signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    tiny(monkeypatch)
    private, public = keys(tmp_path)
    return made(tmp_path, key=private).released.folder, public


def test_an_unsigned_release_is_good_but_said_to_be_unsigned(folder: Path) -> None:
    code, out, _ = run("release", "verify", folder)
    assert code == 0
    assert "16 files are as they were released" in out
    assert "signature: there is none: anyone could have made this folder" in out


def test_a_signed_release(signed: tuple[Path, Path], tmp_path: Path) -> None:
    folder, public = signed
    assert "there is one, which was not checked: --public-key KEY.pub does" in run("release", "verify", folder)[1]
    code, out, _ = run("release", "verify", folder, "--public-key", public)
    assert code == 0 and "signature: good, by the owner of the public key" in out
    code, out, _ = run("release", "verify", folder, "--public-key", keys(tmp_path, "other")[1])
    assert code == 1 and "NOT what was released" in out and "signature: NOT good" in out and "Key mismatch" in out


def test_a_key_and_no_signature_is_no(folder: Path, tmp_path: Path) -> None:
    code, out, _ = run("release", "verify", folder, "--public-key", keys(tmp_path)[1])
    assert code == 1 and "model.sig: there is no signature" in out


@pytest.mark.parametrize("path", ["model/model.tflite", "tiny/bundle.zip", "manifest.json", "model.sig", "MODEL_CARD.md"])
def test_a_changed_file_is_no(signed: tuple[Path, Path], path: str) -> None:
    folder, public = signed
    whole = (folder / path).read_bytes()
    (folder / path).write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
    code, out, err = run("release", "verify", folder, "--public-key", public)
    assert code in (1, 2) and path in out + err
    assert code == 1 or path == "manifest.json"


def test_as_json(signed: tuple[Path, Path]) -> None:
    folder, public = signed
    code, out, _ = run("release", "verify", folder, "--public-key", public, "--json")
    assert code == 0
    assert json.loads(out) == {
        "path": str(folder), "name": "golden-pixel-8-1.4.0", "ok": True, "problems": [], "signature": "good"
    }  # fmt: skip
    (folder / "more").write_text("x")
    code, out, _ = run("release", "verify", folder, "--json")
    said = json.loads(out)
    assert code == 1 and said["problems"] == ["more: was added: the manifest does not name it"] and said["signature"] == "unchecked"


def test_a_link_or_a_pipe_is_not_hashed(signed: tuple[Path, Path]) -> None:
    folder, public = signed
    (folder / "link").symlink_to("/dev/zero")
    code, out, _ = run("release", "verify", folder, "--public-key", public)
    assert code == 1 and "link: is a symbolic link" in out and "not looked at" in out


def test_a_name_that_would_move_the_cursor_is_shown_as_text(folder: Path) -> None:
    (folder / "\x1b[2Jgood").write_text("x")
    code, out, _ = run("release", "verify", folder)
    assert code == 1 and "\x1b" not in out and "\\x1b[2Jgood: was added" in out


def test_a_name_that_is_no_text_is_shown_too(folder: Path) -> None:
    (folder / os.fsdecode(b"caf\xe9")).write_text("x")
    code, out, _ = run("release", "verify", folder)
    assert code == 1 and "caf\\udce9: was added" in out
    code, out, _ = run("release", "verify", folder, "--json")
    assert code == 1 and json.loads(out)["problems"] == ["caf\udce9: was added: the manifest does not name it"]


def test_what_is_no_release_cannot_be_judged(tmp_path: Path) -> None:
    code, _, err = run("release", "verify", tmp_path)
    assert code == 2 and "name a folder that `edgekd release` made" in err
    (tmp_path / "manifest.json").write_text("{}")
    code, _, err = run("release", "verify", tmp_path)
    assert code == 2 and "schema_version None" in err


def test_a_key_that_is_none_cannot_be_judged(folder: Path, tmp_path: Path) -> None:
    code, _, err = run("release", "verify", folder, "--public-key", tmp_path / "nothing")
    assert code == 2 and "No such file" in err


def test_the_schema_is_printed() -> None:
    code, out, _ = run("release", "schema")
    assert code == 0 and json.loads(out) == schema()


def test_what_names_no_command_is_a_run(tmp_path: Path) -> None:
    code, _, err = run("release", tmp_path / "nothing", "--version", "1.0.0", "--format", "android", "--out", tmp_path / "out")
    assert code == 2 and "nothing" in err and "edgekd build" in err
    code, _, err = run("release", "--version", "1.0.0", "--format", "android", tmp_path / "nothing", "--out", tmp_path / "out")
    assert code == 2 and "edgekd build" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--version", "1.4", "--format", "android"), "MAJOR.MINOR.PATCH"),
        (("--version", "1.4.0", "--format", "android", "--group", "Example"), "a reversed domain name"),
        (("--version", "1.4.0", "--format", "windows"), ", ".join(FORMATS)),
    ],
)
def test_an_order_that_cannot_be_followed(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    code, _, err = run("release", tmp_path / "run", *arguments, "--out", tmp_path / "out")
    assert code == 2 and said in err and "Traceback" not in err


def test_the_help_shows_both_ways() -> None:
    code, out, _ = run("release", "--help")
    assert code == 0 and "verify" in out and "RUN" in out
    assert "--format" in run("release", "pack", "--help")[1]


def test_what_was_not_released_is_not_hashed(signed: tuple[Path, Path]) -> None:
    folder, public = signed
    with (folder / "MODEL_CARD.md").open("wb") as file:
        file.truncate(2**40)
    code, out, _ = run("release", "verify", folder, "--public-key", public)
    assert code == 1 and "MODEL_CARD.md: has 1099511627776 bytes" in out
    assert "model.sig: not looked at, for these are not the files of the manifest" in out and "signature: NOT good" in out
    assert run("release", "verify", folder, "--public-key", folder / "MODEL_CARD.md")[0] == 2  # a key that is none is said all the same


def test_a_thousand_problems_are_not_a_thousand_lines(folder: Path) -> None:
    for at in range(150):
        (folder / f"more{at:03}").touch()
    code, out, _ = run("release", "verify", folder)
    assert code == 1 and "more099: was added" in out and "more100" not in out and "and 50 more: --json names them all" in out
    assert len(json.loads(run("release", "verify", folder, "--json")[1])["problems"]) == 150
