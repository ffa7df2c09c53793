"""Where a training is logged, besides its record: always in TensorBoard's event files, and in MLflow when asked."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from edgekd import lazy
from edgekd.errors import InputError, MissingDependency

LOG = logging.getLogger(__name__)
#: (phase, step, values by name); a value may be a table of its own, and what is no number is left out.
Board = Callable[[str, int, Mapping[str, Any]], None]
FOLDER = "tensorboard"


@dataclass(frozen=True)
class Where:
    """The ``run`` folder, the ``experiment`` (the recipe's name), the URI of an MLflow store ("": none), what it is to note of the run."""

    run: Path
    experiment: str
    mlflow: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def boards(where: Where, phase: str) -> Generator[Board]:
    """One board that logs to all; closed at the end. Raises InputError if the MLflow store is not to be reached."""
    with ExitStack() as stack:
        each = [stack.enter_context(_tensorboard(where.run / FOLDER, phase))]
        if where.mlflow:
            each.append(stack.enter_context(_mlflow(where)))

        def all_of_them(name: str, step: int, values: Mapping[str, Any]) -> None:
            for board in each:
                board(name, step, values)

        yield all_of_them


def replay(where: Where, phase: str, history: tuple[dict[str, Any], ...], steps: int) -> None:
    """Log a training that was found in the cache, of ``steps`` a pass, unless this run's own was logged."""
    if any((where.run / FOLDER).glob(f"*.{phase}")):
        return
    with boards(where, phase) as board:
        for n, entry in enumerate(history, 1):
            board(phase, n * steps, entry)


def flat(values: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """``{"loss": 1.0, "losses": {"kd": 2.0}}`` → ``{"float/loss": 1.0, "float/losses/kd": 2.0}``."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}/{name}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{prefix}/{name}"] = float(value)
    return found


@contextmanager
def _tensorboard(folder: Path, phase: str) -> Generator[Board]:
    """An event file in ``folder``, as TensorBoard's own writers write it; torch's would import all of TensorFlow where it is installed."""
    try:
        proto, summary = (lazy.load(f"tensorboard.compat.proto.{name}") for name in ("event_pb2:Event", "summary_pb2:Summary"))
        session = lazy.load("tensorboard.compat.proto.event_pb2:SessionLog")
        writer = lazy.load("tensorboard.summary.writer.record_writer:RecordWriter")
    except MissingDependency:
        _say_once("tensorboard is not installed, so no event files are written\n  to mend:  pip install 'edgekd[train]'")
        yield lambda name, step, values: None
        return
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"events.out.tfevents.{time.time_ns() // 1000}.{socket.gethostname()}.{os.getpid()}.{phase}"
    with file.open("wb") as stream:
        records, begun = writer(stream), False

        def write(**content: Any) -> None:
            records.write(proto(wall_time=time.time(), **content).SerializeToString())
            stream.flush()

        def board(name: str, step: int, values: Mapping[str, Any]) -> None:
            nonlocal begun
            if not begun:
                # A training that is resumed repeats the pass in which it was interrupted: TensorBoard forgets what it heard of that.
                write(step=step, session_log=session(status=session.START))
                begun = True
            write(step=step, summary=summary(value=[summary.Value(tag=t, simple_value=v) for t, v in flat(values, name).items()]))

        write(file_version="brain.Event:2")
        yield board


@cache
def _say_once(text: str) -> None:
    LOG.warning("%s", text)


def check_store(uri: str) -> None:
    """Raises InputError if the MLflow store is not to be reached, MissingDependency without MLflow: before hours, not after."""
    with _reached(uri) as store:
        store.search_experiments(max_results=1)


@contextmanager
def _reached(uri: str) -> Generator[Any]:
    """A client of the store; what is raised under it is an InputError."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    # A folder is the only store that needs neither a server nor SQLAlchemy; MLflow 3 refuses it unless told.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # of seven the last waits for minutes
    client = lazy.load("mlflow.tracking:MlflowClient")
    try:
        yield client(tracking_uri=uri)
    except Exception as error:  # of urllib3, sqlalchemy, mlflow, as the store may be
        raise InputError(
            f"MLflow's store cannot be used ({' '.join(str(error).split())[:200]})",
            where=f"--mlflow {uri}",
            expected="the URI of an MLflow server, a database or a folder",
            mend="--mlflow mlruns",
        ) from error


@contextmanager
def _mlflow(where: Where) -> Generator[Board]:
    """A run of the experiment, found again by the run folder's name. A store that fails later on is left alone: training goes on."""
    with _reached(where.mlflow) as store:
        run = _mlflow_run(store, where)
    metric, failed = lazy.load("mlflow.entities:Metric"), False

    def attempt(work: Callable[[], object]) -> None:
        nonlocal failed
        try:
            if not failed:
                work()
        except Exception as error:
            failed = True
            LOG.warning("MLflow failed, nothing more is logged there (%s)", " ".join(str(error).split())[:200])

    def board(name: str, step: int, values: Mapping[str, Any]) -> None:
        now = int(time.time() * 1000)
        attempt(lambda: store.log_batch(run, [metric(tag, value, now, step) for tag, value in flat(values, name).items()]))

    status = "FAILED"
    try:
        yield board
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        attempt(lambda: store.set_terminated(run, status))


def _mlflow_run(store: Any, where: Where) -> str:
    """The id of the run of this run folder, begun now or in an earlier phase."""
    experiment = store.get_experiment_by_name(where.experiment)
    identity = experiment.experiment_id if experiment else store.create_experiment(where.experiment)
    name = where.run.resolve().name
    if found := store.search_runs([identity], filter_string=f"tags.`edgekd.run` = '{name}'", max_results=1):
        store.update_run(found[0].info.run_id, status="RUNNING")
        return found[0].info.run_id
    begun = store.create_run(identity, tags={"edgekd.run": name}, run_name=name).info.run_id
    for key, value in where.notes.items():
        store.log_param(begun, key, value)
    return begun
