"""Malformed distillation recipes, and users' own losses, critics and teachers that go wrong, each through the real command line.

One clear message, exit code 2, and above all early: before a teacher is asked or an image is made, which may take hours.
"""

# size: the cases are one table
from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.refusals import refused
from tests.small_builds import RECIPE, edgekd, recipe, two_tasks

TARGET = ("--target", "nucleo-l4r5zi")
TEACHER = RECIPE[RECIPE.index("[teacher]") : RECIPE.index("[student]")]
FILE = '[[teachers]]\nsource = "soft_targets"\noptions = { file = "outputs.npz" }\n'
Case = tuple[str, dict[str, str], str, list[str]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache" / "edgekd"


def several(*more: str) -> dict[str, str]:
    """[[teachers]] of rising widths, each with its own ``more`` lines."""
    tables = (TEACHER.replace("[teacher]", "[[teachers]]").replace("width = 4 }", f"width = {4 + n} }}\n{m}") for n, m in enumerate(more))
    return {TEACHER: "".join(tables)}


def loss(name: str, lines: str = "", weight: str = "1.0") -> str:
    return f'[[losses]]\nname = "{name}"\nweight = {weight}\n{lines}\n'


def critic(text: str) -> str:
    return f"[curate]\ncritics = [{{ {text} }}]\n"


def hint(student: str, teacher: str = '"body.7"', more: str = "") -> str:
    return loss("hint", f"student = {student}\nteacher = {teacher}\n{more}")


def written(changes: dict[str, str], add: str, where: Path, *, make: object = recipe) -> Path:
    folder = two_tasks(where / "mine", changes) if make is two_tasks else recipe(where / "mine", changes)
    file = folder / "recipe.toml"
    file.write_text(file.read_text().replace("[presets.demo]", f"{add}\n[presets.demo]", 1))
    return folder


# (name, replacements in the small recipe, what is put before its presets, what the message must say): by the text of the recipe alone
CHECKED: list[Case] = [
    ("both", {TEACHER: TEACHER + TEACHER.replace("[teacher]", "[[teachers]]")}, "", ["teachers: stand beside [teacher]"]),
    (
        "same_checkpoint",
        several('checkpoint = "a.safetensors"', 'checkpoint = "./a.safetensors"'),
        "",
        ["teachers[1].checkpoint: './a.safetensors' is also that of teachers[0]", "a file for each", "a1.safetensors"],
    ),
    ("per_class_file", {TEACHER: FILE + FILE.replace("outputs", "others")}, '[ensemble]\nhow = "per_class"\n', ["ensemble.how", '"mean"']),
    ("ensemble_of_one", {}, '[ensemble]\nhow = "mean"\n', ["no task has two teachers"]),
    ("tap_of_two", several("", ""), hint('"blocks"'), ["losses[2].teacher: taps 'body.7', but 2 teachers answer this task"]),
    ("tap_of_a_file", {TEACHER: FILE}, hint('"blocks"'), ["taps 'body.7'", "a file of outputs", "delete teacher"]),
    ("tap_nothing", {}, hint("[]"), ["losses[2].student: found []", "at least 1 in it"]),
    ("tap_dots", {}, hint('"blocks..0"'), ["losses[2].student: found 'blocks..0'", "correct student"]),
    ("tap_in_list", {}, hint('["blocks", "a b"]'), ["losses[2].student[1]: found 'a b'"]),
    ("tap_prefix", {}, hint('"student:blocks"'), ["losses[2].student: found 'student:blocks'"]),
    ("tap_itself", {}, hint('"blocks"', '"student:blocks"'), ["'student:blocks' is what is taught: nothing could be learned"]),
    ("tap_both_sides", {}, hint('"stem"', '["student:", "body.7"]'), ["taps both the teacher and the student"]),
    ("nan_option", {}, loss("soft_targets", "options = { temperature = nan }"), ["losses[2].options.temperature: found nan", "finite"]),
    ("inf_space", {"[0.5, 1.0]": "[0.5, inf]"}, "", ["student.space.width[1]: found inf"]),
    ("inf_critic", {}, critic('name = "margin", keep = 0.5, options = { temperature = inf }'), ["curate.critics[0].options.temperature"]),
    ("huge_seed", {"shift = 1": f"shift = 1\nseed = {'9' * 20}"}, "", ["views.seed: is an integer of more than 64 bits"]),
    ("shift_of_a_lot", {"shift = 1": "shift = 5000"}, "", ["views.shift: found 5000", "less than or equal to 4096"]),
    ("unknown_critic", {}, critic('name = "agreemnt", keep = 1.0'), ["no such name: 'agreemnt'", 'name = "agreement"']),
    ("unknown_method", {}, '[data_free]\nmethod = "inversoin"\n', ["data_free.method: no such name", 'method = "inversion"']),
    ("auto_of_a_file", {TEACHER: FILE}, '[intermediates]\nassistants = "auto"\n', ["intermediates.assistants", "is not known"]),
    ("assistants_text", {}, '[intermediates]\nassistants = "many"\n', ["intermediates.assistants: found 'many'", "expected: 'auto'"]),
    ("many_generations", {}, "[intermediates]\ngenerations = 100000\n", ["intermediates.generations", "less than or equal to 100"]),
]

OWN = """
import threading
import numpy as np
import torch
from torch import nn

def vector(student, teacher, labels): return student.mean(1)
def nan(student, teacher, labels): return student.mean() * float("nan")
def overwrites(student, teacher, labels): return (student - teacher.mul_(2)).square().mean()
def two_only(student, teacher, labels): return student.reshape(2, 4).mean()
def needs_labels(student, teacher, labels): return nn.functional.cross_entropy(student, labels)
def few(student, teacher): return student.mean()
def complex_(student, teacher, labels): return (student + 0j).mean()
kept = []
def keeps_graphs(student, teacher, labels):
    kept.append(student)
    return sum(each.mean() for each in kept)

class NoModule:
    pass

class Raises(nn.Module):
    def __init__(self, student, teacher, samples):
        super().__init__()
        raise RuntimeError("not today")

class NoIndices(nn.Module):
    def __init__(self, student, teacher, samples): super().__init__()
    def forward(self, student, teacher, labels): return student.mean()

class Late(nn.Module):
    def __init__(self, student, teacher, samples):
        super().__init__()
        self.lock, self.calls = threading.Lock(), 0  # what has a lock cannot be copied
    def forward(self, student, teacher, labels, indices):
        self.calls += 1
        return student.mean() if self.calls < 3 else student.mean() / torch.zeros(2)

def shape(x, teacher, labels): return np.ones(3)
def ragged(x, teacher, labels): return [[1], [1, 2]]
def huge(x, teacher, labels): return np.full(len(x), 1e308)
def paints(x, teacher, labels): x[:] = 0; return np.ones(len(x))

def not_finite(*, channels, classes):
    made = nn.Sequential(nn.Flatten(), nn.Linear(144 * channels, classes))
    nn.init.constant_(made[1].bias, float("nan"))
    return made
def plain(*, channels, classes): return nn.Sequential(nn.Flatten(), nn.Linear(144 * channels, classes))
"""

# As above, found when a build begins: nothing may have been computed by then.
EARLY: list[Case] = [
    ("student_path", {}, hint('"stages.0"'), ["losses[2]: the student has no module 'stages.0'", "one of stem, "]),
    ("teacher_path", {}, hint('"blocks"', '"bdoy.7"'), ["losses[2].teacher: the teacher has no module 'bdoy.7'", "perhaps 'body.7'"]),
    ("path_of_qat", {}, hint('"blocks"', '"body.99"', 'phase = "qat"'), ["the teacher has no module 'body.99'"]),
    ("rank", {}, loss("attention_transfer", 'student = "classifier"\nteacher = "body.7"'), ["vectors [N, D]", "feature maps"]),
    ("tokens", {}, loss("attention_maps", 'student = "stem"\nteacher = "body.7"\noptions = { heads = 2 }'), ["expected: tokens"]),
    ("task", {}, loss("cross_entropy", 'task = "light"'), ["losses[2].task: no task is called 'light'"]),
    (
        "option_name",
        {},
        loss("soft_targets", "options = { temprature = 4 }"),
        ["losses[2].options", "'temprature'"],
    ),
    ("option_text", {}, loss("soft_targets", 'options = { temperature = "4" }'), ["loss soft_targets: temperature = '4'"]),
    ("option_tiny", {}, loss("soft_targets", "options = { temperature = 1e-300 }"), ["losses[2]: soft_targets returned nan"]),
    ("weight_huge", {}, loss("cross_entropy", weight="1e300"), ["cross_entropy returned", "with weight 1e+300", "a finite number"]),
    ("width", {}, loss("review", 'student = "blocks"\nteacher = "body.7"\noptions = { width = 100000000 }'), ["loss review: width"]),
    ("second_checkpoint", several("", 'checkpoint = "b.safetensors"'), "", ["b.safetensors does not exist"]),
    ("second_reads", several("", 'reads = "wave"'), "", ["teachers[1].reads: the data has no reading 'wave'"]),
    ("second_file", {TEACHER: several("")[TEACHER] + FILE}, "", ["teachers[1].options.file", "does not exist"]),
    ("critic_option", {}, critic('name = "margin", keep = 0.5, options = { temprature = 2 }'), ["curate.critics[0].options", "temprature"]),
    ("critic_value", {}, critic('name = "margin", keep = 0.5, options = { temperature = -1 }'), ["critic margin: temperature = -1"]),
    ("critic_task", {}, critic('name = "margin", keep = 0.5, task = "light"'), ["curate.critics[0].task: no task"]),
    (
        "assistant_smaller",
        {},
        "[intermediates]\nassistants = [{ width = 0.25 }]\n",
        ["592 parameters, the student has 2,084"],
    ),
    (
        "assistants_rising",
        {},
        "[intermediates]\nassistants = [{ width = 1.5 }, { width = 3.0 }]\n",
        ["assistants[0]: 4,408 parameters, assistants[1] has 13,156", "the largest first"],
    ),
    (
        "assistant_option",
        {},
        "[intermediates]\nassistants = [{ widht = 2.0 }]\n",
        ["assistants[0]: 'widht' is not an option"],
    ),
    (
        "tap_behind_generations",
        {},
        "[intermediates]\ngenerations = 1\n" + hint('"nothere"', more='phase = "qat"'),
        ["the student has no module 'nothere'"],
    ),
    (
        "tap_of_an_assistant",
        {"width = [0.5, 1.0]": "width = [1.0]"},
        "[intermediates]\nassistants = [{ width = 2.0 }, { width = 1.5, blocks = [1, 1] }]\n" + hint('"blocks.2"'),
        ["the student has no module 'blocks.2'"],
    ),
    ("tap_without_data", {}, '[data_free]\nmethod = "inversion"\n' + hint('"nothere"'), ["the student has no module 'nothere'"]),
    ("no_batch_norm", {'"residual_cnn"\noptions = { width = 4 }': '"own:plain"'}, '[data_free]\nmethod = "inversion"\n', ["batch norm"]),
    ("teacher_not_finite", {'"residual_cnn"\noptions = { width = 4 }': '"own:not_finite"'}, "", ["outputs are not finite"]),
    ("shift", {"shift = 1": "shift = 12"}, "", ["views: shift = 12 on samples of 12x12"]),
    ("own_vector", {}, loss("own:vector"), ["losses[2]: own:vector returned", "one number"]),
    ("own_nan", {}, loss("own:nan"), ["own:nan returned nan"]),
    ("own_complex", {}, loss("own:complex_"), ["own:complex_ returned", "one number"]),
    ("own_overwrites", {}, loss("own:overwrites"), ["own:overwrites overwrites what it is fed"]),
    ("own_two_only", {}, loss("own:two_only"), ["own:two_only raised RuntimeError", "own.py, line"]),
    ("own_graphs", {}, loss("own:keeps_graphs"), ["backward through the graph a second time"]),
    ("own_raises", {}, loss("own:Raises"), ["own:Raises raised RuntimeError: not today", "own.py, line"]),
    ("own_indices", {}, loss("own:NoIndices"), ["own:NoIndices raised TypeError"]),
]

# As above, found by nothing but the teacher's answers, or a training that has begun.
LATE: list[Case] = [
    ("critic_shape", {}, critic('name = "own:shape", weight = true'), ["own:shape returned float64 [3]", "a score a sample, [192]"]),
    ("critic_ragged", {}, critic('name = "own:ragged", weight = true'), ["own:ragged raised ValueError"]),
    ("critic_huge", {}, critic('name = "own:huge", weight = true'), ["too large to be added up"]),
    ("critic_paints", {}, critic('name = "own:paints", weight = true'), ["own:paints raised ValueError", "read-only"]),
    ("critic_keeps_few", {}, critic('name = "margin", keep = 1e-9'), ["keeps none of the 48 samples"]),
    ("own_late", {}, loss("own:Late", 'student = "blocks"\nteacher = "body.7"'), ["losses[2]: own:Late returned", "one number"]),
]


def _ids(cases: list[Case]) -> list[object]:
    return [pytest.param(*case[1:], id=case[0]) for case in cases]


@pytest.mark.parametrize(("changes", "add", "says"), _ids(CHECKED))
def test_check(changes: dict[str, str], add: str, says: list[str], tmp_path: Path) -> None:
    refused("recipes", "check", str(written(changes, add, tmp_path)), says=says)


@pytest.mark.parametrize(("changes", "add", "says"), _ids(EARLY))
def test_before_anything_is_computed(changes: dict[str, str], add: str, says: list[str], tmp_path: Path, cache: Path) -> None:
    _own(tmp_path)
    _refused_build(written(changes, add, tmp_path), says, cache)


@pytest.mark.parametrize(("changes", "add", "says"), _ids(LATE))
def test_after_that(changes: dict[str, str], add: str, says: list[str], tmp_path: Path) -> None:
    _own(tmp_path)
    code, stdout, stderr = edgekd("build", written(changes, add, tmp_path), *TARGET)
    assert code == 2 and not stdout and stderr.count("edgekd: ") == 1, stderr
    for text in says:
        assert text in stderr, stderr
    assert not [file for file in tmp_path.rglob("*") if file.name.endswith((".part", ".safetensors"))], "something half-done was left"


def test_tasks(tmp_path: Path, cache: Path) -> None:
    light = RECIPE[RECIPE.index("[[losses]]") : RECIPE.index("[views]")].replace("weight", 'task = "light"\nweight')
    whole = written({}, "", tmp_path, make=two_tasks)
    text = (whole / "recipe.toml").read_text()
    assert light in text
    (whole / "recipe.toml").write_text(text.replace(light, ""))
    _refused_build(whole, ["no loss with a weight is of task 'light' in the float phase", 'task = "light"'], cache)
    (whole / "recipe.toml").write_text(text.replace('task = "light"\nsource', 'task = "shape"\nsource'))
    _refused_build(whole, ["soft_targets asks the teacher, but task 'light' has none"], cache)


def test_a_sample_without_a_label(tmp_path: Path, cache: Path) -> None:
    """It is among the samples that a loss is tried on, wherever it lies."""
    _own(tmp_path)
    folder = written({}, loss("own:needs_labels"), tmp_path)
    arrays = dict(np.load(folder / "data.npz"))
    arrays["y_train"][101] = -1
    np.savez(folder / "data.npz", **arrays)
    _refused_build(folder, ["own:needs_labels raised IndexError", "own.py, line"], cache)


def test_mlflow_is_reached_before_a_teacher_is_asked(tmp_path: Path, cache: Path) -> None:
    pytest.importorskip("mlflow")
    folder = written({}, "", tmp_path)
    _refused_build(folder, ["--mlflow nosuch://x: MLflow's store cannot be used", "--mlflow mlruns"], cache, "--mlflow", "nosuch://x")


def test_teach_looks_at_all_before_it_trains_one(tmp_path: Path, cache: Path) -> None:
    first, second = ('checkpoint = "a.safetensors"', 'checkpoint = "b.safetensors"\nreads = "wave"')
    refused("teach", str(written(several(first, second), "", tmp_path)), says=["teachers[1].reads: the data has no reading 'wave'"])
    folder = written(several(first, second.partition("\n")[0]), "", tmp_path)
    text = (folder / "recipe.toml").read_text()
    (folder / "recipe.toml").write_text(text.replace("{ width = 5 }", "{ widht = 5 }"))
    refused("teach", str(folder), says=["teachers[1], options: residual_cnn does not take these options"])
    assert not cache.exists() and not list(folder.glob("*.safetensors"))


def test_tune(tmp_path: Path, cache: Path) -> None:
    tune = ("advise", str(written({}, hint('"nothere"'), tmp_path)), "--tune", *TARGET)
    refused(*tune, "--epochs", "inf", says=["--epochs inf"])
    refused(*tune, says=["the student has no module 'nothere'"])
    refused(*tune[:3], says=["--tune without --target"])
    assert not cache.exists() or not [file for file in cache.rglob("*") if file.is_file()]


def _own(folder: Path) -> None:
    (folder / "own.py").write_text(OWN)
    importlib.invalidate_caches()
    sys.modules.pop("own", None)


def _refused_build(folder: Path, says: list[str], cache: Path, *more: str) -> None:
    message = refused("build", str(folder), *TARGET, *more, says=says)
    assert "done" not in message, message
    computed = [file for file in cache.rglob("*") if file.is_file() and not file.name.startswith(".")]
    assert not computed, f"said too late: {computed}"
