"""Releases made in a moment, from facts that need no training, with a packer of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgekd.release import FORMATS, NEEDS
from edgekd.release.facts import Facts
from edgekd.releasing import Done, Order, release_facts
from tests.released import facts

TINY = "tiny"


def order(out: Path, **changes: object) -> Order:
    return Order(**{"version": "1.4.0", "group": "com.example.models", "formats": (TINY,), "out": out, **changes})  # type: ignore[arg-type]


def tiny(monkeypatch: pytest.MonkeyPatch, packer: str = "pack") -> None:
    """A further format, which this test alone knows."""
    monkeypatch.setitem(FORMATS, TINY, f"tests.release.tiny_packer:{packer}")
    monkeypatch.setitem(NEEDS, TINY, ("tflite",))


def made(tmp_path: Path, kind: str = "int8", **changes: object) -> Done:
    """A release of ``kind`` below ``tmp_path``/out."""
    return release_facts(facts_of(tmp_path, kind), order(tmp_path / "out", **changes), quiet)


def facts_of(tmp_path: Path, kind: str = "int8") -> Facts:
    return facts(tmp_path, kind, formats=())


def quiet(what: str, done: int, total: int) -> None:
    """No progress is shown."""


def keys(folder: Path, name: str = "key", password: str = "", curve: ec.EllipticCurve | None = None) -> tuple[Path, Path]:
    """A new private key and its public half, as PEM."""
    private = ec.generate_private_key(curve or ec.SECP256R1())
    hidden = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    paths = folder / f"{name}.pem", folder / f"{name}.pub"
    paths[0].write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden))
    public = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    paths[1].write_bytes(public)
    return paths
