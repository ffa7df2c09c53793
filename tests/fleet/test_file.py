"""What the file of a fleet may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.errors import InputError
from edgekd.fleet.file import load

GOOD = """
schema_version = 1
name = "lab"

[[devices]]
name = "kitchen-pi"
device = "ssh:pi@10.0.0.7"
target = "raspberry-pi-4"
options = { seconds = 30, retries = 0 }
"""


def test_its_file(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(GOOD)
    found = load(path)
    assert (found.jobs, found.retries, found.devices[0].options.seconds, found.devices[0].options.retries) == (8, 2, 30, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("retries = 0", "retry = 0"), "retry"),
        (('name = "lab"', 'name = "lab"\njobs = 0'), "jobs: found 0"),
        (('device = "ssh:pi@10.0.0.7"', ""), "devices[0].device: is missing"),
        (("ssh:pi@10.0.0.7", "shh:pi@10.0.0.7"), "devices[0].device: no device is called 'shh'"),
        (("seconds = 30", 'seconds = "30"'), "devices[0].options.seconds"),
        (("seconds = 30", "seconds = 1e30"), "devices[0].options.seconds: found 1e+30 (a number)\n  expected: less than or equal to 86400"),
        (("pi@10.0.0.7", "pi\\u0000@h"), "devices[0].device: found"),
        (
            ("[[devices]]", '[[devices]]\nname = "kitchen-pi"\ndevice = "host"\ntarget = "pixel-8"\n[[devices]]'),
            "'kitchen-pi' is the name of 2",
        ),
    ],
)
def test_its_files_problems(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(GOOD.replace(*change))
    with pytest.raises(InputError) as caught:
        load(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_a_target_s_file_lies_beside_the_fleet_s(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(GOOD.replace('"raspberry-pi-4"', '"boards/mine.toml"'))
    assert load(path).devices[0].target == str(tmp_path / "boards" / "mine.toml")
    path.write_text(GOOD)
    assert load(path).devices[0].target == "raspberry-pi-4"
