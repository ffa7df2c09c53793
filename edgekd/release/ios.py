"""The bundle for Apple's systems: a Swift package with the model as resource, its accessor and tests, and the same as a local pod.

TensorFlow Lite is not published as a Swift package; CocoaPods is its own channel, and its XCFramework can be put beside the sources, where
Package.swift finds it. The accessor calls the C interface, since TensorFlowLiteSwift has no int8 among its data types.

Sources: "Bundling resources with a Swift package" (Apple, 2020), PackageDescription (Swift 5.7), podspec syntax (CocoaPods 1.x).
"""

from __future__ import annotations

import json
from pathlib import Path

from edgekd.release.facts import Facts
from edgekd.release.mobile import CONTRACT, MODEL, VECTORS, payload
from edgekd.release.template import render

IOS = "13.0"  # CryptoKit's first
RUNTIME = "~> 2.14"  # TensorFlowLiteC as XCFramework


def pack(facts: Facts, out: Path) -> tuple[str, ...]:
    """Write the package into ``out``/<Type>; what was written, relative to ``out``. Raises InputError as payload() does."""
    load, name = payload(facts, "ios"), facts.type_name
    sources = f"Sources/{name}"
    made = {
        "Package.swift": render("ios/Package.swift", **load.said),
        f"{sources}/{name}.swift": render("ios/accessor.swift", **load.said),
        f"Tests/{name}Tests/{name}Tests.swift": render("ios/tests.swift", **load.said),
        "README.md": render("ios/README.md", **load.said),
        f"{name}.podspec.json": json.dumps(podspec(facts), indent=2, ensure_ascii=False) + "\n",
    }
    files = {path: text.encode() for path, text in made.items()} | {f"{sources}/{file}": content for file, content in load.files.items()}
    for path, content in files.items():
        written = out / name / path
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_bytes(content)
    return tuple(sorted(f"{name}/{path}" for path in files))


def podspec(facts: Facts) -> dict[str, object]:
    """As a development pod; homepage and source, which CocoaPods demands of every pod, are the group's domain and are not looked at."""
    name = facts.type_name
    home = f"https://{'.'.join(reversed(facts.group.split('.')))}"
    return {
        "name": name,
        "version": facts.version,
        "summary": f"{facts.artifact}, a model with its accessor",
        "homepage": home,
        "license": {"type": facts.licenses.get("license") or "not stated", "text": "See the model card of the release."},
        "authors": facts.licenses.get("authors") or facts.group,
        "source": {"http": f"{home}/{facts.artifact}-{facts.version}.zip"},
        "platforms": {"ios": IOS},
        "swift_versions": ["5.7"],
        "static_framework": True,
        "source_files": f"Sources/{name}/*.swift",
        "resource_bundles": {name: [f"Sources/{name}/{file}" for file in (MODEL, CONTRACT, VECTORS)]},
        "dependencies": {"TensorFlowLiteC": [RUNTIME]},
    }
