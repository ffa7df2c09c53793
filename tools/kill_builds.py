"""Builds that are killed with kill -9 at random moments end as one that nobody disturbed.

    python tools/kill_builds.py [--times 100] [--seed 0] [--target nucleo-l4r5zi] [--folder DIR] [--json]

A tiny build (tests/small_builds.py) is made once undisturbed. Then, ``--times`` times, one in a folder and cache of its own is killed at a
moment drawn evenly over the whole length of that first one, and gone on with by --resume, which is killed too one time in three, and so on
until one comes to its end. What lies in the run folder and what trainings left in the cache must then be the same bytes; the records the
same but for times and what is measured in times or memory. Nothing half written may lie about.
The builds are forks of one process that has imported everything: their length is their work. Exit code 1 if any build differs or fails,
or if none was killed, which says nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: a fork has no threads but its own
HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE))
#: One resumption in so many is killed as well.
AGAIN = 3
#: What a record says that differs from one build to the next: times, and hashes of records, which have times in them.
TIMES = ("created", "seconds", "images_per_s", "before")
#: Units of figures that are measured anew in each build.
MEASURED = ("share", "images", "bits")
#: What is no result: locks, and logs of trainings, whose lines have times.
NO_RESULTS = (".lock", "tfevents")


@dataclass(frozen=True)
class Place:
    """Where one build lies: the recipe, which is shared, and runs and cache of its own."""

    recipe: Path
    folder: Path
    target: str

    def start(self) -> int:
        """The process of a build, or of its resumption; what it says goes to a file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if pid := os.fork():
            return pid
        code = 70
        try:
            os.setsid()
            said = os.open(self.folder / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(said, 1)
            os.dup2(said, 2)
            os.environ["XDG_CACHE_HOME"] = str(self.folder / "cache")
            code = _built(self)
        finally:
            os._exit(code)

    def left(self) -> list[str]:
        """Files that only a write that was cut off leaves behind."""
        parts = ("runs", "cache/edgekd/float", "cache/edgekd/qat")
        return sorted(str(p.relative_to(self.folder)) for part in parts for p in (self.folder / part).rglob("*.part"))

    def results(self) -> dict[str, Any]:
        """Name → the bytes of every file of the run and of trainings in the cache; of a record what does not change."""
        found: dict[str, Any] = {}
        for path in sorted((self.folder / "runs").rglob("*")) + sorted((self.folder / "cache").rglob("*")):
            name = str(path.relative_to(self.folder))
            if not path.is_file() or any(part in path.name for part in NO_RESULTS):
                continue
            if path.suffix == ".json" and "records" in path.parts:
                found[name] = steady(json.loads(path.read_bytes()))
            elif name.startswith("runs/") or path.suffix in (".safetensors", ".npy"):
                found[name] = path.read_bytes()
        return found


@dataclass
class Tally:
    """What came of all builds. ``stages``: where the kills fell, by the last record that was there."""

    length_s: float
    kills: int = 0
    builds: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--times", type=int, default=100, help="builds that are killed")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--target", default="nucleo-l4r5zi")
    made.add_argument("--folder", type=Path, help="where the builds lie; one that differs stays there")
    made.add_argument("--json", action="store_true")
    asked = made.parse_args()
    root = Path(tempfile.mkdtemp(prefix="kill-", dir=asked.folder))
    try:
        tally = killed(root, asked.times, asked.seed, asked.target)
    finally:
        if asked.folder is None:
            shutil.rmtree(root, ignore_errors=True)
    if asked.json:
        print(json.dumps({"length_s": tally.length_s, "builds": tally.builds, "kills": tally.kills,
                          "kills_after": dict(tally.stages), "wrong": tally.wrong}, indent=2))  # fmt: skip
    else:
        print(f"{tally.builds} builds killed {tally.kills} times over {tally.length_s:.1f} s each, seed {asked.seed}: "
              f"{tally.builds - len(tally.wrong)} end as the undisturbed one")  # fmt: skip
        print("the last record at a kill: " + ", ".join(f"{name} {n}" for name, n in sorted(tally.stages.items())))
        for line in tally.wrong:
            print(line)
    return 1 if tally.wrong or not tally.kills else 0


def killed(root: Path, times: int, seed: int, target: str) -> Tally:
    """Build undisturbed, then ``times`` times killed, in ``root``; a build that differs is not removed."""
    from tests.small_builds import recipe

    _import_all()
    chance, where = random.Random(seed), recipe(root / "recipe")
    first = Place(where, root / "undisturbed", target)
    began = time.monotonic()
    if (code := _ended(first.start())) != 0:
        raise SystemExit(f"the undisturbed build ends with {code}: {(first.folder / 'said.txt').read_text()[-2000:]}")
    tally, wanted = Tally(round(time.monotonic() - began, 2)), first.results()
    for n in range(times):
        place = Place(where, root / f"{n:03}", target)
        wrong = _one(place, chance, tally, wanted)
        tally.builds += 1
        if wrong:
            tally.wrong.append(f"{place.folder.name}: {wrong}")
        else:
            shutil.rmtree(place.folder)
        print(f"{n + 1} of {times}: {wrong or 'ok'}", file=sys.stderr, flush=True)
    return tally


def _one(place: Place, chance: random.Random, tally: Tally, wanted: dict[str, Any]) -> str:
    """Build, kill, resume, until it ends by itself; what is wrong with it then, "" for nothing."""
    left = 1 + (chance.randrange(AGAIN) == 0)
    while True:
        pid = place.start()
        if not left:
            code = _ended(pid)
            break
        left -= 1
        time.sleep(chance.uniform(0, tally.length_s))
        records = list((place.folder / "runs").glob("*/records/*.json"))
        os.kill(pid, signal.SIGKILL)
        code = _ended(pid)
        if code == -signal.SIGKILL:
            tally.kills += 1
            tally.stages[max(records, key=lambda path: path.stat().st_mtime_ns).stem if records else "none"] += 1
    if code:
        return f"ends with {code}: {(place.folder / 'said.txt').read_text()[-500:]}"
    if half := place.left():
        return f"half written: {', '.join(half)}"
    found = place.results()
    odd = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    return f"differs in {', '.join(odd)}" if odd else ""


def steady(value: Any) -> Any:
    """A record without what differs between two builds that are the same."""
    if isinstance(value, list):
        # A note that begins so says of how many inferences.
        return [steady(one) for one in value if not (isinstance(one, str) and one.startswith("latency: "))]
    if not isinstance(value, dict):
        return value
    if value.get("kind") == "measured" and value.get("unit") not in MEASURED:
        return "measured"
    return {name: steady(one) for name, one in value.items() if name not in TIMES}


def _ended(pid: int) -> int:
    """Its exit code, or minus the signal; what it started ends too."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return code


def _import_all() -> None:
    """What a build imports, and what no build of a fork should wait for."""
    import torch

    import edgekd.pipeline
    from edgekd import lazy
    from edgekd.export import EXPORTERS

    torch.set_num_threads(1)
    for name in ("edgekd.train.student:fit", "edgekd.train.lesson:open_lesson", EXPORTERS["tflite"], "edgekd.runtimes.tflm:open_model"):
        try:
            lazy.load(name)
        except Exception as error:  # a fork imports it then
            print(f"not imported before: {name}: {error}", file=sys.stderr)
    assert edgekd.pipeline


def _built(place: Place) -> int:
    """In the fork: the command itself."""
    from edgekd.cli import app

    words = ["build", str(place.recipe), "-t", place.target, "--threads", "1", "--runs", str(place.folder / "runs"), "--resume"]
    try:
        app(words, prog_name="edgekd")
    except SystemExit as error:
        return int(error.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
        return 70
    return 0


if __name__ == "__main__":
    sys.exit(main())
