"""What modules inside a model answer, by their paths, while the model runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import torch
from torch import nn

from edgekd import team
from edgekd.errors import InputError
from edgekd.quant.paths import first_tensor
from edgekd.quant.prepare import QatModule
from edgekd.train.distill import Batch, Term

#: Paths that a message lists at most.
SHOWN = 150


class Taps:
    """The outputs of the modules at ``paths`` in ``model``'s last forward pass, as float32, in the shape that the module itself gives them.

    Of a tuple, a list or a ModelOutput it is the first tensor; of a module that is called twice the last call. A QatModule, which is a
    graph, answers by the paths of the module that it was captured from: what was fused into one operator answers together. ``whose``
    ("student", "teacher") and ``where`` are for messages. Raises InputError for a path that there is not, with the nearest that there are.
    """

    def __init__(self, model: nn.Module, paths: Iterable[str], *, whose: str = "student", where: str = "recipe, losses") -> None:
        self._model, self._values, self._whose, self._where = model, dict[str, torch.Tensor](), whose, where
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        wanted = tuple(dict.fromkeys(paths))
        if isinstance(model, QatModule):
            for path in wanted:
                check_path(path, model.paths, whose=f"quantized {whose}", where=where)
            model.watched = wanted
        else:
            modules = dict(model.named_modules())
            del modules[""]
            for path in wanted:
                check_path(path, modules, whose=whose, where=where)
                self._hooks.append(modules[path].register_forward_hook(self._keeper(path)))

    def __getitem__(self, path: str) -> torch.Tensor:
        found = self._model.kept if isinstance(self._model, QatModule) else self._values
        if path not in found:
            raise InputError(
                f"module {path!r} of the {self._whose} answered no tensor",
                where=self._where,
                expected="a module that the forward pass calls, and that returns a tensor",
            )
        return found[path].float()

    def close(self) -> None:
        """Leave the model as it was."""
        for hook in self._hooks:
            hook.remove()
        self._values.clear()
        if isinstance(self._model, QatModule):
            self._model.watched, self._model.kept = (), {}

    def _keeper(self, path: str) -> Callable[[nn.Module, object, object], None]:
        def keep(_: nn.Module, __: object, output: object) -> None:
            if (found := first_tensor(output)) is not None:
                # A copy: a rectifier in place behind the module would overwrite it.
                self._values[path] = found.clone()

        return keep


def check_path(path: str, known: Iterable[str], *, whose: str, where: str) -> None:
    """Raises InputError unless ``path`` is ``known``."""
    names = list(known)
    if path in names:
        return
    near = get_close_matches(path, names, 3) or [name for name in names if name.rpartition(".")[2] == path.rpartition(".")[2]][:3]
    every = ", ".join(names[:SHOWN]) + (f", … ({len(names) - SHOWN} more)" if len(names) > SHOWN else "")
    gone = ", which the captured graph has no tensor for" if whose.startswith("quantized") else ""
    raise InputError(
        f"the {whose} has no module {path!r}{gone}",
        where=where,
        expected=f"one of {every or 'none: it has no modules'}",
        mend=f"perhaps {' or '.join(map(repr, near))}" if near else "",
    )


@dataclass(frozen=True)
class Live:
    """A teacher that runs along in training: ``module`` (pixels/255 [N, C, H, W] → logits), the task that it answers, its own precision.

    ``readings`` [N, ...] are what it is fed instead of pixels, one a training sample, in the type that the data has.
    """

    module: nn.Module
    task: int = 0
    bf16: bool = False
    readings: np.ndarray | None = None

    def fed(self, batch: Batch) -> torch.Tensor:
        if self.readings is not None:
            own = batch.indices if batch.part is None else batch.indices[batch.part]
            return torch.from_numpy(np.ascontiguousarray(self.readings[own.numpy()]))
        images = torch.from_numpy(np.ascontiguousarray(batch.pixels.transpose(0, 3, 1, 2))).float().div_(255)
        return images.contiguous(memory_format=torch.channels_last)


class Tutors:
    """The live teachers of one phase: ``tutors(batch)`` runs those that some term taps, without gradients; the outputs by (task, path).

    Raises InputError where the teacher that a term taps is not known, or has no such module.
    """

    def __init__(self, terms: Sequence[Term], live: Sequence[Live]) -> None:
        self._taps: list[tuple[Live, Taps, tuple[str, ...]]] = []
        wanted: dict[int, list[tuple[str, str]]] = {}
        for term in terms:
            wanted.setdefault(term.task, []).extend((path, f"{term.where}.teacher") for path in term.teacher_paths)
        for task, paths in wanted.items():
            if not paths:
                continue
            teachers = [one for one in live if one.task == task]
            if len(teachers) != 1:
                found = "no teacher that could be run" if not teachers else f"{len(teachers)} teachers, and it is not said which is tapped"
                raise InputError(f"this task has {found}", where=paths[0][1], expected="one teacher that is a torch module")
            for path, where in paths:
                modules = [name for name, _ in teachers[0].module.named_modules() if name]
                check_path(path, modules, whose="teacher", where=where)
            every = tuple(dict.fromkeys(path for path, _ in paths))
            self._taps.append((teachers[0], Taps(teachers[0].module.eval(), every, whose="teacher", where=paths[0][1]), every))

    @torch.no_grad()
    def __call__(self, batch: Batch) -> dict[tuple[int, str], torch.Tensor]:
        taught: dict[tuple[int, str], torch.Tensor] = {}
        for live, taps, paths in self._taps:
            with torch.autocast("cpu", torch.bfloat16, enabled=live.bf16):
                live.module(live.fed(batch))
            taught |= {(live.task, path): taps[path] if batch.part is None else team.here().whole(taps[path]) for path in paths}
        return taught

    def close(self) -> None:
        for _, taps, _ in self._taps:
            taps.close()
