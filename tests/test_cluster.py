"""Builds on a Ray cluster of two nodes on this machine, one of which is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekd import runs
from tests.small_builds import edgekd, exported, recipe

TARGETS = ("-t", "nucleo-l4r5zi", "-t", "pixel-8")
CHANGES = {"qat_epochs = 1.5": "qat_epochs = 60"}


@pytest.mark.slow
def test_a_lost_node_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both targets are in their quantized training when a node dies: its target is built to its end on the other one."""
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="ray is not installed")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    where, root = recipe(tmp_path / "recipe", CHANGES), tmp_path / "runs"
    memory = {"object_store_memory": 80 * 2**20}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **memory})
    try:
        nodes = [cluster.add_node(num_cpus=1, **memory) for _ in range(2)]
        words = ["build", str(where), *TARGETS, "--runs", str(root), "--engine", "ray", "--ray-address", cluster.address, "--json"]
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        command = [sys.executable, "-m", "edgekd", *words]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None and not _in_qat(root):
                time.sleep(0.1)
            before = _stages(root)
            cluster.remove_node(nodes[1], allow_graceful=False)
            out, err = process.communicate(timeout=400)
    finally:
        cluster.shutdown()
    assert process.returncode == 0, err
    assert "is lost: what it did is done again elsewhere" in err and "(raylet)" not in err, err
    assert "qat" not in before[0] or "qat" not in before[1], before  # somebody's work was lost
    assert len(found := json.loads(out)) == 2 and all(row["ok"] for row in found), err
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other cache"))
    code, _, err = edgekd("build", where, *TARGETS, "--runs", tmp_path / "undisturbed", "--jobs", 2)
    assert code == 0, err
    assert len(list(root.iterdir())) == 2
    for run in root.iterdir():
        assert exported(run) == exported(tmp_path / "undisturbed" / run.name)


def test_another_edgekd_takes_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does another Python, numpy or torch; what a task raises otherwise is not called a loss."""
    pytest.importorskip("ray", reason="ray is not installed")
    from ray.exceptions import RayTaskError

    from edgekd import cluster, host

    place = json.loads(cluster._place())
    assert place["alike"] == host.alike() and all(os.path.isabs(entry) for entry in place["path"])
    place["alike"]["edgekd"] = "another"
    task = json.dumps({"target": "t", "run": str(tmp_path), "root": str(tmp_path), "request": "{}", "share": None})
    said, code, sha256 = json.loads(cluster._task(task, "verify", json.dumps(place)))
    assert (code, sha256) == (2, "") and said.startswith(f"Ray worker {os.uname().nodename}: has ") and "'edgekd': 'another'" in said
    assert "'edgekd': 'another'" in cluster._search("{}", json.dumps(place))
    assert cluster._first_line(RayTaskError("_task", "Traceback", ValueError("no\nmore"))) == "ValueError: no"


def _stages(root: Path) -> list[tuple[str, ...]]:
    return [runs.stages(run) for run in root.iterdir()] if root.is_dir() else []


def _in_qat(root: Path) -> bool:
    return len(found := _stages(root)) == 2 and all("float" in stages for stages in found)
