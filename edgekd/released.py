"""The folder of a release, read: its manifest, and whether its files are those that the manifest names.

<artifact>-<version>/
    manifest.json     what it is, the hash of every other file and one of itself
    model.sig         an OpenSSF model signature over all of it, where a key was at hand
    MODEL_CARD.md  bom.cdx.json  vectors.npz  graph/  model/  evidence/  and the bundles asked for
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.errors import InputError
from edgekd.nouns import decode
from edgekd.records import BudgetUse, Examination, Figure, Verdict
from edgekd.runs import sha256_file

SCHEMA_VERSION = 1
MANIFEST, SIGNATURE = "manifest.json", "model.sig"
#: The key of the manifest that holds the hash of all others.
OWN_HASH = "manifest_sha256"
#: Semantic Versioning 2.0.0 (2013), without build metadata, which Maven and OCI tags do not have.
VERSION = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?")
_LARGEST = 64 * 2**20
#: A signature holds a hash and a name of each file, and no more.
_LARGEST_SIGNATURE = 16 * 2**20
_TEXTS = ("name", "artifact", "group", "version", "created", "target", "run", "fingerprint", OWN_HASH)
_TABLES = ("files", "models", "figures", "data", "teacher", "licenses", "environment")
_LISTS = ("budgets", "parity", "formats", "waivers")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Released:
    """A release on disk. ``manifest`` is its document: its shape is checked, its truth is what ``verify_files`` tells."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """<artifact>-<version>"""
        return f"{self.manifest['artifact']}-{self.manifest['version']}"

    @property
    def figures(self) -> dict[str, Figure]:
        return {name: decode(Figure, raw, self._at(f"figures.{name}")) for name, raw in self.manifest["figures"].items()}

    @property
    def parity(self) -> tuple[Verdict, ...]:
        """The verdicts of all runtimes."""
        return tuple(decode(Verdict, raw, self._at(f"parity[{at}]")) for at, raw in enumerate(self.manifest["parity"]))

    @property
    def budgets(self) -> tuple[BudgetUse, ...]:
        return tuple(decode(BudgetUse, raw, self._at(f"budgets[{at}]")) for at, raw in enumerate(self.manifest["budgets"]))

    @property
    def examination(self) -> Examination | None:
        """Accuracy class by class, None where the run has none."""
        raw = self.manifest["accuracy"]
        return None if raw is None else decode(Examination, raw, self._at("accuracy"))

    def demand_nouns(self) -> None:
        """Raises InputError unless what the manifest says in nouns can be read."""
        _ = self.figures, self.parity, self.budgets, self.examination

    def _at(self, place: str) -> str:
        return f"{self.folder / MANIFEST}, {place}"

    @property
    def signed(self) -> bool:
        """Whether a signature is there; ``edgekd release verify --public-key`` says whether it is good."""
        return (self.folder / SIGNATURE).is_file()


def is_release(folder: Path) -> bool:
    """Whether the folder looks like a release rather than a run."""
    return (folder / MANIFEST).is_file()


def load(folder: Path) -> Released:
    """The release in ``folder``. Raises InputError if there is none, or a manifest that no edgekd of this version wrote."""
    path = Path(folder) / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise InputError("there is no such file", where=str(path), mend="name a folder that `edgekd release` made")
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path.stat().st_size} bytes", where=str(path), expected=f"at most {_LARGEST}")
    try:
        document = json.loads(path.read_bytes(), parse_constant=_refuse, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({str(error) or type(error).__name__})", where=str(path), expected="a whole manifest") from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(path), expected="a file that can be read") from error
    _check(document, str(path))
    try:
        encode(document)
    except (ValueError, RecursionError) as error:  # half a character, a number without end: JSON may say them, UTF-8 and floats may not
        raise InputError(
            f"cannot be written again ({error})", where=str(path), expected="a manifest as `edgekd release` writes it"
        ) from error
    return Released(Path(folder), document)


def encode(document: Mapping[str, Any]) -> bytes:
    """A manifest's document as its file holds it, with the hash of itself: what was in OWN_HASH does not count."""
    plain = {key: value for key, value in document.items() if key != OWN_HASH}
    return _text({**plain, OWN_HASH: hashlib.sha256(_text(plain)).hexdigest()})


def verify_files(released: Released) -> list[str]:
    """What is not as the manifest says: files changed, missing or added, links, and the manifest itself. Empty if all is well.

    Nothing outside the folder is read. Who could change a file could also write a new manifest: only the signature tells that.
    """
    problems: list[str] = []
    if (released.folder / MANIFEST).read_bytes() != encode(released.manifest):
        problems.append(f"{MANIFEST}: is not as it was written: it holds a hash of itself, which is another")
    try:
        there = dict(_walk(released.folder))
    except RecursionError as error:
        raise InputError("folders within folders, deeper than any release", where=str(released.folder), expected="a release") from error
    stated: Mapping[str, Any] = released.manifest["files"]
    for name in sorted(stated.keys() - there.keys()):
        problems.append(f"{name}: is missing")
    for name in sorted(there.keys() - stated.keys() - {MANIFEST, SIGNATURE}):
        problems.append(f"{name}: {there[name] or 'was added: the manifest does not name it'}")
    for name in sorted(there.keys() & ({*stated} | {MANIFEST, SIGNATURE})):
        problem = there[name] or (_changed(released.folder / name, stated[name]) if name in stated else "")
        if problem:
            problems.append(f"{name}: {problem}")
    if there.get(SIGNATURE) == "" and (size := (released.folder / SIGNATURE).stat().st_size) > _LARGEST_SIGNATURE:
        problems.append(f"{SIGNATURE}: has {size} bytes, which no signature has")
    return problems


def _changed(path: Path, stated: Mapping[str, Any]) -> str:
    try:
        size = path.stat().st_size
        if size != stated["bytes"]:
            return f"has {size} bytes, the manifest says {stated['bytes']}"
        return "" if sha256_file(path) == stated["sha256"] else "has another sha256 than the manifest says"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _walk(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file below, as the manifest would name it, and what is wrong with it by its kind alone; links are not followed."""

    def refuse(error: OSError) -> None:
        raise InputError(f"cannot be read ({error.strerror})", where=str(error.filename), expected="a folder that can be read") from error

    for at, folders, files in os.walk(folder, onerror=refuse):
        for name in [*folders, *files]:
            path = Path(at, name)
            mode = path.lstat().st_mode
            where = path.relative_to(folder).as_posix()
            if stat.S_ISLNK(mode):
                yield where, "is a symbolic link: a release holds files only"
            elif stat.S_ISDIR(mode):
                if not os.listdir(path):
                    yield where, "is an empty folder, which no release has"
            else:
                yield where, "" if stat.S_ISREG(mode) else "is no regular file"


# ---- the manifest's shape: what readers rely on, without any library


def _check(document: Any, where: str) -> None:
    expected = "a manifest as `edgekd release` writes it: `edgekd release schema` prints its schema"
    if not isinstance(document, dict):
        raise InputError(f"holds a {type(document).__name__}", where=where, expected=expected)
    version = document.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise InputError(f"schema_version {version!r}", where=where, expected=str(SCHEMA_VERSION))
    for keys, kind in ((_TEXTS, str), (_TABLES, dict), (_LISTS, list)):
        for key in keys:
            if not isinstance(document.get(key), kind):
                raise InputError(f"{key} is {document.get(key)!r:.60}", where=where, expected=expected)
    if not isinstance(document.get("accuracy", ""), dict | None):
        raise InputError(f"accuracy is {document.get('accuracy', 'missing')!r:.60}", where=where, expected=expected)
    folded: dict[str, str] = {}
    for name, entry in document["files"].items():
        if (other := folded.setdefault(name.casefold(), name)) != name:  # on the disks of most phones' developers they are one file
            raise InputError(f"files names {other!r:.100} and {name!r:.100}", where=where, expected="names that differ in more than case")
        if not _inside(name) or name in (MANIFEST, SIGNATURE):
            raise InputError(f"files names {name!r:.100}", where=where, expected="paths below the folder of the release")
        good = isinstance(entry, dict) and isinstance(entry.get("sha256"), str) and type(entry.get("bytes")) is int
        if not good or not _SHA256.fullmatch(entry["sha256"]):
            raise InputError(f"files.{name} is {entry!r:.100}", where=where, expected="sha256 and bytes of the file")


def _inside(name: str) -> bool:
    """Whether it is a plain relative path: no way out, none that means another one."""
    parts = name.split("/")
    return not any(part in ("", ".", "..") for part in parts) and not re.search(r"[\\:\x00-\x1f\x7f]", name)


def _text(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands there twice")
    return made
