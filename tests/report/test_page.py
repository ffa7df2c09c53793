from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgekd import report, runs
from edgekd.cli import app
from edgekd.errors import InputError
from edgekd.profile.load import load as load_profile
from edgekd.report import page, sections
from edgekd.report.gather import views
from tests import examined_runs

SECTIONS = ("verdicts", "figures", "pareto", "training", "layers", "memory", "parity", "classes", "calibration", "examples", "devices",
            "environment")  # fmt: skip
VOID = {"meta", "link", "input", "br"}


class Outline(HTMLParser):
    """Elements that were not closed in order, every id, and what is referred to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def made(folders: list[Path], file: Path) -> str:
    size = page.write(folders, file)
    text = file.read_text(encoding="utf-8")
    assert size == len(text.encode()) == file.stat().st_size
    return text


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("four")
    targets = ("nucleo-l4r5zi", "pixel-8", "orin-nano", "intel-n100")
    return [examined_runs.run(root, target, seed=at, ok=at != 2, examine=at != 3) for at, target in enumerate(targets)]


def test_the_page_is_whole_and_asks_for_nothing(four: list[Path], tmp_path: Path) -> None:
    text = made(four, tmp_path / "page.html")
    outline = Outline(text)
    assert outline.wrong == [] and outline.open == []
    assert len(outline.ids) == len(set(outline.ids)) and set(SECTIONS) <= set(outline.ids)
    assert len(text) < 3e6
    policy = next(value for _, name, value in outline.attributes if name == "content" and "src" in value)
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    outside = [
        (tag, name, value) for tag, name, value in outline.attributes if name in ("src", "href") and not value.startswith(("#", "data:"))
    ]
    assert outside == [] and "@import" not in text and "url(" not in text
    referred = [value[1:] for _, name, value in outline.attributes if name == "href" and value.startswith("#")]
    assert set(referred) <= set(outline.ids)
    assert not [value for _, name, value in outline.attributes if name == "style"], "the policy forbids styles of single elements"


def test_the_same_runs_give_the_same_bytes(four: list[Path], tmp_path: Path) -> None:
    assert made(four, tmp_path / "a.html") == made(four, tmp_path / "b.html")


def test_verdicts_come_first_and_say_whose_limit_it_is(four: list[Path], tmp_path: Path) -> None:
    text = made(four, tmp_path / "page.html")
    first = text[text.index('<section id="verdicts"') : text.index('<section id="figures"')]
    assert re.search(r'<span class="badge fail">fail</span><div><b>litert_xnnpack</b> one of 1000 samples differs', first)
    assert "first at relu_3 (Conv2D)" in first and "limit: recipe, targets.nucleo-l4r5zi" in first and "limit: command line" in first
    assert "58.6\u00a0KiB of" in first and "chosen from 192 that the plan counted" in first


def test_the_memory_map_says_what_the_peak_holds_besides(four: list[Path], tmp_path: Path) -> None:
    shown = views(four)
    peaks = [view.figure("peak_ram_bytes") for view in shown]
    said = sections.all_of(shown)["memory_cards"]
    for peak, card in zip(peaks, said, strict=True):
        assert ("own structures the arena takes" in card["about"]) == (peak is not None and peak.kind == "emulated")
    assert {peak.kind for peak in peaks if peak} >= {"emulated"}


def test_what_a_run_lacks_is_said_with_the_command(four: list[Path], tmp_path: Path) -> None:
    text = made([four[0], four[3]], tmp_path / "page.html")
    assert "<bdi>intel-n100</bdi> was not examined; this adds it: " in text
    command = "edgekd build models/clothes --target intel-n100 --preset demo --seed 0 --budget accuracy_drop_pp=4.0 --runs "
    assert command + str(four[3].parent) + " --resume" in text
    assert "edgekd bench" in text and "nucleo-l4r5zi</bdi> was not examined" not in text


def test_hostile_labels_are_text(tmp_path: Path) -> None:
    scripts = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "' onload='alert(3)", "</style>")
    labels = (*scripts, "\u202eabc\u2066", "]]>", "&amp;", "{{ 7*7 }}", "a", "b")
    text = made([examined_runs.run(tmp_path, labels=labels)], tmp_path / "page.html")
    outline = Outline(text)
    assert outline.wrong == [] and outline.open == []
    assert [tag for tag, name, _ in outline.attributes if name.startswith("on")] == []
    assert text.count("<script") == 1 and text.count("</style>") == 1 and "<img" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "{{ 7*7 }}" in text and "&amp;amp;" in text
    assert "<bdi>\u202eabc\u2066</bdi>" in text, "writing from right to left stays in its place"


def test_an_unfinished_run_has_a_page(tmp_path: Path) -> None:
    profile = load_profile("pixel-8").model_dump(mode="json")
    run = runs.create(tmp_path, "clothes", "pixel-8", {"profile": profile})
    text = made([run], tmp_path / "page.html")
    assert Outline(text).wrong == [] and "unfinished" in text
    for said in ("was not compared with the reference", "has no training in its records", "No run has come to its measurement yet"):
        assert said in text


def test_a_picture_that_was_changed_is_not_shown(tmp_path: Path) -> None:
    run = examined_runs.run(tmp_path)
    (run / "examine" / "examples.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    text = made([run], tmp_path / "page.html")
    assert "No pictures: examine/examples.png is not the file that the record was written with." in text and "<image" not in text


def test_what_is_refused(four: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="(?s)25 runs.*at most 20 on one page"):
        page.write([four[0]] * 25, tmp_path / "page.html")
    with pytest.raises(InputError, match="(?s)request.json.*there is no such file"):
        page.write([tmp_path], tmp_path / "page.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        page.write(four[:1], tmp_path / "file" / "page.html")


def test_the_command_writes_the_page_and_prints_the_table(four: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    good = CliRunner().invoke(app, ["report", str(four[0]), "--html", str(file)])
    assert good.exit_code == 0 and "nucleo-l4r5zi" in good.stdout and file.is_file() and "MB" in good.stderr
    bad = CliRunner().invoke(app, ["report", str(four[2]), "--html", str(file), "--json"])
    assert bad.exit_code == 1 and bad.stdout.startswith("["), "a verdict that is no"


def test_a_hundred_classes_stay_small(tmp_path: Path) -> None:
    labels = [f"class of things {at}" for at in range(100)]
    folders = [
        examined_runs.run(tmp_path, target, seed=at, labels=labels)
        for at, target in enumerate(("pixel-8", "iphone-15", "orin-nano", "nano"))
    ]
    text = made(folders, tmp_path / "page.html")
    assert "Too many classes for a matrix" in text and len(text) < 3e6
    assert len(report.rows(folders)) == 4
