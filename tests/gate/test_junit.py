from __future__ import annotations

from dataclasses import replace
from datetime import date
from xml.etree import ElementTree

from edgekd.gate.check import Parity
from edgekd.gate.judge import judge
from edgekd.gate.junit import write
from edgekd.gate.waivers import Waiver
from tests.gate.subjects import subject, with_figure

#: Of Jenkins' junit-10.xsd (xunit plugin): element → its attributes, those that it must have, and its children in order.
SCHEMA: dict[str, tuple[set[str], set[str], list[str]]] = {
    "testsuites": ({"name", "time", "tests", "failures", "disabled", "errors"}, set(), ["testsuite"]),
    "testsuite": (
        {"name", "tests", "failures", "errors", "group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url",
         "version"},
        {"name"},
        ["properties", "testcase", "system-out", "system-err"],
    ),
    "testcase": (
        {"name", "time", "classname", "group"},
        {"name"},
        ["skipped", "error", "failure", "rerunFailure", "system-out", "system-err"],
    ),
    "failure": ({"type", "message"}, set(), []),
    "error": ({"type", "message"}, set(), []),
    "skipped": ({"type", "message"}, set(), []),
    "system-out": (set(), set(), []),
}  # fmt: skip


def valid(element: ElementTree.Element) -> None:
    allowed, needed, children = SCHEMA[element.tag]
    assert needed <= set(element.keys()) <= allowed, (element.tag, element.keys())
    order = [children.index(child.tag) for child in element]
    assert order == sorted(order), [child.tag for child in element]
    if element.tag not in ("testsuites", "testsuite"):
        assert all(child.tag in ("system-out", "system-err") or len(element) == 1 for child in element)
    for child in element:
        valid(child)


def test_every_status() -> None:
    hostile = 'it said <b>"no"</b> & \x1b[31m\x00 ]]> \ud800 é'
    new = replace(with_figure("latency_ms", value=2.6, low=2.5, high=2.7), parity=(Parity("tflm", False, hostile),), data="")
    waiver = Waiver("latency_ms", "*", "ada", "new <stem>", "2026-12-31")
    found = judge(new, subject(), waivers=[waiver, replace(waiver, check="budget")], today=date(2026, 11, 22))
    text = write(found, "2026-11-22T10:00:00")
    root = ElementTree.fromstring(text)
    valid(root)
    suite = root.find("testsuite")
    assert suite is not None and suite.get("name") == "edgekd gate: clothes for pixel-8" and suite.get("timestamp") == "2026-11-22T10:00:00"
    cases = {str(case.get("name")): case for case in suite.iter("testcase")}
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (str(len(cases)), "1", "2", "1")
    failure, error, skipped = cases["parity.tflm"].find("failure"), cases["accuracy"].find("error"), cases["latency_ms"].find("skipped")
    assert failure is not None and str(failure.get("message")).startswith('it said <b>"no"</b> & �[31m� ]]> � é')
    assert error is not None and skipped is not None and "waived to 2026-12-31 by ada: new <stem>" in str(skipped.get("message"))
    said = suite.findtext("system-out", "")
    assert "baseline: runs/a" in said and "unused waiver: budget, ada, expires 2026-12-31" in said
