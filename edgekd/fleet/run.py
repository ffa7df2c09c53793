"""Models on many devices at once. What fails on one device is written down, and stops no other; what is there already is not done again."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal

from edgekd import host
from edgekd.errors import EdgekdError, Lost
from edgekd.fleet.file import Fleet, Member
from edgekd.store import Result

#: Devices that are this machine: of these one is measured at a time. With an address they are told apart by it.
HERE = ("host", "qemu", "vela", "arm64-emulated")
#: By how much later this process may hear of Ctrl-C than those that it started.
_CTRL_C_S = 0.2
#: How times are rejected that other work disturbed. On one machine, or one host of several boards, that may be the fleet itself.
_DISTURBED = "rejected: background load"
_BUG = "this is a bug of edgekd, or of a library that it uses"


@dataclass(frozen=True)
class Order:
    """One model for every device: its ``name``, the ``fingerprint`` of its graph, and a text that says all else that was asked.

    ``targets``: target → a hash of what its profile says, for a profile may change and keep its name. ``seconds`` is for devices that have
    none of their own.
    """

    name: str
    fingerprint: str
    asked: str
    targets: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0

    def key(self, member: Member) -> str:
        """By which a result is known: the same order on the same device in the same way."""
        target = dict(self.targets).get(member.target, member.target)
        seconds = self.seconds if member.options.seconds is None else member.options.seconds
        everything = [self.fingerprint, self.asked, member.name, member.device, target, float(seconds)]
        return hashlib.sha256(json.dumps(everything).encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What came of one model on one device. ``tries`` is 0 for what the store had; ``failed`` says why there is no good result.

    ``lost``: the device went away and did not come back, so that nothing else is tried on it.
    """

    member: Member
    order: Order
    state: Literal["done", "there", "failed"]
    tries: int = 0
    failed: str = ""
    results: tuple[Result, ...] = ()
    lost: bool = False


#: Measures one model on one device. What it raises is that device's failure.
Measure = Callable[[Member, Order], Sequence[Result]]
#: Told of every outcome as it comes, one after another, in any thread: stores it, says it.
Told = Callable[[Outcome], None]
#: Told once, at Ctrl-C, of the devices that are waited for.
Waiting = Callable[[Sequence[str]], None]


def run(
    fleet: Fleet, orders: Sequence[Order], measure: Measure, there: Collection[str], told: Told, waiting: Waiting = lambda _: None
) -> list[Outcome]:
    """Every order on every device, in the order of the file. ``there`` has the keys that need not be done. Times that other work disturbed
    are taken once more at the end, one device after another, where the device has retries.

    Never raises for a device; what ``told`` raises ends everything, after what runs. Ctrl-C starts nothing further, and what
    then fails is not told.
    """
    work = _Work(fleet, measure, told)
    groups: dict[str, list[Member]] = {}
    for member in fleet.devices:
        groups.setdefault(_place(member.device), []).append(member)
    pool = ThreadPoolExecutor(fleet.jobs, thread_name_prefix="device")
    try:  # what runs is waited for: a device that is left in the middle keeps its lock
        futures = [
            pool.submit(lambda group: [outcome for member in group for outcome in work.each(member, orders, there)], group)
            for group in groups.values()
        ]
        found = [outcome for future in futures for outcome in future.result()]
        found = [work.one(outcome.member, outcome.order, outcome.tries) if work.again(outcome) else outcome for outcome in found]
    except KeyboardInterrupt:
        work.stop.set()
        waiting(sorted(work.busy))
        raise
    finally:
        work.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
    order_of = {member.name: at for at, member in enumerate(fleet.devices)}
    return sorted(found, key=lambda outcome: order_of[outcome.member.name])


@dataclass(frozen=True)
class _Work:
    """What the threads of a run share."""

    fleet: Fleet
    measure: Measure
    told: Told
    lock: threading.Lock = field(default_factory=threading.Lock)
    stop: threading.Event = field(default_factory=threading.Event)
    busy: set[str] = field(default_factory=set)

    def each(self, member: Member, orders: Sequence[Order], there: Collection[str]) -> list[Outcome]:
        """Every order on one device."""
        outcomes: list[Outcome] = []
        for order in orders:
            if self.stop.is_set():
                break
            if order.key(member) in there:
                outcomes.append(self._tell(Outcome(member, order, "there")))
            elif gone := next((outcome for outcome in outcomes if outcome.lost), None):
                outcomes.append(self._tell(_failure(member, order, 0, f"not tried: {gone.failed}")))
            else:
                outcomes.append(self.one(member, order))
        return outcomes

    def one(self, member: Member, order: Order, before: int = 0) -> Outcome:
        """One order on one device, tried ``before`` so often."""
        self.busy.add(member.name)
        try:
            outcome = _try(self.fleet, member, order, self.measure, self.stop)
            outcome = replace(outcome, tries=outcome.tries + before)
            if not before and self.again(outcome):
                return outcome  # told when it was tried once more, with no other device busy
            # A terminal's Ctrl-C goes to compilers, emulators and adb too: that they end is no failure of the device.
            cut = outcome.state == "failed" and not any(result.row for result in outcome.results) and self.stop.wait(_CTRL_C_S)
            return outcome if cut else self._tell(outcome)
        finally:
            self.busy.discard(member.name)

    def again(self, outcome: Outcome) -> bool:
        """Other work disturbed it, and the device has a retry left."""
        return _DISTURBED in outcome.failed and outcome.tries <= _retries(self.fleet, outcome.member)

    def _tell(self, outcome: Outcome) -> Outcome:
        try:
            with self.lock:
                self.told(outcome)
        except BaseException:
            self.stop.set()
            raise
        return outcome


def _try(fleet: Fleet, member: Member, order: Order, measure: Measure, stop: threading.Event) -> Outcome:
    """Again, after a wait that doubles, where the connection was cut. What was good in the end says so in its notes."""
    retries = _retries(fleet, member)
    wait, cut = fleet.wait_s, ""
    for tries in range(1, retries + 2):
        try:
            results = tuple(measure(member, order))
        except Lost as error:
            if tries > retries or stop.wait(wait):
                return _failure(member, order, tries, f"tried {tries} {'time' if tries == 1 else 'times'}: {error}", lost=True)
            wait, cut = 2 * wait, str(error)
        except EdgekdError as error:
            return _failure(member, order, tries, str(error))
        except Exception as error:  # one device must not stop the others
            return _failure(member, order, tries, f"{type(error).__name__}: {error}\n  {_BUG}")
        else:
            failed = next((result.failed for result in results if result.failed), "")
            if cut:
                results = tuple(_noted(result, f"tried {tries} times; the last time before: {cut}") for result in results)
            return Outcome(member, order, "failed" if failed else "done", tries, failed, results)
    raise AssertionError("the last try returns")


def _retries(fleet: Fleet, member: Member) -> int:
    return fleet.retries if member.options.retries is None else member.options.retries


def _noted(result: Result, note: str) -> Result:
    """A cut that was got over must not be forgotten: a device whose cable is loose, or that restarts under this model, has many."""
    return replace(result, document={**result.document, "notes": [*result.document.get("notes", ()), note]})


def _failure(member: Member, order: Order, tries: int, failed: str, *, lost: bool = False) -> Outcome:
    created = host.environment()["created"]
    result = Result(
        created, order.name, order.fingerprint, member.target, member.device, order.key(member), label=member.name, failed=failed
    )
    return Outcome(member, order, "failed", tries, failed, (result,), lost)


def _place(device: str) -> str:
    """What of the devices cannot be used by two at once."""
    return "here" if device in HERE else device
