"""One ``.npz`` file: ``x_train``, ``y_train``, ``x_test``, ``y_test``, and ``x_validation``, ``y_validation`` if it has them.

Of several tasks y is [N, tasks], and the option ``tasks`` names them. In ``y_train`` −1 is a label that is not known.

An array of a GiB or more that is not compressed (``np.savez``) is mapped, and takes no memory; a validation split that is held out of
it copies the rest, so that a file that is larger than memory has its own.
"""

from __future__ import annotations

import struct
import zipfile
from difflib import get_close_matches
from pathlib import Path
from tokenize import TokenError

import numpy as np
from numpy.lib import format as npy

from edgekd.arrays import BROKEN, head
from edgekd.data.dataset import Dataset, Split, Task, stratified
from edgekd.errors import InputError

NEEDED = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL = ("x_validation", "y_validation")
MAX_BYTES = 8 << 30  # of all arrays together that are unpacked
MAPPED = 1 << 30  # an array of so many bytes, which is not compressed, stays in the file


def load(
    file: Path, *, labels: list[str] | None = None, tasks: dict[str, list[str]] | None = None, validation: float = 0.1, seed: int = 0
) -> Dataset:
    """Images uint8 [N, H, W, C] or [N, H, W], labels integers [N]; ``labels`` names the classes in index order.

    ``tasks``, instead of ``labels``, names each task and its classes: labels are then [N, tasks] in that order ([N] where it is one).
    Without ``x_validation`` the share ``validation`` of training is held out, class by class, with a fixed seed. Nothing in the file is
    ever unpickled, and nothing is unpacked that its headers do not announce. Raises InputError for anything wrong with it.
    """
    where = f"numpy {file}"
    if not file.is_file():
        found = "is a directory" if file.is_dir() else "does not exist"
        raise InputError(f"data.options.file {found}", where=where, expected="an .npz file", mend='file = "….npz"')
    arrays = _read(file, where)
    x = {name: _images(array, name, where) for name, array in arrays.items() if name.startswith("x_")}
    y = {name: _classes(array, name, where, len(tasks or ()) or 1) for name, array in arrays.items() if name.startswith("y_")}
    asked = _tasks(y, labels, tasks, where)
    splits = {}
    for part in ("train", "validation", "test"):
        if f"x_{part}" not in x:
            continue
        images, classes = x[f"x_{part}"], y[f"y_{part}"]
        if len(images) != len(classes):
            raise InputError(
                f"x_{part} has {len(images)} images, y_{part} {len(classes)} labels", where=where, expected="one label an image"
            )
        if not len(images):
            raise InputError(f"x_{part} is empty", where=where, expected="at least one image in each split", mend=f"save x_{part} again")
        splits[part] = Split(images, classes)
    return _dataset(file.stem, splits, asked, validation, seed, where)


def _tasks(y: dict[str, np.ndarray], labels: list[str] | None, tasks: dict[str, list[str]] | None, where: str) -> tuple[Task, ...]:
    """The tasks with their classes, of one without a name where the recipe names none."""
    if tasks is not None and (labels is not None or not tasks):
        raise InputError(
            "data.options.tasks" + (" and labels" if tasks else " is empty"),
            where=where,
            expected="either",
            mend='tasks = { digit = ["0", "1"], speaker = ["a", "b"] }',
        )
    named = list((tasks if tasks is not None else {"": labels}).items())
    found = []
    for at, (name, classes) in enumerate(named):
        count = max(int((v if v.ndim == 1 else v[:, at]).max(initial=0)) for v in y.values()) + 1
        if classes is not None and (len(classes) < count or len(set(classes)) != len(classes)):
            option = f"tasks.{name}" if name else "labels"
            raise InputError(
                f"data.options.{option} has {len(set(classes))} different names for {count} classes",
                where=where,
                expected="one name a class",
            )
        found.append(Task(name, tuple(classes) if classes is not None else tuple(str(i) for i in range(count))))
    return tuple(found)


def _dataset(name: str, splits: dict[str, Split], tasks: tuple[Task, ...], validation: float, seed: int, where: str) -> Dataset:
    train, labels, named = splits["train"], tasks[0].labels, tasks if tasks[0].name else ()
    for part in ("validation", "test"):
        if part not in splits:
            continue
        for at, task in enumerate(tasks):
            if unseen := set(np.unique(splits[part].classes(at)).tolist()) - set(np.unique(train.classes(at)).tolist()):
                of = f" of task {task.name}" if len(tasks) > 1 else ""
                raise InputError(
                    f"class {min(unseen)}{of} is in y_{part} but never in y_train",
                    where=where,
                    expected="every class in training",
                    mend="split again",
                )
        if splits[part].x.shape[1:] != train.x.shape[1:]:
            raise InputError(
                f"x_{part} holds images {splits[part].x.shape[1:]}", where=where, expected=f"{train.x.shape[1:]} as in x_train"
            )
    for at, task in enumerate(tasks):
        if len(np.unique(train.classes(at)[train.classes(at) >= 0])) < 2:
            of = f" of task {task.name}" if len(tasks) > 1 else ""
            raise InputError(f"y_train has one class only{of}", where=where, expected="at least two", mend="check how y_train was made")
    if "validation" in splits:
        return Dataset(name, train, splits["validation"], splits["test"], labels, named)
    first = np.where((train.y.reshape(len(train), -1) >= 0).all(1), train.classes(), -1)  # what lacks a label stays in training
    present = np.unique(first[first >= 0])
    drawn = np.where(first >= 0, np.searchsorted(present, first), -1)
    kept, held = stratified(drawn, (validation,), where=where, labels=tuple(labels[i] for i in present), seed=seed)
    return Dataset(name, train.take(kept), train.take(held), splits["test"], labels, named)


def _read(file: Path, where: str) -> dict[str, np.ndarray]:
    """The arrays of the file, sizes checked against its headers before anything is unpacked."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            _check_names(members, where)
            wanted = {name: members[name] for name in (*NEEDED, *OPTIONAL) if name in members}
            if (total := sum(info.file_size for info in wanted.values() if not _is_mapped(info))) > MAX_BYTES:
                raise InputError(
                    f"unpacks to {total} bytes", where=where, expected=f"at most {MAX_BYTES} bytes", mend="fewer or smaller images"
                )
            return {name: _array(archive, info, name, where, file) for name, info in wanted.items()}
    except BROKEN as error:
        raise InputError(
            f"cannot be read ({error})", where=where, expected="a whole .npz file", mend="write it again with np.savez_compressed"
        ) from error


def _check_names(members: dict[str, zipfile.ZipInfo], where: str) -> None:
    needed = (*NEEDED, *OPTIONAL) if any(name in members for name in OPTIONAL) else NEEDED
    for name in needed:
        if name not in members:
            near = get_close_matches(name, [m for m in members if m not in needed], 1)
            raise InputError(
                f"there is no array {name}",
                where=where,
                expected=f"{', '.join(NEEDED)}, and perhaps {', '.join(OPTIONAL)}",
                mend=f"rename {near[0]} to {name}" if near else f"np.savez_compressed(…, {name}=…)",
            )


def _is_mapped(info: zipfile.ZipInfo) -> bool:
    return info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size >= MAPPED


def _mapped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: Path) -> np.ndarray:
    """An array that lies in the file as it is, once it has been read to its end: that checks its CRC."""
    with archive.open(info) as stream:
        shape, by_columns, dtype = head(stream)
        start = stream.tell()
        while stream.read(1 << 20):
            pass
    with file.open("rb") as whole:
        whole.seek(info.header_offset + 26)  # PKWARE's APPNOTE, 4.3.7: the lengths of the name and the extra field, which follow
        start += info.header_offset + 30 + sum(struct.unpack("<HH", whole.read(4)))
    return np.memmap(file, dtype, "r", start, shape, "F" if by_columns else "C")


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, where: str, file: Path) -> np.ndarray:
    """One array. Its header is read first: numpy would allocate whatever size that claims."""
    with archive.open(info) as stream:
        try:
            shape, _, dtype = head(stream)
        except (ValueError, TypeError, SyntaxError, TokenError) as error:
            raise InputError(f"{name} is no .npy array ({error})", where=where, expected="an array that numpy wrote") from error
        if dtype.hasobject:
            raise InputError(
                f"{name} holds Python objects", where=where, expected="numbers only: pickles are never loaded", mend=_cast(name)
            )
        claimed = int(np.prod([int(side) for side in shape], dtype=object)) * dtype.itemsize
        if claimed != info.file_size - stream.tell():
            raise InputError(
                f"{name} claims {claimed} bytes but has {info.file_size - stream.tell()}",
                where=where,
                expected="a whole array",
                mend="write it again",
            )
    if _is_mapped(info):
        return _mapped(archive, info, file)
    with archive.open(info) as stream:
        try:
            return npy.read_array(stream, allow_pickle=False)
        except ValueError as error:
            raise InputError(f"{name} cannot be read ({error})", where=where, expected="a whole array", mend="write it again") from error


def _cast(name: str) -> str:
    return f"{name} = {name}.astype(np.{'uint8' if name.startswith('x_') else 'int64'})"


def _images(x: np.ndarray, name: str, where: str) -> np.ndarray:
    if x.dtype != np.uint8:
        scaled = f"{name} = (255 * {name}).round().astype(np.uint8), if it is 0 to 1" if x.dtype.kind == "f" else _cast(name)
        raise InputError(f"{name} has dtype {x.dtype}", where=where, expected="uint8 (8-bit pixels)", mend=scaled)
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise InputError(f"{name} has shape {x.shape}", where=where, expected="[N, H, W, C] or [N, H, W]")
    if x.shape[1] in (1, 3) and x.shape[3] > 4:
        raise InputError(
            f"{name} has shape {x.shape}: channels first",
            where=where,
            expected="[N, H, W, C]",
            mend=f"{name} = {name}.transpose(0, 2, 3, 1)",
        )
    return x


def _classes(y: np.ndarray, name: str, where: str, tasks: int) -> np.ndarray:
    if y.dtype.kind not in "iu":
        raise InputError(f"{name} has dtype {y.dtype}", where=where, expected="integers, the class of each image", mend=_cast(name))
    if tasks > 1 and y.shape[1:] != (tasks,):
        raise InputError(f"{name} has shape {y.shape}", where=where, expected=f"[N, {tasks}], one label a task")
    if tasks == 1 and y.ndim != 1:
        one_hot = y.ndim == 2 and y.shape[1] > 1 and set(np.unique(y).tolist()) <= {0, 1}
        several = 'tasks = { digit = ["…"], speaker = ["…"] }, if these are several tasks'
        mend = f"{name} = {name}.argmax(1)" if one_hot else several if y.ndim == 2 and y.shape[1] > 1 else f"{name} = {name}.ravel()"
        raise InputError(f"{name} has shape {y.shape}", where=where, expected="[N]", mend=mend)
    lowest = -1 if name == "y_train" else 0  # a label that is not known
    if len(y) and (y.min() < lowest or y.max() > 65535):
        unknown = ", or -1 where it is not known" if lowest else ""
        raise InputError(f"{name} runs from {y.min()} to {y.max()}", where=where, expected=f"0 to 65535, counted from 0{unknown}")
    return y.astype(np.int64)
