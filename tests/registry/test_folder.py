from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edgekd import runs
from edgekd.errors import EdgekdError, InputError, NotReleasable
from edgekd.registry import history
from edgekd.registry.folder import FolderStore, default_folder
from edgekd.registry.history import Who
from edgekd.released import encode
from tests.registry.made import ADA, NAME, gate_record, release


def writable(path: Path) -> Path:
    path.chmod(0o644)
    return path


def test_releases_are_copied_whole(tmp_path: Path, store: FolderStore) -> None:
    assert list(store.model(NAME).versions) == ["1.0.0", "1.1.0", "2.0.0-rc.1"]
    path = store.path(NAME, "1.1.0")
    assert path == tmp_path / "store" / NAME / "1.1.0" and (path / "model" / "model.tflite").read_bytes() == b"1.1.0"
    assert not os.access(path / "model" / "model.tflite", os.W_OK) or os.getuid() == 0
    assert (path / "manifest.json").stat().st_mode & 0o777 == 0o444
    shutil.rmtree(tmp_path / "releases")
    assert store.path(NAME, "1.0.0").is_dir()


def test_the_same_release_again_and_another_of_that_version(tmp_path: Path, store: FolderStore) -> None:
    before = store.model(NAME)
    assert store.add(tmp_path / "releases" / f"{NAME}-1.1.0", ADA) == (before, False)
    with pytest.raises(InputError, match=r"tiny-pixel-8: 1\.1\.0 is there already, and is another release"):
        store.add(release(tmp_path / "others", "1.1.0"), ADA)
    assert store.model(NAME) == before


def test_promotion_and_rollback(store: FolderStore) -> None:
    for version in ("1.0.0", "1.1.0"):
        model, changed = store.promote(NAME, version, "production", ADA)
        assert changed and model.stages == {"production": version}
    assert store.promote(NAME, "1.1.0", "production", ADA)[1] is False
    assert store.promote(NAME, "production", "staging", ADA)[0].stages == {"staging": "1.1.0", "production": "1.1.0"}
    store.promote(NAME, "2.0.0-rc.1", "production", ADA)
    assert store.rollback(NAME, "production", Who("bob", "it burns")).stages["production"] == "1.1.0"
    model = store.rollback(NAME, "production", ADA)
    assert model.stages == {"staging": "1.1.0", "production": "1.0.0"} and model.find("production") == "1.0.0"
    with pytest.raises(InputError, match=r"1\.0\.0 is the first that was in production"):
        store.rollback(NAME, "production", ADA)
    done = [(event.kind, event.stage, event.replaced, event.version, event.by, event.reason) for event in model.events[3:]]
    assert done == [
        ("promote", "production", "", "1.0.0", "ada", "because"),
        ("promote", "production", "1.0.0", "1.1.0", "ada", "because"),
        ("promote", "staging", "", "1.1.0", "ada", "because"),
        ("promote", "production", "1.1.0", "2.0.0-rc.1", "ada", "because"),
        ("rollback", "production", "2.0.0-rc.1", "1.1.0", "bob", "it burns"),
        ("rollback", "production", "1.1.0", "1.0.0", "ada", "because"),
    ]


def test_a_release_whose_files_changed_goes_nowhere(store: FolderStore) -> None:
    store.promote(NAME, "1.0.0", "production", ADA)
    store.promote(NAME, "1.1.0", "production", ADA)
    before = store.model(NAME)
    for version in ("1.0.0", "2.0.0-rc.1"):
        writable(store.root / NAME / version / "model" / "model.tflite").write_bytes(b"other")
    for attempt in (
        lambda: store.promote(NAME, "2.0.0-rc.1", "staging", ADA),
        lambda: store.rollback(NAME, "production", ADA),
        lambda: store.path(NAME, "1.0.0"),
    ):
        with pytest.raises(NotReleasable, match=r"this is not the release that was made:\n  model/model\.tflite: ") as caught:
            attempt()
        assert caught.value.exit_code == 1
    assert store.model(NAME) == before and store.path(NAME, "production").name == "1.1.0"


def test_a_release_with_a_manifest_of_its_own_making_is_not_the_one_that_was_added(tmp_path: Path, store: FolderStore) -> None:
    other = release(tmp_path / "forged", "1.1.0", weights=b"forged")
    shutil.rmtree(store.root / NAME / "1.1.0")
    shutil.copytree(other, store.root / NAME / "1.1.0")
    with pytest.raises(NotReleasable, match="manifest.json: is not the one that was added"):
        store.path(NAME, "1.1.0")


@pytest.mark.parametrize("change", ["changed", "missing", "added", "link"])
def test_a_changed_release_is_not_added(tmp_path: Path, change: str) -> None:
    bad, store = release(tmp_path), FolderStore(tmp_path / "store")
    card = bad / "MODEL_CARD.md"
    if change == "changed":
        card.write_text("# Tinz\n")
    elif change == "missing":
        card.unlink()
    elif change == "added":
        (bad / "more").write_text("more")
    else:
        card.unlink()
        card.symlink_to("/etc/passwd")
    with pytest.raises(NotReleasable, match="this is not the release that was made"):
        store.add(bad, ADA)
    assert store.models() == []


@pytest.mark.parametrize(
    ("artifact", "version", "said"),
    [
        ("../../tiny", "1.0.0", "no model can be called '../../tiny'"),
        (".hidden", "1.0.0", "no model can be called"),
        ("tiny", "../1.0.0", "version '../1.0.0'"),
        ("tiny", ".adding-1", "version '.adding-1'"),
    ],
)
def test_names_that_lead_elsewhere(tmp_path: Path, artifact: str, version: str, said: str) -> None:
    made = release(tmp_path / "x" / "y" / "z", "1.0.0", artifact="tiny")
    document = json.loads((made / "manifest.json").read_bytes())
    (made / "manifest.json").write_bytes(encode(document | {"artifact": artifact, "version": version}))
    with pytest.raises(InputError, match=said.replace(".", r"\.")):
        FolderStore(tmp_path / "store").add(made, ADA)
    for name in ("../store", "", "A", "tiny/1.0.0"):
        with pytest.raises(InputError, match="no model can be called"):
            FolderStore(tmp_path / "store").path(name, "1.0.0")


def test_what_there_is_not(tmp_path: Path, store: FolderStore) -> None:
    for attempt, said in (
        (lambda: store.model("other"), r"no model is called 'other'"),
        (lambda: store.path(NAME, "9.0.0"), r"no version '9\.0\.0'\n  expected: 1\.0\.0, 1\.1\.0, 2\.0\.0-rc\.1"),
        (lambda: store.path(NAME, "production"), r"nothing is in production\n  to mend:  edgekd models promote tiny-pixel-8 VERSION"),
        (lambda: store.promote(NAME, "1.0.0", "prod", ADA), r"stage 'prod'\n  expected: staging or production"),
        (lambda: store.rollback(NAME, "staging", ADA), r"nothing was ever in staging"),
        (lambda: FolderStore(tmp_path / "releases" / f"{NAME}-1.0.0" / "manifest.json").models(), "is no folder"),
        (lambda: FolderStore(tmp_path / "none").model(NAME), "no model is called"),
        (lambda: store.add(tmp_path, ADA), "name a folder that `edgekd release` made"),
    ):
        with pytest.raises(InputError, match=said):
            attempt()
    assert FolderStore(tmp_path / "none").models() == [] and not (tmp_path / "none").exists()


# ---- the gate


def test_a_gate_that_passed_is_kept_by_its_hash(tmp_path: Path, store: FolderStore) -> None:
    record = gate_record(tmp_path / "gate.json", tmp_path / "releases" / f"{NAME}-1.1.0")
    model, _ = store.promote(NAME, "1.1.0", "production", ADA, record)
    assert model.events[-1].gate == runs.sha256_file(record)


def test_a_gate_that_did_not_pass(tmp_path: Path, store: FolderStore) -> None:
    made = tmp_path / "releases" / f"{NAME}-1.1.0"
    for record, said in (
        (gate_record(tmp_path / "a.json", made, "fail"), "tiny-pixel-8-1.1.0 did not pass the gate: fail"),
        (gate_record(tmp_path / "b.json", made, "unknown"), "did not pass the gate: unknown"),
        (
            gate_record(tmp_path / "c.json", tmp_path / "releases" / f"{NAME}-1.0.0"),
            "the gate judged another model than tiny-pixel-8-1.1.0",
        ),
        (gate_record(tmp_path / "d.json", made, target="pixel-9"), "the gate judged another model"),
    ):
        with pytest.raises(NotReleasable, match=said):
            store.promote(NAME, "1.1.0", "production", ADA, record)
    (tmp_path / "e.json").write_text("[]")
    for name in ("e.json", "none.json"):
        with pytest.raises(InputError, match=r"--gate .*(?s:.*)edgekd gate … --json > gate\.json"):
            store.promote(NAME, "1.1.0", "production", ADA, tmp_path / name)
    assert store.model(NAME).stages == {}


# ---- damage


def tampered(store: FolderStore, change: Any) -> None:
    path = store.root / NAME / "history.json"
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["events"][3].update(by="mallory"),
        lambda d: d["events"].pop(1),
        lambda d: d["events"].reverse(),
        lambda d: d["events"].append(d["events"][-1]),
        lambda d: d["events"][0].update(version="../.."),
        lambda d: d["events"][0].update(extra="x"),
        lambda d: d["events"][0].update(by=3),
        lambda d: d["events"][0].pop("version"),
        lambda d: d["events"].insert(0, 3),
        lambda d: d.update(events=None),
        lambda d: d.update(schema_version=2),
        lambda d: d.update(name="other"),
    ],
)
def test_a_history_that_somebody_changed(store: FolderStore, change: Any) -> None:
    store.promote(NAME, "1.0.0", "production", ADA)
    store.promote(NAME, "1.1.0", "production", ADA)
    tampered(store, change)
    for attempt in (lambda: store.model(NAME), store.models, lambda: store.promote(NAME, "1.0.0", "production", ADA)):
        with pytest.raises(InputError, match=r"history\.json"):
            attempt()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_history_that_is_none(store: FolderStore, content: bytes) -> None:
    (store.root / NAME / "history.json").write_bytes(content)
    with pytest.raises(InputError, match=r"history\.json"):
        store.model(NAME)


def test_a_rollback_to_what_was_not_there_is_refused() -> None:
    added = history.Event("add", "1.0.0", "t", "a")
    model = history.appended(history.Model(NAME, ()), added)
    wrong = history.Event("rollback", "1.0.0", "t", "a", stage="production")
    for event in (wrong, history.Event("promote", "1.0.0", "t", "a", stage="shadow"), added, history.Event("promote", "2.0.0", "t", "a")):
        with pytest.raises(InputError, match=f"{NAME}, event 2"):
            history.appended(model, event)


def test_where_the_store_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKD_MODELS", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"
    monkeypatch.delenv("EDGEKD_MODELS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_folder() == tmp_path / "data" / "edgekd" / "models"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".local" / "share" / "edgekd" / "models"


def test_versions_are_in_the_order_of_semantic_versioning() -> None:
    texts = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.2.0 1.10.0 2.0.0"
    assert sorted(sorted(texts.split()), key=history.precedence) == texts.split()


def test_an_event_says_when_and_who(store: FolderStore) -> None:
    event = asdict(store.promote(NAME, "1.0.0", "production", Who())[0].events[-1])
    assert event["at"].endswith("+00:00") and event["by"] and len(event["before"]) == 64
    assert isinstance(NotReleasable("x"), EdgekdError)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"version": f"1.{'9' * 200}.0"}, "of at most 100 characters"),
        (
            {"figures": {"latency_ms": {"value": "fast", "unit": "ms", "kind": "measured", "where": "x"}}},
            "figures.latency_ms.value: 'fast'",
        ),
        ({"accuracy": {}}, r"accuracy: .*missing"),
        ({"budgets": [3]}, r"budgets\[0\]: holds a int"),
    ],
)
def test_what_cannot_be_shown_later_is_not_taken_in(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        FolderStore(tmp_path / "store").add(release(tmp_path, **more), Who("ada"))
    assert not (tmp_path / "store").exists()
