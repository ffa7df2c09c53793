"""Fuzz an importer with atheris, guided by coverage, for a bounded time: anything but a graph or InputError is a finding.

    python tools/fuzz_importers.py tflite --seconds 60
    python tools/fuzz_importers.py onnx --seconds 60 --corpus DIR

Starts from the golden students and, for TFLite, from the files of other tools in tests. Needs atheris (pip install atheris). What it finds
is written as crash-… into the current folder; exit code 0 means that nothing was found.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
#: Larger inputs are not tried, and more memory than this is a finding.
LARGEST, MEMORY_MIB = 64 << 10, 2048


def seeds(kind: str, folder: Path) -> None:
    """Whole files to start from."""
    from edgekd.lazy import load
    from edgekd.quant import io

    export = load({"tflite": "edgekd.export.tflite:export", "onnx": "edgekd.export.onnx:export"}[kind])
    for case in sorted(path for path in GOLDEN.iterdir() if (path / "graph.json").is_file()):
        with tempfile.TemporaryDirectory() as out:
            file = Path(out) / export(io.load(case), Path(out)).path
            (folder / f"{case.name}{file.suffix}").write_bytes(file.read_bytes())
    for file in sorted((ROOT / "tests" / "importers" / "files").glob(f"*.{kind}")):
        (folder / file.name).write_bytes(file.read_bytes())


def target(kind: str) -> Callable[[bytes], None]:
    """What is called with each input. Importing edgekd here lets atheris instrument it."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["edgekd"]):
        from edgekd.errors import InputError
        from edgekd.lazy import load

        if kind == "tflite":
            parse = load("edgekd.importers.tflite:read_bytes")

            def once(content: bytes) -> None:
                with contextlib.suppress(InputError):
                    parse(content)

            return once
        read = load("edgekd.importers.onnx:read")
    path = Path(tempfile.mkdtemp(prefix="edgekd-")) / "model.onnx"

    def once_from_disk(content: bytes) -> None:
        path.write_bytes(content)
        with contextlib.suppress(InputError):
            read(path)

    return once_from_disk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("tflite", "onnx"))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="a folder to start from and to keep what reaches new code; default: a temporary one")
    options = parser.parse_args()
    try:
        atheris: Any = import_module("atheris")
    except ModuleNotFoundError:
        sys.exit("atheris is not installed\n  to mend:  pip install atheris")
    corpus = options.corpus or Path(tempfile.mkdtemp(prefix="edgekd-corpus-"))
    corpus.mkdir(parents=True, exist_ok=True)
    seeds(options.kind, corpus)
    once = target(options.kind)
    limits = [
        f"-max_total_time={options.seconds}",
        f"-max_len={LARGEST}",
        f"-rss_limit_mb={MEMORY_MIB}",
        "-timeout=10",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
