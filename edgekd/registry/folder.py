"""The registry in a folder, on this machine or a shared disk.

<store>/<name>/history.json       the events of a model; one file, replaced as a whole under the lock
<store>/<name>/<version>/         a release, as it was added; read-only
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekd import runs
from edgekd.errors import InputError
from edgekd.registry import history
from edgekd.registry.history import Model, Who
from edgekd.released import MANIFEST, SIGNATURE, Released, load

SCHEMA_VERSION = 1
HISTORY = "history.json"
_ADDING = ".adding-"
_LARGEST = 64 * 2**20


def default_folder() -> Path:
    """$EDGEKD_MODELS; else $XDG_DATA_HOME/edgekd/models, or ~/.local/share/edgekd/models."""
    if stated := os.environ.get("EDGEKD_MODELS", ""):
        return Path(stated)
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".local" / "share") / "edgekd" / "models"


@dataclass(frozen=True)
class FolderStore:
    """See history.Store. An interruption at any point leaves the history as it was, or with the whole event."""

    root: Path

    def add(self, release: Path, who: Who) -> tuple[Model, bool]:
        released = history.admitted(release)
        name, version = released.manifest["artifact"], released.manifest["version"]
        manifest = runs.sha256_file(release / MANIFEST)
        with self._locked():
            model = self._read(name) or Model(name, ())
            if (known := model.versions.get(version)) is not None:
                return _the_same(model, version, known.manifest == manifest), False
            self._copy(released, self.root / name / version, manifest)
            model = history.appended(model, history.named("add", version, who, manifest=manifest))
            self._write(model)
        return model, True

    def models(self) -> list[Model]:
        if not self.root.exists():
            return []
        if not self.root.is_dir():
            raise InputError("is no folder", where=f"--store {self.root}", expected="a folder of releases")
        names = sorted(path.name for path in self.root.iterdir() if history.NAME.fullmatch(path.name) and (path / HISTORY).is_file())
        return [self.model(name) for name in names]

    def model(self, name: str) -> Model:
        found = self._read(history.check_name(name))
        if found is None:
            raise InputError(f"no model is called {name!r}", where=f"--store {self.root}", expected="one of `edgekd models list`")
        return found

    def promote(self, name: str, version: str, stage: str, who: Who, gate: Path | None = None) -> tuple[Model, bool]:
        history.check_stage(stage)
        self.model(name)
        with self._locked():
            model = self.model(name)
            released = self._released(model, model.find(version))
            promoted = history.promotion(model, version, stage, who, history.passed_gate(gate, released) if gate is not None else "")
            if promoted is None:
                return model, False
            self._write(promoted)
        return promoted, True

    def rollback(self, name: str, stage: str, who: Who) -> Model:
        self.model(name)
        with self._locked():
            model = history.return_(self.model(name), stage, who)
            self._released(model, model.events[-1].version)
            self._write(model)
        return model

    def path(self, name: str, version: str) -> Path:
        model = self.model(name)
        return self._released(model, model.find(version)).folder

    def _released(self, model: Model, version: str) -> Released:
        """Whole, or NotReleasable."""
        return history.demand_whole(load(self.root / model.name / version), model.versions[version].manifest)

    @contextmanager
    def _locked(self) -> Generator[None]:
        """One writer at a time; others wait, since what each does takes a moment."""
        if self.root.exists() and not self.root.is_dir():
            raise InputError("is no folder", where=f"--store {self.root}", expected="a folder of releases")
        self.root.mkdir(parents=True, exist_ok=True)
        with runs.lock(self.root, wait=lambda other: None):
            yield

    def _copy(self, released: Released, into: Path, manifest: str) -> None:
        """The release, verified once more where it is to lie, which nobody sees before it is whole. What a kill left behind is removed."""
        into.parent.mkdir(exist_ok=True)
        for left in (*into.parent.glob(f"{_ADDING}*"), into):  # ``into`` without an event: killed between the two
            if left.exists():
                shutil.rmtree(left)
        made = Path(tempfile.mkdtemp(prefix=f"{_ADDING}{into.name}-", dir=into.parent))
        try:
            made.chmod(0o755)
            for name in (*released.manifest["files"], MANIFEST, *([SIGNATURE] if released.signed else [])):
                _copy_file(released.folder / name, made / name)
            history.demand_whole(load(made), manifest)
            for folder in (path for path in made.rglob("*") if path.is_dir()):
                runs.sync(folder)
            runs.sync(made)
            made.rename(into)
            runs.sync(into.parent)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise

    def _read(self, name: str) -> Model | None:
        """None if there is none. Raises InputError for a history that is damaged."""
        path = self.root / name / HISTORY
        if path.parent.is_symlink():  # what is added there would lie, and what is in its way would be removed, elsewhere
            raise InputError("is a symbolic link", where=str(path.parent), expected="a folder of the store")
        if not os.path.lexists(path):
            return None
        if path.is_symlink() or not path.is_file():
            raise InputError("is no file", where=str(path), expected="the history of a model", mend="put it back from a backup")
        where, mend = str(path), "put it back from a backup, or remove the folder and add its releases again"
        try:
            document: Any = json.loads(path.read_bytes()) if path.stat().st_size <= _LARGEST else None
        except (ValueError, RecursionError) as error:
            raise InputError(f"not JSON ({error})", where=where, expected="the history of a model", mend=mend) from error
        if not isinstance(document, dict) or not isinstance(document.get("events"), list):
            raise InputError("holds no events", where=where, expected="the history of a model", mend=mend)
        if document.get("schema_version") != SCHEMA_VERSION or document.get("name") != name:
            raise InputError(
                f"schema_version {document.get('schema_version')!r}, name {document.get('name')!r:.60}",
                where=where,
                expected=f"{SCHEMA_VERSION}, {name}",
                mend=mend,
            )
        events = [history.decoded(raw, f"{where}, event {at}") for at, raw in enumerate(document["events"], 1)]
        return history.replayed(name, events, where) if events else None

    def _write(self, model: Model) -> None:
        document = {"schema_version": SCHEMA_VERSION, "name": model.name, "events": [asdict(event) for event in model.events]}
        content = (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
        path = self.root / model.name / HISTORY
        if len(content) > _LARGEST:  # which could not be read again
            raise InputError(f"{len(content)} bytes", where=str(path), expected=f"at most {_LARGEST}")
        for left in path.parent.glob(f".{HISTORY}.*"):  # of one that was killed while it wrote
            left.unlink()
        runs.atomic_write(path, content)
        runs.sync(path.parent)


def _the_same(model: Model, version: str, same: bool) -> Model:
    if not same:
        raise InputError(
            f"{version} is there already, and is another release", where=model.name, expected="a new version: one that is out never changes"
        )
    return model


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # of the disk that is written, not of the file that is read
            error.filename, error.filename2 = str(target.parent), None
        raise
    runs.sync(target)
    target.chmod(0o444)
