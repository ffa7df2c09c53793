"""Spoken digits: the Free Spoken Digit Dataset (Jackson 2016, CC BY-SA 4.0), 3,000 recordings at 8 kHz, ten digits by six speakers.

Looked for in ``EDGEKD_DATA``/fsdd/recordings.zip, else downloaded into the cache at the commit that COMMIT names; wherever they come from,
names and contents of all recordings are checked by one SHA-256, so that a zip file made anew is as good. Nothing is unpacked onto disk.

The official test set: recordings 0 to 4 of each digit and speaker. Validation is held out of the other 45.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import re
import urllib.request
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np

from edgekd import runs
from edgekd.arrays import BROKEN
from edgekd.data.clips import clip_of, samples_of, split_of
from edgekd.data.dataset import Dataset, Task, check_labelled, keep_labels
from edgekd.data.logmel import features_of
from edgekd.errors import InputError

WHERE = "spoken_digits"
DIGITS = tuple(str(digit) for digit in range(10))
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
#: Recordings of each digit by each speaker, and how many of them, the first, are the test set.
EACH, TEST = 50, 5
COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.zip"
#: Of "name size\n" and the bytes of each recording, in the order of the names.
SHA256 = "8fed8b0b058a7efa7544bbb3e8e98607ecdcbd47a2f0ea31139cab18a6b679c9"
FILE = "recordings.zip"
MAX_ARCHIVE_BYTES = 64 << 20
MAX_RECORDING_BYTES = 1 << 20


def load(
    *,
    task: Literal["digit", "speaker", "both"] = "digit",
    labelled: float = 1.0,
    raw: bool = False,
    length_ms: int = 800,
    validation: int = 5,
    features: dict[str, int | float] | None = None,
) -> Dataset:
    """Log-mel features uint8 [N, frames, mels, 1] of each recording, placed in the middle of ``length_ms``.

    ``task`` "both" asks for digit and speaker, labels [N, 2]. ``labelled`` is the share of the training clips that keep their labels (of
    both tasks), drawn within each class of the first task with a fixed seed, a smaller share out of a larger one; the others get −1.
    ``validation`` recordings of each digit and speaker are held out. ``features`` are fields of LogMel; with ``raw`` the samples
    int16 [N, samples] are kept as the reading "wave". Raises InputError if the recordings are not to be had.
    """
    kind = features_of(features)
    samples = samples_of(length_ms, kind, WHERE)
    if not 1 <= validation < EACH - TEST:
        raise InputError(f"validation = {validation}", where=WHERE, expected=f"1 to {EACH - TEST - 1} recordings of each digit and speaker")
    check_labelled(labelled, WHERE)
    recordings = _recordings()
    names = [re.split("[_.]", name) for name in recordings]
    wave = np.stack([clip_of(content, name, WHERE, kind, samples) for name, content in recordings.items()])
    digit, speaker = np.array([int(n[0]) for n in names]), np.array([SPEAKERS.index(n[1]) for n in names])
    index = np.array([int(n[2]) for n in names])
    answers = {"digit": Task("digit", DIGITS), "speaker": Task("speaker", SPEAKERS)}
    tasks = list(answers.values()) if task == "both" else [answers[task]]
    y = {"digit": digit, "speaker": speaker, "both": np.stack([digit, speaker], 1)}[task]
    whole = split_of(wave, y, kind, raw=raw)
    test, held = (np.flatnonzero((index >= first) & (index < last)) for first, last in ((0, TEST), (TEST, TEST + validation)))
    train = keep_labels(whole.take(np.flatnonzero(index >= TEST + validation)), labelled, where=WHERE)
    several = tuple(tasks) if len(tasks) > 1 else ()
    return Dataset("spoken_digits", train, whole.take(held), whole.take(test), tasks[0].labels, several, kind.front_end)


def cache_folder() -> Path:
    """Where the download is kept: ``$XDG_CACHE_HOME/edgekd/fsdd``."""
    return runs.cache_folder() / "fsdd"


def _recordings() -> dict[str, bytes]:
    """Name → WAV file, in the order of the names, from the first place that has the archive."""
    places = [cache_folder() / FILE]
    if own := os.environ.get("EDGEKD_DATA"):
        places.insert(0, Path(own) / "fsdd" / FILE)
    for place in places:
        if place.is_file():
            try:
                return _checked(place.read_bytes())
            except BROKEN as error:
                raise InputError(f"{place} is damaged: {error}", where=WHERE, expected=URL, mend=f"rm {place}") from error
    return _downloaded()


def _downloaded() -> dict[str, bytes]:
    try:
        with urllib.request.urlopen(URL, timeout=60) as reply:
            packed = reply.read(MAX_ARCHIVE_BYTES)
    except (OSError, http.client.HTTPException) as error:  # refused, cut off, timed out, or no HTTP at all
        raise InputError(
            f"the recordings are neither on this machine nor to be downloaded ({error})",
            where=WHERE,
            expected=f"fsdd/{FILE} in $EDGEKD_DATA, or a network",
            mend=f"get {URL} and save it as $EDGEKD_DATA/fsdd/{FILE}",
        ) from error
    try:
        recordings = _checked(packed)
    except BROKEN as error:
        raise InputError(
            f"{URL} is not what was published: {error}",
            where=WHERE,
            expected="the recordings of that commit",
            mend=f"run it again, or save a good copy as $EDGEKD_DATA/fsdd/{FILE}",
        ) from error
    runs.atomic_write(cache_folder() / FILE, packed)
    return recordings


def _checked(packed: bytes) -> dict[str, bytes]:
    """The recordings of the archive. Raises ValueError if they are not the published ones."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        members = {Path(i.filename).name: i for i in archive.infolist() if re.fullmatch(r"\d_[a-z]+_\d+\.wav", Path(i.filename).name)}
        if len(members) != len(DIGITS) * len(SPEAKERS) * EACH:
            raise ValueError(f"{len(members)} recordings instead of {len(DIGITS) * len(SPEAKERS) * EACH}")
        if any(info.file_size > MAX_RECORDING_BYTES for info in members.values()):
            raise ValueError(f"a recording of more than {MAX_RECORDING_BYTES} bytes")
        recordings = {name: archive.read(members[name]) for name in sorted(members)}
    digest = hashlib.sha256()
    for name, content in recordings.items():
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    if digest.hexdigest() != SHA256:
        raise ValueError("its recordings have another SHA-256 than the published ones")
    return recordings
