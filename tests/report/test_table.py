from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from edgekd import report, runs
from edgekd.errors import InputError
from edgekd.records import BudgetUse, Checkpoint, Figure, Measurement, Plan, Record, Verdict


def share(value: float, kind: str = "measured") -> Figure:
    return Figure(value, "share", kind, "host: x", n=10000, low=value - 0.01, high=min(1.0, value + 0.01))  # type: ignore[arg-type]


def write(run: Path, stage: str, body: object, **figures: Figure) -> None:
    runs.write(run, Record(stage, {}, {}, {}, body, figures=figures))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = runs.create(tmp_path, "fashion", "nucleo", {"seed": 0})
    budgets = (BudgetUse("model_bytes", 60000, 65536, "B", "recipe"), BudgetUse("accuracy_drop_pp", 0, 4, "pp", "profile"))
    figures = {"parameters": Figure(30100, "weights", "counted", "plan"), "macs": Figure(3.1e6, "MAC", "counted", "plan")}
    write(run, "plan", Plan("nucleo-l4r5zi", "inverted_residual", {"width": 8}, figures, budgets, 12))
    (run / "student.safetensors").write_bytes(b"")
    sha256 = runs.sha256_file(run / "student.safetensors")
    write(run, "train", Checkpoint("student.safetensors", sha256, (), {}), teacher_accuracy=share(0.945))
    return run


def finish(run: Path, *, ok: bool = True, accuracy: float = 0.92, model_bytes: float = 61000) -> None:
    reason = "bit-equal" if ok else "bit-equal for 12 % of samples; every one is demanded"
    figures = {"bit_equal": share(1.0 if ok else 0.12), "top1_agreement": share(0.99999), "accuracy": share(accuracy)}
    write(run, "verify", [Verdict("m.tflite", "tflm", "tflm", ok, reason, {"0": 1}, figures, None if ok else "conv2")])
    costs = {
        "accuracy": share(accuracy, "emulated"),
        "model_bytes": Figure(model_bytes, "B", "counted", "file"),
        "peak_ram_bytes": Figure(50000, "B", "emulated", "arena"),
        "latency_ms": Figure(3.2, "ms", "measured", "host: x", n=40, low=3.1, high=3.3),
    }
    write(run, "measure", [Measurement("m.tflite", "nucleo-l4r5zi", costs)])


def text(run: Path) -> str:
    console = Console(width=220, record=True, file=io.StringIO())
    console.print(report.table([run]))
    return console.export_text()


def test_a_limit_of_a_second_and_more_is_whole_milliseconds(tmp_path: Path) -> None:
    run = runs.create(tmp_path, "digits", "nrf52840dk", {"seed": 0})
    budgets = (BudgetUse("latency_ms", 84, 1000, "ms", "profile"), BudgetUse("max_macs", 1.3e6, 2e6, "MAC", "profile"))
    write(run, "plan", Plan("nrf52840dk", "ds_cnn", {"width": 8}, {}, budgets, 12))
    assert "latency ≤ 1,000 ms" in text(run) and "size ≤ 2.00 M MAC" in text(run)


def test_an_unfinished_run_shows_what_there_is(run: Path) -> None:
    (row,) = report.rows([run])
    assert (row["target"], row["ok"], row["accuracy"], row["runtimes"]) == ("nucleo-l4r5zi", None, None, {})
    assert "unfinished" in text(run)


def test_a_good_run(run: Path) -> None:
    finish(run)
    (row,) = report.rows([run])
    assert (row["ok"], row["failures"]) == (True, [])
    assert row["runtimes"]["tflm"]["bit_equal"]["value"] == 1.0
    json.dumps(row, allow_nan=False)
    shown = text(run)
    for part in (
        "nucleo-l4r5zi",
        "file ≤ 64.0 KiB",
        "30.1 K weights",
        "92.00% [91.00, 93.00]",
        "n = 10000",
        "(teacher 94.50%)",
        "59.6 KiB",
    ):
        assert part in shown
    assert "file ≤ 64.0 KiB †" in shown and "drop ≤ 4 pp  " in shown, "who set a budget, where that is not the profile"
    assert "set by the profile, † by the recipe, ‡ on the command line" in shown
    for part in ("48.8 KiB*", "3.2 ms", "[3.1, 3.3], n = 40", "tflm: bit-equal, all 10000", "good"):
        assert part in shown


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ok": False}, "tflm: bit-equal for 12 % of samples; every one is demanded; first at conv2"),
        ({"model_bytes": 70000.0}, "model_bytes 70000 of 65536 B"),
        ({"accuracy": 0.9}, "4.50 pp below the teacher, 4 allowed"),
    ],
)
def test_a_run_that_fails_says_why(run: Path, wrong: dict[str, float], said: str) -> None:
    finish(run, **wrong)  # type: ignore[arg-type]
    (row,) = report.rows([run])
    assert (row["ok"], row["failures"]) == (False, [said])
    assert "NO" in text(run)


def test_budgets_that_no_plan_can_count_come_from_the_configuration(run: Path) -> None:
    finish(run)
    limit = {"limit": 1.0, "unit": "pp", "source": "recipe"}
    runs.write(run, Record("freeze", {}, {"budgets": {"loss_pp": limit}}, {}, None))
    (row,) = report.rows([run])
    assert {"name": "loss_pp", "actual": None, **limit} in row["budgets"]
    assert "loss_pp ≤ 1 pp †" in text(run)
    runs.write(run, Record("freeze", {}, {"budgets": {"loss_pp": limit | {"source": "command line"}}}, {}, None))
    assert "loss_pp ≤ 1 pp ‡" in text(run)


def test_agreement_is_never_rounded_up_to_all(run: Path) -> None:
    finish(run, ok=False)
    assert "top-1 99.99%" in text(run)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name a folder that `edgekd build` made"):
        report.rows([tmp_path])


def test_each_task_is_held_against_its_own_teacher(run: Path) -> None:
    finish(run)
    more = {"accuracy_digit": share(0.92), "accuracy_speaker": share(0.80, "emulated")}
    teachers = {"teacher_accuracy_digit": share(0.945), "teacher_accuracy_speaker": share(0.85)}
    body = runs.read(run, "measure").body[0]
    write(run, "measure", [replace(body, figures={**body.figures, **more, **teachers})])
    verdict = runs.read(run, "verify").body[0]
    agreed = {"top1_agreement_digit": share(1.0), "top1_agreement_speaker": share(0.97), "bit_equal": share(0.9)}
    write(run, "verify", [replace(verdict, figures={**verdict.figures, **agreed})])
    (row,) = report.rows([run])
    assert row["failures"] == ["speaker: 5.00 pp below the teacher, 4 allowed"]
    assert row["tasks"]["speaker"]["accuracy"]["value"] == 0.80
    shown = text(run)
    for part in ("digit: 92.00%", "(teacher 94.50%)", "speaker: 80.00%", "(teacher 85.00%)", "top-1 digit 100", "97.00%"):
        assert part in shown


def test_benchmarks_of_devices_are_none_of_the_runs_own_figures(run: Path) -> None:
    finish(run)
    (before,) = report.rows([run])
    other = {
        "latency_ms": Figure(99.0, "ms", "measured", "ssh pi"),
        "accuracy": share(0.5),
        "model_bytes": Figure(1e6, "B", "counted", "file"),
    }
    write(run, "bench-ssh-pi", [Measurement("m.tflite", "ssh", other)], **other)
    assert report.rows([run]) == [before]
