"""docs/threats.md: what it says is never done is not done, what it names is there, and a recipe is code exactly where it says so."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekd import gating, report, runs
from edgekd.convert import read_model
from edgekd.errors import EdgekdError, InputError
from edgekd.jobs import asked_of, built_from
from edgekd.recipe.load import check, load
from edgekd.recipe.schema import Recipe
from tests import examined_runs

ROOT = Path(__file__).resolve().parents[1]
#: Modules that nothing of edgekd imports.
NEVER = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "imp", "code", "pty"}
#: The one file that imports what others name, and the one that unpacks archives.
IMPORTS, UNPACKS = {"edgekd/lazy.py"}, {"edgekd/transports/sysroot.py"}
#: They read what a process of edgekd's has just written; numpy does not unpickle unless it is told to.
INTERNAL = ("runner/edgekd_runner.py", "verify/worker.py", "verify/jobs.py", "measure/timing.py")
#: Functions that hand a line to a shell, or unpickle, whatever they are called through.
SHELLS = {"popen", "getoutput", "getstatusoutput", "create_subprocess_shell", "read_pickle"}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / "edgekd").rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def bad(name: str, node: ast.Call) -> bool:
    function, given = ast.unparse(node.func), {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    last = function.rpartition(".")[2]
    return (
        function in ("eval", "exec", "compile", "__import__", "os.system")
        or last in SHELLS
        or given.get("shell", "False") != "False"
        or given.get("allow_pickle", "False") != "False"
        or given.get("trust_remote_code", "False") != "False"
        or (function == "torch.load" and given.get("weights_only") != "True")
        or (function in ("np.load", "numpy.load") and "allow_pickle" not in given and not name.endswith(INTERNAL))
        or (last == "import_module" and name not in IMPORTS)
        or (last in ("extractall", "extract", "unpack_archive") and name not in UNPACKS)
        or (last == "load_model" and given.get("safe_mode", "True") != "True")
    )


def test_what_is_never_done() -> None:
    wrong: list[str] = []
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                roots = (
                    {alias.name.partition(".")[0] for alias in node.names}
                    if isinstance(node, ast.Import)
                    else {(node.module or "").partition(".")[0]}
                )
                wrong += [f"{name}:{node.lineno} imports {root}" for root in roots & NEVER]
            if isinstance(node, ast.Call) and bad(name, node):
                wrong.append(f"{name}:{node.lineno} {ast.unparse(node)[:100]}")
    assert not wrong


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)", "subprocess.run(line, shell=True)", "getoutput(line)", "await asyncio.create_subprocess_shell(line)",
        "np.load(path)", "np.load(path, allow_pickle=True)", "torch.load(path)", "torch.load(path, weights_only=False)",
        "import_module(name)", "archive.extractall(folder)", "AutoModel.from_pretrained(folder, trust_remote_code=True)",
        "keras.saving.load_model(path, safe_mode=False)",
    ],
)  # fmt: skip
def test_what_would_be_found(source: str) -> None:
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    assert any(bad("edgekd/x.py", node) for node in calls)


def test_what_would_not() -> None:
    for source in ("subprocess.run([program, file])", "np.load(path, allow_pickle=False)", "torch.load(path, weights_only=True)"):
        assert not any(bad("edgekd/x.py", node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))


def test_what_is_named_is_there() -> None:
    text = (ROOT / "docs" / "threats.md").read_text(encoding="utf-8")
    files = set(re.findall(r"\b(?:edgekd|tests|tools|docs)/[\w/.-]+\b/?", text))
    assert len(files) > 40
    assert not [name for name in sorted(files) if not (ROOT / name).exists() and name != "tools/audit_accepted.toml"]
    stated = re.findall(r"(tests/[\w/]+\.py):\s+`(test_\w+)`", text)
    assert len(stated) > 5
    assert not [(file, name) for file, name in stated if f"\ndef {name}(" not in (ROOT / file).read_text(encoding="utf-8")]
    # Those without a file beside them are of this one.
    mine = set(re.findall(r"`(test_\w+)`", text)) - {name for _, name in stated}
    assert not mine - set(globals())


EVIL = "from pathlib import Path\nPath(__file__).with_name('it-ran').touch()\ndef load(**options):\n    raise ValueError('it ran')\n"


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that leaves a file as soon as it is imported, and a recipe that names it everywhere."""
    (tmp_path / "stranger.py").write_text(EVIL)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    text = (ROOT / "models" / "fashion_mnist" / "recipe.toml").read_text(encoding="utf-8")
    for old in ('source = "fashion_mnist"', 'source = "residual_cnn"', 'family = "inverted_residual"', 'name = "soft_targets"'):
        assert old in text
        text = text.replace(old, f'{old.partition(" = ")[0]} = "stranger:load"')
    (tmp_path / "recipe.toml").write_text(text)
    return tmp_path


def ran(folder: Path) -> bool:
    return (folder / "it-ran").exists()


def test_a_recipe_is_code(evil: Path) -> None:
    from edgekd.jobs import load_data

    check(evil / "recipe.toml")
    loaded = load(evil / "recipe.toml")
    assert not ran(evil)
    with pytest.raises(InputError, match="stranger"):
        load_data(loaded)
    assert ran(evil)


def _asked(recipe: Recipe, root: Path) -> Path:
    made = examined_runs.run(root)
    path = made / "request.json"
    asked: dict[str, Any] = {**json.loads(path.read_bytes()), "recipe": recipe.model_dump(mode="json"), "data": "d" * 64}
    path.write_text(json.dumps(asked))
    return made


def test_a_report_imports_nothing(evil: Path, tmp_path: Path) -> None:
    from edgekd.report import page
    from edgekd.report.gather import views

    run = _asked(load(evil / "recipe.toml").recipe, tmp_path / "runs")
    report.documents([run])
    page.render(views([run]))
    asked_of(run)
    read_model(run)  # as inspect does
    with pytest.raises(EdgekdError):
        gating.read(run)  # which has no export
    assert not ran(evil)
    with pytest.raises(InputError, match="stranger"):
        built_from(run)  # as verify does
    assert ran(evil)


def test_a_run_that_names_files_elsewhere(tmp_path: Path) -> None:
    run = examined_runs.run(tmp_path)
    record = json.loads((run / "records" / "float.json").read_bytes())
    record["files"] = {"../../../etc/passwd": "0" * 64}
    (run / "records" / "float.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="leaves the run folder"):
        runs.changed(run, "float")
