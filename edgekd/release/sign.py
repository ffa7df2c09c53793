"""Signatures of releases: OpenSSF model-signing 1.0 with an elliptic key (P-256, P-384 or P-521), offline."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from model_signing import hashing, signing, verifying
from sigstore_models.bundle.v1 import Bundle

from edgekd.errors import InputError
from edgekd.release import PASSWORD
from edgekd.released import SIGNATURE

_LARGEST_KEY = 64 * 1024
_NEW_KEY = "openssl ecparam -name prime256v1 -genkey -noout -out key.pem && openssl ec -in key.pem -pubout -out key.pub"


def check_key(key: Path, password: str) -> None:
    """Raises InputError where ``sign`` could not use the key, which is better known before the work is done."""
    _signer(key, password)


def public_key(key: Path, password: str) -> bytes:
    """The public half of a private key, as PEM. Raises InputError for what is none."""
    check_key(key, password)
    private = serialization.load_pem_private_key(key.read_bytes(), password.encode() or None)
    return private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def sign(folder: Path, key: Path, password: str) -> Path:
    """Sign every file of ``folder``, whose name is the model's, into SIGNATURE there. Raises InputError for a key that cannot be used."""
    path = folder / SIGNATURE
    path.unlink(missing_ok=True)
    _signer(key, password).set_hashing_config(_hashing()).sign(folder, path)
    return path


def why_not(folder: Path, key: Path) -> str:
    """ "" if the signature in ``folder`` is that of the public key ``key`` over exactly these files, else what is wrong.

    Raises InputError for a key that cannot be used.
    """
    config = check_public_key(key)
    path = folder / SIGNATURE
    if path.is_symlink() or not path.is_file():
        return "there is no signature"
    try:
        text = path.read_text("utf-8")
        if Bundle.from_json(text).to_json() != text:
            return "the signature's file is not as it was written"
        config.set_hashing_config(_hashing()).verify(folder, path)
    except Exception as error:  # the file is anyone's: whatever parsing it raises, it is no good signature
        said = " ".join(str(error).partition(": Expected")[0].replace("\\'", "'").split())
        return f"the signature is not good: {said or 'another key signed, or other files were signed'}"
    return ""


def check_public_key(key: Path) -> Any:
    """What verifies with it. Raises InputError for a key that cannot be used."""
    return _reading(lambda: verifying.Config().use_elliptic_key_verifier(public_key=key), key, "a public key (PEM) of an elliptic curve")


def _hashing() -> Any:
    """Every file but the signature: also those of git, which model-signing leaves out if it is not told."""
    return hashing.Config().use_file_serialization().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _signer(key: Path, password: str) -> Any:
    # The library's annotation says text, what reads the key wants bytes.
    secret: Any = password.encode() or None
    expected = "a private key (PEM) of the curve P-256, P-384 or P-521"
    return _reading(lambda: signing.Config().use_elliptic_key_signer(private_key=key, password=secret), key, expected)


def _reading(read: Callable[[], Any], key: Path, expected: str) -> Any:
    """What ``read`` makes of the key. Raises InputError that never quotes the key, nor its password."""
    try:
        if not stat.S_ISREG(key.stat().st_mode) or key.stat().st_size > _LARGEST_KEY:  # read more than once, and whole
            raise InputError("is no key", where=str(key), expected=expected, mend=_NEW_KEY)
        return read()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(key), expected=expected) from error
    except TypeError as error:  # a password for a key that has none, or none for one that has
        what = "is encrypted, and no password was given" if "not given" in str(error) else "is not encrypted, and a password was given"
        raise InputError(what, where=str(key), mend=f"set {PASSWORD}, or unset it") from error
    except (ValueError, AttributeError, UnsupportedAlgorithm) as error:  # AttributeError: a key without a curve, as RSA's
        what = "is no such key, or the password is wrong" if "private" in expected else "is no such key"
        raise InputError(what, where=str(key), expected=expected, mend=_NEW_KEY) from error
