"""The teachers' outputs are computed by the workers of a build, shard by shard, and not by the process that was started."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Never

import numpy as np
import pytest

from edgekd.data import numpy_file
from edgekd.errors import InputError
from edgekd.jobs import Request, load_jobs
from edgekd.train import sharing
from tests.small_builds import edgekd, exported, recipe


def here(*_: object, **__: object) -> Never:
    raise AssertionError("the teacher was run in the process that was started")


def test_data_that_changes_under_a_worker_leaves_no_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the data put back they would be taken for those of this data."""
    monkeypatch.setattr(numpy_file, "MAPPED", 1000)
    where, cache = recipe(tmp_path / "recipe"), tmp_path / "cache"
    (job,) = load_jobs(Request(str(where), ("nucleo-l4r5zi",), threads=1))
    compute = partial(sharing.compute, job.loaded, job.data, cache, job.preset, (0, 1), lambda *_: None)
    compute()
    pieces, file = list(cache.rglob("*.pieces/*")), where / "data.npz"
    assert len(pieces) >= 2
    pieces[0].unlink()
    content = bytearray(file.read_bytes())
    content[content.index(np.load(file)["x_train"][100:].tobytes())] ^= 64
    with file.open("r+b") as stream:  # in its place: it is mapped
        stream.write(content)
    with pytest.raises(InputError, match="the data was changed while it was used"):
        compute()
    assert not list(cache.rglob("*.pieces/*"))


@pytest.mark.slow
@pytest.mark.parametrize("how", [("--jobs", "2"), ("--engine", "ray")])
def test_by_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: tuple[str, str]) -> None:
    if how[1] == "ray":
        pytest.importorskip("ray", reason="ray is not installed")
    where = recipe(tmp_path / "recipe", {"float_epochs = 3.5": "float_epochs = 1"})
    words = ("build", where, "-t", "nucleo-l4r5zi", "--threads", "1", "--json")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with monkeypatch.context() as patch:
        patch.setattr("edgekd.train.ask.logits", here)  # in this process alone
        code, out, err = edgekd(*words, "--runs", tmp_path / "workers", *how)
    assert code in (0, 1) and len(json.loads(out)) == 1 and "computed here" not in err, err
    assert not list(tmp_path.glob("cache/edgekd/soft_targets/*.pieces"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other cache"))
    assert edgekd(*words, "--runs", tmp_path / "alone")[0] in (0, 1)
    (one,), (other,) = (list((tmp_path / name).iterdir()) for name in ("workers", "alone"))
    assert exported(one) == exported(other)
    stored = [sorted((tmp_path / cache).glob("edgekd/soft_targets/*.npy")) for cache in ("cache", "other cache")]
    assert len(stored[0]) == 2 and [f.read_bytes() for f in stored[0]] == [f.read_bytes() for f in stored[1]]
