"""What a benchmark leaves in its run."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgekd import bench, runs
from edgekd.measure.device import Asked, Bench, Row
from edgekd.measure.stats import FEWEST
from edgekd.records import Figure, Measurement

GOLDEN = Path(__file__).resolve().parent / "golden" / "inverted_residual"


def test_the_record_of_one_that_failed_says_so_and_has_no_figures_of_the_run(tmp_path: Path) -> None:
    run = runs.create(tmp_path, "mine", "nrf52840dk", {"any": 1})
    measured = Measurement("m.tflite", "ssh", {"latency_ms": Figure(1.0, "ms", "measured", "ssh pi")}, ("a note",))
    rows = (Row("m.tflite", measured, failed="m.tflite: rejected: thermal throttling"),)
    (run / "graph").mkdir()
    for name in ("graph.json", "weights.safetensors"):
        shutil.copy(GOLDEN / name, run / "graph" / name)
    bench._record(run, bench.Wanted(run, "", "ssh:pi"), bench.Benched("m", "", "", Bench("ssh", rows)), 1.0)
    record = runs.read(run, "bench-ssh-pi")
    assert record.figures == {} and record.config["failed"] == {"m.tflite": "m.tflite: rejected: thermal throttling"}
    assert record.body[0].notes == ("a note", "failed: m.tflite: rejected: thermal throttling")


def test_from_a_second_on_there_are_processes_enough_for_an_interval() -> None:
    assert [bench._within(Asked(), seconds).invocations for seconds in (0.2, 1.0, 5.0)] == [2, FEWEST, 10]
