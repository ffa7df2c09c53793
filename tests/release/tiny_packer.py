"""A bundle as small as one can be, for tests of what every release has: the model, its labels, an archive of both."""

from __future__ import annotations

import os
import time
from pathlib import Path

from edgekd.errors import InputError
from edgekd.release import archive
from edgekd.release.facts import Facts

#: Seconds to rest after each file, so that whoever interrupts meets it in the middle.
SLOWLY = 0.0


def pack(facts: Facts, out: Path) -> tuple[str, ...]:
    model = facts.models["tflite"]
    labels = "\n".join(model.heads[0].labels)
    files = {"model.tflite": model.path.read_bytes(), "labels.txt": labels.encode()}
    (out / "assets").mkdir()
    for name, content in files.items():
        (out / "assets" / name).write_bytes(content)
        time.sleep(SLOWLY)
    archive.write_zip(out / "bundle.zip", files, mapped=frozenset({"model.tflite"}))
    (out / "build.sh").write_text("#!/bin/sh\n")
    os.chmod(out / "build.sh", 0o700)
    (out / "NOTES").write_text(f"{facts.notes} {facts.figures} {facts.recipe}")
    return ("NOTES", "assets/labels.txt", "assets/model.tflite", "build.sh", "bundle.zip")


def refuse(facts: Facts, out: Path) -> tuple[str, ...]:
    (out / "half.txt").write_text("half")
    raise InputError("a float16 model", where="--format", expected="an integer one")


def forget(facts: Facts, out: Path) -> tuple[str, ...]:
    (out / "told.txt").write_text("told")
    (out / "untold.txt").write_text("untold")
    return ("told.txt",)


def link(facts: Facts, out: Path) -> tuple[str, ...]:
    (out / "passwd").symlink_to("/etc/passwd")
    return ("passwd",)
