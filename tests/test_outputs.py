"""What a command may write over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekd.errors import InputError
from edgekd.outputs import check
from tests.examined_runs import run
from tests.registry.made import release
from tests.small_builds import edgekd


def test_what_was_written_before_is_written_again(tmp_path: Path) -> None:
    for content in (b"", b"\n", b"<?xml version='1.0'?>\n<testsuites>"):
        (tmp_path / "gate.xml").write_bytes(content)
        check(tmp_path / "gate.xml", "--junit", b"<testsuites")
    check(tmp_path / "new" / "gate.xml", "--junit", b"<testsuites")


def test_what_is_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / "link").symlink_to("nothing")
    said = {
        "pipe": "is no regular file",
        ".": "is a folder",
        "thesis.txt": "is there already, and edgekd did not write it",
        "link": "is no regular",
    }
    for name, found in said.items():
        with pytest.raises(InputError, match=rf"--junit .*: {found}"):
            check(tmp_path / name, "--junit", b"<testsuites")
    with pytest.raises(InputError, match=r"--junit /dev/full: is no regular file"):
        check(Path("/dev/full"), "--junit", b"<testsuites")


def test_the_gate_keeps_what_it_judges(tmp_path: Path) -> None:
    made, waivers = release(tmp_path), tmp_path / "waivers.toml"
    waivers.write_text('[[waiver]]\ncheck = "accuracy"\ntarget = "*"\nowner = "a"\nreason = "b"\nexpires = 9999-12-31\n')
    for place, said in ((made / "manifest.json", "lies inside"), (made / "gate.xml", "lies inside"), (waivers, "is there already")):
        code, out, err = edgekd("gate", made, "--baseline", made, "--waivers", waivers, "--junit", place)
        assert code == 2 and not out and said in err
    assert not (made / "gate.xml").exists() and waivers.read_text().startswith("[[waiver]]")
    assert edgekd("release", "verify", made)[2] == ""
    for _ in range(2):
        assert edgekd("gate", made, "--baseline", made, "--junit", tmp_path / "gate.xml")[0] in (1, 2)
    assert b"<testsuites" in (tmp_path / "gate.xml").read_bytes()[:4096]


def test_a_page_does_not_take_a_records_place(tmp_path: Path) -> None:
    made = run(tmp_path)
    code, _, err = edgekd("report", made, "--html", made / "records" / "plan.json")
    assert code == 2 and "plan.json: is there already, and edgekd did not write it" in err
    for _ in range(2):
        assert edgekd("report", made, "--html", tmp_path / "page.html")[0] == 0
