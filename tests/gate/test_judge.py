from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest

from edgekd.errors import InputError
from edgekd.gate.check import TOLERANCES, Limit, Parity, tolerances
from edgekd.gate.judge import Judgement, judge
from edgekd.gate.waivers import Waiver
from tests.gate.subjects import subject, with_figure

TODAY = date(2026, 11, 22)
SLOW = with_figure("latency_ms", value=2.6, low=2.5, high=2.7)


def waiver(check: str = "latency_ms", target: str = "pixel-8", expires: str = "2026-12-31") -> Waiver:
    return Waiver(check, target, "ada@example.com", "new stem", expires)


def statuses(found: Judgement) -> dict[str, str]:
    return {check.name: check.status for check in found.checks}


def test_what_needs_no_baseline() -> None:
    found = judge(subject(), subject(), today=TODAY)
    assert (found.verdict, found.exit_code) == ("pass", 0)
    assert list(statuses(found))[:3] == ["files", "parity.tflm", "budget.model_bytes"]
    broken = subject(parity=(Parity("tflm", False, "differs; first at conv_3"), Parity("litert_ref", True, "bit-equal")))
    assert statuses(judge(broken, subject(), today=TODAY))["parity.tflm"] == "fail"
    assert judge(subject(changed=("model.tflite: has another sha256",)), subject(), today=TODAY).exit_code == 1
    assert judge(subject(parity=()), subject(), today=TODAY).exit_code == 2
    over = subject(limits=(Limit("model_bytes", 90_000, "B", "recipe", 100_000, "counted"),))
    (check,) = (one for one in judge(over, subject(), today=TODAY).checks if one.name == "budget.model_bytes")
    assert check.status == "fail" and check.message == "100,000 B, 90,000 allowed, counted; set by recipe"


def test_whole_numbers_have_all_their_digits() -> None:
    limits = (Limit("max_macs", 4_500_000, "MAC", "recipe", 15_638_080, "counted"), Limit("dram_bytes", 67_108_864, "B", "profile", None))
    found = judge(subject(limits=limits), subject(), today=TODAY)
    (check,) = (one for one in found.checks if one.name == "budget.max_macs")
    assert check.message == "15,638,080 MAC, 4,500,000 allowed, counted; set by recipe"
    assert found.notes[0].startswith("budget dram_bytes ≤ 67,108,864 B (profile)")


def test_a_budget_of_which_nothing_is_known_is_a_note() -> None:
    open_ = subject(limits=(Limit("latency_ms", 50.0, "ms", "profile pixel-8", None),))
    found = judge(open_, subject(), today=TODAY)
    assert found.exit_code == 0 and "budget.latency_ms" not in statuses(found)
    assert found.notes[0].startswith("budget latency_ms ≤ 50 ms (profile pixel-8): no figure of the device")


@pytest.mark.parametrize("name", ["model_bytes", "peak_ram_bytes", "accuracy_drop_pp", "max_macs"])
def test_a_budget_that_needs_no_device_is_not_judged_without_a_figure(name: str) -> None:
    found = judge(subject(limits=(Limit(name, 3.5, "pp", "profile pixel-8", None),)), subject(), today=TODAY)
    assert found.exit_code == 2 and statuses(found)[f"budget.{name}"] == "unknown" and not found.notes
    (check,) = (one for one in found.checks if one.status == "unknown")
    assert check.message == "nobody knows what is used of 3.5 pp; set by profile pixel-8"


def test_without_a_baseline_nothing_passes_but_a_fail_outranks() -> None:
    assert judge(subject(), None, today=TODAY).exit_code == 2
    assert judge(subject(parity=(Parity("tflm", False, "differs"),)), None, today=TODAY).exit_code == 1


@pytest.mark.parametrize("target", ["pixel-8", "*"])
def test_a_waiver_covers_what_fails(target: str) -> None:
    found = judge(SLOW, subject(), waivers=[waiver(target=target)], today=TODAY)
    assert found.exit_code == 0 and statuses(found)["latency_ms"] == "waived" and not found.unused
    (check,) = (one for one in found.checks if one.status == "waived")
    assert check.message.endswith("waived to 2026-12-31 by ada@example.com: new stem") and check.waiver == waiver(target=target)


def test_of_two_waivers_the_one_that_expired_says_what_is_still_to_be_mended() -> None:
    old, new = waiver(target="*", expires="2026-11-01"), waiver()
    found = judge(SLOW, subject(), waivers=[old, new], today=TODAY)
    assert found.exit_code == 1 and statuses(found)["latency_ms"] == "waived" and not found.unused
    assert found.checks[-1].name == "waiver.latency_ms" and "mend what it waives" in found.checks[-1].message


def test_a_waiver_holds_through_its_last_day() -> None:
    last = waiver(expires="2026-11-22")
    assert judge(SLOW, subject(), waivers=[last], today=TODAY).exit_code == 0
    late = judge(SLOW, subject(), waivers=[last], today=date(2026, 11, 23))
    assert late.exit_code == 1
    assert statuses(late)["latency_ms"] == statuses(late)["waiver.latency_ms"] == "fail"
    (check,) = (one for one in late.checks if one.name == "latency_ms")
    assert check.message.endswith("the waiver of ada@example.com expired on 2026-11-22")


def test_an_expired_waiver_fails_even_where_it_is_not_needed() -> None:
    found = judge(subject(), subject(), waivers=[waiver(expires="2026-01-01")], today=TODAY)
    assert found.exit_code == 1 and statuses(found)["latency_ms"] == "pass"
    (check,) = (one for one in found.checks if one.status == "fail")
    assert check.message.endswith("expired on 2026-01-01 (new stem); what it waives passes: delete it")


def test_waivers_of_other_targets_and_unused_ones() -> None:
    other, unused = waiver(target="pixel-9", expires="2020-01-01"), waiver("accuracy")
    found = judge(SLOW, subject(), waivers=[other, unused], today=TODAY)
    assert found.exit_code == 1 and found.unused == (unused,)


def test_of_two_the_one_that_still_holds() -> None:
    old, good = waiver(expires="2026-01-01"), waiver(target="*")
    found = judge(SLOW, subject(), waivers=[old, good], today=TODAY)
    assert statuses(found)["latency_ms"] == "waived" and statuses(found)["waiver.latency_ms"] == "fail"


def test_one_waiver_for_a_family() -> None:
    broken = subject(parity=(Parity("tflm", False, "differs"), Parity("litert_ref", False, "differs")))
    assert judge(broken, subject(), waivers=[waiver("parity")], today=TODAY).exit_code == 0
    assert judge(broken, subject(), waivers=[waiver("parity.tflm")], today=TODAY).exit_code == 1


def test_changed_files_are_not_to_be_waived() -> None:
    changed = replace(SLOW, changed=("model.tflite: is missing",))
    assert judge(changed, subject(), waivers=[waiver(one) for one in ("latency_ms", "parity")], today=TODAY).exit_code == 1


def test_the_document_is_json_and_says_what_was_overridden() -> None:
    found = judge(SLOW, subject(), tolerances(["latency=0.5"]), [waiver("accuracy")], today=TODAY)
    document = json.loads(json.dumps(found.document()))
    assert document["verdict"] == "pass" and document["exit_code"] == 0 and document["overridden"] == {"latency_ms": 0.5}
    assert document["subject"]["model"] == "n" * 64 and document["baseline"]["target"] == "pixel-8"
    assert document["unused_waivers"][0]["check"] == "accuracy" and document["tolerances"]["accuracy"] == 0.3
    (latency,) = (one for one in document["checks"] if one["name"] == "latency_ms")
    assert latency["found"]["kind"] == "measured" and latency["limit"] == pytest.approx(3.0)


def test_tolerances() -> None:
    assert tolerances([]) == TOLERANCES
    changed = tolerances(["size=0.05", "accuracy = 1", "worst_class=0"])
    assert changed == {**TOLERANCES, "model_bytes": 0.05, "accuracy": 1.0, "worst_class": 0.0}


def test_a_tolerance_that_is_given_twice() -> None:
    with pytest.raises(InputError, match="--tolerance latency_ms=0.9: latency_ms stands there twice"):
        tolerances(["latency=0.1", "latency_ms=0.9"])


@pytest.mark.parametrize(
    "text", ["speed=0.1", "latency", "latency=", "latency=nan", "latency=-0.1", "latency=20", "accuracy=101", "=1", ""]
)
def test_a_tolerance_that_is_none(text: str) -> None:
    with pytest.raises(InputError, match=r"--tolerance .*\n  expected: "):
        tolerances([text])
