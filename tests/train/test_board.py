"""Where trainings are logged: read back by the tools' own readers."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from edgekd.errors import InputError
from edgekd.train import board as board_module
from edgekd.train.board import Where, boards, flat, replay

ENTRY = {"phase": "float", "loss": 1.5, "losses": {"kd": 2.0, "rkd 2": 0.5}, "validation": 0.75, "bf16": False, "threads": 2}
FLAT = {"float/loss": 1.5, "float/losses/kd": 2.0, "float/losses/rkd 2": 0.5, "float/validation": 0.75, "float/threads": 2.0}


def events(run: Path, phase: str = "float") -> list[tuple[int, dict[str, float]]]:
    """(step, values) of every event that has values, in the order of the files."""
    found = []
    for file in sorted((run / "tensorboard").glob(f"events.out.tfevents.*.{phase}")):
        for event in LegacyEventFileLoader(str(file)).Load():
            if event.summary.value:
                found.append((event.step, {v.tag: v.simple_value for v in event.summary.value}))
    return found


def test_numbers_alone_by_name() -> None:
    assert flat(ENTRY, "float") == FLAT


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    with boards(Where(tmp_path, "tiny"), "float") as board:
        board("float", 10, ENTRY)
        board("float", 20, {"loss": 1.0})
    assert events(tmp_path) == [(10, FLAT), (20, {"float/loss": 1.0})]


def test_a_resumed_training_makes_a_file_that_says_from_where(tmp_path: Path) -> None:
    for step in (10, 20):
        with boards(Where(tmp_path, "tiny"), "float") as board:
            board("float", step, {"loss": 1.0})
    files = sorted((tmp_path / "tensorboard").iterdir())
    starts = [[e.step for e in LegacyEventFileLoader(str(f)).Load() if e.session_log.status == 1] for f in files]
    assert starts == [[10], [20]]


def test_a_training_from_the_cache_is_logged_once(tmp_path: Path) -> None:
    for _ in range(2):
        replay(Where(tmp_path, "tiny"), "float", (ENTRY, {"loss": 1.0}), 24)
    assert events(tmp_path) == [(24, FLAT), (48, {"float/loss": 1.0})]
    replay(Where(tmp_path, "tiny"), "qat", ({"loss": 2.0},), 24)
    assert events(tmp_path, "qat") == [(24, {"qat/loss": 2.0})]


def test_without_tensorboard_it_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    board_module._say_once.cache_clear()
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with caplog.at_level(logging.WARNING):
        for phase in ("float", "qat"):
            with boards(Where(tmp_path, "tiny"), phase) as board:
                board(phase, 1, ENTRY)
    assert [m for m in caplog.messages if "tensorboard is not installed" in m] == [caplog.messages[0]]
    assert "pip install 'edgekd[train]'" in caplog.messages[0] and not (tmp_path / "tensorboard").exists()


def test_mlflow_has_one_run_for_both_phases(tmp_path: Path) -> None:
    run, store = tmp_path / "tiny-board-1a2b", str(tmp_path / "mlruns")
    for phase in ("float", "qat"):
        with boards(Where(run, "tiny", store, {"seed": 3}), phase) as board:
            board(phase, 10, ENTRY)
    client = MlflowClient(tracking_uri=store)
    (found,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert found.info.run_name == "tiny-board-1a2b" and found.info.status == "FINISHED" and found.data.params == {"seed": "3"}
    assert found.data.metrics == FLAT | {name.replace("float/", "qat/"): value for name, value in FLAT.items()}
    assert [m.step for m in client.get_metric_history(found.info.run_id, "float/loss")] == [10]


def test_an_interrupted_run_is_marked_and_goes_on(tmp_path: Path) -> None:
    where = Where(tmp_path / "r", "tiny", str(tmp_path / "mlruns"))
    client = MlflowClient(tracking_uri=where.mlflow)
    with pytest.raises(KeyboardInterrupt), boards(where, "float"):
        raise KeyboardInterrupt
    (found,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert found.info.status == "KILLED"
    with boards(where, "float"):
        assert client.get_run(found.info.run_id).info.status == "RUNNING"


def test_a_store_that_is_none_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    where = Where(tmp_path, "tiny", str(tmp_path / "file"))
    expected = r"--mlflow .*: MLflow's store cannot be used(?s:.*)to mend:  --mlflow mlruns"
    with pytest.raises(InputError, match=expected), boards(where, "float"):
        raise AssertionError("trained")


def test_a_store_that_fails_later_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk full")

    with boards(Where(tmp_path, "tiny", str(tmp_path / "mlruns")), "float") as board:
        monkeypatch.setattr(MlflowClient, "log_batch", broken)
        board("float", 1, ENTRY), board("float", 2, ENTRY)
    assert caplog.messages == ["MLflow failed, nothing more is logged there (disk full)"]
    assert [step for step, _ in events(tmp_path)] == [1, 2]
