"""Targets as tasks of a Ray cluster whose machines share the run folders, the cache, the recipe and its data.

Each task runs the same worker as on one machine. Of Ray itself only what it is asked to do is used: run a function somewhere, and again
elsewhere if the machine or the process is lost (Moritz et al. 2018, "Ray: A Distributed Framework for Emerging AI Applications").
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before it is imported: nothing is told to anybody

import ray
from ray.exceptions import RayError, RayTaskError

from edgekd import host, runs
from edgekd.errors import DeviceError, EdgekdError, InputError, of_system
from edgekd.worker import Outcome, Task, Tell, stop, work

#: How often a task whose machine or process was lost is done again elsewhere.
RETRIES = 3
#: Seconds between two looks at the run folders.
LOOK_S = 2.0
#: Seconds in which a cluster's head takes a connection.
CONNECT_S = 5.0
LOG = logging.getLogger(__name__)


def do_all(tasks: Sequence[Task], last: str, jobs: int, address: str, tell: Tell) -> list[Outcome]:
    """Do ``tasks`` up to the stage ``last`` on the cluster at ``address`` ("": this machine alone); an outcome each.

    ``jobs`` is how many are there at once, 0 as many as there is room for. A task whose worker is lost is done again elsewhere, from the
    stage that it had come to. Ctrl-C cancels all.
    """
    with _connected(address):
        remote: Any = ray.remote(max_retries=RETRIES)(_task)
        waiting, running, outcomes = list(tasks), {}, {}
        place = _place()
        seen: dict[str, int] = {}
        lost = _dead()
        _room(tasks, tell)
        try:
            while waiting or running:
                while waiting and (not jobs or len(running) < jobs):
                    task = waiting.pop(0)
                    threads = json.loads(task.request)["threads"]
                    running[remote.options(num_cpus=threads).remote(json.dumps(asdict(task)), last, place)] = task
                done, _ = ray.wait(list(running), num_returns=1, timeout=LOOK_S)
                _look(list(running.values()), last, seen, tell)
                for node in _dead() - lost:
                    tell("", "warning", (f"Ray node {node} is lost: what it did is done again elsewhere",))
                    lost.add(node)
                for one in done:
                    task = running.pop(one)
                    outcomes[task.run] = _outcome(task, last, one)
        except BaseException:
            for one in running:
                ray.cancel(one)
            raise
        return [outcomes[task.run] for task in tasks]


@contextmanager
def along(search: str, threads: int, jobs: int, address: str) -> Generator[None]:
    """While it lasts, tasks on the cluster at ``address`` do the same ``search`` (JSON, see ``_search``) in the same folder, where each
    trial and each training is done by one of them; ``jobs`` of them, 0: as many as there is room for. What one that is lost had not
    finished the others do; what kept one from taking part is warned of.
    """
    with _connected(address):
        remote: Any = ray.remote(max_retries=RETRIES)(_search)
        count = jobs or max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
        running = [remote.options(num_cpus=threads).remote(search, _place()) for _ in range(count)]
        over = threading.Event()
        watcher = threading.Thread(target=_warn, args=(running, over), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            for one in running:
                ray.cancel(one)


def _warn(running: Sequence[Any], over: threading.Event) -> None:
    """Says why tasks of a search ended, if not because there was nothing left to do: the search goes on without them."""
    left, said = list(running), {""}
    while left and not over.is_set():
        ended, left = ray.wait(left, num_returns=1, timeout=LOOK_S)
        for why in {_said(one) for one in ended} - said:
            LOG.warning("a task of the cluster takes no part: %s", why)
            said.add(why)


def _said(one: Any) -> str:
    try:
        return ray.get(one)
    except RayError as error:
        return _first_line(error)


def _first_line(error: RayError) -> str:
    """What was raised in a task, or what Ray says of one that was lost."""
    cause = error.cause if isinstance(error, RayTaskError) else None
    said = f"{type(cause).__name__}: {cause}" if cause is not None else str(error)
    return next(iter(said.strip().splitlines()), type(error).__name__)


@contextmanager
def _connected(address: str) -> Generator[None]:
    """Raises DeviceError if there is no cluster at ``address``. Ray prints pages of its logs where a node dies: not shown."""
    sys.stdout.flush()
    stdout, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    try:
        with _initialized(address):
            yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)


@contextmanager
def _initialized(address: str) -> Generator[None]:
    _answers(address)
    try:
        more: dict[str, Any] = (
            {"address": address} if address else {"address": "local", "num_cpus": host.cores(), "include_dashboard": False}
        )
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **more)
    except Exception as error:  # of a machine that is too busy to start one in time Ray raises no other
        raise DeviceError(
            f"no Ray cluster answers ({error})", where=address or "this machine", mend="ray start --head, or another --ray-address"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _answers(address: str) -> None:
    """Ray itself looks for a cluster for minutes, and then ends the process. Raises DeviceError if nobody listens there."""
    host_name, colon, port = address.rpartition(":")
    if not colon or "://" in address or not port.isdecimal():
        return
    try:
        socket.create_connection((host_name.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise DeviceError(f"no Ray cluster answers ({error})", where=address, mend="ray start --head, or another --ray-address") from error


def _outcome(task: Task, last: str, done: Any) -> Outcome:
    """What came back, held against the shared folder: the files that its record names, by their hashes."""
    run = Path(task.run)
    try:
        said, code, sha256 = json.loads(ray.get(done))
    except RayTaskError as error:
        return Outcome(task.target, run, f"its task failed ({_first_line(error)})", 2)
    except RayError as error:
        mend = "to mend:  the same command with --resume goes on"
        return Outcome(task.target, run, f"its worker was lost, {RETRIES + 1} times ({_first_line(error)})\n  {mend}", 2)
    if said or task.share is not None:  # what parts are left is looked at where they are taken in
        return Outcome(task.target, run, said, code)
    try:
        gone = runs.changed(run, last) or () if runs.sha256_file(run / "records" / f"{last}.json") == sha256 else (f"records/{last}.json",)
    except (EdgekdError, OSError) as error:
        gone = (str(error),)
    if gone:
        return Outcome(task.target, run, f"is not here what the worker made: {', '.join(gone)}: do all share this folder?", 2)
    return Outcome(task.target, run)


def _look(tasks: Sequence[Task], last: str, seen: dict[str, int], tell: Tell) -> None:
    """Progress, by what lies in the shared folders: one piece a stage."""
    for task in (one for one in tasks if one.share is None):
        done = runs.stages(Path(task.run))
        if seen.get(task.run) != len(done):
            seen[task.run] = len(done)
            tell(task.target, "progress", (f"stages to {last}", len(done), max(len(done) + 1, 5)))


def _room(tasks: Sequence[Task], tell: Tell) -> None:
    """Says what would otherwise be a silent wait."""
    most = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
    wanted = max((json.loads(task.request)["threads"] for task in tasks), default=0)
    if wanted > most:
        tell("", "warning", (f"no Ray node has {wanted} CPUs, the largest has {most:g}: waiting for one, or give fewer --threads",))


def _dead() -> set[str]:
    return {f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})" for node in ray.nodes() if not node["Alive"]}


def _place() -> str:
    """Where this process is, where it keeps its cache, where it looks for modules, and what must be alike there."""
    path = [os.path.abspath(entry) for entry in sys.path]
    return json.dumps({"cwd": os.getcwd(), "cache": str(runs.cache_folder().parent), "path": path, "alike": host.alike()})


def _arrive(place: str) -> None:
    """On the cluster: be where the command was started. Raises InputError where that is not possible."""
    where = json.loads(place)
    if (here := host.alike()) != where["alike"]:
        raise InputError(f"has {here}", where=f"Ray worker {os.uname().nodename}", expected=f"{where['alike']}, as where it began")
    os.chdir(where["cwd"])
    os.environ["XDG_CACHE_HOME"] = where["cache"]
    sys.path += [entry for entry in where["path"] if entry not in sys.path]  # its children get it too


def _search(document: str, place: str) -> str:
    """On the cluster: take part in a search; returns why it could not, or ""."""
    try:
        _arrive(place)
        _searched(document)
    except EdgekdError as error:
        return f"{os.uname().nodename}: {error}"
    except OSError as error:
        return f"{os.uname().nodename}: {of_system(error)}"
    return ""


def _searched(document: str) -> None:
    from edgekd import searching
    from edgekd.jobs import Request
    from edgekd.plan.halving import Rungs

    asked = json.loads(document)
    named: dict[str, Any] = asked["request"]
    named["targets"] = tuple(named["targets"])
    request = Request(**named)
    rungs = Rungs(asked["first"], tuple(asked["passes"]))
    searching.search(request, Path(asked["root"]), lambda *_: None, trials=asked["trials"], rungs=rungs, supernet=asked["supernet"])


def _task(document: str, last: str, place: str) -> str:
    """On the cluster: the outcome of one task as JSON, with the sha256 of its last record."""
    task = Task(**json.loads(document))
    try:
        _arrive(place)
        process: list[subprocess.Popen[str]] = []
        try:
            outcome = work(task, last, lambda *_: None, process.append)
        finally:
            for one in process:
                stop(one)
        sha256 = "" if outcome.said or task.share is not None else runs.sha256_file(Path(task.run) / "records" / f"{last}.json")
        return json.dumps([outcome.said, outcome.exit_code, sha256])
    except EdgekdError as error:
        return json.dumps([str(error), error.exit_code, ""])
    except OSError as error:
        return json.dumps([f"{os.uname().nodename}: {of_system(error)}", 2, ""])
