"""Folders of samples, one folder a class, whatever the samples are.

Either ``train/``, ``val/`` or ``validation/``, and ``test/`` with class folders in each, or class folders only, of which validation and
test shares are then held out with a fixed seed, class by class. Without a validation folder, validation is held out of training.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekd.data.dataset import Split, stratified
from edgekd.errors import InputError

LOG = logging.getLogger(__name__)
SLOW_S = 2.0
#: Left there by file managers; never meant as samples.
IGNORED = ("thumbs.db", "desktop.ini")
SPLITS = ("train", "val", "validation", "test")


@dataclass(frozen=True)
class Kind:
    """What the files are: what messages call one and many of them, and how their names end."""

    one: str
    many: str
    suffixes: tuple[str, ...]


def parts_of(folder: Path, where: str) -> dict[str, Path]:
    """Split → its folder; one split called "all" where there are class folders only. Raises InputError if ``folder`` is none, or mixed."""
    if not folder.is_dir():
        found = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"data.options.folder {found}", where=where, expected="a folder of class folders", mend='folder = "…"')
    names = [entry.name for entry in entries(folder, where, None)]
    found = [name for name in SPLITS if name in names]
    if not found:
        return {"all": folder}
    if others := [name for name in names if name not in SPLITS]:
        raise InputError(
            f"{others[0]!r} stands beside {found[0]!r}",
            where=where,
            expected="either only train, val (or validation) and test, or only class folders",
            mend=f"move {others[0]} into a split, or rename {found[0]}",
        )
    if "val" in found and "validation" in found:
        raise InputError("both 'val' and 'validation'", where=where, expected="one of them", mend="rename or delete one")
    for needed in ("train", "test"):
        if needed not in found:
            raise InputError(
                f"there is {found[0]!r} but no {needed!r}", where=where, expected="train and test", mend=f"mkdir {folder / needed}"
            )
    return {{"val": "validation"}.get(name, name): folder / name for name in found}


def entries(folder: Path, where: str, kind: Kind | None) -> list[Path]:
    """What is in ``folder`` and not hidden. Raises InputError if other things stand there than files of ``kind`` (folders if None)."""
    try:
        found = sorted(e for e in folder.iterdir() if not e.name.startswith(".") and e.name.lower() not in IGNORED)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read ({error.strerror})", where=where, expected="a readable folder", mend="check its permissions"
        ) from error
    wrong = [e for e in found if e.is_dir() != (kind is None) or (kind is not None and e.suffix.lower() not in kind.suffixes)]
    if wrong:
        raise InputError(
            f"{wrong[0]} is {'a folder' if wrong[0].is_dir() else 'a file'}"
            + (f", and {len(wrong) - 1} more like it" if len(wrong) > 1 else ""),
            where=where,
            expected="folders only" if kind is None else f"files that end in {', '.join(kind.suffixes)}",
            mend="move it out of the dataset, or hide it with a leading dot",
        )
    return found


def listing(parts: dict[str, Path], root: Path, where: str, kind: Kind) -> tuple[tuple[str, ...], dict[str, list[tuple[Path, int]]]]:
    """The class names in order, and for each split its files with the class of each."""
    classes = {split: [e.name for e in entries(part, where, None)] for split, part in parts.items()}
    first = next(iter(classes))
    labels = tuple(classes[first])
    for split, names in classes.items():
        if different := sorted(set(names) ^ set(labels)):
            raise InputError(
                f"class {different[0]!r} is only in {split if different[0] in names else first}",
                where=where,
                expected=f"the same class folders in {' and '.join(classes)}",
                mend=f"add the missing folder with its {kind.many}, or delete the other",
            )
    if len(labels) < 2:
        raise InputError(
            f"{len(labels)} class folders",
            where=where,
            expected="at least two, one a class",
            mend=f"put each class's {kind.many} into its own folder",
        )
    files = {}
    for split, part in parts.items():
        files[split] = []
        for index, label in enumerate(labels):
            members = entries(part / label, where, kind)
            if not members:
                raise InputError(
                    f"{part / label} has no {kind.many}",
                    where=where,
                    expected="at least one in each class",
                    mend=f"add {kind.many}, or delete it",
                )
            for file in members:
                _check_inside(file, root, where, kind)
                files[split].append((file, index))
    return labels, files


def _check_inside(file: Path, root: Path, where: str, kind: Kind) -> None:
    try:
        real = file.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{file} is a link to nowhere", where=where, expected=f"one of the {kind.many}", mend=f"rm {file}") from error
    if not real.is_relative_to(root) or not real.is_file():
        raise InputError(
            f"{file} is a link to {real}, outside the dataset"
            if file.is_symlink() or real != file.absolute()
            else f"{file} is no regular file",
            where=where,
            expected=f"{kind.many} within the folder",
            mend=f"copy the {kind.one} instead of linking it",
        )


def counter(total: int, kind: Kind) -> Callable[[], None]:
    """To be called after each sample. What takes over SLOW_S tells how far it is, by the log: a source of data knows no bars."""
    began, done = time.monotonic(), 0

    def one_more() -> None:
        nonlocal done
        done += 1
        if time.monotonic() - began > SLOW_S and (done % 20 == 0 or done == total):
            LOG.info("%d of %d %s", done, total, kind.many, extra={"progress": (kind.many, done, total)})

    return one_more


def complete(
    splits: dict[str, Split], validation: float, test: float, seed: int, labels: tuple[str, ...], where: str
) -> tuple[Split, Split, Split]:
    """Train, validation and test, held out where the folder does not have them."""
    if "all" in splits:
        whole = splits["all"]
        groups = stratified(whole.y, (validation, test), where=where, labels=labels, seed=seed)
        train, held, tests = (whole.take(group) for group in groups)
        return train, held, tests
    if "validation" in splits:
        return splits["train"], splits["validation"], splits["test"]
    whole = splits["train"]
    kept, held = stratified(whole.y, (validation,), where=where, labels=labels, seed=seed)
    return whole.take(kept), whole.take(held), splits["test"]
