"""What people and other machines hand over as files: name → (valid seeds, made in a folder; what reads one that was damaged).

Whatever a reader does with such a file comes next, too: a record is judged and shown on a page, a graph is placed in memory.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Contents to start from.
Seeds = Callable[[Path], list[bytes]]
#: Reads one content, with the folder that the seeds were made in.
Parse = Callable[[bytes, Path], object]

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden" / "branches_per_tensor"


def placed(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def each(*reads: Callable[[], object]) -> None:
    """All of them, for one that refuses keeps the next one from nothing."""
    from edgekd.errors import EdgekdError

    refused = None
    for read in reads:
        try:
            read()
        except EdgekdError as error:
            refused = error
    if refused is not None:
        raise refused


# ---- settings


def profiles(folder: Path) -> list[bytes]:
    found = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "targets").rglob("*.toml"))[::2]]
    return [re.sub(r'^name = ".*"', 'name = "board"', text, count=1, flags=re.MULTILINE).encode() for text in found]


def profile(content: bytes, folder: Path) -> None:
    from edgekd.profile.load import load

    load(placed(folder, "board.toml", content))


def recipes(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "models").glob("*/recipe.toml"))]


def recipe(content: bytes, folder: Path) -> None:
    from edgekd.recipe.load import load

    loaded = load(placed(folder, "recipe.toml", content))
    _ = loaded.initial


def students(folder: Path) -> list[bytes]:
    return [b'[student]\nfamily = "inverted_residual"\noptions = { stem = 8, strides = [2, 1, 2] }\n[student.space]\nwidth = [0.5]\n']


def student(content: bytes, folder: Path) -> None:
    from edgekd.recipe.load import load, with_student

    with_student(load(ROOT / "models" / "fashion_mnist"), placed(folder, "student.toml", content), "pixel-8")


def fleets(folder: Path) -> list[bytes]:
    head = 'schema_version = 1\nname = "lab"\njobs = 8\nretries = 2\nwait_s = 5.0\n'
    pi = '[[devices]]\nname = "pi"\ndevice = "ssh:pi@10.0.0.7"\ntarget = "raspberry-pi-4"\noptions = { seconds = 30 }\n'
    return [(head + pi + '[[devices]]\nname = "here"\ndevice = "host"\n').encode()]


def fleet(content: bytes, folder: Path) -> None:
    from edgekd.fleet.file import load

    load(placed(folder, "fleet.toml", content))


def waivers(folder: Path) -> list[bytes]:
    from edgekd.gate.waivers import EXAMPLE

    return [EXAMPLE.encode(), f"{EXAMPLE}\n{EXAMPLE.replace('latency_ms', 'parity.tflm')}\n".encode()]


def waiver(content: bytes, folder: Path) -> None:
    from edgekd.gate.waivers import load, of_target

    for one in of_target(load(placed(folder, "waivers.toml", content)), "pixel-8"):
        one.expired(datetime.date(2026, 1, 1))


# ---- graphs, weights, checkpoints


def graphs(folder: Path) -> list[bytes]:
    return [(GOLDEN / name).read_bytes() for name in ("graph.json", "graph.json", "weights.safetensors")]


def graph(content: bytes, folder: Path) -> None:
    """Weights with their hash in graph.json, as whoever makes them up would write it."""
    from edgekd.importers.check import read_folder
    from edgekd.plan.latency_work import work_of
    from edgekd.quant import arena, io

    text, weights = (GOLDEN / io.GRAPH).read_bytes(), (GOLDEN / io.WEIGHTS).read_bytes()
    if content[:1] == b"{":
        text = content
    else:
        text = text.replace(hashlib.sha256(weights).hexdigest().encode(), hashlib.sha256(content).hexdigest().encode())
        weights = content
    placed(folder, io.GRAPH, text)
    placed(folder, io.WEIGHTS, weights)
    found = read_folder(folder)
    io.fingerprint(found)
    each(lambda: arena.arrange(found), lambda: work_of(found))


def samples(folder: Path) -> list[bytes]:
    return [npz(x=_golden()[:2], y=numbers(2)), npz(x=_golden()[:2].astype("float32") / 128)]


def sample(content: bytes, folder: Path) -> None:
    from edgekd.convert import load_samples
    from edgekd.quant import io

    load_samples(io.load(GOLDEN), placed(folder, "samples.npz", content))


def checkpoints(folder: Path) -> list[bytes]:
    from safetensors.torch import save

    return [save(_module().state_dict())]


def checkpoint(content: bytes, folder: Path) -> None:
    """A student's weights, compressed or not, and a teacher's."""
    import torch

    from edgekd.compress.load import with_weights
    from edgekd.teachers.teacher import load_weights

    path = placed(folder, "float.safetensors", content)
    each(lambda: load_weights(_module(), path), lambda: with_weights(_module(), path, torch.zeros(1, 1, 4, 4)))


def _module() -> Any:
    from torch import nn

    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def states(folder: Path) -> list[bytes]:
    import torch

    from edgekd.train.state import save_state

    made = io.BytesIO()
    torch.save(state := {"model": _module().state_dict(), "epoch": 3, "history": [{"loss": 0.5}]}, made)
    save_state(folder / "state.pt", state)
    return [made.getvalue(), (folder / "state.pt").read_bytes()]


def state(content: bytes, folder: Path) -> None:
    """None where it cannot be read: that is said in the log, and the training starts over."""
    from edgekd.train.state import load_state

    load_state(placed(folder, "state.pt", content))


def shards(folder: Path) -> list[bytes]:
    """The list of hashes, and the array."""
    _kept(folder / "good.npy")
    return [(folder / "good.sha256").read_bytes(), (folder / "good.npy").read_bytes()]


def shard(content: bytes, folder: Path) -> None:
    """Whatever is damaged is made again: the array is always the right one."""
    import numpy as np

    for suffix in (".sha256", ".npy"):
        placed(folder, f"bad{suffix}", (folder / f"good{suffix}").read_bytes())
    placed(folder, "bad.npy" if content[:1] == b"\x93" else "bad.sha256", content)
    found = _kept(folder / "bad.npy")
    if not np.array_equal(found, _answers()):
        raise AssertionError("a damaged shard was taken for a whole one")


def _answers() -> Any:
    import numpy as np

    return np.arange(2 * 10 * 3, dtype=np.float16).reshape(2, 10, 3)


def _kept(file: Path) -> Any:
    import numpy as np

    from edgekd.teachers.shards import Layout, kept

    layout = Layout((2, 10, 3), np.dtype(np.float16), 4)
    return kept(file, layout, lambda view, start, stop, told: _answers()[view, start:stop], "works on it", lambda done, total: None)


# ---- arrays that are made here


def _golden() -> Any:
    import numpy as np

    with np.load(GOLDEN / "inputs.npz", allow_pickle=False) as file:
        return file[file.files[0]]


def numbers(count: int) -> Any:
    import numpy as np

    return np.arange(count) % 2


def npz(**arrays: Any) -> bytes:
    import numpy as np

    made = io.BytesIO()
    np.savez_compressed(made, **arrays)
    return made.getvalue()


PARSERS: dict[str, tuple[Seeds, Parse]] = {
    "profile": (profiles, profile),
    "recipe": (recipes, recipe),
    "student": (students, student),
    "fleet": (fleets, fleet),
    "waivers": (waivers, waiver),
    "graph": (graphs, graph),
    "samples": (samples, sample),
    "checkpoint": (checkpoints, checkpoint),
    "state": (states, state),
    "shards": (shards, shard),
}
