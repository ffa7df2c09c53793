"""The page in a real browser: nothing goes wrong, nothing is asked of the network, and everything can be reached by keyboard."""

from __future__ import annotations

import re
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from edgekd.report import page
from tests import examined_runs

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'edgekd[dev]'")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH; Debian has it as chromium")
SECTIONS = 12


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("browser")
    targets = ("nucleo-l4r5zi", "pixel-8", "orin-nano", "intel-n100")
    labels = [
        *examined_runs.LABELS[:-2],
        "<script>document.title='taken'</script>",
        "a very long name of a class that nobody cut short before",
    ]
    folders = [examined_runs.run(root, t, seed=at, ok=at != 2, examine=at != 3, labels=labels) for at, t in enumerate(targets)]
    page.write(folders, root / "page.html")
    return root / "page.html"


@pytest.fixture(scope="module")
def browser() -> Generator[Any]:
    with playwright.sync_playwright() as tool:
        opened = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


class Opened:
    """The page in a context of its own; ``said`` is what the console had to say, ``asked`` what was requested besides the file."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.context.route("**/*", self._route)
        self.page.goto(file.as_uri())

    def _route(self, route: Any) -> None:
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            self.asked.append(route.request.url)
            route.abort()

    def seen(self, what: str) -> int:
        return sum(one.is_visible() for one in self.page.locator(what).all())


@pytest.fixture
def opened(browser: Any, file: Path) -> Generator[Opened]:
    found = Opened(browser, file, viewport={"width": 1280, "height": 900})
    yield found
    found.context.close()
    assert found.said == [] and [url for url in found.asked if not url.startswith("data:")] == []


def test_it_opens_with_nothing_to_complain_of(opened: Opened) -> None:
    opened.page.wait_for_load_state("networkidle")
    assert opened.page.title() == "clothes: 4 runs", "a label is no script"
    assert opened.seen("main > section") == SECTIONS and opened.seen("h1") == 1
    assert opened.page.evaluate("document.querySelectorAll('.thumb').length") == 36
    assert opened.page.evaluate("performance.getEntriesByType('resource').filter((one) => !one.name.startsWith('data:')).length") == 0


def test_a_tab_shows_one_run_and_boxes_choose_those_side_by_side(opened: Opened) -> None:
    shown = "#verdicts article"
    assert opened.seen(shown) == 4
    opened.page.get_by_role("tab", name="pixel-8").click()
    assert opened.seen(shown) == 1 and opened.page.get_by_role("tabpanel").get_attribute("aria-labelledby") == "tab-r1"
    assert opened.seen("#pareto .mark") == 2 * 2, "charts of all runs show the chosen one: itself and its baseline"
    opened.page.keyboard.press("ArrowRight")
    assert opened.page.evaluate("document.activeElement.id") == "tab-r2" and opened.seen(shown) == 1
    opened.page.keyboard.press("End")
    opened.page.keyboard.press("ArrowRight")
    assert opened.page.evaluate("document.activeElement.id") == "tab-all" and opened.seen(shown) == 4
    opened.page.get_by_role("checkbox", name="nucleo-l4r5zi").uncheck()
    assert opened.seen(shown) == 3 and opened.seen('#figures th[data-run="r0"]') == 0
    opened.page.get_by_role("checkbox", name="nucleo-l4r5zi").check()
    assert opened.seen(shown) == 4


def test_the_teacher_takes_the_place_of_the_student(opened: Opened) -> None:
    who = opened.page.locator("#classes .who").first
    student, teacher = who.locator(".student"), who.locator(".teacher")
    assert student.is_visible() and not teacher.is_visible()
    who.get_by_role("button", name="teacher").click()
    assert teacher.is_visible() and not student.is_visible()
    assert who.get_by_role("button", name="teacher").get_attribute("aria-pressed") == "true"


def test_tables_sort_by_number_and_by_name(opened: Opened) -> None:
    opened.page.locator("#classes summary", has_text="Classes as a table").first.click()
    table = opened.page.locator("#classes table", has=opened.page.get_by_role("button", name="student, %")).first
    column = lambda at: [cell.inner_text() for cell in table.locator(f"tbody tr > :nth-child({at})").all()]  # noqa: E731
    table.get_by_role("button", name="student, %").click()
    values = [float(text) for text in column(3)]
    assert values == sorted(values, reverse=True)
    assert table.locator("th", has_text="student, %").get_attribute("aria-sort") == "descending"
    table.get_by_role("button", name="student, %").click()
    assert [float(text) for text in column(3)] == sorted(values)
    table.get_by_role("button", name="class").focus()
    opened.page.keyboard.press("Enter")
    assert [name.lower() for name in column(1)][1:] == sorted(name.lower() for name in column(1)[1:])


def test_a_buffer_says_its_name_under_the_pointer_and_under_the_focus(opened: Opened) -> None:
    tip = opened.page.locator("#tip")
    first = opened.page.locator("#memory .chart").first.locator(".mark")
    first.nth(2).hover()
    assert tip.is_visible() and tip.inner_text() == first.nth(2).get_attribute("aria-label")
    opened.page.keyboard.press("Escape")
    assert not tip.is_visible()
    first.first.focus()
    assert "at offset" in tip.inner_text()
    opened.page.keyboard.press("ArrowRight")
    assert tip.inner_text() == first.nth(1).get_attribute("aria-label")
    opened.page.keyboard.press("End")
    assert tip.inner_text() == first.last.get_attribute("aria-label")


def test_everything_that_acts_is_reached_with_tab(opened: Opened) -> None:
    opened.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    wanted = opened.page.evaluate(
        """() => [...document.querySelectorAll('button, input, summary, a, .scroll, svg.chart')].filter((one) => one.checkVisibility()
            && !(one.getAttribute('role') === 'tab' && one.tabIndex < 0)).length"""
    )
    reached = opened.page.evaluate(
        """() => [...document.querySelectorAll('button, input, summary, a, .scroll, .mark')].filter((one) => one.checkVisibility()
            && one.tabIndex >= 0).length"""
    )
    assert reached == wanted > 100, "each chart has one mark that Tab reaches"
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("document.activeElement.className") == "skip"
    outline = opened.page.evaluate(
        "getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth"
    )
    assert outline == "solid3px"


def luminance(color: str) -> float:
    red, green, blue = (int(v) / 255 for v in re.findall(r"\d+", color)[:3])
    parts = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue))
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(browser: Any, file: Path, scheme: str) -> None:
    found = Opened(browser, file, color_scheme=scheme)
    pairs = found.page.evaluate(
        """() => {
          const behind = (one) => { for (; one; one = one.parentElement) {
            const color = getComputedStyle(one).backgroundColor;
            if (!/rgba\\(.*, 0\\)|transparent/.test(color)) return color; } return 'rgb(255,255,255)'; };
          return ['body', 'h1', '.muted', '.sub', 'a', '.badge.pass', '.badge.fail', '.badge.open', '[aria-selected=true]',
                  '[aria-selected=false]', 'code', 'summary', 'thead th', 'td', 'figcaption', '.lacks', '.chart text.tick',
                  '.chart text.title', '.chart text.label'].map((what) => {
            const one = document.querySelector(what), style = getComputedStyle(one);
            return [what, one instanceof SVGElement ? style.fill : style.color, behind(one)]; });
        }"""
    )
    for what, front, back in pairs:
        one, other = sorted((luminance(front), luminance(back)))
        assert (other + 0.05) / (one + 0.05) >= 4.5, (scheme, what, front, back)
    found.context.close()


@pytest.mark.parametrize("width", [390, 768])
def test_a_narrow_window_needs_no_scrolling_sideways(browser: Any, file: Path, width: int) -> None:
    found = Opened(browser, file, viewport={"width": width, "height": 844})
    found.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert found.page.evaluate("document.documentElement.scrollWidth") == width
    beyond = found.page.evaluate(
        """(width) => [...document.querySelectorAll('main *')].filter((one) => !one.closest('.scroll') && !one.closest('svg')
            && one.checkVisibility() && one.getBoundingClientRect().right > width + 0.5).map((one) => one.outerHTML.slice(0, 80))""",
        width,
    )
    assert beyond == []
    found.context.close()


def test_paper_shows_every_section_and_what_is_folded(browser: Any, file: Path) -> None:
    found = Opened(browser, file, viewport={"width": 794, "height": 1123})
    found.page.emulate_media(media="print")
    assert found.seen("main > section") == SECTIONS and found.seen(".chooser") == found.seen("nav") == 0
    assert found.seen("#classes .teacher") == found.seen("#classes .student") == 3
    assert found.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    found.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert (
        found.page.evaluate("[...document.querySelectorAll('table')].filter((one) => one.getBoundingClientRect().right > 794).length") == 0
    )
    assert len(found.page.pdf()) > 50_000
    found.context.close()


def test_without_scripts_all_of_it_is_there(browser: Any, file: Path) -> None:
    found = Opened(browser, file, java_script_enabled=False)
    assert found.seen("#verdicts article") == 4 and found.seen(".chooser") == 0 and found.seen("#classes .teacher") == 3
    found.context.close()
