"""The commands that ask the store: tables and documents, comparisons of like with like, files."""

from __future__ import annotations

import csv
import importlib.util
import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgekd.cli import app
from edgekd.records import Figure
from edgekd.store import Result
from edgekd.store.results import save
from edgekd.store.tables import connect
from tests.store.made import result


def invoke(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["results", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_list_and_compare(url: str) -> None:
    save(
        connect(url), [result(label="pi"), result(device="ssh:o@jetson", ms=1.0, label="jetson"), result(device="adb:A1", failed="gone: x")]
    )
    code, out, err = invoke("list", "--store", url)
    assert code == 0 and "2 ms (1.8–2.2)" in out and "failed: gone: x" in out, err
    document = json.loads(invoke("list", "--store", url, "--json", "--device", "jetson")[1])
    assert [one["figures"]["latency_ms"]["value"] for one in document] == [1.0] and document[0]["ok"]
    out = invoke("list", "--store", url, "--failed")[1]
    assert "jetson" not in out and "adb:A1, keywords, 2026-11-22T15:00:00+00:00:\n  gone: x" in out
    code, out, err = invoke("compare", "pi", "jetson", "--store", url)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0 and lines[1][2] == "pi" and lines[1][-1] == "1" and lines[2][2] == "jetson" and "0.5 (0.409–0.611)" in out, out + err
    (_, second) = json.loads(invoke("compare", "pi", "jetson", "--store", url, "--json")[1])
    assert second["to"] == "pi" and second["ratio"] == 0.5 and second["low"] < 0.5 < second["high"]
    assert invoke("compare", "--figure", "energy_uj", "--store", url)[1] == "no results with energy_uj\n"


def test_calibration(url: str) -> None:
    foretold = Figure(2.5, "ms", "predicted", "pi", 3, 2.2, 2.9)
    with_it = replace(result(label="pi"), figures={**result().figures, "predicted_latency_ms": foretold})
    connect(url)
    assert invoke("calibration", "--store", url)[1].startswith("nothing was predicted before it was measured")
    save(connect(url), [with_it, result("pictures")])
    out = invoke("calibration", "--store", url)[1]
    assert "2.5 ms (2.2–2.9) predicted" in out and "+25%" in out and out.rstrip().endswith("no") and "pictures" not in out
    (one,) = json.loads(invoke("calibration", "--store", url, "--json")[1])
    assert one["error"] == 0.25 and one["inside"] is False


def test_export(url: str, tmp_path: Path) -> None:
    save(connect(url), [result(label='a, "b"'), replace(result(device="adb:A1", failed="two\nlines"), figures={})])
    code, out, err = invoke("export", tmp_path / "all.csv", "--store", url)
    assert code == 0 and out.endswith("3 lines of 2 results\n"), err
    with open(tmp_path / "all.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["figure"] for row in rows] == ["bit_equal", "latency_ms", ""] and rows[0]["label"] == 'a, "b"'
    assert (
        float(rows[1]["value"]) == 2.0 and rows[1]["low"] == "1.8" and rows[1]["kind"] == "measured" and rows[2]["failed"] == "two\nlines"
    )
    assert rows[1]["result"] == "1" and rows[1]["where"] == "ssh:pi@10.0.0.7" and rows[2]["value"] == ""
    code, _, err = invoke("export", tmp_path / "all.xlsx", "--store", url)
    assert code == 2 and "expected: .csv or .parquet" in err and "all.csv" in err


def test_parquet(url: str, tmp_path: Path) -> None:
    save(connect(url), [result()])
    code, out, err = invoke("export", tmp_path / "all.parquet", "--store", url)
    if importlib.util.find_spec("pyarrow") is None:
        assert code == 2 and "Parquet needs pyarrow" in err and "pip install pyarrow" in err and not (tmp_path / "all.parquet").exists()
        return
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(tmp_path / "all.parquet").to_pylist()
    assert code == 0 and [row["figure"] for row in table] == ["bit_equal", "latency_ms"] and table[1]["value"] == 2.0, out
    assert table[1]["created"] == datetime(2026, 11, 22, 15, tzinfo=UTC) and table[1]["n"] == 40 and table[1]["unit"] == "ms"


def test_reading_makes_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = invoke("list", "--store", tmp_path / "typo.sqlite")
    assert code == 2 and "typo.sqlite: there is no store" in err and not (tmp_path / "typo.sqlite").exists()
    monkeypatch.delenv("EDGEKD_STORE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert invoke("list")[:2] == (0, "no results\n") and not (tmp_path / "cache").exists()


def test_only_like_is_compared_with_like(url: str) -> None:
    def of(label: str, figure: Figure, inputs: str = "", target: str = "pi") -> Result:
        return replace(result(label=label, inputs=inputs, target=target), figures={"f": figure})

    time = Figure(2.0, "ms", "measured", "pi, litert 2.3, XNNPACK, 1 thread", 40, 1.9, 2.1)
    share = Figure(0.5, "share", "measured", "pi", 200)
    many = replace(time, where="pi, litert 2.3, XNNPACK, 4 threads, blocks")
    engine = connect(url)
    save(engine, [of("a", time), of("b", many), of("c", replace(time, kind="predicted")), of("a", time, target="other")])
    save(engine, [replace(of("d", share, "the test set"), fingerprint="z"), replace(of("e", share, "200 random inputs"), fingerprint="z")])
    found = json.loads(invoke("compare", "--figure", "f", "--store", url, "--json")[1])
    assert [(one["label"], one["unlike"], one["ratio"]) for one in found] == [
        ("a", "", 1.0),
        ("a", "", 1.0),
        ("b", "4 threads, not 1", None),
        ("c", "predicted, not measured", None),
        ("d", "", 1.0),
        ("e", "of 200 random inputs, not the test set", None),
    ]
    lines = invoke("compare", "--figure", "f", "--store", url)[1].splitlines()
    assert "(0.905–1.11)" in lines[2] and lines[3].endswith("4 threads, not 1"), "another target on the same device is no first"
    out = invoke("compare", "a", "d", "--figure", "f", "--store", url)[1]
    assert out.splitlines()[-1].split("measured")[-1].split(maxsplit=1) == ["-", "no other that way"], out
    code, _, err = invoke("compare", "a", "nobody", "--figure", "f", "--store", url)
    assert code == 2 and "no good result with f of 'nobody'" in err and "devices: a, b, c, d, e" in err


def test_no_cell_is_a_formula(url: str, tmp_path: Path) -> None:
    cold = {"t": Figure(-2.0, "°C", "measured", "+1")}
    save(connect(url), [replace(result("=cmd|' /C calc'!A0", label="@SUM(A1)", row="-1"), figures=cold)])
    assert invoke("export", tmp_path / "all.csv", "--store", url)[0] == 0
    with open(tmp_path / "all.csv", encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["model"], row["label"], row["row"], row["where"]) == ("'=cmd|' /C calc'!A0", "'@SUM(A1)", "'-1", "'+1")
    assert row["value"] == "-2.0"


def test_a_device_s_text_does_not_steer_a_terminal(url: str) -> None:
    save(connect(url), [result("m\x1b[2J\nx", failed="\x1b]0;title\x07")])
    out = invoke("list", "--store", url)[1]
    assert "\x1b" not in out and len(out.splitlines()) == 2
    assert "\x1b" not in invoke("list", "--failed", "--store", url)[1]


def test_that_not_all_are_listed_is_said(url: str) -> None:
    save(connect(url), [result(), result("pictures")])
    assert "--last 0 lists all" in invoke("list", "--last", "1", "--store", url)[2]
    assert invoke("list", "--last", "0", "--store", url)[2] == "" == invoke("list", "--store", url)[2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE edgekd_results SET document = '{not json'", "Expecting property name"),
        ("UPDATE edgekd_results SET document = '[1]'", "document is [1]"),
        ("UPDATE edgekd_results SET model = x'00ff'", "model is b'\\x00\\xff'"),
        ("UPDATE edgekd_results SET created = 'yesterday'", "Invalid isoformat string: 'yesterday'"),
        ("UPDATE edgekd_figures SET value = 'much' WHERE name = 'latency_ms'", "latency_ms is no number"),
        ("UPDATE edgekd_figures SET kind = 'evil'", "kind 'evil'"),
    ],
)
def test_a_row_that_is_damaged_is_said(url: str, change: str, said: str) -> None:
    save(connect(url), [result()])
    with sqlite3.connect(url) as database:
        database.execute(change)
    database.close()
    for command in (("list",), ("list", "--json"), ("export", str(Path(url).parent / "x.csv"))):
        done = CliRunner().invoke(app, ["results", *command, "--store", url])
        assert done.exit_code == 2 and not done.stdout, done.output
        assert f"{url}: a row of it is damaged: " in done.stderr and said in done.stderr and "restore this one" in done.stderr
