"""The commands of the registry; and from a run to a rollback, with real releases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import gate_runs
from tests.gate_runs import figure, planted
from tests.registry.made import NAME, gate_record, release
from tests.small_builds import edgekd


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKD_MODELS", str(tmp_path / "store"))


def done(*arguments: str | Path) -> str:
    code, out, err = edgekd("models", *arguments)
    assert code == 0 and not err, err
    return out


def test_all_commands(tmp_path: Path) -> None:
    assert done("list") == "no models; edgekd models add RELEASE\n" and done("list", "--json") == "[]\n"
    first, second = (release(tmp_path, version, weights=version.encode()) for version in ("1.0.0", "1.1.0"))
    assert done("add", first, "--by", "ada") == f"{NAME} 1.0.0 added\n"
    assert done("add", first) == f"{NAME} 1.0.0 is there already\n"
    assert json.loads(done("add", second, "--by", "ada", "--json"))["changed"] is True
    assert done("promote", NAME, "1.0.0", "--to", "production") == f"{NAME} 1.0.0 is in production\n"
    gate = gate_record(tmp_path / "gate.json", second)
    done("promote", NAME, "1.1.0", "--to", "production", "--by", "ada", "--reason", "new\x1b[2J stem", "--gate", gate)
    assert done("promote", NAME, "1.1.0", "--to", "production") == f"{NAME} 1.1.0 is in production already\n"
    assert done("list").splitlines()[1].split() == [NAME, "2", "1.1.0", "-", "1.1.0"]
    assert done("path", f"{NAME}@production") == f"{tmp_path}/store/{NAME}/1.1.0\n"
    assert done("rollback", NAME, "--by", "bob") == f"{NAME} 1.0.0 is in production again; 1.1.0 was\n"
    shown = done("show", NAME)
    assert "promoted production: 1.0.0 → 1.1.0, gate passed  new [2J stem" in shown and "\x1b" not in shown
    assert "bob   rolled back production: 1.1.0 → 1.0.0" in shown
    shown = done("show", f"{NAME}@production")
    assert "files        3, as they were released" in shown and "model_bytes  5 B, counted" in shown
    assert json.loads(done("show", f"{NAME}@1.1.0", "--json"))["stages"] == []
    document = json.loads(done("show", NAME, "--json"))
    assert document["stages"] == {"production": "1.0.0"} and [event["kind"] for event in document["history"]][-1] == "rollback"
    done("add", release(tmp_path, "1.2.0", weights=bytes(4_521_984)))
    assert "model_bytes  4,521,984 B, counted" in done("show", f"{NAME}@1.2.0")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "other"], 2, "no model is called 'other'"),
        (["show", f"{NAME}@"], 2, "no version ''"),
        (["path", NAME], 2, f"NAME@VERSION or NAME@STAGE\n  to mend:  {NAME}@production"),
        (["path", f"{NAME}@../1.0.0"], 2, "no version '../1.0.0'"),
        (["promote", NAME, "1.0.0", "--to", "prod"], 2, "staging or production"),
        (["promote", NAME, "1.0.0", "--to", "staging", "--gate", "none.json"], 2, "--gate none.json: there is no such file"),
        (["rollback", NAME], 2, "nothing was ever in production"),
        (["add", "nowhere"], 2, "nowhere/manifest.json: there is no such file"),
    ],
)
def test_one_message(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    done("add", release(tmp_path))
    found = edgekd("models", *arguments)
    assert found[0] == code and not found[1] and said in found[2] and found[2].count("edgekd: ") == 1


def test_a_changed_release_is_exit_code_1(tmp_path: Path) -> None:
    done("add", release(tmp_path))
    file = tmp_path / "store" / NAME / "1.0.0" / "MODEL_CARD.md"
    file.chmod(0o644)
    file.write_text("# Other\n")
    code, out, err = edgekd("models", "promote", NAME, "1.0.0", "--to", "production")
    assert code == 1 and not out and "MODEL_CARD.md: " in err


@pytest.mark.slow
def test_from_a_run_to_a_rollback(tmp_path: Path) -> None:
    """Two releases of a run; the second in production, and back. The gate sits between, and keeps a third out."""
    first, out = gate_runs.run(), tmp_path / "releases"
    released = []
    for version in ("1.0.0", "1.1.0"):
        code, said, err = edgekd("release", first, "--format", "android", "--version", version, "--out", out, "--json")
        assert code == 0, err
        released.append(next(out.glob(f"*-{version}")))
        done("add", released[-1])
    name = released[0].name.removesuffix("-1.0.0")
    done("promote", name, "1.0.0", "--to", "production")
    baseline = done("path", f"{name}@production").strip()
    code, said, _ = edgekd("gate", released[1], "--baseline", baseline, "--json")
    assert code == 0, said
    (tmp_path / "gate.json").write_text(said)
    done("promote", name, "1.1.0", "--to", "production", "--gate", tmp_path / "gate.json", "--reason", "the next")
    assert done("path", f"{name}@production").strip().endswith("1.1.0")
    done("rollback", name, "--reason", "it burns")
    assert edgekd("release", "verify", done("path", f"{name}@production").strip())[0] == 0
    assert done("path", f"{name}@production").strip() == baseline

    worse = planted(first, tmp_path / "worse", figure("measure", "accuracy", plus=-0.02))
    code, said, _ = edgekd("gate", worse, "--baseline", baseline, "--json")
    assert code == 1
    (tmp_path / "gate.json").write_text(said)
    code, _, err = edgekd("models", "promote", name, "1.1.0", "--to", "staging", "--gate", tmp_path / "gate.json")
    assert code == 1 and "did not pass the gate: fail" in err
    code, said, _ = edgekd("gate", first, "--baseline", baseline, "--json")  # a run against a release
    assert code == 0, said
