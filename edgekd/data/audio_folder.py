"""Folders of WAV files, one folder a class: class_folders.py says how they may lie, and what is held out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgekd.data.class_folders import Kind, complete, counter, listing, parts_of
from edgekd.data.clips import clip_of, samples_of, split_of
from edgekd.data.dataset import Dataset, Split
from edgekd.data.logmel import LogMel, features_of
from edgekd.errors import InputError

RECORDINGS = Kind("recording", "recordings", (".wav",))
MAX_FILE_BYTES = 256 << 20  # of one recording
MAX_BYTES = 8 << 30  # of the whole dataset in memory
#: At 16 kHz: 32 ms windows every 20 ms.
DEFAULTS = {"rate": 16000, "frame": 512, "hop": 320, "mels": 32, "high_hz": 7600.0}


def load(
    folder: Path,
    *,
    length_ms: int = 1000,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    raw: bool = False,
    features: dict[str, int | float] | None = None,
) -> Dataset:
    """Log-mel features uint8 [N, frames, mels, 1] of the recordings in ``folder``.

    Each is resampled to the features' ``rate``, stereo mixed, and placed in the middle of ``length_ms``. ``features`` are fields of LogMel
    over DEFAULTS; with ``raw`` the samples int16 [N, samples] are kept as the reading "wave". ``validation`` and ``test`` are the shares
    held out where the folder has no such split. Raises InputError for anything that is not a clean set of class folders.
    """
    where = f"audio_folder {folder}"
    kind = features_of(features, **DEFAULTS)
    samples = samples_of(length_ms, kind, where)
    labels, files = listing(parts_of(folder, where), folder.resolve(), where, RECORDINGS)
    count = sum(len(f) for f in files.values())
    if (total := count * (kind.count(samples) * kind.mels + 2 * samples)) > MAX_BYTES:
        raise InputError(
            f"{total >> 30} GiB of samples", where=where, expected=f"at most {MAX_BYTES >> 30} GiB", mend="a shorter length_ms"
        )
    one_more = counter(count, RECORDINGS)
    splits = {name: _read(f, kind, samples, where, one_more, raw=raw) for name, f in files.items()}
    return Dataset(folder.name, *complete(splits, validation, test, seed, labels, where), labels, front_end=kind.front_end)


def _read(files: list[tuple[Path, int]], kind: LogMel, samples: int, where: str, one_more: Callable[[], None], *, raw: bool) -> Split:
    wave = np.empty((len(files), samples), np.int16)
    for at, (file, _) in enumerate(files):
        wave[at] = clip_of(_bytes(file, where), str(file), where, kind, samples)
        one_more()
    return split_of(wave, np.array([index for _, index in files], np.int64), kind, raw=raw)


def _bytes(file: Path, where: str) -> bytes:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{file} is too large", where=where, expected=f"at most {MAX_FILE_BYTES >> 20} MiB", mend="cut it into clips")
        return file.read_bytes()
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror})", where=where, expected="a readable file", mend="check its permissions"
        ) from error
