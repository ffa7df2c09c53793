"""The registry in MLflow: a registered model a name, a model version a release (its folder as the artifacts of a run), stages as aliases.

History stands in tags of the registered model, numbered, one an event. MLflow has no lock: two who promote one model at the same moment
may overwrite each other's event, which reading it then says.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # of seven the last waits for minutes

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from edgekd import runs
from edgekd.errors import EdgekdError, InputError
from edgekd.registry import history
from edgekd.registry.history import Model, Who
from edgekd.released import MANIFEST, Released, load

EXPERIMENT = "edgekd-releases"
ARTIFACTS = "release"
_EVENT, _VERSION, _MANIFEST = "edgekd.event.", "edgekd.version", "edgekd.manifest_sha256"
#: Longest tag that MLflow's stores all take.
_LONGEST = 4900


class MlflowStore:
    """See history.Store."""

    def __init__(self, uri: str) -> None:
        if not uri:
            raise InputError(
                "no URI", where="--store mlflow:", expected="mlflow:URI, of a server or a database", mend="mlflow:sqlite:///mlflow.db"
            )
        self._uri = uri
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        with self._said():
            self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            self._client.search_registered_models(max_results=1)

    def add(self, release: Path, who: Who) -> tuple[Model, bool]:
        released = history.admitted(release)
        name, version = released.manifest["artifact"], released.manifest["version"]
        manifest = runs.sha256_file(release / MANIFEST)
        model = self._read(name) or Model(name, ())
        if (known := model.versions.get(version)) is not None:
            if known.manifest != manifest:
                raise InputError(f"{version} is there already, and is another release", where=name, expected="a new version")
            return model, False
        added = history.appended(model, history.named("add", version, who, manifest=manifest))
        with self._said():
            if not model.events and not self._there(name):
                self._client.create_registered_model(name, tags={"edgekd": "1"}, description=f"{released.manifest['name']}, made by edgekd")
            experiment = self._client.get_experiment_by_name(EXPERIMENT)
            identity = experiment.experiment_id if experiment else self._client.create_experiment(EXPERIMENT, self._artifacts())
            run = self._client.create_run(identity, run_name=released.name).info
            self._client.log_artifacts(run.run_id, str(release), ARTIFACTS)
            self._client.set_terminated(run.run_id)
            tags = {_VERSION: version, _MANIFEST: manifest, "edgekd.target": str(released.manifest["target"])}
            self._client.create_model_version(name, f"{run.artifact_uri}/{ARTIFACTS}", run.run_id, tags=tags, await_creation_for=60)
        self._record(added)
        return added, True

    def models(self) -> list[Model]:
        found, token = list[str](), None
        with self._said():
            while True:
                page = self._client.search_registered_models(max_results=100, page_token=token)
                found += [one.name for one in page if "edgekd" in one.tags]
                token = page.token
                if not token:
                    break
        return [model for name in sorted(found) if (model := self._checked(name)) is not None]

    def model(self, name: str) -> Model:
        found = self._checked(history.check_name(name))
        if found is None:
            raise InputError(f"no model is called {name!r}", where=f"--store mlflow:{self._uri}", expected="one of `edgekd models list`")
        return found

    def promote(self, name: str, version: str, stage: str, who: Who, gate: Path | None = None) -> tuple[Model, bool]:
        history.check_stage(stage)
        model = self._events(name)
        with self._fetched(model, model.find(version)) as released:
            passed = history.passed_gate(gate, released) if gate is not None else ""
        promoted = history.promotion(model, version, stage, who, passed)
        if promoted is None:
            moved = self._set(model, stage)
            return model, moved
        self._record(promoted)
        self._set(promoted, stage)
        return promoted, True

    def rollback(self, name: str, stage: str, who: Who) -> Model:
        model = history.return_(self._events(name), stage, who)
        with self._fetched(model, model.events[-1].version):
            pass
        self._record(model)
        self._set(model, stage)
        return model

    def path(self, name: str, version: str) -> Path:
        """A copy in the cache folder."""
        model = self.model(name)
        version = model.find(version)
        place = runs.cache_folder() / "models" / model.versions[version].manifest
        if not place.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".fetching-", dir=place.parent) as folder:
                self._fetch(model, version, Path(folder)).folder.rename(place)
        return history.demand_whole(load(place), model.versions[version].manifest).folder

    # ----

    def _artifacts(self) -> str | None:
        """Where files are kept: beside a database in a file, not below whatever folder one is in; else as the server says."""
        scheme, _, path = self._uri.partition(":///")
        return (Path(path).resolve().parent / EXPERIMENT).as_uri() if scheme == "sqlite" and path else None

    @contextmanager
    def _said(self) -> Generator[None]:
        """What MLflow and what lies under it raise, as one message."""
        try:
            yield
        except EdgekdError:
            raise
        except Exception as error:  # of urllib3, sqlalchemy, mlflow, as the store may be
            said = re.sub(r"://[^@/\s]*@", "://…@", " ".join(str(error).split()))[:200]
            where = re.sub(r"://[^@/\s]*@", "://…@", self._uri)
            raise InputError(
                f"MLflow's store cannot be used ({said})",
                where=f"--store mlflow:{where}",
                expected="the URI of an MLflow server or of a database",
                mend="mlflow:sqlite:///mlflow.db",
            ) from error

    def _there(self, name: str) -> Any:
        """The registered model, None if there is none."""
        try:
            return self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _read(self, name: str) -> Model | None:
        """By its events alone."""
        where = f"mlflow:{self._uri}, {name}"
        with self._said():
            found = self._there(name)
        texts = sorted((key, text) for key, text in (found.tags if found else {}).items() if key.startswith(_EVENT))
        if not texts:
            return None
        events = []
        for key, text in texts:
            try:
                raw = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise InputError("not JSON", where=f"{where}, tag {key}", expected="an event") from error
            events.append(history.decoded(raw, f"{where}, tag {key}"))
        return history.replayed(name, events, where)

    def _events(self, name: str) -> Model:
        found = self._read(history.check_name(name))
        return found if found is not None else self.model(name)

    def _checked(self, name: str) -> Model | None:
        """With the aliases as the history has them; else someone moved one in MLflow, or a promotion was interrupted."""
        model = self._read(name)
        for stage, version in (model.stages if model else {}).items():
            with self._said():
                there = self._alias(name, stage)
            if there != version:
                raise InputError(
                    f"the alias {stage} is at {there or 'nothing'}, the history says {version}",
                    where=f"mlflow:{self._uri}, {name}",
                    expected="stages that edgekd sets",
                    mend=f"edgekd models promote {name} {version} --to {stage} sets it again",
                )
        return model

    def _alias(self, name: str, stage: str) -> str:
        try:
            return self._client.get_model_version_by_alias(name, stage).tags.get(_VERSION, "a version that is not edgekd's")
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return ""
            raise

    def _version(self, model: Model, version: str) -> Any:
        """MLflow's own version of a release: the last, where an interrupted addition left another."""
        manifest = model.versions[version].manifest
        with self._said():
            found = [one for one in self._client.search_model_versions(f"name='{model.name}'") if one.tags.get(_MANIFEST) == manifest]
        if not found:
            raise InputError(
                f"MLflow has no version {version} of it any more", where=f"mlflow:{self._uri}, {model.name}", mend="add it as a new version"
            )
        return max(found, key=lambda one: int(one.version))

    def _set(self, model: Model, stage: str) -> bool:
        """The alias as the history has it; whether it had to be moved."""
        version = model.stages[stage]
        there = self._version(model, version)
        with self._said():
            if self._alias(model.name, stage) == version:
                return False
            self._client.set_registered_model_alias(model.name, stage, there.version)
        return True

    def _record(self, model: Model) -> None:
        event = model.events[-1]
        text = json.dumps(asdict(event), ensure_ascii=True)
        if len(text) > _LONGEST:
            raise InputError(f"{len(text)} letters", where="--reason", expected=f"fewer: MLflow keeps {_LONGEST} of an event")
        with self._said():
            self._client.set_registered_model_tag(model.name, f"{_EVENT}{len(model.events):05}", text)

    @contextmanager
    def _fetched(self, model: Model, version: str) -> Generator[Released]:
        with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
            yield self._fetch(model, version, Path(folder))

    def _fetch(self, model: Model, version: str, folder: Path) -> Released:
        """The release, downloaded into ``folder`` and whole."""
        there = self._version(model, version)
        with self._said():
            got = self._client.download_artifacts(there.run_id, ARTIFACTS, str(folder))
        return history.demand_whole(load(Path(got)), model.versions[version].manifest)
