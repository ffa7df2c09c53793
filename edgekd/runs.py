"""The run folder: where it lies, its records as JSON, and the lock.

runs/<recipe>-<target>-<id>/
    request.json            what was asked; <id> is its hash, so the same request resumes the same folder
    records/<stage>.json    one record a stage; a stage whose record still holds is not done again
    …                       the files that the records name, each with its sha256
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgekd import host
from edgekd.errors import InputError
from edgekd.nouns import decode, decode_body, encode, encode_body, table
from edgekd.records import SCHEMA_VERSION, Artifact, Checkpoint, Examination, Record

#: The machine and its versions, which every record carries.
environment = host.environment
_LARGEST_RECORD = 64 * 2**20
#: How the name of a file ends that is being written.
_HALF = ".part"


def digest(request: Mapping[str, Any]) -> str:
    """sha256 of a request (anything JSON holds), the same whatever the order of its keys."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, ensure_ascii=True, allow_nan=False).encode()).hexdigest()


def create(root: Path, recipe_name: str, target: str, request: Mapping[str, Any]) -> Path:
    """The folder of this request (content of recipe and profile, preset, seed, overrides), made if it is new."""
    run = Path(root) / f"{recipe_name}-{target}-{digest(request)[:10]}"
    (run / "records").mkdir(parents=True, exist_ok=True)
    # As it stands in the recipe: the order of the tables of an option may count (tasks).
    content = _dump(dict(request), where=str(run), in_order=True)
    if not _is_of(run / "request.json", content):  # the folder's name is its hash: it was damaged
        atomic_write(run / "request.json", content)
    return run


def _is_of(file: Path, content: bytes) -> bool:
    """Whether a request holds the same, in whatever order it was asked for first."""
    try:
        return file.read_bytes() == content or _parse(file, mend="") == json.loads(content)
    except (OSError, InputError):
        return False


def check_data(root: Path, recipe_name: str, target: str, request: Mapping[str, Any], *, last: str) -> None:
    """Raise InputError if a build that differs from ``request`` in nothing but its data was begun and has no record of ``last`` yet:
    whoever goes on with it must not, unawares, begin another."""
    if (Path(root) / f"{recipe_name}-{target}-{digest(request)[:10]}" / "records").is_dir():
        return
    same = {**json.loads(_dump(dict(request), where=str(root))), "data": ""}
    for file in sorted(Path(root).glob(f"{glob.escape(f'{recipe_name}-{target}-')}*/request.json")):
        run = file.parent
        try:
            asked = _parse(file, mend="")
        except InputError:  # a damaged one says nothing
            continue
        if isinstance(asked, dict) and {**asked, "data": ""} == same and (begun := stages(run)) and last not in begun:
            raise InputError(
                "the data is not what this build was begun with",
                where=str(run),
                expected=f"data with sha256 {str(asked.get('data'))[:12]}…, found {str(request['data'])[:12]}…",
                mend="put the data back as it was, or leave out --resume to build with the new data",
            )


def request(run: Path) -> dict[str, Any]:
    """What was asked of this run. Raises InputError if ``run`` is no run folder."""
    return table(_parse(Path(run) / "request.json", mend="name a folder that `edgekd build` made"), where=str(run))


def write(run: Path, record: Record, *, files: Iterable[str] = ()) -> Path:
    """Store a record as records/<stage>.json, with the hash of every file that it names and of ``files`` (relative to the run)."""
    target = _record_path(run, record.stage)
    stated = _named_files(record.body)
    hashes: dict[str, str] = {}
    for name in (*stated, *files):
        path = inside(run, name)
        if not path.is_file():
            raise InputError(f"{name} is not there", where=f"record {record.stage} of {run}", expected="every file that a record names")
        hashes[name] = sha256_file(path)
        if stated.get(name) and stated[name] != hashes[name]:
            raise InputError(f"{name} has another sha256 than its record says", where=f"record {record.stage} of {run}")
    plain = {name: encode(getattr(record, name)) for name in (f.name for f in fields(record)) if name != "body"}
    atomic_write(target, _dump({**plain, "files": hashes, "body": encode_body(record.body)}, where=str(target)))
    return target


def read(run: Path, stage: str) -> Record:
    """The stored record of ``stage``, its body decoded to its nouns.

    Raises InputError, naming the file, if it is missing, damaged, of another schema version or holds what no stage writes.
    """
    return _read(run, stage)[0]


def document(run: Path, stage: str) -> dict[str, Any]:
    """The record of ``stage`` as JSON has it, and as it was checked by reading it. Raises what ``read`` raises."""
    _read(run, stage)
    return json.loads(_record_path(run, stage).read_bytes())


def stages(run: Path) -> tuple[str, ...]:
    """The stages that have a record."""
    return tuple(sorted(path.stem for path in (Path(run) / "records").glob("*.json")))


def done(run: Path, stage: str, inputs: Mapping[str, str]) -> bool:
    """True if the record exists, was made from the same ``inputs``, and every file that it names still has its sha256.

    A damaged record raises InputError rather than count as not done: it may hold hours of work, so the user decides.
    """
    if not _record_path(run, stage).exists():
        return False
    record, hashes = _read(run, stage)
    if dict(record.inputs) != dict(inputs):
        return False
    return all((path := inside(run, name)).is_file() and sha256_file(path) == sha256 for name, sha256 in hashes.items())


def changed(run: Path, stage: str) -> tuple[str, ...]:
    """Files that the record of ``stage`` names and that no longer have the sha256 that it says. Raises InputError where one is gone."""
    hashes = _read(run, stage)[1]
    for name in hashes:
        if not inside(run, name).is_file():
            raise InputError("there is no such file", where=str(Path(run) / name), mend="edgekd build … --resume makes it again")
    return tuple(name for name, sha256 in hashes.items() if sha256_file(inside(run, name)) != sha256)


def unchained(run: Path) -> tuple[str, ...]:
    """Stages made from a record that is no longer there as it was: someone changed it since. Raises InputError for a damaged record."""
    hashes = {sha256_file(_record_path(run, stage)) for stage in stages(run)}
    return tuple(stage for stage in stages(run) if _read(run, stage)[0].inputs.get("before") not in {None, *hashes})


def inside(run: Path, name: str) -> Path:
    """The path of a file named relative to the run folder. Raises InputError if it would lie outside."""
    try:
        path = (Path(run) / name).resolve()
        within = path.is_relative_to(Path(run).resolve())
    except (RuntimeError, ValueError) as error:  # links in a circle, a NUL
        raise InputError(f"{name!r} is no path ({error})", where=str(run), expected="a path below the run folder") from error
    if not within:
        raise InputError(f"{name!r} leaves the run folder", where=str(run), expected="a path below the run folder")
    return path


@contextmanager
def lock(folder: Path, name: str = ".lock", *, wait: Callable[[str], None] | None = None) -> Generator[None]:
    """Keep other builds out of this folder, or of what ``name`` stands for. The lock dies with the process, so none is ever stale.

    Raises InputError if another process has it; with ``wait``, tells that who it is and waits.
    """
    import fcntl  # not on Windows, where reading runs must still work

    with open(Path(folder) / name, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            other = f"another build (process {file.read(20).strip() or 'unknown'})"
            if wait is None:
                raise InputError(
                    f"{other} is writing this run", where=str(folder), mend="wait for it, or ask for another seed, preset or runs folder"
                ) from error
            wait(other)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left half written in a folder whose lock is held."""
    for left in Path(folder).rglob(f".*{_HALF}"):
        left.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where what several runs share is kept: $XDG_CACHE_HOME/edgekd, or ~/.cache/edgekd."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "edgekd"  # the XDG specification: a relative path is ignored


def sha256_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def atomic_write(path: Path, content: bytes) -> None:
    """Write so that a reader sees the whole old file or the whole new one, even after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_HALF, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp gives 0600, which would lock colleagues out
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):  # of a full disk the system does not say which file it was
            error.filename, error.filename2 = str(path), None
        raise


def sync(path: Path) -> None:
    """Return when the file, or the names in the folder, are on the disk: what was renamed stays so after a power cut."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


# ---- JSON


def _record_path(run: Path, stage: str) -> Path:
    return inside(run, f"records/{stage}.json")


def _dump(value: Any, *, where: str, in_order: bool = False) -> bytes:
    try:
        return (json.dumps(value, indent=1, sort_keys=not in_order, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise InputError(str(error), where=where, expected="text, finite numbers, lists and tables only") from error


def _parse(path: Path, *, mend: str) -> Any:
    if not path.is_file():
        raise InputError("there is no such file", where=str(path), mend=mend)
    if path.stat().st_size > _LARGEST_RECORD:
        raise InputError(f"{path.stat().st_size} bytes", where=str(path), expected=f"at most {_LARGEST_RECORD}", mend=mend)

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON number")

    try:
        return json.loads(path.read_bytes(), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"not JSON ({str(error) or type(error).__name__})", where=str(path), expected="a whole record", mend=mend
        ) from error


def _read(run: Path, stage: str) -> tuple[Record, dict[str, str]]:
    path = _record_path(run, stage)
    mend = f"delete {path} and build again with --resume: the stage {stage} is then done anew"
    raw = table(_parse(path, mend=mend), where=str(path))
    if raw.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"schema_version {raw.get('schema_version')!r}", where=str(path), expected=str(SCHEMA_VERSION), mend=mend)
    try:
        hashes = decode(dict[str, str], raw.pop("files", {}), "files")
        body = decode_body(raw.pop("body", None))
        record = decode(Record, {**raw, "body": None}, "record")
    except InputError as error:
        raise InputError(str(error), where=str(path), expected="a record as edgekd writes it", mend=mend) from error
    if record.stage != stage:
        raise InputError(f"this is the record of {record.stage!r}", where=str(path), expected=stage, mend=mend)
    return Record(**{**vars(record), "body": body}), hashes


def _named_files(body: Any) -> dict[str, str]:
    """File → stated sha256 ("" if none) of what a body names. An artifact's further files lie beside it."""
    named: dict[str, str] = {}
    for item in body if isinstance(body, list | tuple) else (body,):
        if isinstance(item, Checkpoint | Artifact):
            named[item.path] = item.sha256
        if isinstance(item, Examination) and item.picture:
            named[item.picture] = item.sha256
        if isinstance(item, Artifact):
            named |= {name: "" for name in item.files if name not in named}
    return named
