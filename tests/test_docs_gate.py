"""What docs/gate.md gives pipelines: parsed, and the scripts run as far as bash runs them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tree_sitter
import tree_sitter_kotlin
import yaml

from edgekd.gate import waivers
from edgekd.gate.check import SHORT, TOLERANCES
from tests import gate_runs
from tests.gate_runs import figure, planted
from tests.small_builds import edgekd


@pytest.fixture
def docs(repository: Path) -> Path:
    return repository / "docs" / "gate"


def document(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def in_bash(script: str, folder: Path, repository: Path, **environment: str | Path) -> int:
    """As both services run it, with an ``edgekd`` on the path that is this one."""
    command = folder / "bin" / "edgekd"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m edgekd "$@"\n')
    command.chmod(0o755)
    more = {name: str(value) for name, value in environment.items()}
    env = {**os.environ, "PYTHONPATH": str(repository), "PATH": f"{command.parent}:{os.environ['PATH']}", **more}
    return subprocess.run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], cwd=folder, env=env, check=False).returncode


@pytest.fixture(scope="module")
def slower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted(gate_runs.run(), tmp_path_factory.mktemp("slower"), figure("measure", "model_bytes", times=1.05))


def test_the_github_action(docs: Path, repository: Path, tmp_path: Path, slower: Path) -> None:
    action = document(docs / "action.yml")
    assert set(action) == {"name", "description", "inputs", "runs"} and action["runs"]["using"] == "composite"
    assert all(set(one) <= {"description", "required", "default"} and "description" in one for one in action["inputs"].values())
    (step,) = action["runs"]["steps"]
    assert step["shell"] == "bash" and "${{" not in step["run"], "what a caller says comes by the environment, never into the script"
    names = {re.fullmatch(r"\$\{\{ inputs\.(\w+) \}\}", value).group(1): key for key, value in step["env"].items()}  # type: ignore[union-attr]
    assert set(names) == set(action["inputs"])
    said = {"BASELINE": gate_runs.run(), "JUNIT": "gate.xml"}
    assert in_bash(step["run"], tmp_path, repository, RUN=slower, ARGUMENTS="", **said) == 1
    assert "<failure" in (tmp_path / "gate.xml").read_text()
    assert in_bash(step["run"], tmp_path, repository, RUN=slower, ARGUMENTS="--tolerance size=0.1", **said) == 0


def test_the_gitlab_template(docs: Path, repository: Path, tmp_path: Path, slower: Path) -> None:
    (job,) = document(docs / "gitlab.yml").values()
    assert set(job) == {"variables", "script", "artifacts"} and job["artifacts"]["reports"] == {"junit": "edgekd-gate.xml"}
    (script,) = job["script"]
    said = {"RUN": slower, "BASELINE": gate_runs.run()}
    assert in_bash(script, tmp_path, repository, **said, WAIVERS="") == 1 and (tmp_path / "edgekd-gate.xml").is_file()
    (tmp_path / "my waivers.toml").write_text(waivers.EXAMPLE.replace("latency_ms", "model_bytes").replace("2026-12-31", "2999-12-31"))
    assert in_bash(script, tmp_path, repository, **said, WAIVERS="my waivers.toml") == 0


def test_the_gradle_snippet(docs: Path) -> None:
    text = (docs / "gate.gradle.kts").read_bytes()
    tree = tree_sitter.Parser(tree_sitter.Language(tree_sitter_kotlin.language())).parse(text)
    assert not tree.root_node.has_error, str(tree.root_node)
    assert b'commandLine("edgekd", "gate", run, "--baseline", baseline, "--junit", report)' in text


@pytest.mark.skipif(shutil.which("ruby") is None, reason="no Ruby to parse it with")
def test_the_fastfile(docs: Path) -> None:
    assert subprocess.run(["ruby", "-c", str(docs / "Fastfile")], check=False).returncode == 0


def test_options_that_are_named_exist(docs: Path, repository: Path) -> None:
    shown = edgekd("gate", "--help")[1]
    page = (repository / "docs" / "gate.md").read_text(encoding="utf-8")
    # --gate is of `edgekd models promote`, --resume of `edgekd build`
    texts = [page.replace("`edgekd models promote --gate`", "").replace("--resume", ""), *(path.read_text() for path in docs.iterdir())]
    for option in {found for text in texts for found in re.findall(r"(?<![\w-])--[a-z]+", text)}:
        assert option in shown, option
    for name, value in TOLERANCES.items():
        short = next((key for key, long in SHORT.items() if long == name and key != "class"), name)
        assert f"{value:g}" in next(line for line in page.splitlines() if f"`{short}`" in line or f"`{name}`:" in line), name


def test_the_example_of_a_waiver(repository: Path, tmp_path: Path) -> None:
    page = (repository / "docs" / "gate.md").read_text(encoding="utf-8")
    block = re.search(r"(?:^    .*\n)+", page.partition("## Waivers\n")[2], re.MULTILINE)
    assert block is not None
    (tmp_path / "waivers.toml").write_text(block.group())
    assert waivers.load(tmp_path / "waivers.toml")[0].check == "latency_ms"
