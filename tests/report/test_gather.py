from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekd import runs
from edgekd.errors import EdgekdError, InputError
from edgekd.quant import io
from edgekd.records import Figure, Plan
from edgekd.report import searched
from edgekd.report.gather import views
from edgekd.store import Result
from edgekd.store.results import save
from edgekd.store.tables import connect
from tests import examined_runs


def test_runs_of_one_target_are_told_apart(tmp_path: Path) -> None:
    one, two = (examined_runs.run(tmp_path, seed=seed, examine=False) for seed in (0, 1))
    assert [view.name for view in views([one, two])] == [f"nucleo-l4r5zi {run.name[-10:]}" for run in (one, two)]
    other = runs.create(tmp_path, "sounds", "nucleo-l4r5zi", {"seed": 0})
    examined_runs.write(other, "plan", Plan("nucleo-l4r5zi", "ds_cnn", {}, {}, (), 1))
    assert [view.name for view in views([one, other])] == ["nucleo-l4r5zi clothes", "nucleo-l4r5zi sounds"]
    names = [view.name for view in views([one, two, two])]
    assert names == [f"nucleo-l4r5zi {one.name[-10:]}", f"nucleo-l4r5zi {two.name[-10:]} (2)", f"nucleo-l4r5zi {two.name[-10:]} (3)"]


def test_results_are_those_of_the_graph_and_the_newest_of_each_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = examined_runs.run(tmp_path, examine=False)
    fingerprint = io.fingerprint(io.load(run / "graph"))
    store = str(tmp_path / "results.sqlite")
    monkeypatch.setenv("EDGEKD_STORE", store)
    assert views([run])[0].results == () and not Path(store).exists(), "a store that is not there is not made"
    with pytest.raises(InputError, match="(?s)--store.*there is no such file"):
        views([run], store)
    figures = [{"latency_ms": Figure(ms, "ms", "measured", "pi")} for ms in (3.0, 2.0)]
    own = [Result("2026-11-22", "student", fingerprint, "t", "ssh:pi", "", figures=one) for one in figures]
    save(connect(store), [*own, Result("2026-11-22", "other", "f" * 64, "t", "ssh:pi", "")])
    assert [result.figures["latency_ms"].value for result in views([run], store)[0].results] == [2.0]


def test_a_store_that_cannot_be_read_is_a_note_unless_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = examined_runs.run(tmp_path, examine=False)
    (tmp_path / "broken.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(EdgekdError, match="the store of measurements cannot be used"):
        views([run], str(tmp_path / "broken.sqlite"))
    monkeypatch.setenv("EDGEKD_STORE", str(tmp_path / "broken.sqlite"))
    (view,) = views([run])
    assert view.results == () and "the store of measurements cannot be used" in view.notes[0]


def test_a_damaged_graph_is_a_note(tmp_path: Path) -> None:
    run = examined_runs.run(tmp_path, examine=False)
    (run / "graph" / "graph.json").write_text("{}")
    (view,) = views([run])
    assert view.graph is None and view.arranged is None and "graph.json" in view.notes[0]


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    run = tmp_path / "clothes-pixel-8-1234567890"
    folder = tmp_path / "clothes-search-abc"
    (folder / "trained").mkdir(parents=True)
    candidates = [{"family": "f", "spec": {"width": n}, "model_bytes": 1000 * n, "macs": 10 * n} for n in (1, 2)]
    lines = [json.dumps({"op_code": 8, "user_attr": {"candidate": json.dumps(c)}}) for c in candidates]
    (folder / "study.journal").write_text("\n".join(["{broken", '{"candidate"', *lines, json.dumps({"user_attr": {"candidate": "1"}})]))
    name = runs.digest({"family": "f", "spec": {"width": 2}})[:8]
    for passes, accuracy in (("0.02", 0.3), ("1.0", 0.6)):
        (folder / "trained" / f"{name}-{passes}.json").write_text(json.dumps({"accuracy": accuracy}))
    (folder / "trained" / "x-1.json").write_text("[]")
    return run


def test_trials_of_a_search_beside_the_run(beside: Path) -> None:
    first, second = searched.beside(beside, "clothes")
    assert (first.model_bytes, first.accuracy, first.passes) == (2000, 0.6, 1.0), "the longest training counts"
    assert (second.model_bytes, second.accuracy) == (1000, None)
    assert searched.beside(beside, "other") == ()
