"""A release is there whole or not at all: killed, interrupted, without room, and made twice at once."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekd.errors import InputError
from edgekd.release.check import check
from edgekd.releasing import release_facts
from tests.release import tiny_packer
from tests.releases import facts_of, keys, order, quiet, tiny


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny(monkeypatch)


def _in_child(work: Callable[[], object]) -> int:
    """``work`` in a process of its own, to be killed or to be short of something; returns its id."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the child can tell what has come
    child = os.fork()
    if child == 0:
        code = 3
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            work()
            code = 0
        except InputError:
            code = 2
        except KeyboardInterrupt:
            code = 130
        except OSError:
            code = 4
        finally:
            os._exit(code)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    return child


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interruption_leaves_nothing_half_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals) -> None:
    monkeypatch.setattr(tiny_packer, "SLOWLY", 0.02)
    facts, private, rng = facts_of(tmp_path), keys(tmp_path)[0], random.Random(3)
    begun = time.monotonic()
    whole = release_facts(facts, order(tmp_path / "whole", key=private), quiet).released.folder
    took = time.monotonic() - begun
    out = tmp_path / "out"
    killed = 0
    for _ in range(6):
        child = _in_child(lambda: release_facts(facts, order(out, key=private), quiet))
        time.sleep(rng.uniform(0, 1.1 * took))
        os.kill(child, how)
        killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
        there = [path.name for path in out.iterdir() if not path.name.startswith(".")] if out.exists() else []
        if there:
            assert there == [whole.name]
            assert check(out / there[0], None).ok and (out / there[0] / "model.sig").is_file()
            (out / there[0]).rename(tmp_path / f"moved-{rng.random()}")
        if how == signal.SIGINT and out.exists():
            assert [path.name for path in out.iterdir()] in ([], [f".{whole.name}.making"])
    assert killed
    done = release_facts(facts, order(out), quiet)
    assert done.new and os.listdir(out) == [whole.name], "what was left is gone"


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path) -> None:
    facts, out = facts_of(tmp_path), tmp_path / "out"

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
        release_facts(facts, order(out), quiet)

    assert os.waitstatus_to_exitcode(os.waitpid(_in_child(work), 0)[1]) in (2, 4)
    assert os.listdir(out) == []


def test_two_at_once_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_packer, "SLOWLY", 0.3)
    facts, out = facts_of(tmp_path), tmp_path / "out"
    child = _in_child(lambda: release_facts(facts, order(out), quiet))
    until = time.monotonic() + 60
    while not list(out.glob(".*/*/tiny/assets/*")):
        assert os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < until, "the other release ended, or never began"
        time.sleep(0.01)
    with pytest.raises(InputError, match="another process makes this release now"):
        release_facts(facts, order(out), quiet)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert check(out / "golden-pixel-8-1.4.0", None).ok and os.listdir(out) == ["golden-pixel-8-1.4.0"]
