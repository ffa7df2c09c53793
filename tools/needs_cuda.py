"""``needs_cuda.py REPORT``: exit 0 if a package in pip's installation report asks for CUDA libraries on this machine, else 1."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path


def main(report: str) -> int:
    if sys.platform != "linux":  # The CUDA packages exist for Linux only; elsewhere their markers switch them off.
        return 1
    for item in json.loads(Path(report).read_text())["install"]:
        if any(re.match(r"(nvidia|cuda)[-_]", need) for need in item["metadata"].get("requires_dist", [])):
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
