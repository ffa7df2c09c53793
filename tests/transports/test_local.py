"""This machine as a device, and the lock that any transport can hold."""

from __future__ import annotations

import json
import os
import platform
import stat
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgekd.errors import DeviceError
from edgekd.transports import Ran, lock
from edgekd.transports.local import LocalTransport, connect
from edgekd.transports.lock import NAME, OWNER, held


@pytest.fixture
def device(tmp_path: Path) -> LocalTransport:
    return connect(str(tmp_path / "device"))


def test_files_go_there_and_back_and_the_work_folder_goes(device: LocalTransport, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(256)))
    device.put(tmp_path / "a", "deep/er/b")
    assert device.run(["cat", "deep/er/b"], limit_s=5).code == 0
    device.get("deep/er/b", tmp_path / "back" / "c")
    assert (tmp_path / "back" / "c").read_bytes() == bytes(range(256))
    folder = Path(device.folder)
    assert folder.is_dir()
    device.close()
    device.close()
    assert not folder.exists()


def test_a_failed_copy_leaves_nothing_behind(device: LocalTransport, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("before")
    with pytest.raises(DeviceError, match=r"missing cannot be got: No such file"):
        device.get("missing", tmp_path / "kept")
    assert (tmp_path / "kept").read_text() == "before" and not list(tmp_path.glob(".edgekd-*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(DeviceError, match="no work folder can be made"):
        connect(str(tmp_path / "device"))


def test_arguments_are_no_shells_and_codes_come_back(device: LocalTransport) -> None:
    ran = device.run(["sh", "-c", 'printf "%s|" "$@"; echo oops >&2; exit 7', "sh", "a b", "$HOME", "*", "'"], limit_s=5)
    assert (ran.code, ran.out, ran.err) == (7, "a b|$HOME|*|'|", "oops\n")
    with pytest.raises(DeviceError, match="no-such-program does not start"):
        device.run(["no-such-program"], limit_s=5)


def gone(pid: int) -> bool:
    """Within five seconds."""
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or ") Z " in Path(f"/proc/{pid}/stat").read_text():
            return True
        time.sleep(0.05)
    return False


def test_what_hangs_is_killed_with_its_children(device: LocalTransport) -> None:
    with pytest.raises(DeviceError, match=r"sh took over 0.5 s and was ended"):
        device.run(["sh", "-c", "sleep 60 & echo $! > child; wait"], limit_s=0.5)
    assert gone(int(Path(device.folder, "child").read_text()))


def test_a_second_harness_is_told_whose_the_device_is(device: LocalTransport) -> None:
    other = connect(str(Path(device.folder).parent))
    with held(device) as said:
        assert said == []
        with pytest.raises(DeviceError) as refused, held(other):
            pass
    assert f"another harness measures there since 0 s: {platform.node()}, process {os.getpid()}" in str(refused.value)
    with held(other):
        pass
    assert not Path(device.folder).parent.joinpath(NAME).exists()


def test_a_lock_that_could_not_be_signed_is_not_left_behind(device: LocalTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise DeviceError("owner.json cannot be put: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(device, "put", full)
        with pytest.raises(DeviceError, match="No space left"), held(device):
            pass
    with held(device):
        pass


def locked(device: LocalTransport, owner: dict[str, str] | None, age: float) -> None:
    folder = Path(device.folder).parent / NAME
    folder.mkdir()
    if owner is not None:
        (folder / OWNER).write_text(json.dumps(owner))
    os.utime(folder, (time.time() - age, time.time() - age))


@pytest.mark.parametrize(
    ("owner", "age"),
    [({"host": platform.node(), "pid": "4194305"}, 5), ({"host": "elsewhere", "pid": "1"}, 7 * 3600), (None, 120)],
    ids=["died here", "old", "never signed"],
)
def test_a_stale_lock_is_taken_over_and_that_is_said(device: LocalTransport, owner: dict[str, str] | None, age: float) -> None:
    locked(device, owner, age)
    with held(device) as said:
        assert "a stale lock was taken over" in said[0]
    assert not list(Path(device.folder).parent.glob(NAME + "*"))


@pytest.mark.parametrize("owner", [{"host": "elsewhere", "pid": "1"}, None], ids=["another machine", "being made"])
def test_a_young_lock_of_one_that_cannot_be_asked_holds(device: LocalTransport, owner: dict[str, str] | None) -> None:
    locked(device, owner, 5)
    with pytest.raises(DeviceError, match="another harness measures there"), held(device):
        pass
    assert (Path(device.folder).parent / NAME).is_dir()


def test_what_a_command_leaves_behind_ends_with_it(device: LocalTransport) -> None:
    began = time.monotonic()
    assert device.run(["sh", "-c", "sleep 60 & echo $! > child"], limit_s=30).code == 0
    assert time.monotonic() - began < 20, "what holds its output is not waited for"
    assert gone(int(Path(device.folder, "child").read_text()))


def test_a_device_that_talks_for_ever_fills_no_memory(device: LocalTransport) -> None:
    with pytest.raises(DeviceError, match=r"yes said more than 32 MiB and was ended"):
        device.run(["yes"], limit_s=60)


def mine(**other: str) -> dict[str, str]:
    boot, up = lock._clock(LocalTransport("/tmp", "here"))
    return {**lock._me(os.getppid()), "token": "t", "device_boot": boot, "device_up": up, **other}


@pytest.mark.parametrize(
    ("other", "stale"),
    [
        ({}, False),
        ({"started": "1"}, True),
        ({"boot": "another", "machine": "another"}, False),
        ({"numbers": "pid:[1]", "pid": "4194305"}, False),
        ({"device_boot": "another", "host": "elsewhere"}, True),
    ],
    ids=["it lives", "its number is another's", "another machine of this name", "of a container", "the device started anew"],
)
def test_who_still_measures(device: LocalTransport, other: dict[str, str], stale: bool) -> None:
    """However old the lock is by the device's wall clock, which jumps."""
    locked(device, mine(**other), 7 * 3600)
    if stale:
        with held(device) as said:
            assert said[0].startswith("a stale lock was taken over")
        return
    with pytest.raises(DeviceError, match=r"another harness measures there since \d s"), held(device):
        pass


def test_of_two_that_take_a_stale_lock_over_only_one_gets_it(device: LocalTransport) -> None:
    """The other one is quicker: between the look at the stale lock and its move he has moved it, and has made and signed his own."""
    locked(device, {"host": platform.node(), "pid": "4194305", "token": "old"}, 5)
    folder = Path(device.folder).parent / NAME

    class Slow(LocalTransport):
        def run(self, argv: Sequence[str], *, limit_s: float, cwd: str = "") -> Ran:
            if argv[0] == "mv" and argv[1] == str(folder):
                (folder / OWNER).write_text(json.dumps({"host": "elsewhere", "pid": "1", "token": "his"}))
            return super().run(argv, limit_s=limit_s, cwd=cwd)

    with pytest.raises(DeviceError, match="another harness has just taken the device over"), held(Slow(device.folder, "slow")):
        pass
    assert json.loads((folder / OWNER).read_text())["token"] == "his", "he keeps it"


def test_a_lock_that_somebody_signs_over_is_his(device: LocalTransport) -> None:
    folder = Path(device.folder).parent / NAME

    class Late(LocalTransport):
        def put(self, local: Path, remote: str) -> None:
            super().put(local, remote)
            (folder / OWNER).write_text(json.dumps({"host": "elsewhere", "pid": "1", "token": "his"}))

    with pytest.raises(DeviceError, match="another harness has just taken the device over"), held(Late(device.folder, "late")):
        pass
    assert json.loads((folder / OWNER).read_text())["token"] == "his"


def test_a_stale_lock_of_another_user_says_who_must_remove_it(device: LocalTransport) -> None:
    class Sticky(LocalTransport):
        """As /tmp is for whoever has not made the folder."""

        def run(self, argv: Sequence[str], *, limit_s: float, cwd: str = "") -> Ran:
            return Ran(1, "", "mv: Operation not permitted") if argv[0] == "mv" else super().run(argv, limit_s=limit_s, cwd=cwd)

    locked(device, {"host": platform.node(), "pid": "4194305"}, 5)
    with pytest.raises(DeviceError, match="a stale lock of another user is there") as refused, held(Sticky(device.folder, "sticky")):
        pass
    assert "as the user who made it, or root" in str(refused.value)


def test_what_a_harness_that_was_killed_left_goes_after_a_day(tmp_path: Path) -> None:
    old, new, other = (tmp_path / name for name in ("edgekd-abcd_123", "edgekd-abcd_124", "edgekd-mine-is-longer"))
    for folder in (old, new, other):
        (folder / "m0").mkdir(parents=True)
    for folder in (old, other):
        os.utime(folder, (1e9, 1e9))
    link = tmp_path / "edgekd-link_123"
    link.symlink_to(other)
    connect(str(tmp_path)).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [new.name, link.name, other.name] and (other / "m0").is_dir()


def test_who_takes_over_removes_what_was_left_and_nothing_else(device: LocalTransport, tmp_path: Path) -> None:
    other, mine_too = connect(str(Path(device.folder).parent)), tmp_path / "edgekd-mine"
    mine_too.mkdir()
    for folder, goes in ((other.folder, True), (str(mine_too), False), (str(Path(other.folder).parent / "notes"), False)):
        Path(folder).mkdir(exist_ok=True)
        locked(device, {"host": platform.node(), "pid": "4194305", "folder": folder}, 5)
        with held(device):
            assert Path(folder).exists() != goes
