"""MLflow's own registry, in a database in a file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgekd.errors import InputError, NotReleasable
from edgekd.registry.history import Who
from edgekd.registry.mlflow_store import MlflowStore
from tests.registry.made import ADA, NAME, gate_record, release

pytestmark = pytest.mark.slow  # MLflow's first database takes seconds


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowStore(f"sqlite:///{path}")
    return path


@pytest.fixture
def store(tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowStore:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(template, tmp_path / "mlflow.db")
    return MlflowStore(f"sqlite:///{tmp_path}/mlflow.db")


def test_the_whole_way(tmp_path: Path, store: MlflowStore) -> None:
    made = [release(tmp_path / "releases", version, weights=version.encode()) for version in ("1.0.0", "1.1.0")]
    for one in made:
        assert store.add(one, ADA)[1]
    assert store.add(made[1], ADA)[1] is False
    with pytest.raises(InputError, match=r"1\.1\.0 is there already, and is another release"):
        store.add(release(tmp_path / "others", "1.1.0"), ADA)
    store.promote(NAME, "1.0.0", "production", ADA)
    model, changed = store.promote(NAME, "1.1.0", "production", ADA, gate_record(tmp_path / "gate.json", made[1]))
    assert changed and model.stages == {"production": "1.1.0"} and model.events[-1].gate
    with pytest.raises(NotReleasable, match="did not pass the gate"):
        store.promote(NAME, "1.1.0", "staging", ADA, gate_record(tmp_path / "bad.json", made[1], "fail"))
    path = store.path(NAME, "production")
    assert path.is_relative_to(tmp_path / "cache") and (path / "model" / "model.tflite").read_bytes() == b"1.1.0"
    assert store.rollback(NAME, "production", Who("bob")).stages == {"production": "1.0.0"}
    (listed,) = store.models()
    assert list(listed.versions) == ["1.0.0", "1.1.0"] and [event.by for event in listed.events] == ["ada"] * 4 + ["bob"]
    there = store._client.get_model_version_by_alias(NAME, "production")
    assert there.tags["edgekd.version"] == "1.0.0" and not (tmp_path / "mlruns").exists()


def test_what_others_do_in_mlflow_is_seen(tmp_path: Path, store: MlflowStore) -> None:
    for version in ("1.0.0", "1.1.0"):
        store.add(release(tmp_path / "releases", version, weights=version.encode()), ADA)
    store.promote(NAME, "1.0.0", "production", ADA)
    store._client.set_registered_model_alias(NAME, "production", "2")
    with pytest.raises(InputError, match=r"the alias production is at 1\.1\.0, the history says 1\.0\.0"):
        store.model(NAME)
    assert store.promote(NAME, "1.0.0", "production", ADA)[1] and store.model(NAME).stages == {"production": "1.0.0"}
    spoiled = next(Path(tmp_path / "edgekd-releases").rglob("model.tflite"))
    spoiled.write_bytes(b"other")
    version = json.loads((spoiled.parents[1] / "manifest.json").read_bytes())["version"]
    with pytest.raises(NotReleasable, match=r"model/model\.tflite: "):
        store.promote(NAME, version, "staging", ADA)
    store._client.set_registered_model_tag(NAME, "edgekd.event.00001", "{")
    with pytest.raises(InputError, match=r"tag edgekd\.event\.00001"):
        store.model(NAME)


def test_a_model_that_is_not_edgekds_and_a_reason_that_is_too_long(tmp_path: Path, store: MlflowStore) -> None:
    store._client.create_registered_model("somebody-elses")
    assert store.models() == []
    with pytest.raises(InputError, match="no model is called 'somebody-elses'"):
        store.model("somebody-elses")
    with pytest.raises(InputError, match="MLflow keeps 4900 of an event"):
        store.add(release(tmp_path), Who("ada", "\N{SNOWMAN}" * 2000))


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "no URI"),
        ("nosuch://user:secret@x", r"--store mlflow:nosuch://…@x: MLflow's store cannot be used"),
        ("sqlite:///{tmp_path}/text.db", r"--store mlflow:sqlite:///.*/text\.db: MLflow's store cannot be used"),
    ],
)
def test_a_store_that_is_not_to_be_reached(tmp_path: Path, uri: str, said: str) -> None:
    (tmp_path / "text.db").write_text("no database, but long enough for the head of one" * 40)
    with pytest.raises(InputError, match=said) as caught:
        MlflowStore(uri.format(tmp_path=tmp_path))
    assert "secret" not in str(caught.value) and "mlflow:sqlite:///mlflow.db" in str(caught.value)
