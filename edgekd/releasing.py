"""A run that passed, released: its facts, the bundles made from them, the papers, the signature, and one rename that publishes it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd import runs
from edgekd.errors import InputError, NotReleasable
from edgekd.lazy import load
from edgekd.quant import io
from edgekd.release import CARD, FORMATS, NEEDS, PASSWORD, archive, bom, card, evidence, manifest, publish
from edgekd.release.facts import Facts, check_names
from edgekd.released import MANIFEST, Released, encode
from edgekd.released import load as load_released
from edgekd.stages import Progress

BOM, VECTORS = "bom.cdx.json", "vectors.npz"
_SIGN = "edgekd.release.sign"


@dataclass(frozen=True)
class Order:
    """What is asked of a release. ``key`` is the PEM of a private key, ``password`` its own, "" where it has none."""

    version: str
    group: str
    formats: tuple[str, ...]
    out: Path
    key: Path | None = None
    password: str = ""

    def __post_init__(self) -> None:
        check_names(self.version, self.group)
        if unknown := [name for name in self.formats if name not in FORMATS]:
            raise InputError(f"format {unknown[0]!r}", where="--format", expected=f"some of {', '.join(FORMATS)}, with commas between")
        # One order whatever was typed: the same release has the same bytes.
        object.__setattr__(self, "formats", tuple(name for name in FORMATS if name in self.formats))


@dataclass(frozen=True)
class Done:
    """``new``: it was published now; else it was there already, with the same bytes. ``signed``: by the key of the order."""

    released: Released
    new: bool
    signed: bool


def release(run: Path, order: Order, progress: Progress) -> Done:
    """Release ``run`` as ``order`` says. Raises InputError for an order that cannot be followed, also where that version is there with
    other bytes; NotReleasable for a run that did not pass."""
    _check_place(run, order.out)
    if order.key is not None:
        load(f"{_SIGN}:check_key")(order.key, order.password)
    gather: Callable[..., Facts] = load("edgekd.release_facts:gather")
    try:
        facts = gather(run, version=order.version, group=order.group, formats=order.formats, progress=progress)
    except InputError as error:
        raise in_its_order(error, order.formats) from error
    check: Callable[[Path], None] = load("edgekd.release_facts:check_unchanged")
    return release_facts(facts, order, progress, lambda: check(run))


def release_facts(facts: Facts, order: Order, progress: Progress, check: Callable[[], None] = lambda: None) -> Done:
    """The same, of facts that are gathered. ``check`` is called when all is packed: it raises where what was read has changed."""
    with publish.staging(order.out, f"{facts.artifact}-{facts.version}") as folder:
        pack(facts, order.formats, folder, progress)
        check()
        if order.key is not None:
            publish.settle(folder)
            load(f"{_SIGN}:sign")(folder, order.key, order.password)
        at, differing = publish.publish(folder, order.out)
        new = not folder.exists()
        if differing:
            raise _taken(at, differing)
        if not new and order.key is not None:
            _check_signature(at, order, folder.parent / "key.pub")
    return Done(load_released(at), new, order.key is not None)


def in_its_order(error: InputError, formats: Sequence[str]) -> InputError:
    """What an exporter has against a model (it speaks of the graph, or of an operator) with the formats that wanted its file."""
    if error.where.partition(" ")[0] not in ("graph", "operator"):
        return error
    where = f"--format {','.join(formats)}: {error.where}"
    return InputError(
        error.what, where=where, expected=error.expected, mend=error.mend or "leave out the format that cannot hold this model"
    )


def pack(facts: Facts, formats: Sequence[str], folder: Path, progress: Progress) -> dict[str, Any]:
    """Fill the empty ``folder`` with everything but the signature; returns the manifest. The same facts make the same bytes.

    Raises InputError where a format cannot hold this model.
    """
    _check_models(facts, formats)
    facts = evidence.cleaned(facts)
    steps = ("graph", *formats, "papers")
    listed: dict[str, Any] = {}
    made_by = _contents(facts, folder)
    (folder / CARD).write_text(card.text(facts), "utf-8", newline="\n")
    for at, format in enumerate(formats, start=1):
        progress(f"release {facts.version}", at, len(steps))
        made_by |= _bundle(facts, format, folder)
    progress(f"release {facts.version}", len(steps) - 1, len(steps))
    made_by[CARD] = ("edgekd.release.card", (facts.run,))
    for path in made_by:
        listed[path] = manifest.entry(folder / path, *made_by[path])
    document = manifest.document(facts, listed, formats)
    bill = bom.bom(facts, listed, document["teacher"], document["data"])
    (folder / BOM).write_bytes(bom.encode(bill))
    listed[BOM] = manifest.entry(folder / BOM, "edgekd.release.bom", (facts.run,))
    document = manifest.document(facts, listed, formats)
    (folder / MANIFEST).write_bytes(encode(document))
    progress(f"release {facts.version}", len(steps), len(steps))
    return document


def _contents(facts: Facts, folder: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What every release has: graph, model, vectors, evidence. Returns what made each file, and from what."""
    made: dict[str, tuple[str, tuple[str, ...]]] = {}
    io.save(facts.graph, folder / "graph")
    for name in (io.GRAPH, io.WEIGHTS):
        made[f"graph/{name}"] = ("build: freeze", (f"{facts.run}/graph/{name}",))
    own = facts.models[facts.own]
    for name in own.files:
        path = folder / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(own.folder / name, path)
        if name == own.files[0] and runs.sha256_file(path) != own.sha256:
            raise NotReleasable(f"{own.path} is another file than the one that was verified")
        made[f"model/{name}"] = ("build: export", ("graph/graph.json",))
    arrays = {"x": facts.vectors.x, **{f"expected_{at}": part for at, part in enumerate(facts.vectors.outputs)}}
    (folder / VECTORS).write_bytes(archive.npz(arrays))
    made[VECTORS] = ("edgekd.quant.reference", ("graph/graph.json",))
    evidence.write(facts, folder / "evidence")
    for path in publish.files_of(folder / "evidence"):
        stage = path.removesuffix(".json")
        made[f"evidence/{path}"] = (f"build: {stage}" if stage in facts.records else "build", (facts.run,))
    return made


def _bundle(facts: Facts, format: str, folder: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """One bundle, below ``folder``. Raises RuntimeError where the packer says other files than it wrote: a bug of ours."""
    out = folder / format
    out.mkdir()
    said = tuple(load(FORMATS[format])(facts, out))
    wrote = publish.files_of(out)
    if tuple(sorted(said)) != tuple(sorted(wrote)):
        raise RuntimeError(f"the packer of {format} says {sorted(said)} and wrote {sorted(wrote)}")
    for path in sorted(out.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()
    hashes = {model.sha256: name for name, model in facts.models.items()}
    made: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name, path in wrote.items():
        copied = hashes.get(runs.sha256_file(path)) if path.is_file() and not path.is_symlink() else None
        sources = (copied,) if copied else tuple(facts.own if need == "own" else need for need in NEEDS[format])
        made[f"{format}/{name}"] = ("copied" if copied else FORMATS[format].partition(":")[0], tuple(f"models.{one}" for one in sources))
    if CARD not in wrote:
        shutil.copyfile(folder / CARD, out / CARD)
        made[f"{format}/{CARD}"] = ("copied", (CARD,))
    return made


def _check_models(facts: Facts, formats: Sequence[str]) -> None:
    for format in formats:
        for need in NEEDS[format]:
            if need != "own" and need not in facts.models:
                raise InputError(
                    f"{format} needs a {need} file, and the run has {', '.join(facts.models)}",
                    where="--format",
                    expected="what it can hold",
                )


def _check_place(run: Path, out: Path) -> None:
    # realpath, unlike Path.resolve, has an answer for links that lead in a circle: making the folder will say what is wrong.
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(run)):
        raise InputError("lies inside the run", where=f"--out {out}", expected="a folder of its own", mend="--out releases")


def _taken(at: Path, differing: Sequence[str]) -> InputError:
    more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
    return InputError(
        f"is there already, and differs in {', '.join(differing[:3])}{more}",
        where=str(at),
        expected="a version that is new, for a published one never changes",
        mend="give another --version",
    )


def _check_signature(at: Path, order: Order, scratch: Path) -> None:
    """One that was there must carry this key's signature; it is not given one afterwards."""
    assert order.key is not None
    scratch.write_bytes(load(f"{_SIGN}:public_key")(order.key, order.password))
    if wrong := load(f"{_SIGN}:why_not")(at, scratch):
        raise InputError(
            f"is there already, with the same bytes, but not signed by this key: {wrong}",
            where=str(at),
            expected="a version that is new, for a published one never changes",
            mend="give another --version, or leave out --key",
        )


def password() -> str:
    """Of the key, from the environment."""
    return os.environ.get(PASSWORD, "")
