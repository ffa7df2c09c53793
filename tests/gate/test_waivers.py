from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from edgekd.errors import InputError
from edgekd.gate.waivers import EXAMPLE, Waiver, load, of_target, today

GOOD = """\
[[waiver]]
check = "latency_ms"
target = "pixel-8"
owner = "ada@example.com"
reason = "new stem"
expires = 2026-12-31

[[waiver]]
check = "parity.tflm"
target = "*"
owner = "bob"
reason = "a bug of theirs"
expires = "2027-01-31"
"""


def written(folder: Path, text: str) -> Path:
    (folder / "waivers.toml").write_text(text)
    return folder / "waivers.toml"


def test_a_file_of_waivers(tmp_path: Path) -> None:
    first, second = load(written(tmp_path, GOOD))
    assert first == Waiver("latency_ms", "pixel-8", "ada@example.com", "new stem", "2026-12-31")
    assert second.expires == "2027-01-31" and second.covers("parity.tflm") and not second.covers("parity.tflm_other")
    assert not first.expired(date(2026, 12, 31)) and first.expired(date(2027, 1, 1))
    assert load(written(tmp_path, EXAMPLE))[0].target == "*"


def test_what_is_meant_for_a_target_comes_first() -> None:
    everyone, mine, other = (Waiver("accuracy", target, "a", "b", "2026-12-31") for target in ("*", "pixel-8", "nano"))
    assert of_target([everyone, mine, other], "pixel-8") == (mine, everyone)


def test_the_day_is_that_of_utc() -> None:
    assert (datetime.now(UTC).date() - today()).days in (0, 1)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('owner = "ada@example.com"\n', "", "waiver 1: no owner"),
        ("expires = 2026-12-31\n", "", "waiver 1: no expires"),
        ('reason = "new stem"', 'reason = "  "', "reason = '  '"),
        ("expires = 2026-12-31", "expires = 2026-12-31T10:00:00", "expires = datetime"),
        ("expires = 2026-12-31", 'expires = "soon"', "expires = 'soon'"),
        ("expires = 2026-12-31", 'expires = "2026-02-30"', "expires = '2026-02-30'"),
        ("expires = 2026-12-31", 'expires = "20261231xx"', "expires = '20261231xx'"),
        ("expires = 2026-12-31", 'expires = "2026-W01-1"', "expires = '2026-W01-1'"),
        ("expires = 2026-12-31", "expires = 20261231", "expires = 20261231"),
        ("owner =", "ownr =", "unknown key 'ownr'"),
        ('"latency_ms"', '"latency"', "no check is called 'latency'"),
        ('"latency_ms"', '"files"', "changed files cannot be waived"),
        ('"parity.tflm"\ntarget = "*"', '"latency_ms"\ntarget = "pixel-8"', "latency_ms for pixel-8 stands in waiver 1 already"),
        ('[[waiver]]\ncheck = "latency', '[[waver]]\ncheck = "latency', "unknown table or key 'waver'"),
        ("[[waiver]]", "[waiver]", "not valid TOML"),
    ],
)
def test_what_is_no_waiver(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        load(written(tmp_path, GOOD.replace(old, new)))
    assert said in str(caught.value) and "waivers.toml" in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n", "# none is left\n"])
def test_the_last_waiver_was_struck_off(tmp_path: Path, text: str) -> None:
    assert load(written(tmp_path, text)) == ()


@pytest.mark.parametrize("text", ["waiver = 3", "waiver = [3]", "[waiver]\ncheck = 'accuracy'"])
def test_other_shapes(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"waivers\.toml"):
        load(written(tmp_path, text))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "waivers.toml")
