"""The bundle for Android: a Maven repository with an AAR, the Kotlin accessor beside it, and the same model as an AI pack of Google Play.

    maven/<group>/<artifact>/<version>/   AAR, POM, sources; each with its checksums
    kotlin/<package>/<Type>.kt            the accessor, for the app's source set: an AAR carries no source that would be compiled
    ai-pack/<pack>/                       a Gradle module of Play for On-device AI

Sources: AAR, "Anatomy of an AAR file" (Android Studio's guide, "Create an Android library"); Maven repository layout and metadata (Apache
Maven, "Repository Layout" and "Maven Metadata"); AI packs, "Play for On-device AI" (developer.android.com/google/play/on-device-ai, 2025).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import escape

from edgekd.errors import InputError
from edgekd.release import archive
from edgekd.release.facts import Facts
from edgekd.release.mobile import MODEL, Payload, payload
from edgekd.release.template import render

CHECKSUMS = ("md5", "sha1", "sha256", "sha512")
#: What Android's manifest merger, Kotlin and LiteRT all take.
MIN_SDK = 21
#: Words that no segment of a package may be: Java's (JLS 17, 3.9), in which the class R is.
JAVA = frozenset({
    "abstract", "assert", "boolean", "break", "byte", "case", "catch", "char", "class", "const", "continue", "default", "do", "double",
    "else", "enum", "extends", "final", "finally", "float", "for", "goto", "if", "implements", "import", "instanceof", "int", "interface",
    "long", "native", "new", "package", "private", "protected", "public", "return", "short", "static", "strictfp", "super", "switch",
    "synchronized", "this", "throw", "throws", "transient", "try", "void", "volatile", "while", "true", "false", "null",
})  # fmt: skip
#: Those of Kotlin besides, which its source escapes (Kotlin's grammar, "Hard keywords").
KOTLIN = frozenset({"as", "fun", "in", "is", "object", "typealias", "typeof", "val", "var", "when"})


def pack(facts: Facts, out: Path) -> tuple[str, ...]:
    """Write the bundle into the folder ``out``; what was written, relative to it. Raises InputError as payload() does, and for a group
    that is no package."""
    load = payload(facts, "android")
    package = package_of(facts)
    where = {
        **load.said,
        "package": ".".join(f"`{part}`" if part in KOTLIN else part for part in package.split(".")),
        "coordinates": f"{facts.group}:{facts.artifact}:{facts.version}",
        "folder": f"edgekd/{facts.artifact}/",
        "min_sdk": MIN_SDK,
        "pack": pack_name(facts),
    }
    source = f"{package.replace('.', '/')}/{facts.type_name}.kt"
    accessor = render("android/accessor.kt", **where).encode()
    files = {f"kotlin/{source}": accessor}
    files |= {f"maven/{name}": content for name, content in maven(facts, load, package, {source: accessor}).items()}
    folder = f"ai-pack/{where['pack']}"
    files |= {f"{folder}/src/main/assets/{where['folder']}{name}": content for name, content in load.files.items()}
    files[f"{folder}/build.gradle.kts"] = render("android/ai-pack.gradle.kts", **where).encode()
    files["README.md"] = render("android/README.md", **where).encode()
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tuple(sorted(files))


def package_of(facts: Facts) -> str:
    """Package of the accessor and namespace of the AAR, which no other library of the app may have."""
    for part in facts.group.split("."):
        if part in JAVA:
            raise InputError(f"group {facts.group!r} has {part!r}, a word of Java", where="--group", expected="names that can be a package")
    last = facts.identifier
    return f"{facts.group}.{last if last[0].isalpha() and last not in JAVA else f'model_{last}'}"


def pack_name(facts: Facts) -> str:
    """Name of the AI pack: letters, digits and underscores, a letter first."""
    return facts.identifier if facts.identifier[0].isalpha() else f"model_{facts.identifier}"


def maven(facts: Facts, load: Payload, package: str, sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of the Maven repository: those of this version, and the metadata that lists it; each with its checksums."""
    home = f"{facts.group.replace('.', '/')}/{facts.artifact}"
    stem = f"{home}/{facts.version}/{facts.artifact}-{facts.version}"
    released = datetime.fromisoformat(facts.created)
    released = released.astimezone(UTC) if released.tzinfo else released
    texts = {
        "group": facts.group,
        "artifact": facts.artifact,
        "version": facts.version,
        "snapshot": facts.version.endswith("-SNAPSHOT"),
        "updated": released.strftime("%Y%m%d%H%M%S"),
        "name": escape(_printable(facts.licenses.get("title") or facts.name)),
        "target": escape(_printable(facts.target)),
        "license": escape(_printable(facts.licenses.get("license", ""))),
        "sha256": load.model.sha256,
    }
    files = {
        f"{stem}.aar": aar(facts, load, package),
        f"{stem}.pom": render("android/pom.xml", **texts).encode(),
        f"{stem}-sources.jar": _jar(sources),
        f"{home}/maven-metadata.xml": render("android/maven-metadata.xml", **texts).encode(),
    }
    sums = {f"{name}.{kind}": hashlib.new(kind, content).hexdigest().encode() for name, content in files.items() for kind in CHECKSUMS}
    return files | sums


def aar(facts: Facts, load: Payload, package: str) -> bytes:
    """The library: assets and no code. The model begins at a page."""
    folder = f"assets/edgekd/{facts.artifact}/"
    files = {
        "AndroidManifest.xml": render("android/AndroidManifest.xml", package=package, min_sdk=MIN_SDK).encode(),
        "classes.jar": _jar({}),
        "R.txt": b"",  # no resources, so no symbols
        "proguard.txt": b"# This library has no code: nothing to keep.\n",
        "META-INF/com/android/build/gradle/aar-metadata.properties": b"aarFormatVersion=1.0\naarMetadataVersion=1.0\n",
        **{folder + name: content for name, content in load.files.items()},
    }
    return archive.zipped(files, mapped=frozenset({folder + MODEL}))


def _jar(files: Mapping[str, bytes]) -> bytes:
    """A jar of ``files``; without any it holds its manifest alone."""
    return archive.zipped({"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\r\n\r\n", **files})


def _printable(text: str) -> str:
    """``text`` on one line, without what XML 1.0 has no place for."""
    return re.sub(r"\s+", " ", "".join(c if c.isprintable() and not 0xD800 <= ord(c) < 0xE000 else " " for c in text)).strip()
