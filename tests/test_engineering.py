"""Rules of the repository that no other tool checks."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgekd
from edgekd.lazy import EXTRAS, load

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {
    "torch", "torchao", "tensorflow", "keras", "onnx", "onnxruntime", "openvino", "nncf", "ai_edge_litert", "tflite_micro", "safetensors",
    "PIL", "transformers", "optuna",
}  # fmt: skip
TABLES = ("SOURCES", "TEACHERS", "STUDENTS", "LOSSES", "EXPORTERS", "RUNTIMES")


def python(*arguments: str, cwd: Path = ROOT, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a fresh interpreter, with ``path`` in front of its module path."""
    code = [sys.executable, *arguments]
    if path is not None:
        code = [
            sys.executable,
            "-c",
            f"import sys, runpy; sys.path.insert(0, {str(path)!r}); sys.argv[0:1] = []; {arguments[0]}",
            *arguments[1:],
        ]
    return subprocess.run(code, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300, check=False)


def tracked() -> list[Path]:
    """Files that git tracks, or would: what a commit of everything would hold."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def sources(*, outside: tuple[str, ...] = ()) -> Iterator[tuple[Path, str]]:
    """The Python files of the package, but for the rooms named in ``outside``."""
    package = ROOT / "edgekd"
    for file in sorted(package.rglob("*.py")):
        if file.relative_to(package).parts[0] not in outside:
            yield file.relative_to(ROOT), file.read_text(encoding="utf-8")


def tables() -> dict[str, dict[str, str]]:
    """Every table of "name": "module:attribute" that a package's __init__ holds."""
    found = {}
    for info in pkgutil.walk_packages(edgekd.__path__, "edgekd."):
        if not info.ispkg:
            continue
        for name, value in vars(importlib.import_module(info.name)).items():
            if name.isupper() and isinstance(value, dict) and value and all(isinstance(v, str) and ":" in v for v in value.values()):
                found[name] = value
    return found


def test_help_loads_no_heavy_library():
    code = (
        "import sys; sys.argv = ['edgekd', '--help']\n"
        "from edgekd.cli import main\n"
        "try:\n    code = main()\nexcept SystemExit as stop:\n    code = stop.code\n"
        f"print('heavy:', sorted({HEAVY!r} & set(sys.modules)), 'code:', code or 0)"
    )
    done = python("-c", code)
    assert "heavy: [] code: 0" in done.stdout, done.stdout + done.stderr


def test_checking_a_profile_loads_no_heavy_library():
    code = f"import sys, edgekd.profile.load, edgekd.recipe.load\nprint('heavy:', sorted({HEAVY!r} & set(sys.modules)))"
    assert "heavy: []" in (done := python("-c", code)).stdout, done.stdout + done.stderr


def test_packages_load_no_heavy_library():
    """A heavy library belongs at the top of the leaf that owns it, never into an __init__."""
    packages = [info.name for info in pkgutil.walk_packages(edgekd.__path__, "edgekd.") if info.ispkg]
    done = python("-c", f"import sys, {', '.join(packages)}\nprint('heavy:', sorted({HEAVY!r} & set(sys.modules)))")
    assert "heavy: []" in done.stdout, done.stdout + done.stderr


def test_every_table_is_there():
    assert set(TABLES) <= set(tables())


@pytest.mark.parametrize(("table", "name", "path"), [(t, n, p) for t, entries in sorted(tables().items()) for n, p in entries.items()])
def test_table_entry_resolves(table: str, name: str, path: str):
    found = load(path)
    assert found.__doc__, f"{table}[{name!r}] = {path!r} has no docstring"


def test_data_set_is_known_to_its_own_file_only():
    named = [f"{file}:{number}" for file, text in sources(outside=("data",)) for number, line in enumerate(text.splitlines(), 1)
             if re.search("fashion|mnist", line, re.IGNORECASE)]  # fmt: skip
    assert named == []


def test_no_image_size_in_the_code():
    """28, 28 side by side, and 784, would be the demo's image size."""
    found = []
    for file, text in sources(outside=("data",)):
        for node in ast.walk(ast.parse(text)):
            items = node.elts if isinstance(node, ast.Tuple | ast.List) else node.args if isinstance(node, ast.Call) else []
            values = [item.value for item in items if isinstance(item, ast.Constant)]
            if values.count(28) > 1 or 784 in values:
                found.append(f"{file}:{node.lineno}")
    assert found == []


def test_checkpoints_are_loaded_as_weights_only():
    bad = [
        f"{file}:{node.lineno}"
        for file, text in sources()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "torch.load"
        and not any(word.arg == "weights_only" and ast.unparse(word.value) == "True" for word in node.keywords)
    ]
    assert bad == []


def test_no_host_of_a_registry_and_no_path_of_one_machine():
    # Put together here, so that this file does not hold what it looks for.
    words = ["py" + "pi.org", "python" + "hosted.org", "download.py" + "torch.org", "npm" + "js.org", "deb.deb" + "ian.org",
             "archive.ubun" + "tu.com", "/wor" + "k/", "/ro" + "ot/", "/ho" + "me/", "/opt/" + "wheels"]  # fmt: skip
    pattern = re.compile("|".join(re.escape(word) for word in words))
    found = []
    for file in tracked():
        data = file.read_bytes()
        if b"\0" not in data[:8192] and (hit := pattern.search(data.decode("utf-8", errors="replace"))):
            found.append(f"{file.relative_to(ROOT)}: {hit[0]}")
    assert found == []


def test_tracked_files_are_small():
    large = [f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes" for file in tracked() if file.stat().st_size > 10_000_000]
    assert large == []


def lock() -> dict[str, str]:
    """Package (as pip normalizes names) → pinned version."""
    pins = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, equal, version = line.partition("==")
            assert equal, f"requirements.lock: {line!r} pins no version"
            pins[normal(name)] = version
    return pins


def normal(requirement: str) -> str:
    """The name in a requirement, as pip normalizes it."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def test_lock_has_everything_and_no_cuda():
    pins = lock()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {normal(need) for needs in (project["dependencies"], *project["optional-dependencies"].values()) for need in needs}
    assert wanted - set(pins) - {"edgekd"} == set()
    assert [name for name in pins if re.match("nvidia|cuda|triton", name)] == []
    assert pins["torch"] == "2.13.0", "a local build's +cpu would tie the lock to one index"


def test_lock_was_made_from_requirements_in():
    pins = lock()
    lines = [line for line in (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert {line: pins.get(normal(line)) for line in lines} == {line: line.partition("==")[2] for line in lines}


def test_missing_libraries_name_an_extra_that_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(EXTRAS.values()) <= set(extras)


def test_readme_names_only_commands_and_rooms_that_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    help_text = python("-m", "edgekd", "--help").stdout
    commands = set(re.findall(r"`edgekd ([a-z]+)", readme))
    assert commands, "README.md names no command"
    assert {command for command in commands if not re.search(rf"\b{command}\b", help_text)} == set()
    rooms = re.findall(r"^    ([a-z_./]+/)(?: |$)", readme, re.MULTILINE)
    assert rooms, "README.md draws no map"
    assert [room for room in rooms if not (ROOT / room).is_dir() and not (ROOT / "edgekd" / room).is_dir()] == []


def test_readme_draws_all_rooms_and_the_import_rule_as_it_is_checked():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rooms = set(re.findall(r"^    ([a-z_]+)/ ", readme, re.MULTILINE))
    assert {file.parent.name for file in (ROOT / "edgekd").glob("*/__init__.py")} <= rooms
    files = set(re.findall(r"`(\w+\.py)`", readme.partition("Beside these:")[2].partition("**The import rule**")[0]))
    there = {file.name for file in (ROOT / "edgekd").glob("*.py") if not file.name.startswith(("__", "cli_"))}
    assert files == there
    (contract,) = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    checked = [re.sub(r"[()]", "", layer).replace(" :", ",") for layer in contract["layers"]]
    drawn = readme.partition("**The import rule**")[2].partition("A stage gets")[0]
    assert re.findall(r"^    (.+)$", drawn, re.MULTILINE) == checked[1:]


@pytest.mark.slow
def test_wheel_carries_targets_and_models_and_works_alone(tmp_path: Path):
    built = python("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(site)
    for folder in ("targets", "models"):
        files = [file.relative_to(ROOT).as_posix() for file in tracked() if file.relative_to(ROOT).parts[0] == folder]
        assert files
        assert {f"edgekd/_data/{file}" for file in files} <= names
    assert "edgekd/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "tools/", "runs/"))]
    listed = python("runpy.run_module('edgekd', run_name='__main__')", "edgekd", "targets", "list", cwd=tmp_path, path=site)
    assert listed.returncode == 0, listed.stdout + listed.stderr
    for profile in (site / "edgekd" / "_data" / "targets").rglob("*.toml"):
        assert profile.stem in listed.stdout
