"""Signatures by OpenSSF model-signing: what they cover, what breaks them, which keys are refused."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from edgekd.errors import InputError
from edgekd.release.sign import check_key, public_key, sign, why_not
from tests.releases import keys


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model-1.0.0"
    (made / "graph").mkdir(parents=True)
    (made / "manifest.json").write_text("{}")
    (made / "graph" / "weights").write_bytes(bytes(range(256)))
    (made / ".gitignore").write_text("*.tmp\n")
    return made


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_signature_is_good_for_its_key_alone(folder: Path, tmp_path: Path, curve: ec.EllipticCurve) -> None:
    private, public = keys(tmp_path, curve=curve)
    other = keys(tmp_path, "other", curve=curve)[1]
    assert why_not(folder, public) == "there is no signature"
    assert sign(folder, private, "") == folder / "model.sig"
    assert why_not(folder, public) == ""
    assert "Key mismatch" in why_not(folder, other)


@pytest.mark.parametrize("path", ["manifest.json", "graph/weights", ".gitignore"])
def test_it_covers_every_file(folder: Path, tmp_path: Path, path: str) -> None:
    private, public = keys(tmp_path)
    sign(folder, private, "")
    whole = (folder / path).read_bytes()
    (folder / path).write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    assert f"Hash mismatch for '{path}'" in why_not(folder, public)
    (folder / path).unlink()
    assert "Missing files" in why_not(folder, public)
    (folder / path).write_bytes(whole)
    assert why_not(folder, public) == ""


@pytest.mark.parametrize("path", ["more", ".gitattributes", ".github/more", "graph/model.sig"])
def test_a_file_more_is_not_signed(folder: Path, tmp_path: Path, path: str) -> None:
    private, public = keys(tmp_path)
    sign(folder, private, "")
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text("more")
    assert "Extra files" in why_not(folder, public)


def test_a_flipped_bit_of_the_signature_is_found(folder: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    whole = sign(folder, private, "").read_bytes()
    rng = random.Random(1)
    for bit in (rng.randrange(8 * len(whole)) for _ in range(150)):
        spoilt = bytearray(whole)
        spoilt[bit // 8] ^= 1 << bit % 8
        (folder / "model.sig").write_bytes(spoilt)
        assert why_not(folder, public), bit
    for text in (b"", b"{}", b"[]", b"null", whole + b" ", whole.replace(b":", b": ", 1)):
        (folder / "model.sig").write_bytes(text)
        assert why_not(folder, public), text


def test_a_signature_of_another_folder_is_not_this_ones(folder: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.json").write_text("{}")
    (folder / "model.sig").write_bytes(sign(other, private, "").read_bytes())
    assert "Extra files" in why_not(folder, public)


def test_the_tool_of_model_signing_takes_it(folder: Path, tmp_path: Path) -> None:
    (folder / ".gitignore").unlink()  # which the tool leaves out, unless it is told
    private, public = keys(tmp_path)
    sign(folder, private, "")
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), "--signature", str(folder / "model.sig")]
    done = subprocess.run([*command, "--public_key", str(public)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stdout + done.stderr


def test_a_password_is_asked_for_and_needed(folder: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path, password="open sésame")
    sign(folder, private, "open sésame")
    assert why_not(folder, public) == ""
    assert public_key(private, "open sésame") == public.read_bytes()
    with pytest.raises(InputError, match="is encrypted, and no password was given") as missing:
        check_key(private, "")
    assert "EDGEKD_KEY_PASSWORD" in str(missing.value)
    with pytest.raises(InputError, match="or the password is wrong") as wrong:
        check_key(private, "open barley")
    assert "barley" not in str(wrong.value)
    with pytest.raises(InputError, match="is not encrypted, and a password was given"):
        check_key(keys(tmp_path, "plain")[0], "secret")


def test_other_keys_are_refused(folder: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    with pytest.raises(InputError, match="is no such key"):
        check_key(public, "")
    with pytest.raises(InputError, match="P-256, P-384 or P-521"):
        check_key(keys(tmp_path, "bitcoin", curve=ec.SECP256K1())[0], "")
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "rsa.pem").write_bytes(pem)
    with pytest.raises(InputError, match="is no such key"):
        check_key(tmp_path / "rsa.pem", "")
    with pytest.raises(InputError, match="No such file"):
        check_key(tmp_path / "nothing.pem", "")
    with pytest.raises(InputError, match="is no such key"):
        why_not(folder, private)
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="openssl ecparam"):
        check_key(tmp_path / "noise", "")


@pytest.mark.parametrize("what", ["pipe", "zero", "folder", "huge"])
def test_a_key_that_would_be_read_without_end(tmp_path: Path, what: str) -> None:
    key = tmp_path / "key.pem"
    if what == "pipe":
        os.mkfifo(key)
    elif what == "folder":
        key.mkdir()
    elif what == "zero":
        key.symlink_to("/dev/zero")
    else:
        key.touch()
        os.truncate(key, 2**40)
    for use in (lambda: check_key(key, ""), lambda: why_not(tmp_path, key)):
        with pytest.raises(InputError, match=r"(?s)key\.pem: is no key.*openssl ecparam"):
            use()
