"""Models on many devices at once. What fails on one device is written down, and stops no other; what is there already is not done again."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from edgekd import host
from edgekd.errors import EdgekdError, Lost
from edgekd.fleet.file import Fleet, Member
from edgekd.store import Result

#: Devices that are this machine: of these one is measured at a time. With an address they are told apart by it.
HERE = ("host", "qemu", "vela", "arm64-emulated")
_BUG = "this is a bug of edgekd, or of a library that it uses"


@dataclass(frozen=True)
class Order:
    """One model for every device: its ``name``, the ``fingerprint`` of its graph, and a text that says all else that was asked."""

    name: str
    fingerprint: str
    asked: str

    def key(self, member: Member) -> str:
        """By which a result is known: the same order on the same device in the same way."""
        everything = [self.fingerprint, self.asked, member.name, member.device, member.target, member.options.seconds]
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


def run(fleet: Fleet, orders: Sequence[Order], measure: Measure, there: Collection[str], told: Told) -> list[Outcome]:
    """Every order on every device, in the order of the file. ``there`` has the keys that need not be done.

    Never raises for a device; what ``told`` raises ends everything, after what runs. Ctrl-C starts nothing further.
    """
    one, stop = threading.Lock(), threading.Event()

    def tell(outcome: Outcome) -> Outcome:
        with one:
            told(outcome)
        return outcome

    def each(member: Member) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for order in orders:
            if stop.is_set():
                break
            if order.key(member) in there:
                outcomes.append(tell(Outcome(member, order, "there")))
            elif outcomes and outcomes[-1].lost:
                outcomes.append(tell(_failure(member, order, 0, f"not tried: {outcomes[-1].failed}", lost=True)))
            else:
                outcomes.append(tell(_try(fleet, member, order, measure, stop)))
        return outcomes

    groups: dict[str, list[Member]] = {}
    for member in fleet.devices:
        groups.setdefault(_place(member.device), []).append(member)
    pool = ThreadPoolExecutor(fleet.jobs, thread_name_prefix="device")
    try:  # what runs is waited for: a device that is left in the middle keeps its lock
        futures = [pool.submit(lambda group: [outcome for member in group for outcome in each(member)], group) for group in groups.values()]
        found = [outcome for future in futures for outcome in future.result()]
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
    order_of = {member.name: at for at, member in enumerate(fleet.devices)}
    return sorted(found, key=lambda outcome: order_of[outcome.member.name])


def _try(fleet: Fleet, member: Member, order: Order, measure: Measure, stop: threading.Event) -> Outcome:
    """Again, after a wait that doubles, where the connection was cut."""
    retries = fleet.retries if member.options.retries is None else member.options.retries
    wait = fleet.wait_s
    for tries in range(1, retries + 2):
        try:
            results = tuple(measure(member, order))
        except Lost as error:
            if tries > retries or stop.is_set():
                return _failure(member, order, tries, f"tried {tries} {'time' if tries == 1 else 'times'}: {error}", lost=True)
            stop.wait(wait)
            wait *= 2
        except EdgekdError as error:
            return _failure(member, order, tries, str(error))
        except Exception as error:  # one device must not stop the others
            return _failure(member, order, tries, f"{type(error).__name__}: {error}\n  {_BUG}")
        else:
            failed = next((result.failed for result in results if result.failed), "")
            return Outcome(member, order, "failed" if failed else "done", tries, failed, results)
    raise AssertionError("the last try returns")


def _failure(member: Member, order: Order, tries: int, failed: str, *, lost: bool = False) -> Outcome:
    created = host.environment()["created"]
    result = Result(
        created, order.name, order.fingerprint, member.target, member.device, order.key(member), label=member.name, failed=failed
    )
    return Outcome(member, order, "failed", tries, failed, (result,), lost)


def _place(device: str) -> str:
    """What of the devices cannot be used by two at once."""
    return "here" if device in HERE else device
