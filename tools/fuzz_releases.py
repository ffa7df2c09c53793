"""Releases and registries: name → (valid seeds, made in a folder; what reads one that was damaged), as in fuzz_files.py."""

from __future__ import annotations

import datetime
from functools import cache
from pathlib import Path
from typing import Any

from fuzz_files import Parse, Seeds, each, placed


def manifests(folder: Path) -> list[bytes]:
    return [(_release(folder) / "manifest.json").read_bytes()]


@cache
def _release(folder: Path) -> Path:
    from tests.registry.made import release

    return release(folder)


def manifest(content: bytes, folder: Path) -> None:
    """As it is; and with the hash of itself made to fit, as whoever makes one up would write it."""
    from edgekd import gating, released
    from edgekd.gate.judge import judge
    from edgekd.registry import history

    made = _release(folder)

    def read() -> None:
        found = released.load(made)
        (made / "manifest.json").write_bytes(released.encode(found.manifest))
        again = released.load(made)
        released.verify_files(again)
        again.demand_nouns()
        history.admitted(made)

    placed(made, "manifest.json", content)
    each(read, lambda: judge(gating.read(made), None, today=datetime.date(2026, 1, 1)))


def signatures(folder: Path) -> list[bytes]:
    from edgekd.release.sign import sign
    from tests.releases import keys

    private, _ = keys(folder)
    good = sign(_release(folder), private, "").read_bytes()
    (folder / "good.sig").write_bytes(good)
    return [good]


def signature(content: bytes, folder: Path) -> None:
    """A signature that is damaged is never good."""
    from edgekd.release.sign import why_not

    made = _release(folder)
    placed(made, "model.sig", content)
    if not why_not(made, folder / "key.pub") and content != (folder / "good.sig").read_bytes():
        raise AssertionError("a damaged signature is taken for a good one")


def pems(folder: Path) -> list[bytes]:
    from tests.releases import keys

    return [path.read_bytes() for path in (*keys(folder), *keys(folder, "hidden", "secret"))]


def pem(content: bytes, folder: Path) -> None:
    from edgekd.release.sign import check_key, check_public_key

    path = placed(folder, "some.pem", content)
    each(lambda: check_key(path, ""), lambda: check_key(path, "secret"), lambda: check_public_key(path))


def histories(folder: Path) -> list[bytes]:
    from edgekd.registry.history import Who

    store = _store(folder)
    for version in ("1.0.0", "1.1.0"):
        store.add(_versioned(folder, version), Who("ada", "because"))
        store.promote("tiny-pixel-8", version, "staging", Who("ada"))
    store.rollback("tiny-pixel-8", "staging", Who("ada"))
    return [(folder / "store/tiny-pixel-8/history.json").read_bytes()]


def _versioned(folder: Path, version: str) -> Path:
    from tests.registry.made import release

    return release(folder / "releases", version)


def _store(folder: Path) -> Any:
    from edgekd.registry.folder import FolderStore

    return FolderStore(folder / "store")


def history(content: bytes, folder: Path) -> None:
    placed(folder / "store/tiny-pixel-8", "history.json", content)
    model = _store(folder).model("tiny-pixel-8")
    model.find("latest") if "latest" in model.versions else sorted(model.versions)
    _ = model.stages


def gates(folder: Path) -> list[bytes]:
    from tests.registry.made import gate_record

    return [gate_record(folder / "gate.json", _release(folder)).read_bytes()]


def gate(content: bytes, folder: Path) -> None:
    from edgekd import released
    from edgekd.registry.history import passed_gate

    passed_gate(placed(folder, "gate.json", content), released.load(_release(folder)))


PARSERS: dict[str, tuple[Seeds, Parse]] = {
    "manifest": (manifests, manifest),
    "signature": (signatures, signature),
    "key": (pems, pem),
    "history": (histories, history),
    "gate": (gates, gate),
}
