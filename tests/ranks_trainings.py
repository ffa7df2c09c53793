"""Short trainings for tests of several processes: ``torchrun … -m tests.ranks_trainings FOLDER [CASE…]`` writes FOLDER/CASE-RANK….

Batches of 8, in every case with something that would go wrong if a process saw its own samples alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from edgekd import team
from edgekd.data.dataset import Split
from edgekd.data.views import Views
from edgekd.losses.crd import CRD
from edgekd.losses.cross_entropy import cross_entropy
from edgekd.losses.hint import Hint
from edgekd.losses.previous_epoch import PreviousEpoch
from edgekd.losses.rkd import rkd_distance
from edgekd.losses.similarity import similarity
from edgekd.losses.soft_targets import soft_targets
from edgekd.quant.capture import capture_paths
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme
from edgekd.train.distill import Feed, Term, student_input
from edgekd.train.loop import Course, Desk, Phase, fit
from edgekd.train.peers import Peers
from edgekd.train.ranks import joined
from edgekd.train.taps import Live
from tests.small_builds import pictures
from tests.watching import Stopped, quiet, stop_at

PHASE = Phase("float", 2, 0.01, 0.01, seed=3, ema=0.9)
TERMS = (Term(cross_entropy, 0.5, {}), Term(soft_targets, 0.5, {"temperature": 2.0}))


def split(n: int, seed: int) -> Split:
    """Every third label is not known, so no two processes know equally many."""
    x, y = pictures(n, seed)
    return Split(x, np.where((np.arange(n) % 3 == 0) & (seed == 0), -1, y))


def feed() -> Feed:
    data = split(48, 0)
    logits = np.random.default_rng(1).normal(0, 2, (2, len(data), 4)).astype(np.float16)
    return Feed(data, Views(2, shift=1), (logits,), 8, data.x.shape[1:3])


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    features = nn.Sequential(nn.Conv2d(1, 6, 3, stride=2, bias=False), nn.BatchNorm2d(6), nn.ReLU())
    return nn.Sequential(features, nn.Flatten(), nn.Linear(150, 4))


def course(*terms: Term) -> Course:
    held = split(40, 1)
    live = (Live(net(9)),) if any(term.teacher_paths for term in terms) else ()
    return Course(feed(), terms or TERMS, held, live)


def plain(state: Path) -> nn.Module:
    return trained(net(), course(), PHASE, state)


def related(state: Path) -> nn.Module:
    """Losses that relate samples, remember them, or learn something of their own."""
    terms = (
        TERMS[0],
        Term(similarity, 10.0, {}, "similarity", "0", "0"),
        Term(rkd_distance, 5.0, {}, "rkd_distance", "0", "0"),
        Term(Hint, 0.5, {}, "hint", "0", "0"),
        Term(CRD, 0.1, {"dimension": 8, "negatives": 16}, "crd", "0", "0"),
        Term(PreviousEpoch, 0.5, {"passes": 2}, "previous_epoch"),
    )
    return trained(net(), course(*terms), PHASE, state)


def peers(state: Path) -> nn.Module:
    return trained(Peers([net(0), net(1)]), course(), PHASE, state)


def quantized(state: Path) -> nn.Module:
    graph, paths = capture_paths(net().eval(), (1, 12, 12))
    module = QatModule(graph, Scheme("int8", False, True), paths)
    module.calibrate([student_input(split(64, 2).x)])
    return trained(module, course(*TERMS, Term(similarity, 10.0, {}, "similarity", "0", "0")), PHASE, state)


CASES: dict[str, Callable[[Path], nn.Module]] = {
    "plain": plain, "related": related, "peers": peers, "quantized": quantized, "resumed": plain,
}  # fmt: skip


def trained(model: nn.Module, what: Course, phase: Phase, state: Path) -> nn.Module:
    fit(model, what, phase, Desk(state, quiet))
    return model


def interrupted(state: Path) -> None:
    """Leaves in ``state`` what ``plain`` goes on with: its first pass."""
    with suppress(Stopped):
        fit(net(), course(), PHASE, Desk(state, stop_at(12)))


def main(folder: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    with joined() if team.asked() else nullcontext(team.here()) as here:
        for name in names:
            found = CASES[name](folder / f"{name}.state")
            save_file({key: value.contiguous() for key, value in found.state_dict().items()}, folder / f"{name}-{here.rank}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(CASES))
