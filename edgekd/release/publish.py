"""A folder that is there whole or not at all: made beside its place, under a name that nobody looks for, and renamed once."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from edgekd.errors import InputError
from edgekd.released import SIGNATURE
from edgekd.runs import sha256_file, sync


@contextmanager
def staging(out: Path, name: str) -> Generator[Path]:
    """An empty folder called ``name`` to fill, on the file system of ``out``; it and what it still holds go when the context ends.

    What a killed process left of the same name is removed first. Raises InputError if ``out`` cannot be written, or another process
    makes this release now: its lock dies with it.
    """
    _check_out(out)
    at = out / f".{name}.making"
    lock = _lock(at)
    try:
        for left in at.iterdir():
            _remove(left)
        (at / name).mkdir()
        yield at / name
    except OSError as error:
        if error.filename is None:  # of a full disk the system does not say which file it was
            error.filename = str(out)
        raise
    finally:
        shutil.rmtree(at, ignore_errors=True)
        os.close(lock)


def publish(staged: Path, out: Path) -> tuple[Path, list[str]]:
    """Rename the ``staged`` folder into ``out``, all of it written to disk before. Where it is there already it stays as it is.

    Returns its place, and, of one that was there, the files in which it differs (the signature aside). Raises InputError for what is there
    and no folder.
    """
    final = out / staged.name
    settle(staged)
    if os.path.lexists(final):
        if final.is_symlink() or not final.is_dir():
            raise InputError("is there and is no folder", where=str(final), mend="release under another --version, or into another --out")
        try:
            return final, differences(staged, final)
        except RecursionError as error:
            mend = "release under another --version, or into another --out"
            raise InputError("holds folders within folders, deeper than any release", where=str(final), mend=mend) from error
    try:
        os.rename(staged, final)
    except OSError as error:
        raise InputError(f"cannot be put there ({error.strerror})", where=str(final)) from error
    sync(out)
    return final, []


def settle(folder: Path) -> None:
    """The same modes whatever the umask was, and everything on the disk. Raises InputError for a link or another thing that is no file."""
    for at, folders, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(at, name)
            if path.is_symlink() or not path.is_file():
                raise InputError("is no regular file", where=path.relative_to(folder).as_posix(), expected="a release holds files only")
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
            sync(path)
        if linked := next((name for name in folders if Path(at, name).is_symlink()), None):
            raise InputError("is a symbolic link", where=linked, expected="a release holds files only")
        Path(at).chmod(0o755)
        sync(Path(at))


def files_of(folder: Path) -> dict[str, Path]:
    """Every file below, by its path as a manifest names it."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if not path.is_dir() or path.is_symlink()}


def differences(one: Path, other: Path) -> list[str]:
    """Files that are not the same in both folders, or in one alone; the signature aside."""
    ours, theirs = files_of(one), files_of(other)
    alike = {name for name in ours.keys() & theirs.keys() if not theirs[name].is_symlink() and theirs[name].is_file()}
    same = {name for name in alike if sha256_file(ours[name]) == sha256_file(theirs[name])}
    return sorted((ours.keys() | theirs.keys()) - same - {SIGNATURE})


def _check_out(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot be made ({error.strerror})", where=str(out), expected="a folder that can be written", mend="--out"
        ) from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise InputError("cannot be written", where=str(out), expected="a folder that can be written", mend="--out")


def _lock(at: Path) -> int:
    """The folder ``at``, made if need be and locked: a descriptor that holds the lock as long as it is open."""
    while True:
        try:
            at.mkdir(exist_ok=True)
            opened = os.open(at, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:  # another process removed its own between the two
            continue
        except OSError as error:
            raise InputError(
                f"cannot be used ({error.strerror})", where=str(at), expected="a folder that a release may be made in"
            ) from error
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if at.exists() and os.path.samestat(os.fstat(opened), at.stat()):
                return opened
        except BlockingIOError as error:
            os.close(opened)
            raise InputError("another process makes this release now", where=str(at), mend="wait for it") from error
        os.close(opened)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
