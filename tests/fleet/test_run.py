"""How the devices of a fleet are run: at once, again where lost, never twice, never stopped by another."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.errors import DeviceError, InputError, Lost
from edgekd.fleet.file import Fleet, Member, Options
from edgekd.fleet.run import Order, Outcome, run
from edgekd.records import Figure
from edgekd.store import Query, Result
from edgekd.store.results import find, save, there
from edgekd.store.tables import connect
from edgekd.transports import Transport, local

ORDER = Order("keywords", "f0", "{}")
OTHER = Order("pictures", "f1", "{}")


def fleet(*devices: str, retries: int = 1, jobs: int = 8) -> Fleet:
    members = [Member(name=f"d{at}", device=device, target="raspberry-pi-4") for at, device in enumerate(devices)]
    return Fleet(schema_version=1, name="lab", jobs=jobs, retries=retries, wait_s=0.01, devices=members)


def loopback(member: Member, order: Order) -> list[Result]:
    """A command on this machine, through the transport whose folder stands for the device."""
    transport: Transport = local.connect(member.device.removeprefix("local:"))
    try:
        ran = transport.run(["uname", "-s"], limit_s=10)
    finally:
        transport.close()
    figure = Figure(len(ran.out), "B", "counted", member.device)
    created = "2026-11-22T15:00:00+00:00"
    return [
        Result(created, order.name, order.fingerprint, member.target, member.device, order.key(member), member.name, figures={"n": figure})
    ]


def test_eight_devices_two_of_them_faulty_and_a_rerun(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    devices = [f"local:{tmp_path}/d{at}" for at in range(8)]
    devices[2], devices[5] = f"local:{tmp_path}/file", f"local:{tmp_path}/file/below"
    engine = connect(str(tmp_path / "store.sqlite"))
    here = fleet(*devices)

    def go() -> Counter[str]:
        tried.clear()
        done = there(engine, [ORDER.key(member) for member in here.devices])
        return Counter(one.state for one in run(here, [ORDER], measure, done, lambda outcome: save(engine, outcome.results)))

    tried: list[str] = []

    def measure(member: Member, order: Order) -> list[Result]:
        tried.append(member.name)
        return loopback(member, order)

    assert go() == {"done": 6, "failed": 2} and sorted(tried) == [f"d{at}" for at in range(8)]
    failed = find(engine, Query(failures=True))
    assert {one.label for one in failed} == {"d2", "d5"} and all("no work folder can be made" in one.failed for one in failed)
    assert len(find(engine, Query(failures=False))) == 6
    assert go() == {"there": 6, "failed": 2} and sorted(tried) == ["d2", "d5"]
    (tmp_path / "file").unlink()
    assert go() == {"there": 6, "done": 2} and sorted(tried) == ["d2", "d5"]
    assert go() == {"there": 8} and not tried


def test_a_lost_device_is_tried_again_and_what_cannot_be_reached_is_left(tmp_path: Path) -> None:
    calls: Counter[str] = Counter()

    def measure(member: Member, order: Order) -> list[Result]:
        calls[member.name] += 1
        if member.name == "d0" and calls["d0"] == 1:
            raise Lost("the connection was cut", where="ssh a")
        if member.name == "d1":
            raise Lost("no route", where="ssh b", mend="plug it in")
        if member.name == "d2":
            raise DeviceError("it has no tflite", where="ssh c")
        if member.name == "d3":
            raise ZeroDivisionError("of ours")
        return loopback(member, order)

    devices = [f"local:{tmp_path}/d{at}" for at in range(5)]
    outcomes = {(o.member.name, o.order.name): o for o in run(fleet(*devices, retries=2), [ORDER, OTHER], measure, (), lambda _: None)}
    assert len(outcomes) == 10
    assert outcomes["d0", "keywords"].state == "done" and outcomes["d0", "keywords"].tries == 2
    lost = outcomes["d1", "keywords"]
    assert (lost.state, lost.tries) == ("failed", 3) and lost.failed == "tried 3 times: ssh b: no route\n  to mend:  plug it in"
    assert outcomes["d1", "pictures"].tries == 0 and outcomes["d1", "pictures"].failed.startswith("not tried: tried 3 times: ssh b")
    assert calls["d2"] == 2 and outcomes["d2", "pictures"].failed == "ssh c: it has no tflite"
    assert outcomes["d3", "keywords"].failed.startswith("ZeroDivisionError: of ours\n  this is a bug")
    assert outcomes["d4", "pictures"].state == "done"


def test_at_once_but_one_at_a_time_on_this_machine(tmp_path: Path) -> None:
    running: set[str] = set()
    most: list[set[str]] = []
    guard = threading.Lock()

    def measure(member: Member, order: Order) -> list[Result]:
        with guard:
            running.add(member.name)
            most.append(set(running))
        time.sleep(0.1)
        with guard:
            running.discard(member.name)
        return []

    run(fleet("host", "qemu", "arm64-emulated", "ssh:a@b", "ssh:a@b", "ssh:c@d"), [ORDER], measure, (), lambda _: None)
    assert all(len(each & {"d0", "d1", "d2"}) <= 1 and len(each & {"d3", "d4"}) <= 1 for each in most)
    assert max(map(len, most)) >= 2, "nothing ran at once"


def test_a_store_that_fails_ends_it(tmp_path: Path) -> None:
    def told(outcome: Outcome) -> None:
        raise InputError("the disk is full")

    with pytest.raises(InputError, match="the disk is full"):
        run(fleet(f"local:{tmp_path}/a"), [ORDER], loopback, (), told)


def test_what_makes_it_another_order(tmp_path: Path) -> None:
    (member,) = fleet("host").devices
    keys: Sequence[str] = [
        ORDER.key(member),
        OTHER.key(member),
        Order("keywords", "f0", '{"seconds": 1}').key(member),
        ORDER.key(member.model_copy(update={"device": "host:/tmp"})),
        ORDER.key(member.model_copy(update={"target": "pixel-8"})),
    ]
    assert len(set(keys)) == len(keys) and ORDER.key(member) == ORDER.key(member.model_copy())


def test_after_ctrl_c_no_lost_device_is_tried_again_and_who_is_waited_for_is_said(tmp_path: Path) -> None:
    calls, said = Counter[str](), list[str]()
    began = threading.Event()

    def measure(member: Member, order: Order) -> list[Result]:
        calls[member.name] += 1
        if member.name == "d0":
            raise Lost("the connection was cut", where="ssh a")
        began.set()
        time.sleep(0.3)
        return loopback(member, order)

    def interrupt() -> None:
        began.wait()
        time.sleep(0.1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    lab = fleet(f"local:{tmp_path}/a", f"local:{tmp_path}/b", retries=3).model_copy(update={"wait_s": 2.0})
    stored: list[Outcome] = []
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run(lab, [ORDER, OTHER], measure, (), stored.append, said.extend)
    assert calls == {"d0": 1, "d1": 1} and said == ["d0", "d1"]
    assert [(one.member.name, one.state) for one in stored] == [("d1", "done")], "what ran is told, what Ctrl-C may have ended is not"


def test_a_cut_that_was_got_over_is_noted(tmp_path: Path) -> None:
    calls: Counter[str] = Counter()

    def measure(member: Member, order: Order) -> list[Result]:
        calls[member.name] += 1
        if calls[member.name] == 1:
            raise Lost("it restarted", where="ssh a")
        return loopback(member, order)

    (one,) = run(fleet(f"local:{tmp_path}/a"), [ORDER], measure, (), lambda _: None)
    assert one.tries == 2 and one.results[0].document["notes"] == ["tried 2 times; the last time before: ssh a: it restarted"]


def test_a_lost_device_is_left_alone_even_where_something_is_there(tmp_path: Path) -> None:
    calls: Counter[str] = Counter()

    def measure(member: Member, order: Order) -> list[Result]:
        calls[order.name] += 1
        raise Lost("no route", where="ssh b")

    lab, third = fleet("ssh:b", retries=0), Order("third", "f2", "{}")
    outcomes = run(lab, [ORDER, OTHER, third], measure, {OTHER.key(lab.devices[0])}, lambda _: None)
    assert [one.state for one in outcomes] == ["failed", "there", "failed"] and calls == {"keywords": 1}


def test_a_store_that_fails_stops_what_has_not_begun(tmp_path: Path) -> None:
    done: list[str] = []

    def measure(member: Member, order: Order) -> list[Result]:
        done.append(f"{member.name} {order.name}")
        time.sleep(0.05 if member.name == "d1" else 0.3)
        return []

    def told(outcome: Outcome) -> None:
        raise InputError("the disk is full")

    with pytest.raises(InputError, match="the disk is full"):
        run(fleet("ssh:a", "ssh:b"), [ORDER, OTHER], measure, (), told)
    assert sorted(done) == ["d0 keywords", "d1 keywords"]


def test_another_profile_of_the_same_name_is_another_order() -> None:
    (member,) = fleet("host").devices
    one, other = (Order("keywords", "f0", "{}", (("raspberry-pi-4", said),)) for said in "ab")
    assert one.key(member) != other.key(member) and one.key(member) == replace(one, targets=(*one.targets, ("x", "c"))).key(member)


def test_a_compiler_that_a_terminal_s_ctrl_c_ends_is_no_failure_of_the_device() -> None:
    def measure(member: Member, order: Order) -> list[Result]:
        threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident or 0, signal.SIGINT)).start()
        raise InputError("compiling student.c failed")  # a moment before this process hears of it

    stored: list[Outcome] = []
    with pytest.raises(KeyboardInterrupt):
        run(fleet("qemu"), [ORDER], measure, (), stored.append)
    assert stored == []


def test_seconds_of_the_command_line_are_for_devices_without_their_own() -> None:
    (member,) = fleet("host").devices
    own = member.model_copy(update={"options": Options(seconds=30)})
    short, long = replace(ORDER, seconds=5.0), replace(ORDER, seconds=30.0)
    assert short.key(own) == long.key(own) == long.key(member) != short.key(member)


@pytest.mark.parametrize(("retries", "calm_at", "state", "tries"), [(1, 2, "done", 2), (0, 2, "failed", 1), (3, 9, "failed", 2)])
def test_times_that_the_fleet_itself_disturbed_are_taken_again_alone(retries: int, calm_at: int, state: str, tries: int) -> None:
    running, told, tried = set[str](), list[str](), Counter[str]()

    def measure(member: Member, order: Order) -> list[Result]:
        running.add(member.name)
        tried[member.name] += 1
        if member.name == "d1" and tried["d1"] > 1:
            assert running == {"d1"} and sorted(told) == ["d0", "d2"], "after all others, and alone"
        time.sleep(0.05)
        running.discard(member.name)
        noisy = member.name == "d1" and tried["d1"] < calm_at
        failed = "model: rejected: background load: 40% of the inferences were disturbed" if noisy else ""
        return [Result("", order.name, order.fingerprint, "", member.device, order.key(member), member.name, failed=failed)]

    found = run(
        fleet("host:a", "host:b", "host:c", retries=retries), [ORDER], measure, (), lambda outcome: told.append(outcome.member.name)
    )
    assert [one.state for one in found] == ["done", state, "done"] and found[1].tries == tries
    assert sorted(told) == ["d0", "d1", "d2"], "each is told once"
