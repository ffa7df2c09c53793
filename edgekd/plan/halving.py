"""Successive halving (Jamieson and Talwalkar 2016) for several targets at once: who does well in a short training gets a longer one."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from edgekd.errors import EdgekdError, InputError
from edgekd.plan.search import Candidate

LOG = logging.getLogger(__name__)
#: Of those in a rung, one in so many goes on into the next, which is as many times as long.
ETA = 3
#: What each further target adds to the first rung, as a share of what one has: six targets train two and a half times what one does.
FURTHER = 0.3


@dataclass(frozen=True)
class Trained:
    """A candidate's short trainings: validation accuracy after each rung that it was in, by passes over the data."""

    candidate: Candidate
    accuracy: Mapping[float, float]

    @property
    def last(self) -> tuple[float, float]:
        """The longest training's passes, and accuracy."""
        passes = max(self.accuracy)
        return passes, self.accuracy[passes]


#: (candidate, passes over the data, wait) → validation accuracy; None where another process is training just that, and ``wait`` is not set.
#: Raises EdgekdError where it cannot be trained (a loss that is not finite).
Train = Callable[[Candidate, float, bool], float | None]


@dataclass(frozen=True)
class Rungs:
    """``first`` candidates of one target are trained for ``passes[0]``, a third of them for ``passes[1]``, and so on."""

    first: int
    passes: tuple[float, ...]


def ranked(candidates: Sequence[Candidate], target: str) -> list[Candidate]:
    """Those that fit ``target``, the most promising first: by the sum of two ranks, of the score and of the size.

    Size as the plan has it: MACs times the square root of the parameters (see Cost.score).
    """
    fitting = [c for c in candidates if c.fits(target)]
    size = {c.name: c.macs * c.parameters**0.5 for c in fitting}
    place = {c.name: 0 for c in fitting}
    for key in (lambda c: -c.score, lambda c: -size[c.name]):
        for at, c in enumerate(sorted(fitting, key=key)):
            place[c.name] += at
    return sorted(fitting, key=lambda c: (place[c.name], c.name))


def first_rung(candidates: Sequence[Candidate], own: Mapping[str, Candidate], rungs: Rungs) -> list[Candidate]:
    """Who is trained at all: ``own``, what each target gets without a search; then by turns the next most promising one of each target."""
    room = math.ceil(rungs.first * (1 + FURTHER * (len(own) - 1)))
    pool = {c.name: c for c in own.values()}
    lines = {target: iter(ranked(candidates, target)) for target in own}
    while lines and len(pool) < room:
        for target, line in list(lines.items()):
            new = next((c for c in line if c.name not in pool), None)
            if new is None:
                del lines[target]
            elif len(pool) < room:
                pool[new.name] = new
    return list(pool.values())


def halve(
    pool: Sequence[Candidate], own: Mapping[str, Candidate], train: Train, rungs: Rungs, progress: Callable[[str, int, int], None]
) -> list[Trained]:
    """Train ``pool`` rung by rung; the same passes for all in a rung, and ``own`` stays in every one, to be compared with.

    From one rung into the next goes, of each target, the best third of those that fit it. Raises EdgekdError if none could be trained.
    """
    seen: dict[str, dict[float, float]] = {c.name: {} for c in pool}
    rung = list(pool)
    for at, passes in enumerate(rungs.passes):
        told = partial(progress, f"rung {at + 1} of {len(rungs.passes)}")
        found = _rung(rung, passes, train, told)
        for name, accuracy in found.items():
            seen[name][passes] = accuracy
        rung = _onward([c for c in rung if c.name in found], own, found)
    return [Trained(c, seen[c.name]) for c in pool if seen[c.name]]


def winner(trained: Sequence[Trained], target: str) -> Trained:
    """Of those in the longest rung that fit ``target``, the most accurate; of two alike the one of fewer MACs, the front-end's included."""
    fitting = [t for t in trained if t.candidate.fits(target)]
    return max(fitting, key=lambda t: (t.last[0], t.last[1], -t.candidate.work))


def _rung(rung: Sequence[Candidate], passes: float, train: Train, progress: Callable[[int, int], None]) -> dict[str, float]:
    """Accuracy of all that could be trained, by name. What other processes train is left to them, and looked for in the end."""
    found: dict[str, float] = {}
    failed: set[str] = set()
    for wait in (False, True):
        for candidate in rung:
            if candidate.name in found or candidate.name in failed:
                continue
            progress(len(found) + len(failed), len(rung))
            try:
                accuracy = train(candidate, passes, wait)
            except InputError:
                raise  # wrong for every one
            except EdgekdError as error:
                LOG.warning("student %s: %s", candidate.name, str(error).splitlines()[0])
                failed.add(candidate.name)
                continue
            if accuracy is not None:
                found[candidate.name] = accuracy
    progress(len(rung), len(rung))
    if not found:
        raise EdgekdError(f"none of {len(rung)} students could be trained\n  to mend:  a lower learning_rate in the recipe's preset")
    return found


def _onward(there: Sequence[Candidate], own: Mapping[str, Candidate], accuracy: Mapping[str, float]) -> list[Candidate]:
    kept = {c.name: c for c in own.values() if c.name in accuracy}
    for target in own:
        fitting = sorted((c for c in there if c.fits(target)), key=lambda c: (-accuracy[c.name], c.work))
        kept |= {c.name: c for c in fitting[: math.ceil(len(fitting) / ETA)]}
    return [c for c in there if c.name in kept]
