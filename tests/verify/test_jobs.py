from __future__ import annotations

import gc
import subprocess
from pathlib import Path

import numpy as np
import pytest
import small

from edgekd.errors import EdgekdError
from edgekd.export.tflite import export
from edgekd.runtimes import RUNTIMES
from edgekd.runtimes.litert import open_reference
from edgekd.verify import jobs
from edgekd.verify.jobs import Job, run_jobs


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jobs")
    return folder / export(small.graph(), folder).path


def test_shards_come_back_in_order_and_progress_counts_every_sample(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "SHARD", 300)
    x = small.samples(701)
    seen: list[tuple[int, int, str]] = []
    names = ("tflm", "litert_ref")
    found = run_jobs([Job(n, str(file), RUNTIMES[n]) for n in names], x, workers=2, progress=lambda *now: seen.append(now))
    assert np.array_equal(found["litert_ref"].outputs, open_reference(file).run(x))
    assert all(outcome.cpu_s > 0 for outcome in found.values())
    assert found["tflm"].where.startswith("TFLM ")
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert (seen[-1][0], seen[-1][1], {what for _, _, what in seen}) == (1402, 1402, set(names))


def test_the_number_of_workers_does_not_change_the_outputs(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "SHARD", 10)
    x, job = small.samples(33), Job("xnnpack", str(file), RUNTIMES["litert_xnnpack"])
    one, three = (run_jobs([job], x, workers=workers)["xnnpack"].outputs for workers in (1, 3))
    assert np.array_equal(one, three)


def test_a_runtime_that_dies_is_named(file: Path) -> None:
    with pytest.raises(EdgekdError) as caught:
        run_jobs([Job("fragile", str(file), "small:dies")], small.samples(3))
    assert "fragile died of SIGSEGV on" in str(caught.value)
    assert "samples 0 to 2" in str(caught.value)


def test_a_file_that_does_not_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.tflite").write_bytes(b"\x18\0\0\0TFL3")
    with pytest.raises(EdgekdError, match=r"litert failed with exit code 2 on .*cut\.tflite"):
        run_jobs([Job("litert", str(tmp_path / "cut.tflite"), RUNTIMES["litert_ref"])], small.samples(3))


def test_what_takes_too_long_is_ended_and_the_limit_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_TIME_LIMIT_S", 0.2)
    with pytest.raises(EdgekdError) as caught:
        run_jobs([Job("slow", str(file), "small:sleeps")], small.samples(3))
    assert "slow took over 0.2 s, the limit of one process, and was ended, on" in str(caught.value)
    assert "SIGKILL" not in str(caught.value)


@pytest.mark.filterwarnings("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interruption_leaves_no_process(file: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    monkeypatch.setattr(jobs, "SHARD", 100)
    started: list[subprocess.Popen[str]] = []
    add = jobs._Crew.add

    def watched(crew: jobs._Crew, child: subprocess.Popen[str]) -> None:
        started.append(child)
        add(crew, child)

    monkeypatch.setattr(jobs._Crew, "add", watched)

    def interrupt(*_: object) -> None:
        raise error

    with pytest.raises(error):
        run_jobs([Job(n, str(file), RUNTIMES["tflm"]) for n in "abc"], small.samples(300), workers=3, progress=interrupt)
    assert started and all(child.returncode is not None for child in started)
    started.clear()
    gc.collect()
