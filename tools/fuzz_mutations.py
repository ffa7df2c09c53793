"""Damage to a valid input, by what it is: JSON, text in lines, an archive of arrays, an array, safetensors, or bytes. Deterministic."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any

#: What a hostile writer puts where something else belongs. The two last are spelled out only in the text: Python would not write them.
HUGE, DEEP = "@huge@", "@deep@"
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63) - 1, 10**40, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", " ", "a" * 3000,
    "\x00", "\x1b[2J", "\ud800", "../../etc/passwd", "é" * 70, "{}", "%s%n", "<script>", [], [[]], [0] * 50, {}, {"a": {"a": 1}},
    HUGE, DEEP,
)  # fmt: skip
WORDS = (
    "0",
    "-1",
    "1e999",
    "9" * 5000,
    "nan",
    "inf",
    '""',
    "[]",
    "{}",
    "true",
    "[" * 400,
    "\x00",
    "\ufeff",
    "\x1b",
    "..",
    "/",
    '"',
    "'",
    "=",
    "\n",
)
WORDS += ("2026-99-99", "1979-05-27T07:32:00Z", "0x", "é", "%", ":", ",", "*", "\\u0000", "{a = {b = 1}}", "[[x]]", "a.b.c = 1", "#")
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
#: Longer inputs are not made.
LARGEST = 1 << 20


def mutated(seed: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """``seed`` with one to three damages of the kind that suits it, now and then of bytes whatever it is."""
    found = seed
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = _bytes if rng.random() < 0.15 else _kind(found)
        found = kind(found, rng, others)[:LARGEST]
    return found


Damage = Callable[[bytes, random.Random, list[bytes]], bytes]


def _kind(content: bytes) -> Damage:
    if content[:4] == b"PK\3\4":
        return _zip
    if content[:6] == b"\x93NUMPY":
        return _npy
    if len(content) > 10 and int.from_bytes(content[:8], "little") < len(content) and content[8:10] == b'{"':
        return _safetensors
    if content[:1] in b"{[" and _is_json(content):
        return _json
    return _text if _is_text(content) else _bytes


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode("utf-8")
    except UnicodeDecodeError:
        return False


# ---- JSON


def _json(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    document: Any = json.loads(content)
    places = list(_places(document))
    if not places or rng.random() < 0.02:
        document = rng.choice(VALUES)
    else:
        holder, key = _picked(places, rng)
        _change(holder, key, places, rng)
    return _written(document, rng)


def _picked(places: list[tuple[Any, Any]], rng: random.Random) -> tuple[Any, Any]:
    """Of a long list of figures one is as good as another: half of the time one of the first keys of all is taken."""
    named = [place for place in places if isinstance(place[1], str)]
    return rng.choice(named if named and rng.random() < 0.5 else places)


def _places(document: Any) -> Any:
    """Every (container, key) in it."""
    todo = [document]
    while todo:
        one = todo.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        for key in keys:
            yield one, key
            todo.append(one[key])


def _change(holder: Any, key: Any, places: list[tuple[Any, Any]], rng: random.Random) -> None:
    what = rng.randrange(10)
    if what < 5:
        holder[key] = rng.choice(VALUES)
    elif what == 5:
        del holder[key]
    elif what == 6:
        other, its = rng.choice(places)
        if _is_there(other, its):
            holder[key] = json.loads(json.dumps(other[its])) if isinstance(other[its], int | float | str | list | None) else holder[key]
    elif what == 7 and isinstance(holder, dict):
        holder[str(rng.choice(VALUES))[:100]] = holder.pop(key)
    elif what == 8 and isinstance(holder, list):
        holder += [holder[key]] * rng.choice((1, 2, 200))
    elif isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        holder[key] = rng.choice((-holder[key], holder[key] + 1, float(f"{holder[key]:.6g}") * 1e9))
    else:
        holder[key] = [holder[key]]


def _is_there(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else isinstance(key, int) and key < len(holder)


def _written(document: Any, rng: random.Random) -> bytes:
    text = json.dumps(document, ensure_ascii=True).replace(f'"{HUGE}"', "9" * 5000)
    deep = rng.choice((90, 3000, 100_000))
    return text.replace(f'"{DEEP}"', "[" * deep + "]" * deep).encode()


# ---- text


def _text(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    text = content.decode("utf-8", "replace")
    lines = text.splitlines(keepends=True) or [""]
    at, what = rng.randrange(len(lines)), rng.randrange(8)
    if what == 0:
        del lines[at]
    elif what == 1:
        lines.insert(rng.randrange(len(lines) + 1), lines[at])
    elif what == 2:
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif what == 3:
        lines = [*lines[:at], lines[at][: rng.randrange(len(lines[at]) + 1)]]
    elif what == 4:
        place = rng.randrange(len(lines[at]) + 1)
        lines[at] = lines[at][:place] + rng.choice(WORDS) + lines[at][place:]
    else:
        tokens = list(re.finditer(r"[-+]?\d[\d.eE+-]*|\"[^\"\n]*\"|[A-Za-z_][\w.-]*|[^\w\s]", lines[at]))
        if tokens:
            token = rng.choice(tokens)
            lines[at] = lines[at][: token.start()] + rng.choice(WORDS) + lines[at][token.end() :]
    return "".join(lines).encode("utf-8", "surrogatepass")


# ---- arrays


def _npy(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """The head, most of the time: it says how much is to come, and is a piece of Python."""
    long = 2 if content[6:7] == b"\1" else 4
    size = int.from_bytes(content[8 : 8 + long], "little")
    at = 8 + long + size
    if rng.random() < 0.2 or at > len(content):
        return _bytes(content, rng, others)
    head = content[8 + long : at]
    if rng.random() < 0.6:
        number = rng.choice((b"-1", b"0", b"99999999", b"9" * 18, b"9" * 5000, b"None", b"1.5", b"True", b"'a'", b"(", b"[1]", b"1,2,3"))
        kind = rng.choice((b"'|O'", b"'<U9'", b"'<f8'", b"'<M8[s]'", b"'|V0'", b"'>i8'", b"[('a', '<i4')]", b"'<c16'", b"'q'", b"''"))
        head = re.sub(rb"\d+(?=[,)])", number, head, count=1) if rng.random() < 0.6 else re.sub(rb"'[<>|]\w+'", kind, head, count=1)
    else:
        head = _text(head, rng, others)
    head = head.rstrip(b"\n ") + b"\n"
    version = content[6:8] if rng.random() < 0.9 else bytes([rng.choice((0, 1, 2, 3, 9)), 0])
    return content[:6] + version + len(head).to_bytes(4, "little")[: 2 if version == b"\1\0" else 4] + head + content[at:]


def _zip(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """A member damaged and packed again, so that its checksum holds; or members taken away, renamed, or packed otherwise."""
    if rng.random() < 0.15:
        return _bytes(content, rng, others)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:  # damaged before, in whatever way
        return _bytes(content, rng, others)
    if not members:
        return _bytes(content, rng, others)
    at, what = rng.randrange(len(members)), rng.randrange(10)
    name, inner = members[at]
    if what < 7:
        members[at] = name, _kind(inner)(inner, rng, others)
    elif what == 7:
        del members[at]
    elif what == 8:
        members[at] = rng.choice(("../x.npy", "/x", "x" * 300, "", name.upper(), members[0][0])), inner
    else:
        members[at] = name, bytes(rng.choice((0, 1, 1 << 20)))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))) as archive:
        for name, inner in members:
            archive.writestr(zipfile.ZipInfo(name), inner, compress_type=archive.compression)
    return made.getvalue()


def _safetensors(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    size = int.from_bytes(content[:8], "little")
    if rng.random() < 0.2:
        return _bytes(content, rng, others)
    head = content[8 : 8 + size].rstrip()
    head = _json(head, rng, others) if _is_json(head) else _bytes(head, rng, others)
    return struct.pack("<Q", len(head)) + head + content[8 + size :]


# ---- bytes


def _bytes(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    found, what = bytearray(content), rng.randrange(7)
    at = rng.randrange(len(found) + 1) if rng.random() < 0.5 else rng.randrange(min(len(found), 256) + 1)
    if what == 0:
        del found[at:]
    elif what == 1 and found:
        for _ in range(rng.choice((1, 1, 4, 16))):
            bit = rng.randrange(8 * len(found))
            found[bit // 8] ^= 1 << bit % 8
    elif what in (2, 3):
        size = rng.choice((1, 2, 4, 8))
        found[at : at + size] = (rng.choice(NUMBERS) % (1 << 8 * size)).to_bytes(size, rng.choice(("little", "big")))
    elif what == 4:
        del found[at : at + rng.choice((1, 4, 64, 1024))]
    elif what == 5:
        piece = rng.choice((found, *others))
        start = rng.randrange(len(piece) + 1)
        found[at:at] = piece[start : start + rng.choice((1, 8, 64, 1024))]
    else:
        found[at:at] = rng.randbytes(rng.choice((1, 2, 9, 60)))
    return bytes(found)
