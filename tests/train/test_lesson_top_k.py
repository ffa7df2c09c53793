"""A recipe that stores the largest logits of its teacher alone."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from edgekd.data.load import load_data
from edgekd.errors import InputError
from edgekd.recipe.load import load
from edgekd.teachers.top_k import TopK
from edgekd.train.lesson import Lesson, open_lesson
from edgekd.train.student import Training
from tests.small_builds import RECIPE, recipe
from tests.watching import quiet

TEACHER = RECIPE[RECIPE.index("[teacher]") : RECIPE.index("[student]")]
LOSS = '[[losses]]\nname = "soft_targets"'


def opened(folder: Path, changes: dict[str, str] | None = None, k: int | None = 2) -> Lesson:
    top = TEACHER.replace("[teacher]\n", f"[teacher]\ntop_k = {k}\n") if k else TEACHER
    loaded = load(recipe(folder / f"recipe{k}", {TEACHER: top, **(changes or {})}))
    data = load_data(loaded.recipe.data.source, loaded.recipe.data.options, loaded.folder)
    return open_lesson(loaded, data, folder / "cache", quiet)


def test_the_student_is_fed_what_is_stored_of_the_same_answers(tmp_path: Path) -> None:
    every, some = opened(tmp_path, k=None), opened(tmp_path)
    assert isinstance(every.targets[0], np.memmap) and isinstance(some.targets[0], TopK) and isinstance(some.targets[0].rows, np.memmap)
    assert every.targets[0].shape == some.targets[0].shape and every.teacher_sha256 != some.teacher_sha256
    assert np.array_equal(every.answers[0], some.answers[0])  # type: ignore[arg-type]
    assert len(list((tmp_path / "cache" / "soft_targets").glob("*.npy"))) == 3, "what it says of the test set is the same file"
    batches = [Training(lesson, lesson.recipe.presets["demo"], (12, 12), 0).feed.taken(np.arange(8), np.arange(8) % 2)
               for lesson in (every, some)]  # fmt: skip
    one, two = (batch.teacher[0] for batch in batches)
    assert one is not None and two is not None and two.dtype == torch.float32
    best = one.topk(2, dim=1)
    torch.testing.assert_close(two.gather(1, best.indices), best.values)
    torch.testing.assert_close(two.softmax(1).sum(1), torch.ones(8))
    torch.testing.assert_close(two.softmax(1).gather(1, best.indices), one.softmax(1).gather(1, best.indices), rtol=0, atol=5e-3)


def test_much_that_is_left_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened(tmp_path, {"weight = 0.1": "weight = 0.1\noptions = { temperature = 1 }"}, k=3)
    assert not caplog.text
    opened(tmp_path, k=1)
    assert re.search(r"losses\[0\]: at temperature 4 the 3 classes that top_k = 1 leaves out have [67]\d % of the answer", caplog.text)


@pytest.mark.parametrize("loss", ["dist", "dkd", "logit_mse", "similarity"])
def test_a_loss_that_needs_every_logit(tmp_path: Path, loss: str) -> None:
    with pytest.raises(InputError, match=rf"losses\[0\].*{loss} looks at every logit of the teacher, but top_k = 2 of 4 are stored"):
        opened(tmp_path, {LOSS: LOSS.replace("soft_targets", loss)})


def test_a_loss_that_looks_at_labels_alone(tmp_path: Path) -> None:
    changes = {LOSS: '[[losses]]\nname = "previous_epoch"\nweight = 0.1\n\n' + LOSS}
    assert isinstance(opened(tmp_path, changes).targets[0], TopK)


def test_as_many_as_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)teacher.top_k: top_k = 4, and there are 4 classes.*1 to 3.*delete top_k"):
        opened(tmp_path, k=4)


def test_who_else_reads_every_logit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)teacher.top_k: 2, but the critics of \[curate\] judge by every logit.*delete top_k"):
        opened(tmp_path, {"[student]\n": '[curate]\ncritics = [{ name = "agreement", keep = 0.9 }]\n\n[student]\n'})
    one = TEACHER.replace("[teacher]\n", "[[teachers]]\n")
    several = one.replace("[[teachers]]\n", "[[teachers]]\ntop_k = 2\n") + one
    with pytest.raises(InputError, match=r"teachers\[0\].top_k: 2, but 2 teachers answer this task together"):
        opened(tmp_path, {TEACHER: several}, k=None)
    with pytest.raises(InputError, match=r"teacher.top_k: has no meaning for source = 'soft_targets'"):
        opened(tmp_path / "file", {TEACHER: '[teacher]\nsource = "soft_targets"\ntop_k = 2\noptions = { file = "a.npy" }\n\n'}, k=None)
