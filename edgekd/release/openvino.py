"""The bundle for model servers: a model repository as OpenVINO Model Server reads it.

    config.json                        OpenVINO Model Server's list of models
    <artifact>/1/model.xml, model.bin  version 1 of the repository
    <artifact>/edgekd_model.py, …      accessor, contract and vectors, for clients; servers look at folders called by a number alone

Source: OpenVINO Model Server, "Model Repository" and "Configuration file" (2024).
"""

from __future__ import annotations

import json
from pathlib import Path

from edgekd.release import python
from edgekd.release.contract import CONTRACT, checked, document, encoded, write
from edgekd.release.facts import Facts
from edgekd.release.template import render

#: Servers count versions by whole numbers, so a release is the first of its repository.
VERSION = 1
#: Where the servers' containers have the repository.
MOUNTED = "/models"


def pack(facts: Facts, out: Path) -> tuple[str, ...]:
    """Write the bundle into ``out``; what was written, relative to it. Raises InputError where the model's file has changed, or where
    accessors cannot state it."""
    model = facts.models["openvino"]
    checked(model)
    own = {f"{VERSION}/{name}": (model.folder / name).read_bytes() for name in model.files}
    vectors = facts.vectors_for("openvino")
    packed, count = python.packed(facts, model, vectors)
    tested = {"count": count, "exact": vectors.exact, "file": python.VECTORS, "layout": "arrays of NumPy: x, expected_0, …"}
    layout = "NCHW" if python.channels_first(facts, model) else "NHWC"
    made = {**document(facts, model, next(iter(own)), tested, layout), "server_version": VERSION}
    files = {
        **own,
        CONTRACT: encoded(made),
        python.ACCESSOR: python.accessor(facts, model, vectors, own),
        python.VECTORS: packed,
    }
    served = {"model_config_list": [{"config": {"name": facts.artifact, "base_path": f"{MOUNTED}/{facts.artifact}"}}]}
    listed = {f"{facts.artifact}/{name}": content for name, content in files.items()}
    listed["config.json"] = json.dumps(served, indent=2).encode() + b"\n"
    listed["README.md"] = render("openvino/README.md", facts=facts, model=model, served=VERSION, mounted=MOUNTED, count=count).encode()
    return write(listed, out)
