"""JUnit XML as GitLab and Jenkins read it: Jenkins' junit-10.xsd, of whose elements and attributes these are a few."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from edgekd.gate.check import Check
from edgekd.gate.judge import Judgement

#: What XML 1.0 (5th ed., 2008, production 2) has no way to write.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Status → the element that says so; a test case that passed has none.
_ELEMENTS = {"fail": "failure", "unknown": "error", "waived": "skipped"}


def write(judgement: Judgement, created: str) -> bytes:
    """One test suite, one test case a check. ``created``: ISO 8601 without a zone, in UTC, as the schema has it."""
    subject, statuses = judgement.subject, [check.status for check in judgement.checks]
    counts = {"failures": statuses.count("fail"), "errors": statuses.count("unknown")}
    counted = {"tests": str(len(statuses)), **{name: str(count) for name, count in counts.items()}, "time": "0"}
    name = _text(f"edgekd gate: {subject.name} for {subject.target}")
    root = ElementTree.Element("testsuites", {"name": "edgekd gate", **counted})
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": name, **counted, "skipped": str(statuses.count("waived")), "timestamp": created}
    )
    for check in judgement.checks:
        _case(suite, check, _text(f"edgekd.{subject.name}.{subject.target}"))
    said = [f"baseline: {judgement.baseline.where if judgement.baseline else 'none'}"]
    said += [f"tolerance {name} = {value:g}, not the default" for name, value in judgement.overridden.items()]
    said += [f"unused waiver: {one.check}, {one.owner}, expires {one.expires}" for one in judgement.unused]
    ElementTree.SubElement(suite, "system-out").text = _text("\n".join([*said, *judgement.notes]))
    ElementTree.indent(root)
    return ElementTree.tostring(root, "utf-8", xml_declaration=True) + b"\n"


def _case(suite: ElementTree.Element, check: Check, classname: str) -> None:
    case = ElementTree.SubElement(suite, "testcase", {"name": _text(check.name), "classname": classname, "time": "0"})
    if check.status in _ELEMENTS:
        attributes = {"message": _text(check.message)} | ({} if check.status == "waived" else {"type": check.status})
        ElementTree.SubElement(case, _ELEMENTS[check.status], attributes)
    else:
        ElementTree.SubElement(case, "system-out").text = _text(check.message)


def _text(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
