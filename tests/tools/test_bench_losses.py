"""tools/bench_losses.py: what a file of methods may say, what is trained, kept and counted, and what is demanded."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgekd import console, runs
from edgekd.data.dataset import Dataset, Split
from tests.small_builds import pictures, recipe

CE = '{ name = "cross_entropy", weight = 1.0 }'
PLAIN = f"[plain]\nlosses = [{CE}]\n"
METHODS = f"""{PLAIN}
[hint]
paper = "Romero et al. 2015"
note = "the last map"
losses = [{CE}, {{ name = "hint", weight = 0.5, student = "blocks", teacher = "body.7" }}]

[grown]
baseline = true
losses = [{CE}]
intermediates = {{ generations = 1 }}
preset = {{ ema = 0.5 }}
"""


@pytest.fixture(scope="module")
def bench(repository: Path) -> ModuleType:
    sys.path.insert(0, str(repository / "tools"))
    import bench_losses

    return bench_losses


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, a file of methods, a page with a section for the table, and room for caches."""
    folder = recipe(
        tmp_path_factory.mktemp("bench") / "tiny", {"float_epochs = 3.5": "float_epochs = 1.5", "qat_epochs = 1.5": "qat_epochs = 0.5"}
    )
    (folder / "methods.toml").write_text(METHODS)
    (folder / "page.md").write_text("before\n<!-- bench_losses methods -->\nold\n<!-- /bench_losses methods -->\nafter\n")
    return folder


@pytest.fixture(autouse=True)
def cache(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Trainings of all tests of this file share one cache: each is done once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tiny / "xdg"))
    return tiny / "cache"


def run(bench: ModuleType, capsys: pytest.CaptureFixture[str], tiny: Path, *arguments: str | Path) -> tuple[int, str, str]:
    asked = [tiny, tiny / "methods.toml", "--target", "nucleo-l4r5zi", "--cache", tiny / "cache", *arguments]
    code = bench.main(list(map(str, asked)))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.slow
def test_methods_are_paired_kept_and_shown(bench: ModuleType, tiny: Path, cache: Path, capsys: pytest.CaptureFixture[str]):
    asked = ("--only", "hint,grown", "--seeds", "2", "--json", "--markdown", tiny / "page.md")
    code, out, err = run(bench, capsys, tiny, *asked)
    first = json.loads(out)
    assert code == 1 and not {d["demand"]: d["ok"] for d in first["demands"]}["seeds >= 3"], err
    assert list(first["methods"]) == ["plain", "hint", "grown"] and first["about"]["seeds"] == [0, 1]
    assert [d["demand"].partition(" ")[2].partition(" − ")[2] for d in first["demands"][:2]] == ["plain >= 0.5 pp", "grown >= 0.5 pp"]
    results = first["results"]
    assert {(r["test"]["n"], r["validation"]["n"]) for found in results.values() for r in found} == {(96, 48)}
    assert results["plain"][0]["test"]["where"].endswith("XNNPACK, 1 thread")
    # Other losses make other students; a generation is a training of its own.
    assert len({r["file"]["sha256"] for found in results.values() for r in found}) == 6
    assert set(results["hint"][0]["training_s"]) == {"float", "qat"} and set(results["grown"][0]["training_s"]) == {
        "float",
        "qat",
        "intermediates",
    }
    gain = [100 * (a["test"]["value"] - b["test"]["value"]) for a, b in zip(results["hint"], results["plain"], strict=True)]
    assert first["methods"]["hint"]["gain_pp"]["each"] == pytest.approx(gain) and first["methods"]["hint"]["times_plain"] > 0

    page = (tiny / "page.md").read_text()
    assert page.startswith("before\n<!-- bench_losses methods -->\n") and page.endswith("<!-- /bench_losses methods -->\nafter\n")
    assert "\nold\n" not in page and "- hint: the last map (Romero et al. 2015)" in page and "seeds 0, 1" in page
    assert (
        f"Again: `python tools/bench_losses.py {tiny} {tiny / 'methods.toml'} --only hint,grown --seeds 2 --target nucleo-l4r5zi`" in page
    )

    made = {path: path.stat().st_mtime_ns for path in cache.glob("*.json")}
    assert json.loads(run(bench, capsys, tiny, *asked)[1])["results"] == results
    assert {path: path.stat().st_mtime_ns for path in cache.glob("*.json")} == made and len(made) == 6

    # A result of other code is used, and counted; one that is gone is made again from the trainings, which are not.
    one, other = sorted(made)[:2]
    one.write_text(json.dumps({**json.loads(one.read_text()), "code": "older"}))
    before = json.loads(other.read_text())
    other.unlink()
    _, out, err = run(bench, capsys, tiny, *asked)
    assert json.loads(out)["about"]["stale_results"] == 1
    assert "1 of 6 results in" in err and "were made by another version of the code" in err
    again = json.loads(other.read_text())
    assert (again["test"], again["file"], again["training_s"], again["cpu_s"]) == (
        before["test"], before["file"], before["training_s"], None)  # fmt: skip

    code, out, _ = run(bench, capsys, tiny, "--plan", "--json", "--seeds", "3")
    plan = json.loads(out)
    assert code == 0 and plan["methods"]["hint"]["there"] == [0, 1] and plan["methods"]["hint"]["to_do"] == [2]
    assert plan["hours"] == pytest.approx(sum(row["hours"] for row in plan["methods"].values())) and not plan["to_measure"]


@pytest.mark.slow
def test_a_plan_trains_nothing_and_says_what_to_measure(bench: ModuleType, tiny: Path, capsys: pytest.CaptureFixture[str]):
    code, out, _ = run(bench, capsys, tiny, "--plan", "--cache", tiny / "empty")
    assert code == 0 and not (tiny / "empty").exists()
    assert "hint                             -     0,1,2       ?" in out
    assert "--only hint --seeds 1 --target nucleo-l4r5zi --float-epochs 0.15 --qat-epochs 0.05" in out.splitlines()[-1]


@pytest.mark.slow
def test_what_another_process_trains_is_left_to_it(bench: ModuleType, tiny: Path, cache: Path):
    import bench_losses_runs

    options = bench.parser().parse_args([str(tiny), str(tiny / "methods.toml"), "--target", "nucleo-l4r5zi", "--cache", str(cache)])
    _, contest = bench.opened(options)
    stem = bench_losses_runs.result_file(contest, "plain", 7).stem
    folder = runs.create(cache / "runs", "tiny-plain-seed7", "nucleo-l4r5zi", {"result": stem})
    with runs.lock(folder), pytest.raises(bench_losses_runs.Busy), console.bars() as progress:
        bench_losses_runs.result(contest, "plain", 7, progress)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("methods", "said"),
    [
        (PLAIN + f'[hint]\nlosses = [{CE}, {{ name = "hint", weight = 1.0, student = "blocks", teacher = "body.77" }}]',
         "method hint: recipe, losses[1].teacher: the teacher has no module 'body.77'"),
        (PLAIN + f'[dkd]\nlosses = [{CE}, {{ name = "dkd", weight = 1.0, options = {{ alpha = -1.0 }} }}]',
         "method dkd: loss dkd: alpha = -1.0\n  expected: at least 0, usually 1"),
        (PLAIN + "[noisy]\ndata = { options = { file = \"other.npz\" } }", "method noisy: data: another validation split"),
    ],
)  # fmt: skip
def test_methods_are_tried_before_any_is_trained(
    bench: ModuleType, tiny: Path, capsys: pytest.CaptureFixture[str], methods: str, said: str
):
    (tiny / "wrong.toml").write_text(methods)
    arrays = dict(np.load(tiny / "data.npz"))
    np.savez(tiny / "other.npz", **{**arrays, "x_validation": 255 - arrays["x_validation"]})  # type: ignore[arg-type]
    code = bench.main([str(tiny), str(tiny / "wrong.toml"), "--target", "nucleo-l4r5zi", "--cache", str(tiny / "none")])
    err = capsys.readouterr().err
    assert code == 2 and f"{tiny / 'wrong.toml'}, {said}" in err
    assert not (tiny / "none").exists()


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ("", "is empty"),
        (f"[kd]\nlosses = [{CE}]", "has no table [plain]"),
        (PLAIN + "hint = 3", "unknown key"),  # within [plain]
        ("hint = 3\n" + PLAIN, "hint = 3\n  expected: a table, one a method"),
        (PLAIN + "[A-b]", "a method called 'A-b'"),
        (PLAIN + "[x]\nlosess = []", "x.losess: unknown key\n"),
        (PLAIN + "[x]\nlosess = []", "perhaps losses"),
        (PLAIN + "[x.student]\nfamily = \"vit\"", "x.student: is the same for all methods\n"),
        (PLAIN + "[x.preset]\nfloat_epochs = 9.0", "x.preset.float_epochs: unknown key\n  expected: ema, peers, views"),
        (PLAIN + "[x.preset]\npeers = 0", "x.preset.peers: found 0"),
        (PLAIN + '[x]\nlosses = [{ name = "hint", weight = -1.0 }]', "x.losses[0].weight: found -1.0"),
        (PLAIN + '[x]\nlosses = [{ name = "hnt", weight = 1.0 }]', "x.losses[0].name: 'hnt'"),
        (PLAIN + "[x.ensemble]\nhow = \"mean\"", "x.ensemble: how = 'mean', but no task has two teachers"),
        (PLAIN + "[x]\nteachers = []", "x.teacher: is missing"),
        (PLAIN + "[base.presets.demo]\nbatch = 1", "base.presets.demo.batch: found 1"),
        ("methods = 3\n" + PLAIN, "methods = 3\n  expected: a file beside this one"),
        ('methods = "nested.toml"\n' + PLAIN, "nested.toml: methods = 'wrong.toml' in a file that another one names"),
        ('methods = "none.toml"\n' + PLAIN, "none.toml: no such file"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_names_method_and_key(
    bench: ModuleType, tiny: Path, capsys: pytest.CaptureFixture[str], methods: str, said: str
):
    (tiny / "wrong.toml").write_text(methods)
    (tiny / "nested.toml").write_text('methods = "wrong.toml"')
    assert bench.main([str(tiny), str(tiny / "wrong.toml")]) == 2
    err = capsys.readouterr().err
    assert said in err and str(tiny) in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "hnit"), "--only, {folder}/methods.toml: no method is called 'hnit'\n  expected: plain, hint, grown\n"),
        (("--preset", "worst"), "recipe tiny: no preset is called 'worst'\n  expected: demo\n  to mend:  --preset demo\n"),
        (("--markdown", "{folder}/none.md"), "--markdown {folder}/none.md: no such file\n  expected: two lines, once each: "),
        (("--markdown", "{folder}/recipe.toml"), "--markdown {folder}/recipe.toml: has no section for this table\n"),
        ((), "--target: the recipe names none\n  expected: a target's name\n  to mend:  edgekd targets list\n"),
        (("--target", "nano"), "--target: nano wants float16\n"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_as_asked(
    bench: ModuleType, tiny: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
):
    code = bench.main([str(tiny), str(tiny / "methods.toml"), *(a.format(folder=tiny) for a in arguments)])
    assert code == 2 and capsys.readouterr().err.startswith(said.format(folder=tiny))


def test_tables_are_merged_and_all_else_is_replaced(bench: ModuleType, tiny: Path):
    from bench_losses_methods import laid_over, read_shelf

    under = {"a": {"b": 1, "c": [1, 2]}, "teacher": {"source": "x"}, "losses": [1]}
    assert laid_over(under, {"a": {"c": [3]}, "losses": [2], "teachers": [4]}) == {"a": {"b": 1, "c": [3]}, "losses": [2], "teachers": [4]}
    assert under["a"] == {"b": 1, "c": [1, 2]}

    (tiny / "more.toml").write_text(
        'methods = "methods.toml"\n[base]\nviews = { shift = 2 }\n[base.presets.demo]\nviews = { count = 2, mirror = true }\n'
        f'[views]\nviews = {{ count = 3 }}\nlosses = [{CE}]\n[hint]\nnote = "another"\n'
    )
    shelf = read_shelf(str(tiny), tiny / "more.toml", "demo", {"float_epochs": 0.25})
    by_name = {method.name: method for method in shelf.methods}
    assert list(by_name) == ["plain", "hint", "grown", "views"] and by_name["hint"].note == "another"
    recipes = {name: method.loaded.recipe for name, method in by_name.items()}
    assert all(r.views.shift == 2 and r.presets["demo"].float_epochs == 0.25 for r in recipes.values())
    assert len(recipes["hint"].losses) == 2  # the recipe's own: the file's table replaces the other file's
    assert recipes["grown"].presets["demo"].ema == 0.5 and recipes["plain"].presets["demo"].ema == 0
    # The views that count are the preset's, so it is there that a method's own go.
    counted = recipes["views"].presets["demo"].views
    assert counted is not None and (counted.count, counted.mirror) == (3, True)


def results_of(bench: ModuleType, tiny: Path, table: dict[str, tuple[list[int], list[int]]], least: float) -> dict[str, Any]:
    """The judgement on (validation, test) percents by method, one a seed."""
    from bench_losses_methods import Method, read_shelf
    from bench_losses_report import judge

    loaded = read_shelf(str(tiny), tiny / "methods.toml", "demo", {}).base
    methods = [Method(name, "", "", name.startswith("plain_"), loaded) for name in table]
    results = {
        name: [{"validation": {"value": v / 100}, "test": {"value": t / 100},
                "training_s": {"float": 9.0}, "cpu_s": 2.0 if name == "plain" else 3.0}
               for v, t in zip(*both, strict=True)]
        for name, both in table.items()
    }  # fmt: skip
    return judge(results, methods, least)


def test_the_best_on_validation_has_to_win_on_test(bench: ModuleType, tiny: Path):
    table = {
        "plain": ([80, 80, 80], [80, 82, 84]),
        "kd": ([90, 90, 90], [81, 83, 85]),
        "lucky": ([85, 85, 85], [95, 97, 99]),
        "worse": ([70, 71, 72], [79, 80, 83]),
        "plain_longer": ([99, 99, 99], [80, 82, 83]),
    }
    found = results_of(bench, tiny, table, 1.0)
    assert found["best_on_validation"] == "kd" and found["ok"]
    assert [d["demand"] for d in found["demands"]] == [
        "kd (best on validation) − plain >= 1 pp", "kd (best on validation) − plain_longer >= 1 pp", "seeds >= 3"]  # fmt: skip
    said = {name: row.get("verdict") for name, row in found["methods"].items()}
    assert said == {"plain": None, "kd": "helps", "lucky": "helps", "worse": "no difference", "plain_longer": "no difference"}
    # −1, −2, −1: t(0.975, 2) = 4.3027 times 0.5774 over the square root of 3.
    gain = found["methods"]["worse"]["gain_pp"]
    assert (gain["mean"], gain["low"], gain["high"]) == pytest.approx((-1.3333, -2.7676, 0.1009), abs=1e-4)
    assert found["methods"]["kd"]["times_plain"] == pytest.approx(1.5)
    assert not results_of(bench, tiny, table, 1.01)["ok"]
    table["plain_longer"] = ([50, 50, 50], [90, 90, 90])
    assert [d["ok"] for d in results_of(bench, tiny, table, 1.0)["demands"]] == [True, False, True]
    few = results_of(bench, tiny, {name: (v[:1], t[:1]) for name, (v, t) in table.items()}, 1.0)
    assert few["methods"]["kd"]["verdict"] == "one seed says nothing" and not few["demands"][-1]["ok"]


def test_where_nothing_beats_plain_training_plain_is_the_best(bench: ModuleType, tiny: Path):
    found = results_of(bench, tiny, {"plain": ([80] * 3, [80] * 3), "kd": ([80] * 3, [90] * 3)}, 0.5)
    assert found["best_on_validation"] == "plain" and not found["ok"]


def test_labelled_clips_alone_make_a_pass_as_long(bench: ModuleType):
    from bench_losses_sources import labelled_alone

    x, _ = pictures(6, 0)
    train = Split(x, np.array([-1, 1, -1, 0, -1, -1]))
    held = Split(x, np.zeros(6, np.int64))
    found = labelled_alone(Dataset("d", train, held, held, ("a", "b"))).train
    assert found.y.tolist() == [1, 0, 1, 0, 1, 0] and np.array_equal(found.x[0], x[1])
